"""Counted electrons are independent Poisson numbers in every pixel."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from models.counting import count_electrons


def counts(patterns, electrons, seed=0):
    indptr, indices = count_electrons(patterns, electrons, np.random.default_rng(seed))
    frames = np.repeat(np.arange(len(patterns)), np.diff(indptr))
    size = patterns.shape[1]
    flat = np.bincount(frames * size + indices, minlength=patterns.size)
    return flat.reshape(patterns.shape)


def test_pixels_hold_poisson_numbers_of_their_own_mean():
    means = np.array([0.0, 0.02, 0.7, 3.0, 20.0])
    seen = counts(np.tile(means / 10, (20_000, 1)), 10.0)
    assert not seen[:, 0].any()
    for pixel, mean in enumerate(means[1:], start=1):
        k = np.arange(stats.poisson.ppf(1e-3, mean), stats.poisson.ppf(1 - 1e-3, mean) + 1)
        found = np.array([(seen[:, pixel] == value).sum() for value in k])
        due = 20_000 * stats.poisson.pmf(k, mean)
        assert (np.abs(found - due) < 5 * np.sqrt(due) + 1).all(), mean


def test_pixels_are_independent():
    seen = counts(np.full((20_000, 6), 0.2), 10.0).astype(float)
    correlation = np.corrcoef(seen.T)[np.triu_indices(6, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def test_electrons_are_sorted_and_end_where_the_offsets_say():
    patterns = np.random.default_rng(1).random((50, 300)).astype(np.float32) / 150
    indptr, indices = count_electrons(patterns, 400.0, np.random.default_rng(2))
    assert indptr.dtype == np.int64
    assert indices.dtype == np.uint32
    assert (indptr[0], indptr[-1]) == (0, indices.size)
    for first, last in pairwise(indptr):
        assert (np.diff(indices[first:last].astype(int)) >= 0).all()


def test_frames_far_brighter_than_their_neighbours_do_not_overflow():
    patterns = np.zeros((40, 8))
    patterns[20] = 1000.0
    seen = counts(patterns, 5.0)
    assert seen.sum() == seen[20].sum() == pytest.approx(40_000, abs=1000)


def test_no_beam_gives_no_electrons():
    assert counts(np.ones((3, 4)), 0.0).sum() == 0


@pytest.mark.parametrize(
    ("patterns", "electrons"),
    [(np.ones((1, 2)), -1.0), (np.array([[0.1, -0.1]]), 5.0), (np.array([[np.nan]]), 5.0)],
)
def test_negative_intensity_or_dose_is_refused(patterns, electrons):
    with pytest.raises(ValueError, match="negative or not a number"):
        count_electrons(patterns, electrons, np.random.default_rng(0))
