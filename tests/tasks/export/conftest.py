"""A dataset as a night leaves it: images, dense patterns and events."""

import numpy as np
import pytest
from rich.console import Console

from flows.job import check_job
from flows.overnight import run_night
from tasks.simulate import simulate
from tasks.simulation import small_simulation

STEP = (0.4, 0.35)


@pytest.fixture(scope="session")
def night(tmp_path_factory):
    """Folder of a milled dataset of 24 × 20 positions."""
    folder = tmp_path_factory.mktemp("export")
    scan = small_simulation(scan_shape=(24, 20), scan_step=STEP, electrons=60.0)
    simulate(scan, folder / "scan.h5")
    dataset = {
        "path": str(folder / "scan.h5"), "name": "scan", "voltage_kv": 80, "semiangle_mrad": 25,
        "scan_step_angstrom": list(STEP), "flip": False, "aberrations": {},
        "scan_rotation_deg": float(np.rad2deg(scan.rotation)), "dense": {"bin": 2},
        "steps": ["virtual", "dpc", "ssb"],
    }  # fmt: skip
    job = {"output": str(folder / "out"), "cluster": "threads", "datasets": [dataset]}
    (row,) = run_night(check_job(job, "job", folder), [], False, Console(quiet=True), True)[
        "datasets"
    ]
    assert row["status"] == "ok", row["reason"]
    return folder / "out" / "scan"
