"""Masks, rings and windows on the detector lie where their definition says."""

import numpy as np
import pytest

from gpu_kernels.pixel_plan import annular_masks, plan_pixels, radial_bins, window_bins


def test_annulus_takes_its_inner_edge_and_leaves_its_outer():
    (mask,) = annular_masks((1, 6), (0, 0), [(1, 3)])
    np.testing.assert_array_equal(mask, [[False, True, True, False, False, False]])


def test_adjacent_annuli_share_no_pixel_and_miss_none():
    masks = annular_masks((40, 30), (18.3, 14.9), [(0, 5), (5, 11.5), (11.5, 99)])
    np.testing.assert_array_equal(masks.sum(axis=0), 1)


def test_pixels_beyond_the_last_ring_fall_into_the_overflow():
    rings = radial_bins((9, 9), (4, 4), 1.0, 3)
    assert rings[4, 4] == 0
    assert rings[4, 6] == 2
    assert (rings[0] == 3).all()


@pytest.mark.parametrize("bin", [1, 2, 3, 4])
@pytest.mark.parametrize("bins", [5, 6, (4, 7)])
def test_window_lies_around_the_centre_to_half_a_pixel(bin, bins):
    rows, cols = (bins, bins) if isinstance(bins, int) else bins
    center = (31.3, 40.8)
    dense, origin = window_bins((64, 80), center, bin, bins)
    middle = [o + (bin * n - 1) / 2 for o, n in zip(origin, (rows, cols), strict=True)]
    assert np.abs(np.subtract(middle, center)).max() <= 0.5
    assert sorted(np.unique(dense)) == list(range(-1, rows * cols))
    assert (np.bincount(dense[dense >= 0]) == bin * bin).all()


def test_centre_of_a_bin_is_the_mean_of_its_pixels():
    dense, origin = window_bins((64, 64), (30.2, 33.9), 3, 8)
    y, x = np.nonzero(dense == 8 * 2 + 5)
    np.testing.assert_allclose(
        (y.mean(), x.mean()), [origin[0] + 3 * 2.5 - 0.5, origin[1] + 3 * 5.5 - 0.5]
    )


def test_window_over_the_edge_keeps_what_is_on_the_detector():
    dense, origin = window_bins((10, 10), (1, 1), 2, 4)
    assert origin[0] < 0
    assert (dense >= 0).sum() == (min(10, origin[0] + 8)) * (min(10, origin[1] + 8))


def test_shape_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"com_mask is \(3, 3\), the detector is 4 x 4"):
        plan_pixels((4, 4), com_mask=np.ones((3, 3), bool))
