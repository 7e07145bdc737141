"""From intensity to counted electrons.

A detector that counts sees a Poisson process: laid out along the cumulated intensity of a pattern,
electrons arrive at exponential distances, so that the intervals of the pixels hold independent
Poisson numbers. The electrons come out sorted, and the cost grows with pixels plus electrons.
"""

import numpy as np
from numba import njit


def count_electrons(
    patterns: np.ndarray, electrons: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the electrons of some frames.

    Parameters
    ----------
    patterns : (frames, pixels) float32 or float64
        Part of the beam that hits each pixel.
    electrons : float
        Mean electrons of the beam in a frame [e].
    rng : numpy.random.Generator
        Decides all.

    Returns
    -------
    indptr : (frames + 1,) int64
        Where each frame's electrons begin.
    indices : (electrons,) uint32
        Pixel of each, ascending within a frame; two electrons in a pixel stand there twice.

    Raises
    ------
    ValueError
        If the dose is negative, or an intensity is.
    """
    patterns = np.ascontiguousarray(patterns)
    if not electrons >= 0 or (patterns.size and not patterns.min() >= 0):
        raise ValueError(f"a dose of {electrons} e or an intensity is negative or not a number")
    return _arrivals(patterns, float(electrons), rng)


@njit(nogil=True, cache=True)
def _arrivals(
    patterns: np.ndarray, electrons: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.zeros(patterns.shape[0] + 1, np.int64)
    indices = np.empty(int(patterns.shape[0] * electrons * 1.1) + 1024, np.uint32)
    count = 0
    for frame in range(patterns.shape[0]):
        reached, arrival = 0.0, rng.standard_exponential()
        for pixel in range(patterns.shape[1]):
            reached += electrons * patterns[frame, pixel]
            while arrival < reached:
                if count == indices.size:
                    grown = np.empty(2 * count, np.uint32)
                    grown[:count] = indices
                    indices = grown
                indices[count] = pixel
                count += 1
                arrival += rng.standard_exponential()
        indptr[frame + 1] = count
    return indptr, indices[:count].copy()
