"""Missing positions are filled from their neighbours, and nothing else is touched."""

import numpy as np
import pytest

from gpu_kernels.backend import to_host
from gpu_kernels.inpaint import Filler


def test_recorded_positions_stay_and_holes_become_the_mean_around_them(twin):
    block = np.random.default_rng(0).normal(size=(3, 9, 11))
    missing = np.zeros((9, 11), bool)
    missing[4, 5] = True
    found = to_host(Filler(missing).fill(twin(block.copy())))
    np.testing.assert_array_equal(found[:, ~missing], block[:, ~missing])
    around = block[:, 3:6, 4:7].reshape(3, -1)
    around = np.delete(around, 4, axis=1)
    np.testing.assert_allclose(found[:, 4, 5], around.mean(axis=1))


def test_adjacent_holes_and_edges_take_only_recorded_values():
    block = np.full((1, 6, 6), 2.0)
    missing = np.zeros((6, 6), bool)
    missing[0, :3] = missing[2:4, 2:5] = True
    block[:, missing] = np.nan
    filler = Filler(missing)
    np.testing.assert_allclose(filler.fill(block), 2.0)
    assert filler.count == missing.sum()


def test_nothing_missing_changes_nothing():
    block = np.ones((2, 3, 3))
    assert Filler(np.zeros((3, 3), bool)).fill(block) is block


def test_scan_without_any_data_is_refused():
    with pytest.raises(ValueError, match="all 9 positions"):
        Filler(np.ones((3, 3), bool))
