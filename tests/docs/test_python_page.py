"""The code on the page of the Python functions runs, block after block, on a milled dataset."""

import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from flows.job import check_job
from flows.overnight import run_night
from tasks.simulate import simulate
from tasks.simulation import small_simulation

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def folder(tmp_path):
    scan = small_simulation(scan_step=(0.4, 0.35), electrons=60.0)
    simulate(scan, tmp_path / "scan.h5")
    dataset = {
        "path": str(tmp_path / "scan.h5"), "name": "scan", "voltage_kv": 80, "semiangle_mrad": 25,
        "scan_step_angstrom": [0.4, 0.35], "flip": False, "aberrations": {"C10": 40},
        "scan_rotation_deg": -9, "dense": {"bin": 1}, "steps": ["virtual", "dpc", "ssb"],
    }  # fmt: skip
    job = {"output": str(tmp_path / "out"), "cluster": "threads", "datasets": [dataset]}
    run_night(check_job(job, "job", tmp_path), [], False, Console(quiet=True), True)
    return tmp_path / "out" / "scan"


def test_page_runs_from_top_to_bottom(folder):
    names: dict = {"folder": folder}
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["found"].phase.shape == (24, 24)
    assert np.isfinite(names["found"].phase).all()
    assert np.isfinite(names["phase_of_dpc"]).all()
    assert (folder.parent / "phase.ome.tif").exists()
    assert names["bright_field"].sum() > names["dark_field"].sum() > 0
    assert np.nanmax(np.abs(names["com_rows"])) < names["disk"].radius
    assert 0 < names["fitted"].misfit < 2
    made, stitched = names["made"], names["stitched"]
    assert made.residuals[-1] < made.residuals[0]
    assert np.isfinite(made.obj).all()
    assert np.isfinite(stitched.image).mean() > 0.2
    assert len(BLOCKS) == 11
