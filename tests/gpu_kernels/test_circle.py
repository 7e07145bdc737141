"""A circle tells a disk's pixels from all others, and the moments inside it are exact."""

import numpy as np
import pytest

from gpu_kernels.circle import circle_of, moments_in_circle
from gpu_kernels.pixel_plan import annular_masks, plan_pixels
from gpu_kernels.reduction import reduce_events


def disk(shape, center, radius):
    return annular_masks(shape, center, [(0.0, radius)])[0]


@pytest.mark.parametrize("seed", range(12))
def test_moments_inside_a_circle_are_those_of_its_mask(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(40, 600, size=2))
    center = rng.uniform(0, shape)
    mask = disk(shape, center, rng.uniform(3, 160))
    circle = circle_of(mask)
    assert circle is not None
    events = rng.integers(mask.size, size=70_000).astype(np.uint32)
    found = np.zeros((1, 3), np.int64)

    moments_in_circle(events, shape[1], circle, found, 0)

    inside = events[mask.ravel()[events]]
    rows, cols = np.divmod(inside.astype(np.int64), shape[1])
    assert found[0].tolist() == [inside.size, rows.sum(), cols.sum()]


def test_each_pixel_of_a_large_detector_falls_on_its_side():
    mask = disk((1024, 1024), (511.3, 517.8), 99.6)
    events = np.arange(mask.size, dtype=np.uint32)
    found = reduce_events(
        np.arange(events.size + 1), events, plan_pixels(mask.shape, com_mask=mask), frame_sum=False
    )
    np.testing.assert_array_equal(found.com_electrons, mask.ravel())
    np.testing.assert_array_equal(
        found.com_sums.T, np.array(np.divmod(events, 1024)) * mask.ravel()
    )


def test_what_is_no_circle_is_looked_up():
    ring = annular_masks((60, 70), (30, 30), [(10.0, 20.0)])[0]
    dead = disk((60, 70), (30, 30), 20)
    dead[30, 31] = False
    square = np.zeros((60, 70), bool)
    square[10:40, 10:40] = True
    for mask in (ring, dead, square, np.zeros((5, 5), bool), np.ones((5, 5), bool)):
        assert circle_of(mask) is None
        events = np.arange(mask.size, dtype=np.uint32)
        plan = plan_pixels(mask.shape, com_mask=mask)
        found = reduce_events(np.array([0, events.size]), events, plan, frame_sum=False)
        rows, cols = np.nonzero(mask)
        assert found.com_electrons.tolist() == [rows.size]
        assert found.com_sums.tolist() == [[rows.sum(), cols.sum()]]


def test_a_disk_too_large_for_single_precision_is_looked_up():
    assert circle_of(disk((1448, 1449), (700, 700), 100.5)) is None
