"""Rings and bins that are computed are those of the tables, at every pixel."""

import numpy as np
import pytest

from gpu_kernels.computed_pixels import bin_rule, bins_of, ring_rule, rings_of
from gpu_kernels.pixel_plan import plan_pixels, radial_bins, window_bins
from gpu_kernels.reduction import EventRangeError, reduce_events


def computed(kernel, pixels, columns, rule):
    found = np.full(pixels.size, 9999, np.uint16)
    highest = kernel(pixels, columns, rule, found)
    return found, highest


@pytest.mark.parametrize("seed", range(12))
def test_rings_about_any_centre_are_those_of_the_table(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(40, 600, size=2))
    center, width = tuple(rng.uniform(-20, np.array(shape) + 20)), float(rng.choice([1, 2, 3, 0.5]))
    table = radial_bins(shape, center, width, 150).ravel()
    rule = ring_rule(table.astype(np.uint16), shape, (*center, width))
    assert rule is not None
    pixels = rng.integers(table.size, size=5000).astype(np.uint32)

    found, highest = computed(rings_of, pixels, shape[1], rule)

    np.testing.assert_array_equal(found, table[pixels])
    assert highest == pixels.max()


def test_pixels_on_the_edge_of_a_ring_are_in_the_outer_one():
    # 3, 4, 5: whole distances, where a ring begins.
    rule = ring_rule(radial_bins((41, 41), (20, 20), 5.0, 5).ravel(), (41, 41), (20, 20, 5.0))
    pixels = np.array([23 * 41 + 24, 20 * 41 + 30, 20 * 41 + 29], np.uint32)
    assert computed(rings_of, pixels, 41, rule)[0].tolist() == [1, 2, 1]


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
@pytest.mark.parametrize(
    ("center", "bin", "bins"),
    [
        ((31.2, 40.7), 9, 4),
        ((31.2, 40.7), 1, (7, 12)),
        ((3.0, 70.0), 5, (9, 6)),  # over two edges of the detector
        ((30.0, 40.0), 7, (1, 5)),
        ((30.0, 40.0), 60, 1),
        ((30.0, 40.0), 13, 40),  # more than the whole detector
    ],
)
def test_bins_of_a_window_are_those_of_the_table(center, bin, bins, dtype):
    shape, size = (61, 83), int(np.prod(bins if isinstance(bins, tuple) else (bins, bins)))
    table = window_bins(shape, center, bin, bins)[0].ravel()
    table = np.where(table < 0, size, table).astype(np.uint16)
    rule = bin_rule(table, shape, size)
    assert rule is not None
    pixels = np.random.default_rng(0).permutation(table.size).astype(dtype)
    found, highest = computed(bins_of, pixels, shape[1], rule)
    np.testing.assert_array_equal(found, table[pixels])
    assert highest == table.size - 1


def test_what_follows_no_rule_is_looked_up():
    shape, rng = (40, 50), np.random.default_rng(0)
    rings = radial_bins(shape, (20.3, 24.6), 1.0, 18)
    bins, _ = window_bins(shape, (20, 25), 4, 5)
    holed, uneven = bins.copy(), bins.copy()
    holed[20, 25] = -1  # a dead pixel
    uneven[:, 25:][uneven[:, 25:] > 0] = 24
    counts = rng.poisson(0.3, size=(9, *shape))
    flat = counts.reshape(9, -1)
    events = np.concatenate([np.repeat(np.arange(row.size), row) for row in flat])
    indptr = np.concatenate([[0], np.cumsum(flat.sum(axis=1))])
    mask = rng.random((1, *shape)) < 0.5
    other = rings.copy()
    other[3, 4] = 0
    for ring, masks, table, rules in (
        (rings, None, bins, (True, True)),
        (other, None, holed, (False, False)),
        (rings, mask, uneven, (False, False)),  # rings that a detector cuts in two
        (rng.permutation(rings.ravel()).reshape(shape), None, 24 - bins, (False, False)),
    ):
        table = np.where((table < 0) | (table > 24), -1, table)
        plan = plan_pixels(
            shape, masks=masks, radial_bin=ring, rings_about=(20.3, 24.6, 1.0),
            dense_bin=table, dense_size=25,
        )  # fmt: skip
        assert (plan.ring_rule is not None, plan.bin_rule is not None) == rules
        found = reduce_events(indptr, events.astype(np.uint32), plan, frame_sum=False)
        expected = [(counts * (ring == number)).sum(axis=(1, 2)) for number in range(19)]
        np.testing.assert_array_equal(found.radial.T, expected)
        expected = [(counts * (table == number)).sum(axis=(1, 2)) for number in range(25)]
        np.testing.assert_array_equal(found.dense, expected)
        assert found.dense_kept + found.dense_dropped == counts.sum()


def test_an_event_beyond_the_detector_is_named_where_all_is_computed():
    shape = (40, 50)
    plan = plan_pixels(
        shape,
        radial_bin=radial_bins(shape, (39.6, 24.6), 1.0, 18),
        rings_about=(39.6, 24.6, 1.0),  # at the edge, so that such an event may lie there
        dense_bin=window_bins(shape, (20, 25), 4, 5)[0],
        dense_size=25,
    )
    assert plan.ring_rule is not None
    assert plan.bin_rule is not None
    for beyond in (2000, 40 * 50 + 24, 2**31, 2**32 - 1):
        events = np.array([5, 1999, 7, beyond], np.uint32)
        with pytest.raises(EventRangeError, match=f"position 1: event 1 has index {beyond}"):
            reduce_events(np.array([0, 2, 4]), events, plan, frame_sum=False)


def test_long_and_short_frames_together_are_counted_like_one_by_one():
    shape, rng = (300, 310), np.random.default_rng(0)
    plan = plan_pixels(
        shape,
        radial_bin=radial_bins(shape, (151.2, 149.9), 1.0, 140),
        rings_about=(151.2, 149.9, 1.0),
        dense_bin=window_bins(shape, (150, 150), 9, 20)[0],
        dense_size=400,
    )
    assert plan.ring_rule is not None
    # More than fit any of the stretches, and none at all, and more than 16 bits count.
    lengths = np.array([40_000, 3, 0, 2047, 2048, 5, 70_000, *[300] * 150])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    events = rng.integers(plan.label.size, size=indptr[-1]).astype(np.uint32)

    found = reduce_events(indptr, events, plan)

    position = np.repeat(np.arange(lengths.size), lengths)
    for table, size, counted in (
        (plan.label, plan.ring_count, found.radial.T),
        (plan.dense_bin, 401, np.vstack([found.dense, np.zeros(lengths.size, np.uint16)])),
    ):
        expected = np.zeros((size, lengths.size), np.int64)
        np.add.at(expected, (table[events].astype(np.int64), position), 1)
        if size == 401:
            assert found.dense_dropped == expected[-1].sum()
            expected[-1] = 0
        np.testing.assert_array_equal(counted, expected)
    np.testing.assert_array_equal(
        found.frame_sum.ravel(), np.bincount(events, minlength=plan.label.size)
    )
