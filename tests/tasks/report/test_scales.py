import numpy as np
import pytest
import xarray as xr

from tasks.report import scales


def image(shape, **coords):
    dims = ("y", "x")
    return xr.DataArray(
        np.zeros(shape), dims=dims, coords={d: (d, *v) for d, v in coords.items()}
    )  # fmt: skip


def test_pixel_size_is_the_distance_of_coordinates():
    grid = scales.grid_of(
        image((3, 5), y=(np.arange(3) * 0.5,), x=(np.arange(5) * 0.25, {"units": "angstrom"}))
    )
    assert grid == scales.Grid((0.5, 0.25), "Å")


def test_origin_is_the_pixel_of_coordinate_zero():
    coords = {"ky": ("ky", (np.arange(4) - 1.5) * 0.1), "kx": ("kx", (np.arange(4) - 2) * 0.1)}
    grid = scales.grid_of(xr.DataArray(np.zeros((4, 4)), dims=("ky", "kx"), coords=coords))
    assert grid.unit == "1/Å"
    np.testing.assert_allclose(grid.origin, (1.5, 2.0))


@pytest.mark.parametrize("shape", [(1, 6), (6, 1)])
def test_axis_of_one_pixel_takes_the_step_of_the_other(shape):
    coords = {d: (np.arange(n) * 2.0,) for d, n in zip("yx", shape, strict=True)}
    assert scales.grid_of(image(shape, **coords)).step == (2.0, 2.0)


@pytest.mark.parametrize("values", [None, [0, 0, 0], [0, np.nan, np.nan], [3, 2, 1]])
def test_without_usable_coordinates_the_unit_is_px(values):
    coords = {} if values is None else {"y": (values,), "x": (values,)}
    assert scales.grid_of(image((3, 3), **coords)) == scales.Grid((1.0, 1.0), "px")


@pytest.mark.parametrize(
    ("width", "unit", "length", "label"),
    [
        (12.0, "Å", 2.0, "2 Å"),
        (64.0, "Å", 10.0, "1 nm"),
        (3968.75, "Å", 1000.0, "100 nm"),
        (99_000.0, "Å", 20_000.0, "2 µm"),
        (2.5, "1/Å", 0.5, "0.5 Å⁻¹"),
        (512, "px", 100, "100 px"),
    ],
)
def test_scale_bar_is_the_longest_round_length_within_its_share(width, unit, length, label):
    bar = scales.scale_bar(width, unit)
    assert bar.label == label
    assert bar.fraction == pytest.approx(length / width)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        (float("nan"), "—"),
        (float("-inf"), "−∞"),
        (True, "yes"),
        (0.0, "0"),
        (-131.72, "−131.7"),
        (45_992_317, "45 992 317"),
        (np.float32(0.25), "0.25"),
        (31971.6, "31 972"),
        (1.5e-5, "1.5 × 10⁻⁵"),
        (-2e12, "−2 × 10¹²"),
        (np.int64(7), "7"),
        ([0.3, 0.25], "0.3, 0.25"),
        ("<b>", "<b>"),
    ],
)
def test_numbers_read_as_people_write_them(value, text):
    assert scales.number(value).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("value", "uncertainty", "text"),
    [
        (-13160.24, 31.4, "−13 160 ± 31"),
        (60.4123, 0.0523, "60.412 ± 0.052"),
        (131_234.0, 920.0, "131 230 ± 920"),
        ([1.234, 2.0], [0.1, 0.2], "1.23 ± 0.10, 2.00 ± 0.20"),
        (25.0, None, "25"),
        (25.0, 0.0, "25"),
        (False, 0.1, "no"),
    ],
)
def test_value_has_the_decimals_of_its_uncertainty(value, uncertainty, text):
    assert scales.with_uncertainty(value, uncertainty).replace("\u202f", " ") == text


def test_ticks_are_round_and_inside():
    assert scales.round_ticks(0, 2) == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert scales.round_ticks(-0.13, 0.31) == pytest.approx([-0.1, 0, 0.1, 0.2, 0.3])
    assert scales.round_ticks(5, 5) == [5]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.313, "0.313 s"), (99.0, "99 s"), (600, "10 min"), (9000, "2 h 30 min")]
)
def test_durations_choose_their_unit(seconds, text):
    assert scales.seconds_label(seconds) == text
