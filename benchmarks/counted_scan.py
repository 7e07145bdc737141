"""Electron events as a counting camera leaves them, as many as wanted, made row by row.

A bright-field disk of 110 px on 576 x 576 pixels that wanders by 3 px, 85 % of the electrons in it,
12 % in a halo that falls off as the inverse fourth power of the radius, 3 % anywhere. At each scan
position a pixel has one electron at most, and the events are sorted, as counted frames are.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numba import njit

from tasks.store.stempy_file import write_stempy_file

DETECTOR = (576, 576)
CENTER, RADIUS = (291.3, 284.6), 110.0
IN_DISK, IN_HALO = 0.85, 0.12


def scan_rows(
    side: int, electrons: float, seed: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Events of each row of a square scan.

    Parameters
    ----------
    side : int
        Scan positions along a side.
    electrons : float
        Mean electrons of a frame, before those that share a pixel are counted once.
    seed : int
        Of the random numbers.

    Yields
    ------
    indptr : (side + 1,) int64
    indices : (events,) uint32
        Of one scan row.
    """
    rng = np.random.default_rng(seed)
    for _ in range(side):
        counts = rng.poisson(electrons, side)
        shift = rng.uniform(-3, 3, (side, 2))
        yield _row(counts, rng.random((int(counts.sum()), 3)), shift + CENTER, *DETECTOR)


def whole_scan(side: int, electrons: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Events of a whole scan in memory, ``indptr`` and ``indices``."""
    rows = list(scan_rows(side, electrons, seed))
    lengths = np.concatenate([np.diff(indptr) for indptr, _ in rows])
    return np.concatenate([[0], np.cumsum(lengths)]), np.concatenate([row for _, row in rows])


def write_scan(path: Path, side: int, electrons: float) -> int:
    """Write a scan as an electron-counted file; returns its events."""
    return write_stempy_file(path, scan_rows(side, electrons), (side, side), DETECTOR)


@njit(cache=True)
def _row(counts, random, centers, rows, cols):
    indptr, indices = np.zeros(counts.size + 1, np.int64), np.empty(len(random), np.uint32)
    hit, drawn, kept = np.zeros(rows * cols, np.uint8), 0, 0
    for position in range(counts.size):
        first = kept
        for _ in range(counts[position]):
            kind, far, turn = random[drawn]
            drawn += 1
            if kind < IN_DISK:
                radius = RADIUS * np.sqrt(far)
            elif kind < IN_DISK + IN_HALO:
                radius = RADIUS / np.sqrt(1 - 0.98 * far)
            if kind < IN_DISK + IN_HALO:
                row = int(centers[position, 0] + radius * np.sin(2 * np.pi * turn) + 0.5)
                col = int(centers[position, 1] + radius * np.cos(2 * np.pi * turn) + 0.5)
            else:
                row, col = int(far * rows), int(turn * cols)
            pixel = row * cols + col
            if 0 <= row < rows and 0 <= col < cols and not hit[pixel]:
                hit[pixel] = 1
                indices[kept] = pixel
                kept += 1
        indices[first:kept].sort()
        for event in range(first, kept):
            hit[indices[event]] = 0
        indptr[position + 1] = kept
    return indptr, indices[:kept].copy()
