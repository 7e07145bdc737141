"""What the units of the step ``cnn`` see: patterns as networks know them, and where they lie."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from models.geometry import Geometry
from tasks.calibrate import open_calibrated
from tasks.patterns import PatternGrid, choose_grid, read_patterns
from tasks.store.events import EventStore

SIDE = 32
"""Binned pixels along a side of a pattern: what networks see."""
NETWORK = "network.safetensors"
"""File in the step's folder: what retrieves the patches."""
DISK_RADIUS = 7.5
"""Of the bright-field disk, in binned pixels, as near as whole bins come: twice the disk and all
that weak scattering does to it fit into a pattern."""


def scene(work: Path) -> tuple[EventStore, Geometry, PatternGrid]:
    """Events, geometry and grid of a dataset."""
    events, geometry, aberrations = open_calibrated(work)
    return events, geometry, network_grid(geometry, events, aberrations)


def network_grid(geometry: Geometry, events: EventStore, aberrations: Any) -> PatternGrid:
    """Patterns of 32 x 32 pixels with the disk as large as networks know it."""
    bin = max(1, round(geometry.radius / DISK_RADIUS))
    return choose_grid(geometry, aberrations, events.detector_shape, bin, SIDE)


def roots_of(
    events: EventStore, grid: PatternGrid, slab: int, stride: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """√counts of a slab's usable positions, zero frequency in the middle, and which they are.

    Returns
    -------
    roots : (positions, 32, 32) float32
        [√e].
    chosen : (rows, cols) bool
        Of the slab's positions: those that have whole frames and lie on the stride.
    """
    first, last = events.rows(slab)
    chosen = np.zeros(events.scan_shape, bool)
    chosen[first:last] = ~events.unusable()[first:last]
    chosen &= on_stride(events.scan_shape, stride)
    counts = read_patterns(events, grid, chosen)
    return scipy.fft.fftshift(np.sqrt(counts, dtype=np.float32), axes=(1, 2)), chosen[first:last]


def on_stride(shape: tuple[int, int], stride: int) -> np.ndarray:
    """(scan_y, scan_x) bool: every so many positions along both axes."""
    rows, cols = (np.arange(n) % stride == 0 for n in shape)
    return rows[:, None] & cols
