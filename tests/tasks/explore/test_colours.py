"""Pictures show what the arrays hold."""

import numpy as np
import pytest

from tasks.explore.colours import (
    LARGEST,
    complex_colours,
    for_display,
    shown_range,
    spectrum_picture,
    tiled,
)


@pytest.mark.parametrize("shape", [(8, 6), (7, 9), (6, 7)])
def test_spectrum_is_that_of_the_whole_plane(shape):
    image = np.random.default_rng(0).normal(size=shape)
    found = spectrum_picture(np.fft.rfft2(image), shape[1])
    expected = np.log10(np.abs(np.fft.fftshift(np.fft.fft2(image))))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_phase_is_hue_and_modulus_brightness():
    pixels = complex_colours(np.array([[1, -1, 0, np.nan]])).view(np.uint8).reshape(4, 4)
    yellow, blue, black, nothing = pixels.astype(int)
    assert yellow[0] > yellow[2] + 60
    assert blue[2] > blue[0] + 60
    assert black[:3].max() < 40
    assert nothing[3] == 0
    assert yellow[3] == blue[3] == black[3] == 255


def test_tiles_stand_in_reading_order():
    tiles = np.arange(4)[:, None, None] * np.ones((4, 2, 2))
    np.testing.assert_array_equal(tiled(tiles)[::2, ::2], [[0, 1, 2], [3, np.nan, np.nan]])


def test_large_images_are_averaged_for_the_screen():
    image = np.random.default_rng(1).normal(size=(LARGEST + 8, 16))
    found = for_display(image)
    assert max(found.shape) <= LARGEST
    assert found.dtype == np.float32
    assert found.mean() == pytest.approx(image.mean(), abs=1e-6)


def test_averages_are_those_of_whole_squares():
    image = np.arange(64.0).reshape(8, 8)
    np.testing.assert_array_equal(
        for_display(image, limit=4)[0, :2], [image[:2, :2].mean(), image[:2, 2:4].mean()]
    )


def test_a_flat_image_has_a_range():
    low, high = shown_range(np.full((4, 4), 3.0))
    assert low < 3 < high
    assert shown_range(np.full((4, 4), np.nan)) == (0, 1)
