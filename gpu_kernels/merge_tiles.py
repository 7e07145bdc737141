"""Objects that were reconstructed tile by tile become one, by the least squares of ``stitch``.

No pattern sees the constant phase of an object. Where the probe is sought too, neither does it see
a plane of the phase, which the probe takes back by moving in the Fourier plane, nor a factor of the
amplitude, which the probe takes back by its own. Each tile has its own of these; they follow from
where tiles overlap, jointly for all tiles. A phase is known to whole turns: tiles are first brought
near one another by what their products say, which no turn disturbs, and what is then left is small.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt

from gpu_kernels.stitch import stitch

WELL_LIT = 0.3
"""Part of the brightest illumination that makes a pixel one of a tile's own."""
FADING = 1e-4
"""Weight of what lies outside, relative to a pixel at the edge."""
MOST_ROUNDS = 500


class Tile(NamedTuple):
    """The object of one tile."""

    obj: np.ndarray
    """(rows, cols) complex."""
    origin: tuple[int, int]
    """Place of its first pixel [px]."""
    lit: np.ndarray
    """(rows, cols) float64: electrons that each pixel saw."""


class Merged(NamedTuple):
    """The object of all tiles."""

    obj: np.ndarray
    """(rows, cols) complex64; 1 where no tile is."""
    origin: tuple[int, int]
    """Place of its first pixel [px]."""
    phases: np.ndarray
    """(tiles, 3) float64: what was taken from each tile's phase in its middle [rad], and its slope
    along y and x [rad/px]. Their means over the tiles are zero."""
    factors: np.ndarray
    """(tiles,) float64: what each tile's amplitude was divided by; their geometric mean is 1."""
    disagreement: float
    """Root mean square by which the phases of tiles differ where they overlap [rad]."""


def merge_tiles(tiles: Sequence[Tile], *, free_probe: bool = False) -> Merged:
    """Merge overlapping objects.

    Parameters
    ----------
    tiles : sequence of Tile
        On one grid of pixels, each overlapping another.
    free_probe : bool
        Whether each tile had a probe of its own to find, so that slopes and factors are to be
        found as well as constants.

    Returns
    -------
    Merged
        Where tiles overlap, their weighted mean: a tile counts the more the further in it is.

    Raises
    ------
    ValueError
        If there is no tile, or one overlaps no other.
    """
    if not tiles:
        raise ValueError("there are no tiles to merge")
    low = np.min([tile.origin for tile in tiles], axis=0)
    high = np.max([np.add(tile.origin, tile.obj.shape) for tile in tiles], axis=0)
    canvas = _Canvas((int(low[0]), int(low[1])), (int(high[0] - low[0]), int(high[1] - low[1])))
    weights = [tile_weight(tile.lit) for tile in tiles]
    planes = _brought_near(tiles, weights, canvas, free_probe)
    away = [_turned(tile, plane) for tile, plane in zip(tiles, planes, strict=True)]
    whole = canvas.mean(tiles, away, weights)
    rests = [
        np.angle(obj * np.conj(whole[canvas.place(tile)]))
        for tile, obj in zip(tiles, away, strict=True)
    ]
    found = _solve(tiles, rests, weights, canvas, free_probe)
    planes = _centred(planes + found, tiles)
    away = [_turned(tile, plane) for tile, plane in zip(tiles, planes, strict=True)]
    factors = np.ones(len(tiles))
    if free_probe:
        logarithms = [np.log(np.maximum(np.abs(tile.obj), 1e-3)) for tile in tiles]
        logs = _solve(tiles, logarithms, weights, canvas, False)[:, 0]
        factors = np.exp(logs - logs.mean())
    away = [obj / factor for obj, factor in zip(away, factors, strict=True)]
    whole = canvas.mean(tiles, away, weights)
    rest = _disagreement(tiles, away, weights, whole, canvas)
    return Merged(whole.astype(np.complex64), canvas.origin, planes, factors, rest)


def tile_weight(lit: np.ndarray) -> np.ndarray:
    """How much each pixel of a tile counts beside those of its neighbours.

    Parameters
    ----------
    lit : (rows, cols) float64
        Electrons that each pixel saw.

    Returns
    -------
    (rows, cols) float64
        The squared distance from the edge of what is well lit [px²]: near the edge, the patterns of
        the other side are missed. Outside, a trace of the illumination.
    """
    bright = lit / lit.max()
    inside = np.pad(bright > WELL_LIT, 1)
    distance: np.ndarray = distance_transform_edt(inside)[1:-1, 1:-1]
    return np.where(distance > 0, distance**2, FADING * bright**2)


class _Canvas:
    """The grid that all tiles lie on."""

    def __init__(self, origin: tuple[int, int], shape: tuple[int, int]) -> None:
        self.origin, self.shape = origin, shape

    def place(self, tile: Tile) -> tuple[slice, slice]:
        """Where a tile lies."""
        y, x = np.subtract(tile.origin, self.origin)
        rows, cols = tile.obj.shape
        return slice(int(y), int(y) + rows), slice(int(x), int(x) + cols)

    def mean(self, tiles, objects, weights) -> np.ndarray:
        """(rows, cols) complex128: weighted mean of the tiles' objects."""
        total, weight = np.zeros(self.shape, complex), np.zeros(self.shape)
        for tile, obj, own in zip(tiles, objects, weights, strict=True):
            total[self.place(tile)] += own * obj
            weight[self.place(tile)] += own
        return np.where(weight > 0, total / np.where(weight > 0, weight, 1), 1)


