import numpy as np
import pytest

from tasks.report.vectors import colour_wheel, vector_colours, vector_picture


def luminance(rgb):
    linear = (np.asarray(rgb, dtype=float) / 255) ** 2.2
    return linear @ [0.2126, 0.7152, 0.0722]


def colour(down, right):
    return vector_colours(np.array([[down]]), np.array([[right]]))[0, 0].astype(int)


def test_up_is_lighter_than_down_for_readers_without_colours():
    assert luminance(colour(-1, 0)) > 3 * luminance(colour(1, 0))


def test_right_is_yellow_and_left_is_blue():
    right, left = colour(0, 1), colour(0, -1)
    assert min(right[:2]) > right[2] + 60
    assert left[2] > max(left[:2]) + 20


def test_no_deflection_is_nearly_black():
    assert luminance(colour(0, 0)) < 0.02


def test_vectors_beyond_the_rim_keep_their_direction_only():
    np.testing.assert_array_equal(colour(3.0, -4.0), colour(0.6, -0.8))


def test_mean_is_taken_away_and_told():
    rng = np.random.default_rng(0)
    down, right = rng.normal(size=(2, 30, 30)) * 1e-3
    moved, mean = vector_picture(down + 5, right - 3)
    still, _ = vector_picture(down - down.mean(), right - right.mean())
    assert mean == pytest.approx((5, -3), abs=1e-3)
    assert moved.high == pytest.approx(still.high)


def test_a_gap_in_one_component_is_a_gap():
    down, right = np.ones((2, 4, 4))
    right[1, 2] = np.nan
    assert vector_picture(down, right)[0].missing == 1
    assert vector_picture(down * np.nan, right)[0].missing == 16


def test_wheel_repeats_to_the_byte():
    first = colour_wheel()
    colour_wheel.cache_clear()
    assert colour_wheel() == first
