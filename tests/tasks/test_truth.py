"""A comparison with the truth gives the numbers that its definition gives."""

from dataclasses import replace
from math import pi, radians, sqrt

import numpy as np
import pytest
import xarray as xr

from models.aberrations import Aberrations
from tasks.simulate import simulate, truth_path
from tasks.simulation import small_simulation
from tasks.truth import TruthError, compare, match_of

LAM, ALPHA = 0.0417572, 0.025
LENS = Aberrations(C10=55.0, C12=22.0, phi12=0.61, C21=700.0, phi21=-1.05)
SETTINGS = small_simulation(
    scan_shape=(8, 6), electrons=20.0, rotation=radians(-9), aberrations=LENS, lost_sectors=0
)
STEP, BAND = (0.2, 0.25), 1.0


def images():
    """A true phase, and one of the same shape that has nothing to do with it."""
    return np.random.default_rng(3).normal(size=(2, 120, 130))


def beyond_the_band(shape):
    return 3 * np.cos(2 * np.pi * 2.0 * STEP[0] * np.arange(shape[0]))[:, None] * np.ones(shape[1])


def test_scale_offset_and_what_lies_beyond_the_band_do_not_spoil_the_match():
    true, _ = images()
    image = 0.9 * true + 5.0 + beyond_the_band(true.shape)
    match = match_of("ssb_phase", image, true, STEP, BAND)
    assert match.correlation == pytest.approx(1, abs=1e-6)
    assert match.scale == pytest.approx(0.9, abs=1e-6)


def test_reversed_contrast_is_minus_one_and_another_image_near_zero():
    true, other = images()
    assert match_of("a", -true, true, STEP, BAND).correlation == pytest.approx(-1)
    assert abs(match_of("a", other, true, STEP, BAND).correlation) < 0.1
    assert match_of("a", np.zeros_like(true), true, STEP, BAND).correlation == 0


def test_positions_without_a_value_count_as_the_mean():
    true, _ = images()
    image = true.copy()
    image[50, 60] = np.nan
    assert match_of("a", image, true, STEP, BAND).correlation > 0.99


def entry(value, uncertainty=0.1):
    return {"value": value, "origin": "fitted", "uncertainty": uncertainty, "unit": ""}


def results(folder, lens, shape=(8, 6), turn=-9.0):
    """A dataset's folder with a calibration and one phase."""
    xr.Dataset(
        {"ssb_phase": (("y", "x"), np.random.default_rng(0).normal(size=shape))},
        attrs={
            "calibration": {
                "center_px": entry([15.1, 16.2], [0.01, 0.02]),
                "semiangle_px": entry(8.02),
                "scan_rotation_deg": entry(turn),
                "flip": entry(False, None),
                "aberrations": {name: entry(value) for name, value in lens.items()},
            }
        },
    ).to_zarr(folder / "results.zarr", zarr_format=3, consolidated=False)
    return folder


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "scan.h5"
    simulate(SETTINGS, path)
    return truth_path(path)


def test_truth_stands_beside_what_was_found_with_angles_in_the_same_period(tmp_path, truth):
    lens = {"C10": 54.0, "C12": 22.5, "phi12": 0.60 - pi, "C23": 40.0, "phi23": 0.1}
    found = compare(results(tmp_path, lens, turn=352.0), truth)
    rows = {row.name: row for row in found.quantities}
    assert (rows["disk centre, row"].truth, rows["disk centre, row"].fitted) == (15.2, 15.1)
    assert rows["disk centre, column"].uncertainty == 0.02
    assert rows["scan rotation"].truth == pytest.approx(-9)
    assert rows["scan rotation"].fitted == pytest.approx(-8)
    assert rows["mirror"].fitted is False
    assert rows["phi12"].fitted == pytest.approx(0.60)
    assert rows["C21"].fitted is None
    assert (rows["C23"].truth, rows["C23"].fitted) == (0, 40)
    assert [image.name for image in found.images] == ["ssb_phase"]
    assert found.as_json()["quantities"][0]["unit"] == "px"


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, 0.0),
        # π d θ²/λ over a disk, less its mean: θ²/α² is uniform from 0 to 1.
        ({"C10": 50.0}, pi * 5.0 * ALPHA**2 / LAM / sqrt(12)),
        # Coma less the tilt that fits it best, ρ³ − 2ρ/3: 1/√72 of its value at the edge.
        ({"C21": 400.0}, 2 * pi / LAM * 300 * ALPHA**3 / 3 / sqrt(72)),
    ],
)
def test_wavefront_is_what_optics_says_is_left(tmp_path, truth, changes, left):
    lens = replace(LENS, **changes).nonzero()
    found = compare(results(tmp_path, lens), truth)
    assert found.wavefront == pytest.approx(left, rel=0.03, abs=1e-9)


def test_results_of_another_recording_are_refused(tmp_path, truth):
    with pytest.raises(TruthError, match=r"images of \(8, 7\) pixels.*has \(8, 6\).*drop_flyback"):
        compare(results(tmp_path, {}, shape=(8, 7)), truth)
