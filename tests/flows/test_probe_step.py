"""The probe as a step of the mill: found without an estimate, and what follows takes it."""

import json

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from flows.job import check_job
from flows.overnight import run_night
from models.aberrations import Aberrations
from tasks.simulate import simulate
from tasks.simulation import small_simulation
from tasks.store import layout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LENS = Aberrations(C10=90.0, C12=20.0, phi12=0.6)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("probe") / "scan.h5"
    settings = small_simulation(
        electrons=8000.0, aberrations=LENS, rotation=0.0, scan_shape=(26, 26)
    )
    simulate(settings, path)
    return path, settings


def mill(recording, output, **keys):
    path, settings = recording
    known = {
        "voltage_kv": settings.energy / 1e3, "semiangle_mrad": settings.semiangle * 1e3,
        "scan_step_angstrom": list(settings.scan_step), "scan_rotation_deg": 0.0, "flip": False,
        "steps": ["virtual", "probe", "ssb"],
        "probe_search": {"iterations": 15, "trials": 16, "restarts": 1},
    }  # fmt: skip
    dataset = {"path": str(path), "name": "x"} | known | keys
    job = {"output": str(output), "cluster": "threads", "datasets": [dataset]}
    checked = check_job(job, "job", output.parent)
    (row,) = run_night(checked, [], False, Console(quiet=True), True)["datasets"]
    assert row["status"] in ("ok", "unchanged"), row["reason"]
    return row, xr.open_zarr(output / "x" / "results.zarr", chunks=None)


@pytest.fixture(scope="module")
def milled(recording, tmp_path_factory):
    output = tmp_path_factory.mktemp("night") / "out"
    row, results = mill(recording, output)
    return output, row, results


def test_lens_is_found_and_later_steps_take_it(milled):
    output, row, results = milled
    lens = results.attrs["calibration"]["aberrations"]
    assert lens["C10"]["origin"] == "fitted"
    assert lens["C10"]["value"] == pytest.approx(LENS.C10, rel=0.1)
    assert lens["C12"]["value"] == pytest.approx(LENS.C12, abs=8)
    assert any(flag["flag"] == "probe" for flag in row["flags"])
    facts = json.loads((output / "x" / "provenance.json").read_text())
    steps = {one["name"]: one for one in facts["steps"]}
    assert steps["probe"]["summary"]["aberrations"]["C10"] == lens["C10"]["value"]
    assert "likelihood" in steps["probe"]["summary"]["decided_by"]
    assert steps["probe"]["summary"]["runner_up"]["deviance_above"] > 0


def test_probe_is_published_on_the_specimen(milled):
    _, _, results = milled
    size = results.found_probe_amplitude.values
    assert results.found_probe.dtype == np.complex64
    assert results.found_probe.dims == ("y_found", "x_found")
    assert np.allclose(np.abs(results.found_probe), size, rtol=1e-5)
    # Electrons of a pattern, and all of them in the window.
    assert np.sum(size**2) == pytest.approx(8000, rel=0.1)
    middle = size.shape[0] // 2
    lit = np.s_[middle - 10 : middle + 10, middle - 10 : middle + 10]
    assert np.sum(size[lit] ** 2) > 0.9 * np.sum(size**2)


def test_rerun_does_nothing(recording, milled):
    output, _, _ = milled
    row, _ = mill(recording, output)
    assert row["status"] == "unchanged"


def test_given_aberrations_stay(recording, tmp_path):
    _, results = mill(recording, tmp_path / "out", aberrations={"C10": 90.0})
    assert results.attrs["calibration"]["aberrations"]["C10"]["origin"] == "given"
    work = layout.work_folder(tmp_path / "out", "x")
    assert layout.calibrated_by(work).read_text() == "calibrate"
    assert "found_probe" in results


def test_real_particles_have_their_defocus(shared_data, tmp_path):
    path = shared_data / "rotavirus" / "rotavirus_events.h5"
    dataset = {
        "path": str(path), "name": "x", "voltage_kv": 300, "semiangle_mrad": 1.03,
        "scan_step_angstrom": 31.25, "steps": ["virtual", "probe"],
        "probe_search": {"iterations": 8, "trials": 10, "restarts": 1, "free_wavefront": False},
    }  # fmt: skip
    job = {"output": str(tmp_path / "out"), "cluster": "threads", "datasets": [dataset]}
    (row,) = run_night(check_job(job, "job", tmp_path), [], False, Console(quiet=True), True)[
        "datasets"
    ]
    assert row["status"] == "ok", row["reason"]
    lens = xr.open_zarr(tmp_path / "out" / "x" / "results.zarr").attrs["calibration"]["aberrations"]
    assert lens["C10"]["value"] == pytest.approx(-132_000, abs=10_000)
    assert abs(lens["C12"]["value"]) < 8_000
