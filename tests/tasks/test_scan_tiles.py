"""Tiles cover a scan, share their edges, and belong to the data alone."""

import numpy as np
import pytest

from tasks.scan_tiles import cut_scan, tiles_for


def raster(rows=12, cols=20, step=0.5):
    y, x = np.indices((rows, cols)) * step
    return y.ravel(), x.ravel()


def test_every_position_is_one_tiles_own():
    y, x = places = raster()
    tiles = cut_scan(places, (2, 3), 1.0)
    assert len(tiles) == 6
    owned = np.concatenate([tile.members[tile.own] for tile in tiles])
    np.testing.assert_array_equal(np.sort(owned), np.arange(y.size))
    first = tiles[0].members
    assert y[first].max() == pytest.approx(2.5 + 1.0, abs=0.5)
    assert x[first].max() == pytest.approx(9.5 / 3 + 1.0, abs=0.5)


def test_neighbours_share_twice_the_reach():
    _, x = places = raster(rows=1, cols=101, step=1.0)
    left, right = cut_scan(places, (1, 2), 7.0)
    shared = np.intersect1d(left.members, right.members)
    assert (x[shared].min(), x[shared].max()) == (43, 57)


def test_positions_may_lie_anywhere_and_empty_tiles_are_left_out():
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ring = 10 * np.sin(turn), 10 * np.cos(turn)
    tiles = cut_scan(ring, (5, 5), 0.5)
    assert len(tiles) < 25
    assert sum(tile.own.sum() for tile in tiles) == 60
    (one,) = cut_scan((np.zeros(3), np.zeros(3)), (1, 1), 1.0)
    assert one.own.all()


def test_as_many_tiles_as_keep_each_small():
    square, wide = raster(20, 20), raster(8, 64)
    assert tiles_for(1000, square, 1000) == (1, 1)
    assert tiles_for(4000, square, 1000) == (2, 2)
    assert tiles_for(4000, wide, 1000) == (1, 4)
    rows, cols = tiles_for(7000, square, 1000)
    assert rows * cols >= 7
