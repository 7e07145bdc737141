"""Objects and images that were made tile by tile become one, by least squares.

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

WELL_LIT = 0.3
"""Part of the brightest illumination that makes a pixel one of a tile's own."""
FADING = 1e-4
"""Weight of what lies outside, relative to a pixel at the edge."""
NOTHING = 1e-9
"""Relative size of what the equations of planes do not tell."""


class Tile(NamedTuple):
    """The object or image of one tile."""

    obj: np.ndarray
    """(rows, cols) complex; an image is of real numbers."""
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


class MergedImage(NamedTuple):
    """The image of all tiles."""

    image: np.ndarray
    """(rows, cols) float32; NaN where no tile is."""
    origin: tuple[int, int]
    """Place of its first pixel [px]."""
    offsets: np.ndarray
    """(tiles,) float64: what was taken from each tile; the mean is 0."""
    disagreement: float
    """Root mean square by which tiles differ where they overlap."""


def merge_images(tiles: Sequence[Tile]) -> MergedImage:
    """Merge overlapping images, each of which is known up to a constant.

    Parameters
    ----------
    tiles : sequence of Tile
        On one grid of pixels; what is not a number has no weight.

    Returns
    -------
    MergedImage
        Where tiles overlap, their weighted mean, as ``merge_tiles`` has it. A tile that overlaps no
        other stands as it is.

    Raises
    ------
    ValueError
        If there is no tile.
    """
    canvas = _canvas_of(tiles)
    seen = [np.isfinite(tile.obj) for tile in tiles]
    weights = [
        np.where(own, tile_weight(tile.lit), 0) for tile, own in zip(tiles, seen, strict=True)
    ]
    images = [np.where(own, tile.obj, 0.0) for tile, own in zip(tiles, seen, strict=True)]
    offsets = _solve(tiles, images, weights, canvas, False)[:, 0]
    offsets -= offsets.mean()
    images = [image - offset for image, offset in zip(images, offsets, strict=True)]
    whole = canvas.mean(tiles, images, weights, np.nan)
    rests = [image - whole[canvas.place(t)] for image, t in zip(images, tiles, strict=True)]
    rest = _disagreement(tiles, rests, weights, canvas)
    return MergedImage(whole.astype(np.float32), canvas.origin, offsets, rest)


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
    canvas = _canvas_of(tiles)
    weights = [tile_weight(tile.lit) for tile in tiles]
    planes = _brought_near(tiles, weights, canvas, free_probe)
    away = [_turned(tile, plane) for tile, plane in zip(tiles, planes, strict=True)]
    whole = canvas.mean(tiles, away, weights)
    found = _solve(tiles, _rests(tiles, away, whole, canvas), weights, canvas, free_probe)
    planes = _centred(planes + found, tiles)
    away = [_turned(tile, plane) for tile, plane in zip(tiles, planes, strict=True)]
    factors = np.ones(len(tiles))
    if free_probe:
        logarithms = [np.log(np.maximum(np.abs(tile.obj), 1e-3)) for tile in tiles]
        logs = _solve(tiles, logarithms, weights, canvas, False)[:, 0]
        factors = np.exp(logs - logs.mean())
    away = [obj / factor for obj, factor in zip(away, factors, strict=True)]
    whole = canvas.mean(tiles, away, weights)
    rests = _rests(tiles, away, whole, canvas)
    rest = _disagreement(tiles, rests, weights, canvas)
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

    def part(self, corners) -> tuple[slice, slice]:
        """Where a rectangle lies, from its first pixel to that after its last."""
        (y0, x0), (y1, x1) = (np.subtract(corner, self.origin) for corner in corners)
        return slice(int(y0), int(y1)), slice(int(x0), int(x1))

    def mean(self, tiles, objects, weights, outside: float = 1) -> np.ndarray:
        """(rows, cols) complex128 or float64: weighted mean of the tiles' objects."""
        total, weight = np.zeros(self.shape, objects[0].dtype), np.zeros(self.shape)
        for tile, obj, own in zip(tiles, objects, weights, strict=True):
            total[self.place(tile)] += own * obj
            weight[self.place(tile)] += own
        return np.where(weight > 0, total / np.where(weight > 0, weight, 1), outside)


