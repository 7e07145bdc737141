"""A night: what can be computed is there, whole and repeatable; what failed says why."""

import json
import shutil

import numpy as np
import pytest
import tifffile
import xarray as xr
from rich.console import Console

from flows.job import check_job
from flows.lock import NightError, locked_output
from flows.overnight import run_night
from flows.verify import verify_result
from tasks.simulate import simulate
from tasks.simulation import small_simulation

SMALL = small_simulation(
    scan_shape=(40, 40), scan_step=(0.3, 0.3), detector_shape=(48, 48), radius=11.3,
    center=(23.4, 24.8), electrons=3000.0, missing_fraction=3 / 1600,
)  # fmt: skip


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "small.h5"
    simulate(SMALL, path)
    return path


def job(output, *paths, **keys):
    datasets = [
        {"path": str(p), "voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.3} | keys
        for p in paths
    ]
    return check_job(
        {"output": str(output), "cluster": "threads", "datasets": datasets}, "job", output.parent
    )


def mill(checked, force=()):
    return run_night(checked, list(force), False, Console(quiet=True), True)


@pytest.fixture(scope="module")
def milled(scan, tmp_path_factory):
    output = tmp_path_factory.mktemp("night") / "out"
    return output, mill(job(output, scan))


def test_dataset_is_milled_and_whole(milled):
    output, night = milled
    assert [row["status"] for row in night["datasets"]] == ["ok"]
    assert verify_result(output)["status"] == "ok"
    assert (output / "small" / "report.html").stat().st_size > 10_000
    assert json.loads((output / "night.json").read_text())


def test_results_open_with_axes_and_units(milled):
    output, _ = milled
    with xr.open_zarr(output / "small" / "results.zarr", chunks=None) as found:
        assert found.sizes["y"] == found.sizes["x"] == 40
        np.testing.assert_allclose(found.y[1] - found.y[0], 0.3)
        assert found.ssb_phase.attrs["units"] == "rad"
        assert np.isfinite(found.ssb_phase).all()
        assert int(found.com_y.isnull().sum()) == 4
        assert found.attrs["dose"]["frames_missing"] == 3
        assert found.attrs["dose"]["frames_partial"] == 1
        calibration = found.attrs["calibration"]
    assert calibration["voltage_kv"]["origin"] == "given"
    assert calibration["scan_rotation_deg"]["origin"] == "fitted"


def test_virtual_images_count_every_electron(milled, scan):
    output, _ = milled
    with xr.open_zarr(output / "small" / "results.zarr", chunks=None) as found:
        total = float(found.electrons.sum())
        assert total == found.attrs["dose"]["electrons_total"]
        disk = float(found.virtual_bf.sum())
        assert 0.9 * total < disk < total


def test_tiff_has_the_step_as_its_pixel(milled):
    output, _ = milled
    with tifffile.TiffFile(output / "small" / "images" / "ssb_phase.tif") as file:
        pixels, length = file.pages[0].tags["XResolution"].value
        np.testing.assert_allclose(length / pixels, 0.3, rtol=1e-6)


def test_known_calibration_gives_an_image_of_the_truth(milled, scan, tmp_path):
    aberrations = SMALL.aberrations.nonzero()
    keys = {"aberrations": aberrations, "scan_rotation_deg": np.rad2deg(SMALL.rotation)}
    mill(job(tmp_path / "out", scan, **keys))
    truth = np.load(scan.with_name("small_truth.npz"))["phase"]
    path = tmp_path / "out" / "small" / "results.zarr"
    with xr.open_zarr(path, chunks=None) as found:
        image = found.wpo_wiener_phase.values
    inner = (slice(4, -4), slice(4, -4))
    assert np.corrcoef(image[inner].ravel(), truth[inner].ravel())[0, 1] > 0.8


def test_finished_job_is_left_as_it_is(milled, scan):
    output, _ = milled
    before = verify_result(output)["digests"]
    night = mill(job(output, scan))
    assert night["datasets"][0]["status"] == "unchanged"
    assert verify_result(output)["digests"] == before


def test_same_job_gives_the_same_bytes(milled, scan, tmp_path):
    output, _ = milled
    mill(job(tmp_path / "again", scan))
    report = verify_result(tmp_path / "again", against=output)
    assert report["status"] == "ok", report["lines"]
    assert any("same bytes" in line for line in report["lines"])


def test_damaged_result_is_named_and_made_anew(milled, scan, tmp_path):
    shutil.copytree(milled[0], tmp_path / "out")
    chunk = next((tmp_path / "out" / "small" / "results.zarr" / "ssb_phase").rglob("c/*/*"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    report = verify_result(tmp_path / "out")
    assert report["code"] == 1
    assert "ssb_phase" in report["lines"][0]
    assert mill(job(tmp_path / "out", scan))["datasets"][0]["status"] == "ok"
    assert verify_result(tmp_path / "out")["status"] == "ok"


def test_forced_step_is_redone_with_what_follows(milled, scan, tmp_path):
    shutil.copytree(milled[0], tmp_path / "out")
    mill(job(tmp_path / "out", scan), ["dpc"])
    steps = json.loads((tmp_path / "out" / "small" / "provenance.json").read_text())["steps"]
    reused = {step["name"]: step["reused"] for step in steps}
    assert reused == {
        "ingest": True, "disk": True, "reduce": True, "calibrate": True, "dpc": False, "ssb": False,
        "frc": False,
    }  # fmt: skip


def test_bad_files_fail_alone_and_say_why(scan, tmp_path):
    cut = tmp_path / "cut.h5"
    cut.write_bytes(scan.read_bytes()[:20_000])
    text = tmp_path / "text.h5"
    text.write_text("not a recording")
    (tmp_path / "empty.h5").touch()
    paths = [cut, scan, text, tmp_path / "empty.h5"]
    night = mill(job(tmp_path / "out", *paths))
    rows = {row["name"]: row for row in night["datasets"]}
    assert {name: row["status"] for name, row in rows.items()} == {
        "cut": "failed", "small": "ok", "text": "failed", "empty": "failed",
    }  # fmt: skip
    for name, row in rows.items():
        if row["status"] == "failed":
            assert f"{name}.h5" in row["reason"]
            assert not (tmp_path / "out" / name).exists()


def test_two_nights_do_not_write_to_one_output(tmp_path):
    with (
        locked_output(tmp_path),
        pytest.raises(NightError, match="another night"),
        locked_output(tmp_path),
    ):
        raise AssertionError("both hold the lock")


def test_unknown_step_to_force_is_refused(scan, tmp_path):
    with pytest.raises(NightError, match="no such step"):
        mill(job(tmp_path / "out", scan), ["sbb"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_real_particles_are_calibrated_from_their_data_alone(shared_data, tmp_path):
    path = shared_data / "rotavirus" / "rotavirus_events.h5"
    keys = {"voltage_kv": 300, "semiangle_mrad": 1.03, "scan_step_angstrom": 31.25}
    mill(job(tmp_path / "out", path, **keys))
    results = tmp_path / "out" / "rotavirus_events" / "results.zarr"
    with xr.open_zarr(results, chunks=None) as found:
        calibration = found.attrs["calibration"]
        phase = found.ssb_wiener_phase.values
    assert np.hypot(*np.subtract(calibration["center_px"]["value"], (125.95, 127.78))) < 0.71
    assert abs(calibration["semiangle_px"]["value"] - 60.4) < 1
    assert calibration["flip"]["value"] is False
    assert abs(calibration["scan_rotation_deg"]["value"] - 120.3) < 4
    assert abs(calibration["aberrations"]["C10"]["value"] + 132_000) < 9_000
    assert ((phase - phase.mean()) ** 3).mean() > 0  # beads and particles are bright
