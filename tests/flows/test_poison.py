"""A dataset that kills every worker it touches fails alone, and the night goes on."""

import dask
import pytest
from rich.console import Console

from flows.job import check_job
from flows.overnight import run_night
from flows.verify import verify_result
from tasks.simulate import simulate
from tasks.simulation import small_simulation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
KNOWN = {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.3, "disk_bins": 8,
         "scan_rotation_deg": 0, "flip": False, "aberrations": {},
         "steps": ["virtual", "dpc"]}  # fmt: skip
PRELOAD = """
import os, signal, time
from tasks import ingest

if not hasattr(ingest, "unpoisoned"):  # Dask loads this twice
    ingest.unpoisoned = ingest._ingest_slab

def poisoned(recording, *rest):
    if "killer" in recording.path:
        os.kill(os.getpid(), signal.SIGKILL)
    if "hog" in recording.path:
        held = []
        while True:
            held.append(bytearray(b"1" * (16 << 20)))
            time.sleep(0.02)
    return ingest.unpoisoned(recording, *rest)

ingest._ingest_slab = poisoned
"""
"""What Dask's workers load before their first unit."""


@pytest.mark.parametrize("poison", ["killer", "hog"])
def test_dataset_that_kills_its_workers_fails_alone_and_by_name(tmp_path, poison):
    for name in ("before", poison, "after"):
        simulate(small_simulation(scan_shape=(16, 16), detector_shape=(32, 32)),
                 tmp_path / f"{name}.h5")  # fmt: skip
    (tmp_path / "preload.py").write_text(PRELOAD)
    raw = {
        "output": "out",
        "cluster": "local",
        "workers": {"count": 1, "memory_gib": 0.7},
        "defaults": KNOWN,
        "datasets": [{"path": f"{name}.h5"} for name in ("before", poison, "after")],
    }
    settings = {
        "distributed.worker.preload": [str(tmp_path / "preload.py")],
        "distributed.scheduler.allowed-failures": 1,  # sooner than after four workers
    }
    with dask.config.set(settings):
        night = run_night(check_job(raw, "job", tmp_path), [], False, Console(quiet=True), True)
    rows = {row["name"]: row for row in night["datasets"]}
    assert {name: row["status"] for name, row in rows.items()} == {
        "before": "ok", poison: "failed", "after": "ok"
    }, rows  # fmt: skip
    # One unit hashes the recording, the other reads it.
    assert f"{poison}.h5: ingest: unit 1 of 2 killed several workers" in rows[poison]["reason"]
    assert not (tmp_path / "out" / poison).exists()
    assert verify_result(tmp_path / "out")["status"] == "ok"
