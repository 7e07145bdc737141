"""A whole job on a CUDA device, or on that of the simulator, gives what it gives on cores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numba import cuda

from tasks.simulate import simulate
from tasks.simulation import small_simulation

ROOT = Path(__file__).resolve().parents[2]
HARDWARE = os.environ.get("NUMBA_ENABLE_CUDASIM") != "1" and cuda.is_available()
MILL = """
import json, runpy, sys
from pathlib import Path
from numba import config
if config.ENABLE_CUDASIM:
    runpy.run_path("tests/gpu_kernels/cupy_stand_in.py")["install"]()
from flows.job import check_job
from flows.reprocess import reprocess
folder = Path(sys.argv[1])
job = check_job(json.loads(sys.argv[2]), "job", folder)
row = reprocess.fn(job.datasets[0], job.output, None)
assert row["status"] == "ok", row
"""
"""Without Prefect and Dask: the simulator runs one kernel at a time."""


def milled(folder, scan, device, keys):
    """Results of a job, all but its calibration on a device."""
    job = {"output": str(folder), "datasets": [{"path": "scan.h5", "name": "x"} | keys]}
    told = {
        "PHASEMILL_DEVICE": device,
        "NUMBA_ENABLE_CUDASIM": str(int(device == "cuda" and not HARDWARE)),
    }
    subprocess.run(
        [sys.executable, "-c", MILL, str(scan.parent), json.dumps(job)],
        env=os.environ | told, cwd=ROOT, check=True,
    )  # fmt: skip
    return folder / "x" / "results.zarr"


def compared(tmp_path, recording, **keys):
    """Names of all published variables; each is the same on both sides to 1e-4 of its range."""
    scan = tmp_path / "scan.h5"
    simulate(recording, scan)
    given = {
        "voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4,
        "flip": recording.flip, "scan_rotation_deg": float(np.rad2deg(recording.rotation)),
        "aberrations": recording.aberrations.nonzero(), "center_px": list(recording.center),
        "semiangle_px": recording.radius,
    }  # fmt: skip
    paths = [milled(tmp_path / side, scan, side, given | keys) for side in ("cpu", "cuda")]
    told = json.loads((paths[1].parent / "provenance.json").read_text())
    assert HARDWARE or told["device"] == "CUDA simulator on the CPU"
    return agreed(*paths)


def agreed(*paths):
    """Names of the variables of two results, which are the same to 1e-4 of their ranges."""
    names = set()
    for group in (None, "frc"):
        if group is not None and not (paths[0] / group).is_dir():
            continue
        here, there = (xr.open_zarr(path, group=group, chunks=None) for path in paths)
        assert set(here.data_vars) == set(there.data_vars)
        for name in here.data_vars:
            sides = [side[name].values.astype(complex) for side in (here, there)]
            if name.endswith("_snr"):  # infinite where halves agree fully: as their correlation
                sides = [1 / (1 + 1 / np.where(v == 0, 1e-9, v.real)) for v in sides]
            scale = np.nanmax(np.abs(sides[0]), initial=1e-30)
            np.testing.assert_allclose(*sides, rtol=0, atol=1e-4 * scale, err_msg=name)
            names.add(name)
    return names


@pytest.mark.slow
def test_direct_methods_and_their_resolution_agree(tmp_path):
    found = compared(
        tmp_path,
        small_simulation(scan_shape=(9, 8), electrons=150.0, missing_fraction=0.02, radius=5.0),
        steps=["virtual", "dpc", "ssb", "frc"],
    )
    assert {"virtual_bf", "com_y", "dpc_phase", "ssb_phase", "ssb_amplitude", "wpo_wiener_phase",
            "radial_profile", "ssb_phase_snr"} <= found  # fmt: skip


@pytest.mark.slow
def test_iterations_and_stitched_patches_agree(tmp_path):
    found = compared(
        tmp_path,
        small_simulation(scan_shape=(9, 8), electrons=300.0),
        steps=["cnn", "epie"],
        epie={"iterations": 2, "side": 16, "window": [0, 5, 0, 5]},
        cnn={"train": "never", "stride": 2},
    )
    assert {"cnn_phase", "epie_phase", "epie_object", "epie_residual"} <= found


@pytest.mark.gpu
@pytest.mark.slow
def test_a_night_on_local_cuda_repeats_and_agrees_with_cores(tmp_path):
    if not HARDWARE:
        pytest.skip("needs a CUDA device")
    pytest.importorskip("dask_cuda", reason="dask-cuda is not installed")
    simulate(small_simulation(scan_shape=(64, 48), electrons=1000.0), tmp_path / "scan.h5")
    dataset = {
        "path": "scan.h5", "name": "x", "voltage_kv": 80, "semiangle_mrad": 25,
        "scan_step_angstrom": 0.4, "steps": ["virtual", "dpc", "ssb", "cnn", "epie", "frc"],
        "cnn": {"train": "never"}, "epie": {"iterations": 4, "side": 32},
    }  # fmt: skip
    results = []
    for name, cluster in (("cores", "threads"), ("first", "local-cuda"), ("again", "local-cuda")):
        job = {"output": name, "cluster": cluster, "datasets": [dataset]}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(job))
        subprocess.run(
            [sys.executable, "-c", "from flows.cli import app; app()", "run",
             tmp_path / f"{name}.yaml", "--no-prefect"],
            cwd=ROOT, check=True,
        )  # fmt: skip
        results.append(tmp_path / name / "x" / "results.zarr")
    files = [
        {one.relative_to(path): one.read_bytes() for one in path.rglob("*") if one.is_file()}
        for path in results[1:]
    ]
    assert files[0] == files[1]
    assert {"ssb_phase", "cnn_phase", "epie_phase"} <= agreed(results[0], results[1])
