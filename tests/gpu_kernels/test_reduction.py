"""Reductions of events equal their definition on dense frames, exactly."""

import numpy as np
import pytest

from gpu_kernels.pixel_plan import annular_masks, plan_pixels, radial_bins, window_bins
from gpu_kernels.reduction import EventRangeError, reduce_events, sum_frames

DETECTOR = (6, 9)  # not square, so that rows and columns cannot be confused
CENTER = (2.4, 4.7)


def as_events(counts, dtype=np.uint32):
    """Events of dense counts (positions, rows, cols): repeats are real electrons."""
    flat = counts.reshape(len(counts), -1)
    indices = np.concatenate([np.repeat(np.arange(row.size), row) for row in flat]).astype(dtype)
    indptr = np.concatenate([[0], np.cumsum(flat.sum(axis=1))]).astype(np.int64)
    return indptr, indices


@pytest.fixture
def counts():
    counts = np.random.default_rng(0).poisson(0.6, size=(70, *DETECTOR))
    counts[2] = 0  # a position without an electron
    counts[3, 4, 5] = 9  # repeated indices
    return counts


def full_plan():
    masks = annular_masks(DETECTOR, CENTER, [(0, 2), (1, 3.5), (2, 99)])
    disk = annular_masks(DETECTOR, CENTER, [(0, 2.6)])[0]
    rings = radial_bins(DETECTOR, CENTER, 1.0, 3)
    dense, _ = window_bins(DETECTOR, CENTER, 2, (2, 3))
    plan = plan_pixels(
        DETECTOR, masks=masks, com_mask=disk, radial_bin=rings, dense_bin=dense, dense_size=6
    )
    return plan, masks, disk, rings, dense


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_one_pass_equals_dense_sums(twin, counts, dtype):
    plan, masks, disk, rings, dense = full_plan()
    indptr, indices = as_events(counts, dtype)

    found = reduce_events(twin(indptr), twin(indices), plan)

    y, x = np.indices(DETECTOR)
    exact = np.testing.assert_array_equal
    exact(found.electrons, counts.sum(axis=(1, 2)))
    exact(found.virtual, np.array([(counts * m).sum(axis=(1, 2)) for m in masks]))
    exact(found.com_electrons, (counts * disk).sum(axis=(1, 2)))
    exact(found.com_sums.T, [(counts * disk * w).sum(axis=(1, 2)) for w in (y, x)])
    exact(found.radial.T, [(counts * (rings == r)).sum(axis=(1, 2)) for r in range(4)])
    exact(found.frame_sum, counts.sum(axis=0))
    exact(found.dense, [(counts * (dense == b)).sum(axis=(1, 2)) for b in range(6)])


def test_no_electron_is_lost_or_made(twin, counts):
    plan, *_ = full_plan()
    indptr, indices = as_events(counts)
    found = reduce_events(twin(indptr), twin(indices), plan)
    assert found.dense_kept + found.dense_dropped == counts.sum()
    assert found.dense_kept == found.dense.sum()
    assert found.radial.sum() == found.frame_sum.sum() == found.electrons.sum() == counts.sum()


def test_sum_of_a_region_equals_its_dense_sum(twin, counts):
    region = np.arange(len(counts)) % 3 == 0
    indptr, indices = as_events(counts)
    found = sum_frames(twin(indptr), twin(indices), DETECTOR, region)
    np.testing.assert_array_equal(found, counts[region].sum(axis=0))


def test_index_outside_the_detector_is_named(twin):
    # Of several the first is named, whoever comes upon it first.
    indptr, indices = np.array([0, 1, 4, 6]), np.array([0, 5, 54, 80, 99, 1], np.uint32)
    for reduce in (lambda: reduce_events(twin(indptr), twin(indices), plan_pixels(DETECTOR)),
                   lambda: sum_frames(twin(indptr), twin(indices), DETECTOR)):  # fmt: skip
        with pytest.raises(EventRangeError, match="position 1: event 1 has index 54.*6 x 9 = 54"):
            reduce()


