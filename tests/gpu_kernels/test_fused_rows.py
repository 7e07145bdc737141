"""Rows of counts are transformed on a device as a library transforms them."""

import numpy as np
import pytest
import scipy.fft

from gpu_kernels.backend import to_host
from gpu_kernels.fused_rows import LENGTHS, along_y, fits, plan_along_y, rows_of_counts
from tests.gpu_kernels.conftest import SIMULATED


@pytest.mark.parametrize("length", LENGTHS)
def test_rows_and_columns_are_those_of_the_library(length, twin):
    pixels, rows = (3, 1) if SIMULATED else (5, 40)
    counts = np.random.default_rng(0).poisson(2.0, (pixels, rows, length)).astype(np.uint8)
    there = twin(counts)
    if there is counts:
        pytest.skip("a form for devices alone: the host's is fourier.ScanTransform")
    columns = length // 3
    found = to_host(rows_of_counts(there, columns)).copy()
    exact = scipy.fft.rfft(counts.astype(float), axis=2)[:, :, :columns]
    scale = np.abs(exact).max()
    np.testing.assert_allclose(found, exact.transpose(1, 0, 2), rtol=0, atol=3e-7 * scale)
    plan = plan_along_y(rows, pixels * columns)
    both = to_host(along_y(rows_of_counts(there, columns), plan))
    exact = scipy.fft.fft(exact, axis=1).transpose(1, 0, 2)
    np.testing.assert_allclose(both, exact, rtol=0, atol=1e-6 * np.abs(exact).max())


def test_other_lengths_are_not_for_it():
    assert not any(fits(length) for length in (128, 1000, 1023, 8192))
