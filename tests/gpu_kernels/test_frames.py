"""Frames become regular events: sorted, on the detector, as many as were counted."""

from itertools import pairwise

import numpy as np
import pytest

from gpu_kernels.frames import (
    are_regular,
    count_outside,
    drop_outside,
    electrons_of_counts,
    events_of_counts,
    merge_frames,
    regular_events,
)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_each_position_is_sorted_alone_and_repeats_stay(dtype):
    rng = np.random.default_rng(0)
    lengths = [0, 1, 2, 300, 0, 17, 64]
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices = rng.integers(0, 40, indptr[-1]).astype(dtype)
    expected = [np.sort(indices[a:b]) for a, b in pairwise(indptr)]
    np.testing.assert_array_equal(regular_events(indptr, indices), np.concatenate(expected))


@pytest.mark.parametrize("runs", [1, 2, 3, 7])
def test_sorted_frames_of_one_position_are_merged(runs):
    rng = np.random.default_rng(runs)
    frames = [np.sort(rng.integers(0, 1000, 50)) for _ in range(runs)]
    indices = np.concatenate(frames).astype(np.uint32)
    found = regular_events(np.array([0, indices.size]), indices.copy())
    np.testing.assert_array_equal(found, np.sort(indices))


def test_events_outside_are_counted_by_frame_and_dropped():
    indptr, indices = np.array([0, 3, 3, 5]), np.array([1, -2, 9, 4, 10])
    assert count_outside(indptr, indices, 9).tolist() == [2, 0, 1]
    kept, rest, dropped = drop_outside(indptr, indices, 9)
    assert (kept.tolist(), rest.tolist(), dropped) == ([0, 1, 1, 2], [1, 4], 3)


@pytest.mark.parametrize(
    ("events", "regular"),
    [
        ([1, 4, 4, 0, 8], True),  # the second frame begins below the end of the first
        ([4, 1, 4, 0, 8], False),
        ([1, 4, 4, 8, 0], False),
        ([1, 4, 9, 0, 8], False),
        ([-1, 4, 4, 0, 8], False),
    ],
)
def test_frames_that_are_sorted_and_on_the_detector_are_told_apart(events, regular):
    assert are_regular(np.array([0, 0, 3, 5]), np.array(events), 9) == regular


def test_frames_of_a_position_are_put_together():
    indptr = np.array([0, 2, 5, 5, 6])
    assert merge_frames(indptr, np.array([2, 0, 1, 1])).tolist() == [0, 5, 5, 5, 6]


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4", "i8"])
@pytest.mark.parametrize("pixels", [64, 61])
def test_a_count_of_n_becomes_n_events(dtype, pixels):
    counts = np.random.default_rng(1).poisson(0.3, (9, pixels)).astype(dtype)
    counts[4] = 0
    electrons = electrons_of_counts(counts)
    indptr, indices = events_of_counts(counts, electrons)
    np.testing.assert_array_equal(electrons, counts.sum(axis=1))
    np.testing.assert_array_equal(np.diff(indptr), electrons)
    np.testing.assert_array_equal(
        indices, np.concatenate([np.repeat(np.arange(pixels), row) for row in counts])
    )