def _plane(tile: Tile, plane: np.ndarray) -> np.ndarray:
    """(rows, cols) phase of a constant in the tile's middle, and slopes."""
    rows, cols = tile.obj.shape
    y = np.arange(rows)[:, None] - (rows - 1) / 2
    x = np.arange(cols) - (cols - 1) / 2
    return plane[0] + plane[1] * y + plane[2] * x


def _turned(tile: Tile, plane: np.ndarray) -> np.ndarray:
    return tile.obj * np.exp(-1j * _plane(tile, plane))


def _brought_near(tiles, weights, canvas: _Canvas, slopes: bool) -> np.ndarray:
    """(tiles, 3) planes that bring tile after tile near those before it, most overlap first."""
    planes = np.zeros((len(tiles), 3))
    total, weight = np.zeros(canvas.shape, complex), np.zeros(canvas.shape)
    waiting = list(range(len(tiles)))
    for turn in range(len(tiles)):
        shared = [(weights[n] * weight[canvas.place(tiles[n])]).sum() for n in waiting]
        best = int(np.argmax(shared))
        n = waiting.pop(best)
        at = canvas.place(tiles[n])
        if turn > 0:
            if not shared[best] > 0:
                raise ValueError(
                    f"tile {n} of {len(tiles)}, {tiles[n].obj.shape} pixels from "
                    f"{tiles[n].origin}, overlaps none of the others"
                )
            product = weights[n] * tiles[n].obj * np.conj(total[at])
            planes[n] = _plane_of(product, slopes)
        total[at] += weights[n] * _turned(tiles[n], planes[n])
        weight[at] += weights[n]
    return planes


def _plane_of(product: np.ndarray, slopes: bool) -> np.ndarray:
    """Constant in the middle and slopes of the phase of a product, whatever turns it makes."""
    size = np.abs(product)
    root = product / np.sqrt(np.where(size > 0, size, 1))
    plane = np.zeros(3)
    if slopes:
        plane[1] = np.angle(np.vdot(root[:-1], root[1:]))
        plane[2] = np.angle(np.vdot(root[:, :-1], root[:, 1:]))
    tile = Tile(product, (0, 0), size)
    plane[0] = np.angle(_turned(tile, plane).sum())
    return plane


def _solve(tiles, images, weights, canvas: _Canvas, slopes: bool) -> np.ndarray:
    """(tiles, 3) planes of the tiles' images about what they have in common."""
    side = np.max([tile.obj.shape for tile in tiles], axis=0)
    patches = np.zeros((len(tiles), *side), np.float32)
    weight = np.zeros((len(tiles), *side), np.float32)
    for n, (tile, image, own) in enumerate(zip(tiles, images, weights, strict=True)):
        rows, cols = tile.obj.shape
        patches[n, :rows, :cols], weight[n, :rows, :cols] = image, own
    positions = np.array([tile.origin for tile in tiles]) - canvas.origin + side // 2
    found = stitch(
        patches, positions, weight / weight.max(), canvas.shape, ramps=slopes, tolerance=1e-6,
        most_rounds=MOST_ROUNDS,
    ).factors  # fmt: skip
    planes = np.zeros((len(tiles), 3))
    planes[:, : found.shape[1]] = found
    if slopes:
        # From the weighted centre to the middle of the tile.
        for n, own in enumerate(weights):
            for axis in (0, 1):
                lines = own.sum(axis=1 - axis)
                centre = (lines * np.arange(lines.size)).sum() / lines.sum()
                planes[n, 0] += ((lines.size - 1) / 2 - centre) * planes[n, 1 + axis]
    return planes


def _centred(planes: np.ndarray, tiles) -> np.ndarray:
    """Planes without the mean slope, and then the mean constant, of all tiles."""
    middles = np.array([np.add(t.origin, np.subtract(t.obj.shape, 1) / 2) for t in tiles])
    slope = planes[:, 1:].mean(axis=0)
    out = planes.copy()
    out[:, 1:] -= slope
    out[:, 0] -= middles @ slope
    out[:, 0] -= out[:, 0].mean()
    return out


def _disagreement(tiles, objects, weights, whole, canvas: _Canvas) -> float:
    total, count = 0.0, 0.0
    covered = np.zeros(canvas.shape)
    inside = [own >= 1 for own in weights]
    for tile, own in zip(tiles, inside, strict=True):
        covered[canvas.place(tile)] += own
    for tile, obj, own in zip(tiles, objects, inside, strict=True):
        at = canvas.place(tile)
        both = own & (covered[at] > 1)
        total += (np.angle(obj * np.conj(whole[at]))[both] ** 2).sum()
        count += both.sum()
    return float(np.sqrt(total / count)) if count else 0.0
