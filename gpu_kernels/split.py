"""Two independent halves of a recording: each electron goes to one of them by a fair coin.

The coin is a hash of (seed, slab, number of the event), so the halves are the same on every
machine, on both sides, and however the work is cut.
"""

import numpy as np
from numba import cuda, njit, uint64

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host

THREADS_PER_BLOCK = 128


def split_events(
    indptr: Array, indices: Array, seed: int, slab: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Split the events of a slab into two halves, binomially.

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

    Returns
    -------
    two pairs of (indptr, indices)
        The halves, on the host. Every event is in exactly one of them, in its order.
    """
    key = _key(seed, slab)
    if on_gpu(indices):
        coins = device_zeros(indices.size, np.uint8)
        blocks = max(1, -(-indices.size // THREADS_PER_BLOCK))
        _coins_kernel[blocks, THREADS_PER_BLOCK](to_device(key), coins)
        coins = to_host(coins)
    else:
        coins = np.zeros(indices.size, np.uint8)
        _coins_cpu(key, coins)
    events, starts = to_host(indices), to_host(indptr)
    before = np.concatenate([[0], np.cumsum(coins, dtype=np.int64)])
    second = before[starts]
    chosen = coins.astype(bool)
    return (starts - second, events[~chosen]), (second, events[chosen])


def events_of_halves(events: int, seed: int, slab: int) -> tuple[int, int]:
    """How many of a slab's events each half gets, without the events themselves.

    Parameters
    ----------
    events : int
        In the slab.
    seed, slab : int
        As in ``split_events``.

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
def _coins_cpu(key, coins):
    for event in range(coins.size):
        coins[event] = _coin_cpu(key[0], event)


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
