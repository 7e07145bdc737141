"""A scan cut into overlapping tiles, each of which is worked on alone."""

from collections.abc import Sequence
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np

TILE_BYTES = 2 * 2**30
"""Patterns of a tile, where the job does not say how many tiles: they fit on any device."""


class ScanTile(NamedTuple):
    """Some positions of a scan, by their numbers."""

    members: np.ndarray
    """(some,) int64: positions of the tile, with those that it shares with its neighbours."""
    own: np.ndarray
    """(some,) bool: which of them are its own and no other's."""


def tiles_for(
    size: int, places: tuple[np.ndarray, np.ndarray], most: int = TILE_BYTES
) -> tuple[int, int]:
    """Fewest tiles of about equal sides that keep each small.

    Parameters
    ----------
    size : int
        Of all patterns [bytes], or how many positions there are.
    places : (y, x)
        Positions, each (positions,) float64.
    most : int
        Size of a tile.

    Returns
    -------
    (rows, columns)
        Of tiles. It depends on the data alone, so that a result does not depend on the machine.
    """
    count = ceil(size / most)
    height, width = (max(float(np.ptp(along)), 1e-9) for along in places)
    rows = min(count, max(1, round(sqrt(count * height / width))))
    return rows, ceil(count / rows)


def cut_scan(
    places: tuple[np.ndarray, np.ndarray], tiles: tuple[int, int], reach: float
) -> list[ScanTile]:
    """Cut a scan into rows and columns of tiles.

    Parameters
    ----------
    places : (y, x)
        Positions, each (positions,) float64; any, not only a raster.
    tiles : (rows, columns)
        Of tiles, equally wide.
    reach : float
        How far a tile reaches into its neighbours, in the units of the places.

    Returns
    -------
    list of ScanTile
        Every position is one tile's own. Tiles without a position of their own are left out.
    """
    edges = tile_edges(places, tiles)
    whose = []
    for along, count, ends in zip(places, tiles, edges, strict=True):
        width = (ends[-1] - ends[0]) / count
        whose.append(np.minimum(((along - ends[0]) / width).astype(np.int64), count - 1))
    out = []
    for row in range(tiles[0]):
        for column in range(tiles[1]):
            own = (whose[0] == row) & (whose[1] == column)
            members = np.flatnonzero(own | in_tile(places, edges, (row, column), reach))
            if own.any():
                out.append(ScanTile(members, own[members]))
    return out


def tile_edges(
    places: tuple[np.ndarray, np.ndarray], tiles: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Where rows and columns of tiles, equally wide, meet.

    Parameters
    ----------
    places : (y, x)
        Positions of the whole scan, each (positions,) float64.
    tiles : (rows, columns)
        Of tiles.

    Returns
    -------
    y, x : (rows + 1,) and (columns + 1,) float64
        In the units of the places.
    """
    y, x = (
        along.min() + max(float(np.ptp(along)) / count, 1e-9) * np.arange(count + 1)
        for along, count in zip(places, tiles, strict=True)
    )
    return y, x


def in_tile(
    places: tuple[np.ndarray, np.ndarray],
    edges: tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray],
    tile: tuple[int, int],
    reach: float,
) -> np.ndarray:
    """(positions,) bool: which of some positions lie in a tile or within its reach.

    Parameters
    ----------
    places : (y, x)
        Positions, each (positions,) float64, all of a scan or some.
    edges : (y, x)
        From ``tile_edges``.
    tile : (row, column)
        Of tiles.
    reach : float
        How far it reaches into its neighbours, in the units of the places.
    """
    inside: np.ndarray = np.ones(places[0].shape, bool)
    for along, ends, n in zip(places, edges, tile, strict=True):
        inside &= (along >= ends[n] - reach) & (along <= ends[n + 1] + reach)
    return inside
