"""A whole job on the CUDA device of the simulator gives what it gives on cores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tasks.simulate import simulate
from tasks.simulation import small_simulation

ROOT = Path(__file__).resolve().parents[2]
MILL = """
import json, sys
from pathlib import Path
from numba import config
if config.ENABLE_CUDASIM:
    # As on a device: nothing becomes an array of the host by itself.
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
    def refused(self):
        raise TypeError("an array of the device is taken for one of the host")
    for name in ("__array__", "__array_interface__", "__array_struct__"):
        setattr(FakeCUDAArray, name, property(refused))
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
    told = {"PHASEMILL_DEVICE": device, "NUMBA_ENABLE_CUDASIM": str(int(device == "cuda"))}
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
    assert told["device"] == "CUDA simulator on the CPU"
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
        small_simulation(scan_shape=(9, 8), electrons=150.0, missing_fraction=0.02),
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
