"""Tiles of neighbouring patterns, spread over a scan: what the search for a probe looks at."""

import numpy as np

from models.geometry import Geometry
from models.joint_fit import Block
from models.pair_prediction import DiskGrid, covariances, whitened
from models.probe_family import unit_wavefronts
from models.probe_search import Neighbours
from tasks.patterns import PatternGrid, read_patterns
from tasks.store.events import EventStore

TILE = 32
"""Scan positions along a side of a tile."""
TILES = 9
BLOCK = 20
"""Scan positions along a side of a block that is fitted."""
BLOCKS = 4
APART = (1, 3)
"""Scan positions between the patterns of a pair."""
PAIRS = 100
"""That are compared patch by patch, where that is the objective."""
BRIGHT = 0.3
"""Part of the disk's brightness from which on a pixel is looked at."""


Tiles = list[tuple[np.ndarray, np.ndarray]]
"""What belongs to the positions of a tile, (rows, cols, …), and which of them count."""


class ProbeError(ValueError):
    """A recording that does not tell its probe."""


def look(
    events: EventStore, grid: PatternGrid, geometry: Geometry, third_order: bool, seed: int
) -> tuple[Neighbours, list[Block]]:
    """Read the tiles: moments of all their pairs, and the blocks with most to be seen.

    Parameters
    ----------
    events, grid, geometry
        Of the dataset.
    third_order : bool
        Whether the blocks' wavefronts go to third order.
    seed : int
        Chooses the pairs that are compared patch by patch.

    Raises
    ------
    ProbeError
        If there are too few neighbouring patterns.
    """
    ky, kx = (k / geometry.aperture for k in grid.wavevectors)
    ky, kx = np.broadcast_arrays(ky, kx)
    good = ~events.unusable() & (events.frame_scale() == 1)
    tiles = [_tile(events, grid, good, corner) for corner in _corners(events.scan_shape)]
    whole = [(p, ok) for p, ok in tiles if ok.any()]
    if not whole:
        raise ProbeError(f"{events.path}: no scan position has a whole frame")
    seen = sum(int(ok.sum()) for _, ok in whole)
    mean = sum(p[ok].sum(axis=0, dtype=np.float64) for p, ok in whole) / seen
    rho = np.hypot(ky, kx)
    used = (rho < 1) & (mean > BRIGHT * np.percentile(mean[rho < 0.9], 95))
    amplitude = np.sqrt(mean[used])
    white = [(whitened(p[..., used], amplitude), ok) for p, ok in whole]
    every = np.concatenate([w[ok] for w, ok in white])
    pairs, steps = _all_pairs(white, grid, geometry)
    if not pairs:
        raise ProbeError(
            f"{events.path}: no two neighbouring scan positions have whole frames; the probe is "
            "found from pairs of them. Give the aberrations in the job."
        )
    pixels = geometry.pixel_wavevector * grid.bin
    wavefronts = unit_wavefronts(ky, kx, third_order)
    disk = DiskGrid(
        grid.side,
        ky[used] * geometry.aperture / pixels,
        kx[used] * geometry.aperture / pixels,
        amplitude,
        wavefronts[:7, used],
    )
    rng = np.random.default_rng(seed)
    some = [rng.integers(0, len(first), PAIRS // 2) for first, _ in pairs[:2]]
    counts = []
    for axis, pick in enumerate(some):
        first, second = _joined(whole, APART[0], axis)
        counts.append((first[pick], second[pick]))
    neighbours = Neighbours(
        disk,
        covariances(every, pairs, steps),
        tuple((a[pick], b[pick]) for (a, b), pick in zip(pairs[:2], some, strict=True)),
        tuple(steps[:2]),
        geometry.radius / grid.bin,
        np.sqrt(mean),
        wavefronts[:7],
        tuple(counts),
    )
    places = {axis: np.array(_step(geometry, grid, 1, axis)) for axis in (0, 1)}
    found = (_block(*whole[n], places, np.sqrt(mean), wavefronts) for n in _most_telling(white))
    blocks = [block for block in found if block is not None][:BLOCKS]
    if not blocks:
        raise ProbeError(f"{events.path}: too few neighbouring scan positions have whole frames")
    return neighbours, blocks


def _all_pairs(
    white: Tiles, grid: PatternGrid, geometry: Geometry
) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[tuple[float, float]]]:
    """Pairs of each distance and axis that has any, and how far apart they are."""
    pairs, steps = [], []
    for apart in APART:
        for axis in (0, 1):
            first, second = _joined(white, apart, axis)
            if len(first):
                pairs.append((first, second))
                steps.append(_step(geometry, grid, apart, axis))
    return pairs, steps


def _joined(tiles: Tiles, apart: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and the second of the pairs of all tiles."""
    found = [_pairs(one, ok, apart, axis) for one, ok in tiles]
    first, second = (np.concatenate(part) for part in zip(*found, strict=True))
    return first, second


def _most_telling(white: Tiles) -> list[int]:
    """Tiles in the order of how far their patterns are from the mean."""
    return sorted(range(len(white)), key=lambda n: -float(np.mean(white[n][0][white[n][1]] ** 2)))


def _corners(scan_shape: tuple[int, int]) -> list[tuple[int, int]]:
    """First positions of tiles, spread over the scan."""
    along = int(np.sqrt(TILES))
    rows, cols = (
        sorted({int(n) for n in np.linspace(0, max(0, length - TILE), along)})
        for length in scan_shape
    )
    return [(row, col) for row in rows for col in cols]


def _tile(
    events: EventStore, grid: PatternGrid, good: np.ndarray, corner: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Patterns (rows, cols, side, side) of a tile, and which of them count."""
    chosen = np.zeros(events.scan_shape, bool)
    chosen[corner[0] : corner[0] + TILE, corner[1] : corner[1] + TILE] = True
    shape = tuple(min(TILE, n - c) for n, c in zip(events.scan_shape, corner, strict=True))
    patterns = read_patterns(events, grid, chosen).reshape(*shape, grid.side, grid.side)
    return patterns, good[chosen].reshape(shape) & (patterns.sum(axis=(2, 3)) > 0)


def _pairs(
    white: np.ndarray, good: np.ndarray, apart: int, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """First and second patterns of all pairs of a tile."""
    near = [slice(None), slice(None)]
    far = [slice(None), slice(None)]
    near[axis], far[axis] = slice(None, -apart), slice(apart, None)
    both = good[tuple(near)] & good[tuple(far)]
    return white[tuple(near)][both], white[tuple(far)][both]


def _step(geometry: Geometry, grid: PatternGrid, apart: int, axis: int) -> tuple[float, float]:
    """From a position to another along an axis of the scan, in pixels of the probe's window."""
    along = [0.0, 0.0]
    along[axis] = apart * geometry.scan_step[axis]
    y, x = geometry.scan_to_detector(*(np.array(a) for a in along))
    return float(y) / grid.sampling, float(x) / grid.sampling


def _block(
    patterns: np.ndarray,
    good: np.ndarray,
    places: dict[int, np.ndarray],
    amplitude: np.ndarray,
    wavefronts: np.ndarray,
) -> Block | None:
    """The middle of a tile; None where it has next to nothing."""
    rows, cols = (min(BLOCK, n) for n in good.shape)
    top, left = (good.shape[0] - rows) // 2, (good.shape[1] - cols) // 2
    at = np.s_[top : top + rows, left : left + cols]
    keep = good[at]
    if keep.sum() < 16:
        return None
    y, x = (index[:, None] for index in np.nonzero(keep))
    return Block(
        patterns[at][keep].astype(np.float32), y * places[0] + x * places[1], amplitude, wavefronts
    )
