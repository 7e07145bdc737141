"""The closed form of E√n is the sum over all counts."""

import numpy as np
from scipy.stats import poisson

from gpu_kernels.counted_root import counted_root

MU = np.geomspace(1e-4, 300, 300)
COUNTS = np.arange(1000)[:, None]


def expected_root(mu):
    return (poisson.pmf(COUNTS, mu) * np.sqrt(COUNTS)).sum(axis=0)


def test_mean_is_that_of_the_sum_over_counts():
    np.testing.assert_allclose(counted_root(MU)[0], expected_root(MU), rtol=2e-3)


def test_slope_is_that_of_the_sum_over_counts():
    step = 1e-4 * MU
    slope = (expected_root(MU + step) - expected_root(MU - step)) / (2 * step)
    np.testing.assert_allclose(counted_root(MU)[1], slope, rtol=6e-3)


def test_no_electrons_have_no_root():
    assert counted_root(np.float32(0)) == (0, 1)
