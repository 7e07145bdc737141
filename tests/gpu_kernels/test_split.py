"""Halves of the events are independent, complete and the same everywhere."""

import numpy as np
import pytest

from gpu_kernels.split import events_of_halves, split_events

# The hash wraps around 2^64 on purpose; only the simulator, which is plain Python, says so.
pytestmark = pytest.mark.filterwarnings("ignore:.*overflow encountered:RuntimeWarning")


def events(n=300, positions=7):
    rng = np.random.default_rng(0)
    indptr = np.concatenate([[0], np.sort(rng.integers(0, n, positions - 1)), [n]])
    return indptr.astype(np.int64), rng.integers(0, 50, n).astype(np.uint32)


def test_every_event_is_in_exactly_one_half_of_its_position(twin):
    indptr, indices = events()
    halves = split_events(twin(indptr), twin(indices), seed=3, slab=0)
    for p in range(len(indptr) - 1):
        parts = [ix[ptr[p] : ptr[p + 1]] for ptr, ix in halves]
        whole = indices[indptr[p] : indptr[p + 1]]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.sort(whole))


def test_both_sides_toss_the_same_coins(twin):
    indptr, indices = events()
    (_, ours), _ = split_events(twin(indptr), twin(indices), seed=3, slab=5)
    (_, reference), _ = split_events(indptr, indices, seed=3, slab=5)
    np.testing.assert_array_equal(ours, reference)


def test_coins_are_fair_and_uncorrelated_between_seeds_slabs_and_neighbours():
    n = 200_000
    indptr, indices = np.array([0, n]), np.arange(n, dtype=np.uint32)
    coins = {}
    for seed, slab in ((0, 0), (0, 1), (1, 0)):
        _, (_, chosen) = split_events(indptr, indices, seed, slab)
        coins[seed, slab] = np.isin(indices, chosen, assume_unique=True) - 0.5
    five_sigma = 5 * 0.5 / np.sqrt(n)
    for coin in coins.values():
        assert abs(coin.mean()) < five_sigma
        assert abs((coin[1:] * coin[:-1]).mean()) < five_sigma / 2
    first, *others = coins.values()
    for other in others:
        assert abs((first * other).mean()) < five_sigma / 2


@pytest.mark.parametrize(("seed", "slab"), [(0, 0), (3, 17)])
def test_size_of_the_halves_is_known_without_the_events(seed, slab):
    indptr, indices = events()
    halves = split_events(indptr, indices, seed, slab)
    assert events_of_halves(indices.size, seed, slab) == tuple(ix.size for _, ix in halves)
    assert events_of_halves(0, seed, slab) == (0, 0)
