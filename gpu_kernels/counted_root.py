"""Mean and variance of the root of a Poisson count, with which the root of counts is compared.

ePIE compares a wave's amplitude √μ with the root of the counts. Of many electrons the mean of √n is
√μ, of few it is not: below one electron n is mostly 0 or 1 and √n = n, whose mean is μ. Compared
with √μ, few electrons would look like a weaker dark field and a stronger bright field, and the
phase would come out a third too small at four electrons a pixel of the disk. Compared with the mean
g(μ) = E√n itself, what is found is that of many electrons.

A difference counts by what it tells: by g′ / Var √n, the weight of a quasi-likelihood (Wedderburn,
Biometrika 61 (1974) 439). For many electrons Var √n is ¼, and a wave moves to its pattern's root.
Of few it is μ: each electron in the dark field tells as much of the wave as one in the bright
field. That holds for a wave that is nearly right. Where the object is noise itself, a doubt is
added to the variance, and the dark field counts less.
"""

import math
from types import FunctionType

import numpy as np
from numba import cuda, njit

sqrt = np.sqrt
HALF, QUARTER, ONE, TWO, FOUR = (np.float32(value) for value in (0.5, 0.25, 1.0, 2.0, 4.0))
SEVEN, EIGHTH, ALMOST_3 = (np.float32(value) for value in (7.0, 0.125, 2.875))


def counted_root(mu):
    """Mean of √n of Poisson counts n, its slope, and the variance of √n.

    g = μ / √(μ + h), where h = (μ²/4 + μ/8 + 7) / (μ² + 23 μ/8 + 7) goes from 1 (no electrons: g is
    μ) to ¼ (many: √μ − 1/(8√μ)). Within 0.2 % of the sum over all counts, the slope within 0.6 %,
    the variance μ − g² within 10 %.

    Parameters
    ----------
    mu : float32 or float64, number or array
        Mean counts μ.

    Returns
    -------
    g, slope, variance
        E√n, dg/dμ and Var √n.
    """
    top = (QUARTER * mu + EIGHTH) * mu + SEVEN
    low = (mu + ALMOST_3) * mu + SEVEN
    h = top / low
    bend = (HALF * mu + EIGHTH - h * (TWO * mu + ALMOST_3)) / low
    s = ONE / sqrt(mu + h)
    return mu * s, s - HALF * mu * (ONE + bend) * s * s * s, mu * h * s * s


def root_gain(slope, variance, doubt):
    """By how much of itself a wave is to change for each unit of √n − E√n.

    2 g′ (1 + d) / (4 Var √n + d): 1/√μ for many electrons. Without doubt it is the step of Fisher's
    scoring for the wave's amplitude; with all doubt it is 2 g′, the slope of a least-squares fit in
    which all counts have one variance.

    Parameters
    ----------
    slope, variance : float32 or float64
        From ``counted_root``.
    doubt : float32 or float64
        Variance of the wave's own amplitude, over the ¼ of a root of many electrons; above 0.

    Returns
    -------
    float32 or float64
        Factor of the wave.
    """
    return TWO * slope * (ONE + doubt) / (FOUR * variance + doubt)


_inlined = njit(inline="always", fastmath={"contract", "nsz", "nnan", "ninf"})
counted_root_cpu, root_gain_cpu = _inlined(counted_root), _inlined(root_gain)
# CUDA's compiler knows the root of a number, and not that of NumPy, which takes arrays as well.
counted_root_gpu = cuda.jit(device=True)(
    FunctionType(counted_root.__code__, globals() | {"sqrt": math.sqrt})
)
root_gain_gpu = cuda.jit(device=True)(root_gain)
