"""A small simulated recording, held in memory."""

import pytest

from models.aberrations import Aberrations
from tasks.explore.held import Window, hold
from tasks.explore.phases import Trial
from tasks.ingest import ReaderOptions, ingest
from tasks.simulate import simulate
from tasks.simulation import Simulation
from tasks.store import layout
from tasks.store.events import open_store
from tasks.store.source import fingerprint

TRUE = Aberrations(C10=90.0, C12=20.0, phi12=0.4)


@pytest.fixture(scope="session")
def simulation():
    return Simulation(
        scan_shape=(64, 64), scan_step=(0.3, 0.3), electrons=4000.0, aberrations=TRUE,
        detector_shape=(64, 64), center=(31.2, 32.6), radius=16.0, missing_fraction=0.002,
    )  # fmt: skip


@pytest.fixture(scope="session")
def work(simulation, tmp_path_factory):
    """Folder of the recording's event store."""
    folder = tmp_path_factory.mktemp("explore")
    recording, work = folder / "scan.h5", folder / "stores" / "scan"
    simulate(simulation, recording)
    ingest(fingerprint(recording, work / "source.json"), work, ReaderOptions())
    return work


@pytest.fixture(scope="session")
def store(work):
    return open_store(layout.event_store(work))


@pytest.fixture(scope="session")
def truth(simulation):
    return Trial(simulation.geometry, simulation.aberrations)


@pytest.fixture(scope="session")
def held(store, truth):
    return hold(store, truth.geometry, Window(0, 64, 0, 64))
