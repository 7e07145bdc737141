"""Iterative ptychography of a simulated scan, from the job to the report."""

import json

import numpy as np
import pytest
import tifffile
import xarray as xr
from rich.console import Console
from scipy.ndimage import gaussian_filter

from flows.job import check_job
from flows.overnight import run_night
from flows.verify import verify_result
from tasks.simulate import simulate, specimen_of
from tasks.simulation import small_simulation

SCAN = small_simulation(scan_shape=(36, 36), electrons=4000.0, flip=True, rotation=0.5)
GIVEN = {
    "voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4, "flip": True,
    "scan_rotation_deg": float(np.rad2deg(0.5)), "aberrations": SCAN.aberrations.nonzero(),
    "center_px": list(SCAN.center), "semiangle_px": SCAN.radius, "steps": ["epie"],
    "vacuum": {"window": [0, 36, 0, 36]},
}  # fmt: skip

BLUR = 0.5
"""Å."""


def mill(folder, scan, **epie):
    probe = {"probe": epie.pop("probe")} if "probe" in epie else {}
    dataset = {"path": str(scan)} | GIVEN | probe | {"epie": {"iterations": 12} | epie}
    job = {"output": str(folder / "out"), "cluster": "threads", "datasets": [dataset]}
    night = run_night(check_job(job, "job", folder), [], False, Console(quiet=True), True)
    return night["datasets"][0]


def results(folder):
    return xr.open_zarr(folder / "out" / "small" / "results.zarr", chunks=None)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "small.h5"
    simulate(SCAN, path)
    return path


@pytest.fixture(scope="module")
def milled(scan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    assert mill(folder, scan)["status"] == "ok"
    return folder


def against_truth(found):
    """Correlation with the truth, and slope, of the phase within the scan, on its own grid.

    Both are blurred to what the aperture carries well; the truth on a finer grid, for its atoms are
    smaller than a pixel.
    """
    step, fine = float(found.y_obj[1] - found.y_obj[0]), 4
    origin = float(found.y_obj[0]), float(found.x_obj[0])
    shape = tuple(fine * n for n in found.epie_phase.shape)
    truth = specimen_of(SCAN).phase(shape, (step / fine, step / fine), origin)
    truth = gaussian_filter(truth, BLUR * fine / step)[::fine, ::fine]
    image = gaussian_filter(found.epie_phase.values.astype(float), BLUR / step)
    inner = (slice(4, -4), slice(4, -4))
    a, b = truth[inner] - truth[inner].mean(), image[inner] - image[inner].mean()
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()), (a * b).sum() / (a**2).sum()


def test_phase_is_that_of_the_specimen_along_the_axes_of_the_scan(milled):
    with results(milled) as found:
        correlation, slope = against_truth(found)
    assert correlation > 0.9
    assert slope == pytest.approx(1, abs=0.15)


def test_residual_falls_to_that_of_counting_noise(milled):
    with results(milled) as found:
        residual = found.epie_residual
        assert residual.sizes == {"epie_round": 12}
        assert residual.values[-1] < 0.95 * residual.values[0]
        assert residual.values[-1] < 1.05 * residual.attrs["noise"]


def test_object_and_probe_have_axes_and_units(milled):
    with results(milled) as found:
        assert found.epie_object.dtype == np.complex64
        np.testing.assert_allclose(found.epie_phase, np.angle(found.epie_object), atol=1e-6)
        assert found.epie_phase.attrs["units"] == "rad"
        pixel = float(found.x_obj[1] - found.x_obj[0])
        # 32 pixels of the detector, of which 8 are the radius of the disk.
        assert pixel == pytest.approx(SCAN.geometry.wavelength / 0.025 * 8 / 32, rel=1e-6)
        assert float(found.x_probe[16]) == 0
        power = (found.epie_probe_amplitude**2).values
        assert power.sum() == pytest.approx(SCAN.electrons, rel=0.03)
    with tifffile.TiffFile(milled / "out" / "small" / "images" / "epie_phase.tif") as file:
        pixels, length = file.pages[0].tags["XResolution"].value
        assert length / pixels == pytest.approx(pixel, rel=1e-6)


def test_report_shows_object_probe_and_error(milled):
    page = (milled / "out" / "small" / "report.html").read_text()
    for title in ("Iterative ptychography", "Probe, amplitude", "Probe, phase", "Residual of each"):
        assert title in page


def test_finished_reconstruction_is_reused_and_repeats_to_the_byte(milled, scan, tmp_path):
    assert mill(milled, scan)["status"] == "unchanged"
    mill(tmp_path, scan)
    assert verify_result(tmp_path / "out", against=milled / "out")["status"] == "ok"


def test_probe_that_was_found_and_measured_positions_can_be_given(milled, scan, tmp_path):
    with results(milled) as found:
        np.save(tmp_path / "probe.npy", found.epie_probe.values)
        before = found.epie_residual.values[0]
    places = np.stack(np.indices(SCAN.scan_shape), axis=-1) * 0.4
    np.save(tmp_path / "positions.npy", places)
    files = {"probe": str(tmp_path / "probe.npy"), "positions": str(tmp_path / "positions.npy")}
    assert mill(tmp_path, scan, **files)["status"] == "ok"
    with results(tmp_path) as found:
        assert found.epie_residual.values[0] < before
        assert against_truth(found)[0] > 0.9
    shown = json.loads((tmp_path / "out" / "small" / "provenance.json").read_text())
    (step,) = (step for step in shown["steps"] if step["name"] == "epie")
    assert step["parameters"]["probe"]["file"] == "probe.npy"


def test_a_given_probe_says_how_many_pixels_a_pattern_has(milled, scan, tmp_path):
    with results(milled) as found:
        probe = found.epie_probe.values
    wave = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe)))
    wide = np.pad(wave, 24 - len(probe) // 2)
    finer = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(wide)))
    np.save(tmp_path / "probe.npy", finer)
    assert mill(tmp_path, scan, probe=str(tmp_path / "probe.npy"))["status"] == "ok"
    with results(tmp_path) as found:
        assert found.epie_probe.shape == (48, 48) != probe.shape
        assert against_truth(found)[0] > 0.9


def test_part_of_the_scan_with_the_measured_aperture(scan, tmp_path):
    epie = {"window": [4, 30, 6, 32], "iterations": 6, "probe_step": 0}
    assert mill(tmp_path, scan, probe="vacuum", **epie)["status"] == "ok"
    with results(tmp_path) as found:
        assert float(found.y_obj[0]) == pytest.approx(4 * 0.4)
        assert float(found.x_obj[-1]) <= 31 * 0.4
        assert against_truth(found)[0] > 0.8


@pytest.mark.parametrize(
    ("epie", "reason"),
    [
        ({"window": [0, 37, 0, 5]}, "reaches beyond the scan of 36 x 36"),
        ({"side": 16, "probe": "probe.npy"}, "the file holds 32 x 32 pixels, patterns have 16"),
        ({"positions": "positions.npy"}, "positions of 5 x 5, the scan has 36 x 36"),
    ],
    ids=["window", "probe", "positions"],
)
def test_what_does_not_fit_the_recording_fails_with_a_reason(scan, tmp_path, epie, reason):
    np.save(tmp_path / "probe.npy", np.ones((32, 32), complex))
    np.save(tmp_path / "positions.npy", np.zeros((5, 5, 2)))
    row = mill(tmp_path, scan, **epie)
    assert row["status"] == "failed"
    assert reason in row["reason"]
    assert not (tmp_path / "out" / "small").exists()