def _canvas_of(tiles: Sequence[Tile]) -> _Canvas:
    if not tiles:
        raise ValueError("there are no tiles to merge")
    low = np.min([tile.origin for tile in tiles], axis=0)
    high = np.max([np.add(tile.origin, tile.obj.shape) for tile in tiles], axis=0)
    return _Canvas((int(low[0]), int(low[1])), (int(high[0] - low[0]), int(high[1] - low[1])))


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
    """(tiles, 3) planes of the tiles' images about what they have in common.

    Σ_t w_t (I_t − plane_t − mean)² → min, with the weighted mean of all tiles at each pixel, is a
    sum over pairs, Σ_{t<u} (w_t w_u / Σw) (I_t − plane_t − I_u + plane_u)²: overlaps are all that
    is looked at, and the planes are all that is solved for.
    """
    terms = 3 if slopes else 1
    matrix = np.zeros((len(tiles), terms, len(tiles), terms))
    right = np.zeros((len(tiles), terms))
    total = np.zeros(canvas.shape)
    for tile, own in zip(tiles, weights, strict=True):
        total[canvas.place(tile)] += own
    for n, one in enumerate(tiles):
        for m in range(n):
            if (shared := _shared(one, tiles[m])) is None:
                continue
            here, there, at = shared
            both = weights[n][here] * weights[m][there]
            weight = both / np.where(both > 0, total[canvas.part(at)], 1)
            away = np.where(both > 0, images[n][here] - images[m][there], 0)
            a, b = _terms(one, terms)[:, *here], _terms(tiles[m], terms)[:, *there]
            for x, first, y, second, sign in ((n, a, n, a, 1), (m, b, m, b, 1), (n, a, m, b, -1)):
                added = sign * np.einsum("kij,lij,ij->kl", first, second, weight, optimize=True)
                matrix[x, :, y] += added
                if x != y:
                    matrix[y, :, x] += added.T
            right[n] += np.einsum("kij,ij->k", a, weight * away)
            right[m] -= np.einsum("kij,ij->k", b, weight * away)
    # What all tiles have in common is nobody's: of all solutions, the least.
    size = matrix.shape[0] * terms
    found = np.linalg.lstsq(matrix.reshape(size, size), right.ravel(), rcond=NOTHING)[0]
    planes = np.zeros((len(tiles), 3))
    planes[:, :terms] = found.reshape(-1, terms)
    planes[:, 1:] /= [_half(tile) for tile in tiles]
    return planes


def _shared(one: Tile, other: Tile):
    """Rows and columns that two tiles share, in each of them, and as (corner, end); or None."""
    low = np.maximum(one.origin, other.origin)
    high = np.minimum(np.add(one.origin, one.obj.shape), np.add(other.origin, other.obj.shape))
    if (high <= low).any():
        return None
    here, there = (
        tuple(slice(int(a), int(b)) for a, b in zip(low - t.origin, high - t.origin, strict=True))
        for t in (one, other)
    )
    return here, there, (low, high)


def _half(tile: Tile) -> tuple[float, float]:
    """Half a tile's height and width [px]."""
    rows, cols = tile.obj.shape
    return max((rows - 1) / 2, 1), max((cols - 1) / 2, 1)


def _terms(tile: Tile, terms: int) -> np.ndarray:
    """(1 or 3, rows, cols): a constant, and slopes from -1 to 1 across the tile."""
    planes = [(1, 0, 0), (0, 1 / _half(tile)[0], 0), (0, 0, 1 / _half(tile)[1])][:terms]
    shape = tile.obj.shape
    return np.stack([np.broadcast_to(_plane(tile, np.array(one)), shape) for one in planes])


def _centred(planes: np.ndarray, tiles) -> np.ndarray:
    """Planes without the mean slope, and then the mean constant, of all tiles."""
    middles = np.array([np.add(t.origin, np.subtract(t.obj.shape, 1) / 2) for t in tiles])
    slope = planes[:, 1:].mean(axis=0)
    out = planes.copy()
    out[:, 1:] -= slope
    out[:, 0] -= middles @ slope
    out[:, 0] -= out[:, 0].mean()
    return out


def _rests(tiles, objects, whole, canvas: _Canvas) -> list[np.ndarray]:
    """Phases of the tiles' objects beside that of all [rad]."""
    return [
        np.angle(obj * np.conj(whole[canvas.place(tile)]))
        for tile, obj in zip(tiles, objects, strict=True)
    ]


def _disagreement(tiles, rests, weights, canvas: _Canvas) -> float:
    total, count = 0.0, 0.0
    covered = np.zeros(canvas.shape)
    inside = [own >= 1 for own in weights]
    for tile, own in zip(tiles, inside, strict=True):
        covered[canvas.place(tile)] += own
    for tile, rest, own in zip(tiles, rests, inside, strict=True):
        both = own & (covered[canvas.place(tile)] > 1)
        total += (rest[both] ** 2).sum()
        count += both.sum()
    return float(np.sqrt(total / count)) if count else 0.0
