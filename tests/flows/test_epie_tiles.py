"""A scan that is reconstructed in tiles, on several workers, is the one that is done as a whole."""

import json

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from flows.job import check_job
from flows.overnight import run_night
from flows.verify import verify_result
from tasks.simulate import simulate
from tasks.simulation import small_simulation

SCAN = small_simulation(scan_shape=(44, 44), electrons=20_000.0)
GIVEN = {
    "voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4, "steps": ["epie"],
    "flip": SCAN.flip, "scan_rotation_deg": float(np.rad2deg(SCAN.rotation)),
    "aberrations": SCAN.aberrations.nonzero(), "center_px": list(SCAN.center),
    "semiangle_px": SCAN.radius,
}  # fmt: skip
EDGE = 4
"""Pixels at the border of the scan that are not compared."""


def mill(folder, scan, cluster, **datasets):
    listed = [
        {"path": str(scan), "name": name} | GIVEN | {"epie": epie}
        for name, epie in datasets.items()
    ]
    job = {"output": str(folder / "out"), "cluster": cluster, "datasets": listed}
    night = run_night(check_job(job, "job", folder), [], False, Console(quiet=True), True)
    assert [row["status"] for row in night["datasets"]] == ["ok"] * len(datasets)
    return {
        name: xr.open_zarr(folder / "out" / name / "results.zarr", chunks=None) for name in datasets
    }


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    simulate(SCAN, path)
    return path


def phase_between(one, other, edge=EDGE):
    """Phase of one object over the other, without constant and plane, which no pattern tells."""
    ratio = (one.epie_object.values * other.epie_object.values.conj())[edge:-edge, edge:-edge]
    phase = np.angle(ratio * np.exp(-1j * np.angle(ratio.mean())))
    y, x = np.indices(phase.shape)
    terms = np.stack([np.ones(phase.size), y.ravel(), x.ravel()], axis=1)
    return phase - (terms @ np.linalg.lstsq(terms, phase.ravel())[0]).reshape(phase.shape)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("probe_step", [0, 0.5], ids=["known probe", "free probe"])
def test_four_tiles_on_two_workers_equal_the_whole(scan, tmp_path, probe_step):
    common = {"iterations": 40, "probe_step": probe_step}
    found = mill(
        tmp_path, scan, "local",
        whole=common | {"tiles": 1},
        tiled=common | {"tiles": 2},
    )  # fmt: skip
    whole, tiled = found["whole"], found["tiled"]
    assert phase_between(tiled, whole).std() < 0.005
    size = np.abs(tiled.epie_object.values) / np.abs(whole.epie_object.values)
    assert size[EDGE:-EDGE, EDGE:-EDGE].std() < 0.005
    np.testing.assert_allclose(tiled.epie_residual[-1], whole.epie_residual[-1], rtol=0.02)
    shown = json.loads((tmp_path / "out" / "tiled" / "provenance.json").read_text())
    (step,) = (step for step in shown["steps"] if step["name"] == "epie")
    assert step["summary"]["tiles"] == 4
    assert step["summary"]["disagreement"] < 0.01


def test_tiles_do_not_depend_on_who_computes_them(scan, tmp_path):
    few = {"tiles": [1, 2], "iterations": 2, "tile_overlap_angstrom": 3, "window": [0, 24, 0, 44]}
    mill(tmp_path / "one", scan, "threads", tiled=few)
    mill(tmp_path / "other", scan, "threads", tiled=few)
    assert (
        verify_result(tmp_path / "other" / "out", against=tmp_path / "one" / "out")["status"]
        == "ok"
    )
    left = [p for p in (tmp_path / "one").rglob("tiles") if p.is_dir()]
    assert not left
