"""The image of a virtual detector is the weighted sum over its pixels."""

import numpy as np
import pytest

from gpu_kernels.backend import to_host
from gpu_kernels.weighted_sum import POSITIONS_AT_ONCE, weighted_sum


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_sum_is_that_of_the_definition(twin, dtype):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 200, (12, 131)).astype(dtype)
    weights = rng.random(12).astype(np.float32)
    weights[[2, 5]] = 0
    found = to_host(weighted_sum(twin(counts), weights))
    np.testing.assert_allclose(found, weights.astype(np.float64) @ counts, rtol=1e-5)


def test_blocks_of_positions_join_without_a_seam():
    counts = (
        np.random.default_rng(1).integers(0, 9, (3, 2 * POSITIONS_AT_ONCE + 5)).astype(np.uint8)
    )
    np.testing.assert_array_equal(
        weighted_sum(counts, np.ones(3, np.float32)), counts.sum(axis=0, dtype=np.float32)
    )


def test_a_detector_that_covers_nothing_sees_nothing(twin):
    found = to_host(weighted_sum(twin(np.ones((4, 9), np.uint8)), np.zeros(4, np.float32)))
    np.testing.assert_array_equal(found, 0)


def test_weights_of_another_detector_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) weights were given for 4 pixels"):
        weighted_sum(np.ones((4, 9), np.uint8), np.ones(3, np.float32))
