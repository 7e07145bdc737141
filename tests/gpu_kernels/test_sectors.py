"""Sectors that lost their data are told from dim ones."""

import numpy as np
import pytest

from gpu_kernels.sectors import lost_sectors, sector_counts

SHARES = np.array([0.1, 0.4, 0.35, 0.15])


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_counts_equal_a_histogram_of_rows(twin, ascending, dtype):
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 10 * 7, 300).astype(dtype)
    indptr = np.array([0, 0, 120, 300])
    if ascending:
        indices[:120].sort()
        indices[120:].sort()
    found = sector_counts(twin(indptr), twin(indices), (10, 7), ascending=ascending)
    bands = np.minimum(indices // 7 // 3, 3)
    expected = [np.bincount(bands[a:b], minlength=4) for a, b in ((0, 0), (0, 120), (120, 300))]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dose", [400, 2000])
def test_every_lost_sector_is_found_and_no_other(dose):
    rng = np.random.default_rng(1)
    counts = rng.poisson(dose * SHARES, size=(40_000, 4))
    lost = rng.choice(40_000, 50, replace=False)
    sector = rng.integers(0, 4, 50)
    counts[lost, sector] = 0
    mask = lost_sectors(counts, np.ones(40_000), (200, 200))
    expected = np.zeros(40_000, np.uint8)
    expected[lost] = 1 << sector
    np.testing.assert_array_equal(mask, expected)


def test_dim_position_is_not_a_lost_sector():
    counts = np.random.default_rng(2).poisson(100 * SHARES, size=(10_000, 4))
    counts[:50] = np.random.default_rng(3).poisson(4 * SHARES, size=(50, 4))
    assert not lost_sectors(counts, np.ones(10_000), (100, 100)).any()


def test_missing_position_is_not_flagged():
    counts = np.random.default_rng(4).poisson(500 * SHARES, size=(100, 4))
    counts[7] = 0
    present = np.ones(100)
    present[7] = 0
    assert not lost_sectors(counts, present, (10, 10)).any()


def test_wrong_scan_shape_is_refused():
    with pytest.raises(ValueError, match="4 positions for a scan of 3 x 3"):
        lost_sectors(np.ones((4, 4)), np.ones(4), (3, 3))
