"""Counts as they are, transformed over the scan and cut to low frequencies."""

import numpy as np
import pytest

from gpu_kernels.backend import on_gpu, to_host
from gpu_kernels.counts_transform import CountsTransform


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    ("shape", "columns"),
    [
        ((3, 5, 1024), 130),  # a pixel without a partner, and rows that do not fill a block
        ((2, 4, 1024), 385),
        ((1, 3, 1024), 513),
        ((3, 6, 10), 4),
        ((2, 5, 9), 5),
    ],
)
def test_low_frequencies_of_counts_are_those_of_the_whole_transform(twin, shape, columns, dtype):
    counts = np.random.default_rng(0).poisson(2.0, shape).astype(dtype)
    there = twin(counts)
    transform = CountsTransform(there, columns)
    parts = to_host(transform(there))
    found = parts[..., 0] + 1j * parts[..., 1]
    if transform.rows_first:
        found = found.transpose(1, 0, 2)
    assert transform.rows_first == (on_gpu(there) and shape[2] == 1024)
    assert found.shape[:2] == shape[:2]
    assert found.shape[2] >= columns
    exact = np.fft.rfft2(counts.astype(np.float64))[..., :columns]
    np.testing.assert_allclose(found[..., :columns], exact, rtol=0, atol=1e-6 * np.abs(exact).max())
