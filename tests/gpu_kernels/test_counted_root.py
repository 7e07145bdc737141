"""The closed forms of E√n and of its spread are the sums over all counts."""

import numpy as np
from scipy.stats import poisson

from gpu_kernels.counted_root import counted_root, root_gain

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


def test_variance_is_that_of_the_sum_over_counts():
    np.testing.assert_allclose(counted_root(MU)[2], MU - expected_root(MU) ** 2, rtol=0.1)


def test_no_electrons_have_no_root():
    assert counted_root(np.float32(0)) == (0, 1, 0)


def test_gain_goes_from_the_score_to_that_of_equal_variances():
    _, slope, variance = counted_root(MU)
    np.testing.assert_allclose(root_gain(slope, variance, 1e6), 2 * slope, rtol=1e-4)
    np.testing.assert_allclose(root_gain(slope, variance, 1e-9), slope / variance / 2, rtol=1e-4)
    bright = MU > 100
    for doubt in (0.01, 1.0):
        gain = root_gain(slope, variance, doubt)[bright]
        np.testing.assert_allclose(gain, 1 / np.sqrt(MU[bright]), rtol=0.1)


def test_score_keeps_most_of_what_the_counts_tell():
    # Fisher's information of a Poisson count is 1/μ; that of the root's mean is g′² / Var.
    _, slope, variance = counted_root(MU)
    assert (slope**2 / variance * MU).min() > 0.85
