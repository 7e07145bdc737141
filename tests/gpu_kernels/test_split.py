"""Halves of the events are independent, complete and the same everywhere."""

import numpy as np
import pytest

from gpu_kernels.split import halves_of_events

# The hash wraps around 2^64 on purpose; only the simulator, which is plain Python, says so.
pytestmark = pytest.mark.filterwarnings("ignore:.*overflow encountered:RuntimeWarning")


def events(n=300, positions=7):
    rng = np.random.default_rng(0)
    indptr = np.concatenate([[0], np.sort(rng.integers(0, n, positions - 1)), [n]])
    return indptr.astype(np.int64), rng.integers(0, 50, n).astype(np.uint32)


def test_every_event_is_in_exactly_one_half_of_its_position(twin):
    indptr, indices = events()
    halves = halves_of_events(twin(indptr), twin(indices), seed=3, first=0)
    for p in range(len(indptr) - 1):
        parts = [ix[ptr[p] : ptr[p + 1]] for ptr, ix in halves]
        whole = indices[indptr[p] : indptr[p + 1]]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.sort(whole))


def hashed(key, number):
    wrap = 1 << 64
    z = (key + number * 0x9E3779B97F4A7C15) % wrap
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % wrap
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % wrap
    return z ^ (z >> 31)


def by_hand(indptr, indices, seed, first, number):
    """The coins of the definition, in Python's own integers."""
    chosen = [
        hashed(hashed(seed * 0xD1B54A32D192ED03, first + position), event) >> 63 == number
        for position, size in enumerate(np.diff(indptr).tolist())
        for event in range(size)
    ]
    starts = [np.count_nonzero(chosen[:begin]) for begin in indptr]
    return np.array(starts), indices[np.array(chosen)]


def test_both_sides_toss_the_coins_of_the_definition(twin):
    indptr, indices = events()
    for number in (0, 1):
        ours = halves_of_events(twin(indptr), twin(indices), 3, 5)[number]
        for found, expected in zip(ours, by_hand(indptr, indices, 3, 5, number), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_halves_do_not_depend_on_how_a_scan_is_cut(twin):
    indptr, indices = events()
    whole, cut = halves_of_events(twin(indptr), twin(indices), 3, 10)[1], indptr[4]
    front = halves_of_events(twin(indptr[:5]), twin(indices[:cut]), 3, 10)[1]
    back = halves_of_events(twin(indptr[4:] - cut), twin(indices[cut:]), 3, 14)[1]
    np.testing.assert_array_equal(whole[1], np.concatenate([front[1], back[1]]))
    np.testing.assert_array_equal(whole[0], [*front[0], *(back[0][1:] + front[0][-1])])


def test_coins_are_fair_and_uncorrelated_between_seeds_positions_and_neighbours():
    n = 200_000
    indptr, indices = np.array([0, n]), np.arange(n, dtype=np.uint32)
    coins = {}
    for seed, first in ((0, 0), (0, 1), (1, 0), (7, 12345)):
        _, chosen = halves_of_events(indptr, indices, seed, first)[1]
        coins[seed, first] = np.isin(indices, chosen, assume_unique=True) - 0.5
    _, chosen = halves_of_events(np.arange(n + 1), indices, 0, 2)[1]  # a position each
    coins["apart"] = np.isin(indices, chosen, assume_unique=True) - 0.5
    five_sigma = 5 * 0.5 / np.sqrt(n)
    for coin in coins.values():
        assert abs(coin.mean()) < five_sigma
        assert abs((coin[1:] * coin[:-1]).mean()) < five_sigma / 2
    first, *others = coins.values()
    for other in others:
        for shifted in (other, np.roll(other, 1), np.roll(other, -1)):
            assert abs((first * shifted).mean()) < five_sigma / 2