def test_dense_count_too_large_for_its_type_is_refused(twin):
    dense, _ = window_bins(DETECTOR, CENTER, 2, (2, 3))
    plan = plan_pixels(DETECTOR, dense_bin=dense, dense_size=6)
    indices = np.full(256, 3 * 9 + 5, np.uint32)
    indptr = np.array([0, 256])
    with pytest.raises(OverflowError, match="counts 256 electrons"):
        reduce_events(twin(indptr), twin(indices), plan, dense_dtype=np.uint8)
    assert reduce_events(twin(indptr), twin(indices), plan).dense.max() == 256


def test_no_events_give_zeros(twin):
    plan, *_ = full_plan()
    found = reduce_events(twin(np.zeros(4, np.int64)), twin(np.zeros(0, np.uint32)), plan)
    assert found.virtual.sum() == found.dense.sum() == found.com_sums.sum() == 0


@pytest.mark.parametrize("cut", [1, 33, 69])
def test_result_does_not_depend_on_how_the_scan_is_cut(counts, cut):
    plan, *_ = full_plan()
    whole = reduce_events(*as_events(counts), plan)
    parts = [reduce_events(*as_events(part), plan) for part in (counts[:cut], counts[cut:])]
    np.testing.assert_array_equal(whole.dense, np.hstack([part.dense for part in parts]))
    np.testing.assert_array_equal(whole.virtual, np.hstack([part.virtual for part in parts]))
    np.testing.assert_array_equal(whole.frame_sum, sum(part.frame_sum for part in parts))


@pytest.mark.parametrize("shape", [(1, 65_534), (3, 577), (40_000, 3)])
def test_moments_are_exact_on_detectors_of_any_width(shape):
    plan = plan_pixels(shape, com_mask=np.ones(shape, bool))
    indices = np.arange(shape[0] * shape[1], dtype=np.uint32)
    # One event a position, so that no sum hides a wrong row.
    found = reduce_events(np.arange(indices.size + 1), indices, plan, frame_sum=False)
    np.testing.assert_array_equal(found.com_sums.T, np.divmod(indices, shape[1]))


def test_as_many_classes_as_pixels_and_masks_of_scattered_classes():
    shape = (40, 50)
    rng = np.random.default_rng(0)
    rings = rng.permutation(shape[0] * shape[1]).reshape(shape)
    masks = rng.random((3, *shape)) < 0.3
    counts = rng.poisson(0.2, size=(5, *shape))
    found = reduce_events(*as_events(counts), plan_pixels(shape, masks=masks, radial_bin=rings))
    exact = np.testing.assert_array_equal
    exact(found.virtual, [(counts * mask).sum(axis=(1, 2)) for mask in masks])
    exact(found.radial, counts.reshape(5, -1)[:, np.argsort(rings.ravel())])


def test_more_electrons_in_a_bin_than_16_bits_hold(twin):
    dense, _ = window_bins(DETECTOR, CENTER, 2, (2, 3))
    plan = plan_pixels(DETECTOR, dense_bin=dense, dense_size=6)
    indices = np.full(70_001, 3 * 9 + 5, np.uint32)
    found = reduce_events(twin(np.array([0, 70_001])), twin(indices), plan, dense_dtype=np.uint32)
    assert found.dense.max() == found.dense_kept == 70_001


@pytest.mark.parametrize("number", [1, 8, 9])
def test_any_number_of_masks_of_long_frames(twin, number):
    rng = np.random.default_rng(0)
    masks = rng.random((number, *DETECTOR)) < 0.5
    counts = rng.poisson(60, size=(3, *DETECTOR))  # more than 8 bits count of one class
    found = reduce_events(*map(twin, as_events(counts)), plan_pixels(DETECTOR, masks=masks))
    expected = [(counts * mask).sum(axis=(1, 2)) for mask in masks]
    np.testing.assert_array_equal(found.virtual, expected)
