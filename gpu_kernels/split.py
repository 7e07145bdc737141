"""Two independent halves of a recording: each electron goes to one of them by a fair coin.

The coin is a hash of (seed, scan position, number of the electron there), so the halves are the
same on every machine, on both sides, and however a scan is cut into slabs.
"""

import numpy as np
from numba import cuda, njit, uint64

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host

THREADS_PER_BLOCK = 128


def halves_of_events(
    indptr: Array, indices: Array, seed: int, first: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Part a slab's events into two halves, binomially.

    Parameters
    ----------
    indptr : (positions + 1,) int64
        Where each position's events begin.
    indices : (events,) uint16 or uint32
        Detector pixels.
    seed : int
        Of the split.
    first : int
        Number of the first of these positions in the scan.

    Returns
    -------
    two pairs of (indptr, indices)
        (positions + 1,) int64 and (events of the half,) uint16 or uint32, on the host. Every event
        is in exactly one of the two halves, in its order.
    """
    key = _key(seed)
    starts = to_host(indptr)
    if on_gpu(indices):
        coins = device_zeros(indices.size, np.uint8)
        blocks = max(1, -(-(starts.size - 1) // THREADS_PER_BLOCK))
        _coins_kernel[blocks, THREADS_PER_BLOCK](to_device(key), first, indptr, coins)
        second = to_host(coins) == 1
        before = np.concatenate([[0], np.cumsum(second, dtype=np.int64)])
        ends, events = before[starts], to_host(indices)
        return (starts - starts[0] - ends, events[~second]), (ends, events[second])
    # Longer than needed: pages that nothing is written to take no memory.
    ends = np.empty((2, starts.size), np.int64)
    one, other = np.empty_like(indices), np.empty_like(indices)
    _part_cpu(key, first, starts, indices, ends, one, other)
    return (ends[0], one[: ends[0, -1]]), (ends[1], other[: ends[1, -1]])


def _key(seed: int) -> np.ndarray:
    return np.array([seed * 0xD1B54A32D192ED03 & 0xFFFFFFFFFFFFFFFF], np.uint64)


def _hash(key, number):
    # splitmix64 (Steele, Lea and Flood 2014), which passes statistical tests as a counter.
    z = uint64(key + uint64(number) * uint64(0x9E3779B97F4A7C15))
    z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
    return z ^ (z >> uint64(31))


__warningregistry__: dict[object, object] = {}
"""Python adds this where a product first overflows, as it should here; in CUDA's simulator another
thread may be looking through the names of this file at that moment, and would fail."""

_hash_cpu = njit(inline="always")(_hash)
_hash_gpu = cuda.jit(device=True)(_hash)
_COIN = np.uint64(63)
"""The highest bit of a hash."""


@njit(nogil=True, cache=True)
def _part_cpu(key, first, starts, indices, ends, one, other):
    # Each event is written to both, and the next one over it where it does not belong: no branch
    # that nobody could foretell.
    ones, others = 0, 0
    ends[:, 0] = 0
    for position in range(starts.size - 1):
        own = _hash_cpu(key[0], first + position)
        begin = starts[position]
        for event in range(starts[position + 1] - begin):
            coin = np.int64(_hash_cpu(own, event) >> _COIN)
            one[ones] = other[others] = indices[begin + event]
            ones += 1 - coin
            others += coin
        ends[0, position + 1], ends[1, position + 1] = ones, others


@cuda.jit
def _coins_kernel(key, first, starts, coins):
    position = cuda.grid(1)
    if position < starts.size - 1:
        own = _hash_gpu(key[0], first + position)
        for event in range(starts[position + 1] - starts[position]):
            coins[starts[position] + event] = _hash_gpu(own, event) >> _COIN
