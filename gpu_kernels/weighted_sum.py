"""Weighted sums of detector pixels: the image of any virtual detector from binned counts."""

import numpy as np
from numba import cuda, njit

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device

THREADS_PER_BLOCK = 128
POSITIONS_AT_ONCE = 8192
"""Positions whose sums stay in the first cache while the pixels pass by."""


def weighted_sum(counts: Array, weights: np.ndarray) -> Array:
    """Sum detector pixels at each scan position, each with its weight.

    Parameters
    ----------
    counts : (pixels, positions) unsigned integer
        Electrons of each detector pixel [e].
    weights : (pixels,) float32
        Part of each pixel that the virtual detector covers; pixels of weight 0 are not read.

    Returns
    -------
    (positions,) float32
        Electrons on the virtual detector [e]. It lives where ``counts`` lives.

    Raises
    ------
    ValueError
        If there is not one weight for each pixel.
    """
    if weights.shape != (counts.shape[0],):
        raise ValueError(
            f"{weights.shape} weights were given for {counts.shape[0]} pixels; one for each is "
            "needed"
        )
    chosen = np.flatnonzero(weights)
    share = np.asarray(weights, np.float32)[chosen]
    if on_gpu(counts):
        total = device_zeros(counts.shape[1], np.float32)
        blocks = -(-counts.shape[1] // THREADS_PER_BLOCK)
        if chosen.size:
            _sum_kernel[blocks, THREADS_PER_BLOCK](
                counts, to_device(chosen), to_device(share), total
            )
        return total
    total = np.zeros(counts.shape[1], np.float32)
    _sum_cpu(counts, chosen, share, total)
    return total


@njit(nogil=True, cache=True)
def _sum_cpu(counts, chosen, share, total):
    for first in range(0, total.size, POSITIONS_AT_ONCE):
        part = total[first : first + POSITIONS_AT_ONCE]
        for n in range(chosen.size):
            row, weight = counts[chosen[n], first : first + POSITIONS_AT_ONCE], share[n]
            for p in range(part.size):
                part[p] += weight * row[p]


@cuda.jit
def _sum_kernel(counts, chosen, share, total):
    # One thread a position: neighbours read neighbouring counts, and no two write to one place.
    p = cuda.grid(1)
    if p < total.shape[0]:
        value = np.float32(0)
        for n in range(chosen.shape[0]):
            value += share[n] * counts[chosen[n], p]
        total[p] = value
