"""A store at a glance is what its electrons add up to, with units."""

from itertools import pairwise

import numpy as np
import pytest

from tasks.ingest import ReaderOptions, ingest
from tasks.simulate import simulate
from tasks.simulation import small_simulation
from tasks.store import layout
from tasks.store.events import open_store
from tasks.store.overview import overview
from tasks.store.source import fingerprint


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    simulate(small_simulation(electrons=20.0), folder / "scan.h5")
    ingest(fingerprint(folder / "scan.h5", folder / "source.json"), folder, ReaderOptions())
    return open_store(layout.event_store(folder))


def test_overview_is_what_the_electrons_add_up_to(store):
    seen = overview(store)
    indptr, indices = store.read(0)
    assert store.slabs == 1
    each = [b - a for a, b in pairwise(indptr)]
    np.testing.assert_array_equal(seen.electrons.values.ravel(), each)
    counts = np.bincount(indices, minlength=32 * 32).reshape(32, 32)
    np.testing.assert_array_equal(seen.frame_sum, counts)
    assert seen.frames_present.dims == seen.sector_mask.dims == ("scan_y", "scan_x")
    assert (seen.electrons.attrs["units"], seen.frame_sum.detector_y.attrs["units"]) == ("e", "px")
