"""Real particles: the calibration comes from the data alone, and a wrong one fails visibly."""

import numpy as np
import pytest
import scipy.fft
import xarray as xr
from rich.console import Console
from scipy.ndimage import gaussian_filter

from flows.job import read_job
from flows.overnight import run_night

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WRONG = {
    "no_defocus": "scan_rotation_deg: 119.8, flip: false, aberrations: {C10: 0}",
    "other_sign": "scan_rotation_deg: 119.8, flip: false, aberrations: {C10: 128400}",
    "mirrored": "scan_rotation_deg: -119.8, flip: true, aberrations: {C10: -128400}",
}


@pytest.fixture(scope="module")
def results(shared_data, tmp_path_factory):
    """Results of the recording at the fitted calibration and at three wrong ones."""
    folder = tmp_path_factory.mktemp("rotavirus")
    wrong = "".join(f"  - {{name: {name}, {keys}}}\n" for name, keys in WRONG.items())
    (folder / "job.yaml").write_text(
        f"output: {folder / 'out'}\ncluster: threads\ndefaults:\n"
        f"  path: {shared_data / 'rotavirus' / 'rotavirus_events.h5'}\n"
        "  voltage_kv: 300\n  semiangle_mrad: 1.03\n  scan_step_angstrom: 31.25\n"
        f"datasets:\n  - name: fitted\n{wrong}"
    )
    run_night(read_job(folder / "job.yaml"), [], False, Console(quiet=True), True)
    return {
        name: xr.open_zarr(folder / "out" / name / "results.zarr", chunks=None)
        for name in ("fitted", *WRONG)
    }


def band(image):
    """The part between 0.03 and 0.25 periods a scan step, where particles and beads are."""
    spectrum = scipy.fft.rfft2(image - image.mean())
    q = np.hypot(scipy.fft.fftfreq(len(image))[:, None], scipy.fft.rfftfreq(image.shape[1]))
    return scipy.fft.irfft2(np.where((q > 0.03) & (q < 0.25), spectrum, 0), s=image.shape)


def skewness(image):
    return ((image - image.mean()) ** 3).mean() / image.std() ** 3


def test_calibration_agrees_with_what_is_known_of_the_microscope(results):
    fitted = results["fitted"].attrs["calibration"]
    np.testing.assert_allclose(fitted["center_px"]["value"], (125.95, 127.78), atol=0.5)
    assert fitted["semiangle_px"]["value"] == pytest.approx(60.4, abs=1)
    assert fitted["flip"]["value"] is False
    assert fitted["scan_rotation_deg"]["value"] == pytest.approx(120.3, abs=4)
    assert fitted["aberrations"]["C10"]["value"] == pytest.approx(-132_000, abs=9_000)
    assert {fitted[key]["origin"] for key in ("center_px", "scan_rotation_deg")} == {"fitted"}
    assert {flag["level"] for flag in results["fitted"].attrs["quality"]} == {"ok"}


def test_beads_and_particles_are_bright_at_the_fitted_calibration_only(results):
    right = skewness(band(results["fitted"].wpo_wiener_phase.values))
    assert right > 0.25
    for name in WRONG:
        assert skewness(band(results[name].wpo_wiener_phase.values)) < 0.3 * right, name


def test_both_estimates_show_the_same_particles_at_the_fitted_calibration_only(results):
    seen = band(results["fitted"].wpo_wiener_phase.values).ravel()
    single = {name: band(found.ssb_phase.values).ravel() for name, found in results.items()}
    assert np.corrcoef(seen, single.pop("fitted"))[0, 1] > 0.8
    for name, wrong in single.items():
        assert np.corrcoef(seen, wrong)[0, 1] < 0.5, name


def test_wrong_calibrations_have_little_signal(results):
    right = band(results["fitted"].wpo_wiener_phase.values).std()
    for name in WRONG:
        assert band(results[name].wpo_wiener_phase.values).std() < 0.5 * right, name


def test_iterative_reconstruction_explains_the_patterns_better_in_every_round(
    shared_data, tmp_path
):
    (tmp_path / "job.yaml").write_text(
        f"output: {tmp_path / 'out'}\ncluster: threads\ndatasets:\n"
        f"  - path: {shared_data / 'rotavirus' / 'rotavirus_events.h5'}\n"
        "    name: part\n    voltage_kv: 300\n    semiangle_mrad: 1.03\n"
        "    scan_step_angstrom: 31.25\n    steps: [epie]\n"
        "    epie: {window: [60, 110, 30, 80], iterations: 40}\n"
    )
    run_night(read_job(tmp_path / "job.yaml"), [], False, Console(quiet=True), True)
    found = xr.open_zarr(tmp_path / "out" / "part" / "results.zarr", chunks=None)
    residual = found.epie_residual.values
    assert (np.diff(residual) < 0).all()
    assert residual[-1] < 1.02 * found.epie_residual.attrs["noise"]
    assert skewness(gaussian_filter(found.epie_phase.values, 2.0)) > 0.1  # beads are bright
