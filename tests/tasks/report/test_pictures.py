import io
import struct

import numpy as np
import pytest
from PIL import Image

from tasks.report import pictures
from tasks.report.pictures import picture


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def chunks(png: bytes) -> list[bytes]:
    names, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        names.append(png[at + 4 : at + 8])
        at += 12 + length
    return names


def test_small_image_is_enlarged_pixel_by_pixel():
    drawn = picture(np.arange(16.0).reshape(4, 4), percentiles=(0, 100))
    shown = pixels(drawn.png)
    assert shown.shape[:2] == drawn.shape == (480, 480)
    corners = shown[60::120, 60::120, 0].astype(int)
    np.testing.assert_allclose(corners, np.arange(16).reshape(4, 4) / 15 * 255, atol=2)


def test_large_image_shows_means_of_squares():
    values = np.random.default_rng(0).normal(size=(1000, 1400))
    small, binned = pictures.shrink(values, 700)
    assert binned == 2
    np.testing.assert_allclose(small, values.reshape(500, 2, 700, 2).mean(axis=(1, 3)))
    assert picture(values, limit=700).shape == (500, 700)


def test_means_leave_out_what_is_missing():
    values = np.full((3, 4), np.nan)
    values[0, 0], values[2, 3] = 2.0, 6.0
    small, _ = pictures.shrink(values, 2)
    np.testing.assert_array_equal(small, [[2.0, np.nan], [np.nan, 6.0]])


def test_a_line_scan_keeps_its_columns():
    small, _ = pictures.shrink(np.random.default_rng(0).normal(size=(4000, 3)), 1000)
    assert small.shape == (1000, 3)
    assert picture(np.arange(4000.0)[:, None]).shape == (1000, 200)


def test_missing_values_are_hatched_in_colours_that_no_value_has():
    values = np.random.default_rng(0).normal(size=(60, 60))
    values[10:20, 30:50] = np.nan
    values[40, 40] = np.inf
    drawn = picture(values, "gray")
    shown = pixels(drawn.png)
    coloured = np.ptp(shown.astype(int), axis=2) > 0
    gap = np.repeat(np.repeat(~np.isfinite(values), 8, axis=0), 8, axis=1)
    np.testing.assert_array_equal(coloured, gap)
    assert {tuple(c) for c in shown[gap]} == set(pictures.HATCH_COLOURS)
    assert drawn.missing == 201


def test_colours_span_the_percentiles_and_the_picture_says_so():
    values = np.arange(10_001.0).reshape(73, 137)
    drawn = picture(values, percentiles=(1, 99))
    assert (drawn.low, drawn.high) == pytest.approx((100, 9900))
    assert (drawn.least, drawn.greatest) == (0, 10_000)
    assert pixels(drawn.png).min() == 0
    assert pixels(drawn.png).max() == 255


def test_a_few_hot_pixels_on_a_constant_are_seen():
    values = np.zeros((64, 64))
    values[3, 3] = 7
    drawn = picture(values)
    assert (drawn.low, drawn.high) == (0, 7)


@pytest.mark.parametrize("value", [0.0, -3.5, np.nan])
@pytest.mark.parametrize("log", [False, True])
def test_constant_and_empty_images_are_one_flat_picture(value, log):
    drawn = picture(np.full((5, 5), value), log=log)
    assert drawn.low == drawn.high
    assert len(np.unique(pixels(drawn.png).reshape(-1, 3), axis=0)) == (2 if np.isnan(value) else 1)


def test_logarithm_gives_equal_steps_to_equal_factors():
    shown = pixels(picture(np.array([[0.0, 1, 10, 100]]), log=True, percentiles=(0, 100)).png)
    middle = shown[0, shown.shape[1] // 8 :: shown.shape[1] // 4, 0].astype(int)
    assert middle[0] == middle[1] == 0
    np.testing.assert_allclose(middle[1:], [0, 127.5, 255], atol=2)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
def test_every_kind_of_number_is_drawn(kind):
    assert picture(np.eye(6, dtype=kind)).greatest == 1


def test_png_holds_nothing_but_the_pixels_and_repeats_to_the_byte():
    values = np.random.default_rng(0).normal(size=(40, 50))
    png = picture(values, "cividis").png
    assert png == picture(values.copy(), "cividis").png
    assert set(chunks(png)) == {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
