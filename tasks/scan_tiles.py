"""A scan cut into overlapping tiles, each of which is worked on alone."""

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


def tiles_for(size: int, places: tuple[np.ndarray, np.ndarray]) -> tuple[int, int]:
    """Fewest tiles of about equal sides that keep the patterns of each small.

    Parameters
    ----------
    size : int
        Of all patterns [bytes].
    places : (y, x)
        Positions, each (positions,) float64.

    Returns
    -------
    (rows, columns)
        Of tiles. It depends on the data alone, so that a result does not depend on the machine.
    """
    count = ceil(size / TILE_BYTES)
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
    whose, near = [], []
    for along, count in zip(places, tiles, strict=True):
        low, width = along.min(), max(float(np.ptp(along)) / count, 1e-9)
        whose.append(np.minimum(((along - low) / width).astype(np.int64), count - 1))
        edges = low + width * np.arange(count + 1)
        near.append(
            [(along >= edges[n] - reach) & (along <= edges[n + 1] + reach) for n in range(count)]
        )
    out = []
    for row in range(tiles[0]):
        for column in range(tiles[1]):
            own = (whose[0] == row) & (whose[1] == column)
            members = np.flatnonzero(own | (near[0][row] & near[1][column]))
            if own.any():
                out.append(ScanTile(members, own[members]))
    return out
