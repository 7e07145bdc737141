"""Two independent halves of a recording: each electron goes to one of them by a fair coin.

The coin is a hash of (seed, slab, number of the event), so the halves are the same on every
machine, on both sides, and however the work is cut.
"""

import numpy as np
from numba import cuda, njit, uint64

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host

THREADS_PER_BLOCK = 128


def half_of_events(
    indptr: Array, indices: Array, seed: int, slab: int, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Take one of the two halves of a slab's events, binomially.

    Parameters
    ----------
    indptr : (positions + 1,) int64
        Where each position's events begin.
    indices : (events,) uint16 or uint32
        Detector pixels.
    seed : int
        Of the split.
    slab : int
        Number of the slab, so that slabs have coins of their own.
    number : int
        0 or 1. Every event is in exactly one of the two halves, in its order.

    Returns
    -------
    indptr : (positions + 1,) int64
        Of the half, on the host.
    indices : (events of the half,) uint16 or uint32
        On the host.
    """
    key = _key(seed, slab)
    starts = to_host(indptr)
    if on_gpu(indices):
        coins = device_zeros(indices.size, np.uint8)
        blocks = max(1, -(-indices.size // THREADS_PER_BLOCK))
        _coins_kernel[blocks, THREADS_PER_BLOCK](to_device(key), coins)
        chosen = to_host(coins) == number
        before = np.concatenate([[0], np.cumsum(chosen, dtype=np.int64)])
        return before[starts], to_host(indices)[chosen]
    # Longer than needed: pages that nothing is written to take no memory.
    taken, ends = np.empty_like(indices), np.empty_like(starts)
    _take_cpu(key, np.uint64(number), starts, indices, ends, taken)
    return ends, taken[: ends[-1]]


def events_of_halves(events: int, seed: int, slab: int) -> tuple[int, int]:
    """How many of a slab's events each half gets, without the events themselves.

    Parameters
    ----------
    events : int
        In the slab.
    seed, slab : int
        As in ``half_of_events``.

    Returns
    -------
    first, second : int
        Their sum is ``events``.
    """
    second = int(_count_cpu(_key(seed, slab), events))
    return events - second, second


def _key(seed: int, slab: int) -> np.ndarray:
    key = (seed * 0x9E3779B97F4A7C15 + slab * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    return np.array([key], np.uint64)


def _coin(key, event):
    # splitmix64's finaliser (Steele, Lea and Flood 2014): passes statistical tests as a counter.
    z = uint64(key + uint64(event) * uint64(0x9E3779B97F4A7C15))
    z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
    return (z ^ (z >> uint64(31))) >> uint64(63)


__warningregistry__: dict[object, object] = {}
"""Python adds this where a product first overflows, as it should here; in CUDA's simulator another
thread may be looking through the names of this file at that moment, and would fail."""

_coin_cpu = njit(inline="always")(_coin)
_coin_gpu = cuda.jit(device=True)(_coin)


@njit(nogil=True, cache=True)
def _take_cpu(key, number, starts, indices, ends, taken):
    # Each event is written, and the next one over it unless it is of this half: no branch that
    # nobody could foretell.
    kept = 0
    ends[0] = 0
    for position in range(starts.size - 1):
        for event in range(starts[position], starts[position + 1]):
            taken[kept] = indices[event]
            kept += _coin_cpu(key[0], event) == number
        ends[position + 1] = kept


@njit(nogil=True, cache=True)
def _count_cpu(key, events):
    # On the host alone: there is nothing to read, and the answer is one number.
    second = 0
    for event in range(events):
        second += _coin_cpu(key[0], event)
    return second


@cuda.jit
def _coins_kernel(key, coins):
    event = cuda.grid(1)
    if event < coins.size:
        coins[event] = _coin_gpu(key[0], event)
