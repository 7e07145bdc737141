"""A recording, or a window of its scan, held in memory for the explorer.

Held are the counts of the binned pixels in and around the bright-field disk, their transforms over
the scan G(k, Q) for the frequencies that sidebands reach, the moments of the disk, and the whole
detector in coarse bins for virtual detectors. A new calibration then costs one reduction of G.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
import psutil

from gpu_kernels.dpc import radius_of_com
from gpu_kernels.held_trotters import HeldTrotters
from gpu_kernels.inpaint import Filler
from gpu_kernels.pixel_plan import PixelPlan, annular_masks, plan_pixels, window_bins
from gpu_kernels.reduction import reduce_events
from models.geometry import Geometry
from tasks.store.events import EventStore

DISK_BINS = 24
"""Binned pixels across the disk, as in a job."""
MARGIN = 1.5
"""Binned pixels around the disk that are held too, so that its edge can be moved."""
COARSE_BINS = 40
COARSE_BYTES = 400e6
"""The whole detector is held in at most so many bins a side, and bytes."""
HIGHEST = 2.2
"""Frequencies that are held, in units of k0: sidebands end at 2, of a semi-angle a little wider."""
PIXELS_AT_ONCE = 32
SHARE_OF_MEMORY = 0.6
"""Of the memory that is free: what is left serves the images, and the other programs."""
THREADS = max(1, len(psutil.Process().cpu_affinity() or [0]))

Progress = Callable[[str, float], None]
"""Is told what is going on and which part of it is done, 0 to 1."""


class HeldError(ValueError):
    """The recording cannot be held; says why."""


@dataclass(frozen=True)
class Window:
    """Scan rows and columns, as half-open ranges."""

    y0: int
    y1: int
    x0: int
    x1: int

    @classmethod
    def middle(cls, scan_shape: tuple[int, int], side: int) -> "Window":
        """The middle of a scan, at most ``side`` positions along each side."""
        cuts = []
        for n in scan_shape:
            size = min(n, side)
            cuts += [(n - size) // 2, (n - size) // 2 + size]
        return cls(*cuts)

    @property
    def shape(self) -> tuple[int, int]:
        """Positions (rows, columns)."""
        return self.y1 - self.y0, self.x1 - self.x0

    def of(self, image: np.ndarray) -> np.ndarray:
        """The part of an image (scan_y, scan_x, …) in the window."""
        return image[self.y0 : self.y1, self.x0 : self.x1]


@dataclass(frozen=True)
class Held:
    """What is in memory."""

    window: Window
    whole: bool
    """Whether the window is the whole scan."""
    geometry: Geometry
    """By which disk and margin were chosen."""
    detector_shape: tuple[int, int]
    bin: int
    """Detector pixels along a side of a binned one."""
    rows: np.ndarray
    cols: np.ndarray
    """(pixels,) float64: centres of the binned pixels on the detector [px]."""
    counts: np.ndarray
    """(pixels, scan_y, scan_x) uint8 or uint16 [e]."""
    spectrum: HeldTrotters
    """G(k, Q) of these pixels."""
    com_electrons: np.ndarray
    com_sums: np.ndarray
    """Moments of the disk of ``geometry``: (scan_y, scan_x), (scan_y, scan_x, 2)."""
    frame_electrons: np.ndarray
    """(scan_y, scan_x) uint32: electrons on the whole detector [e]."""
    unusable: np.ndarray
    """(scan_y, scan_x) bool."""
    coarse: np.ndarray
    """(bins, positions) uint8 or uint16: the whole detector [e]."""
    coarse_bin: int
    """Detector pixels along a side of a coarse bin."""

    @property
    def bytes(self) -> int:
        """Size of the arrays."""
        return self.counts.nbytes + self.spectrum.nbytes + self.coarse.nbytes

    @cached_property
    def mean_electrons(self) -> float:
        """Electrons of a whole frame [e]."""
        return float(self.frame_electrons[~self.unusable].mean())

    def covers(self, geometry: Geometry) -> bool:
        """Whether another disk lies within what is held, and its frequencies too."""
        center, radius = self.geometry.center, self.geometry.radius
        moved = np.hypot(geometry.center[0] - center[0], geometry.center[1] - center[1])
        reach = moved + geometry.radius
        grown = geometry.aperture / self.geometry.aperture
        return bool(reach <= radius + MARGIN * self.bin and grown <= HIGHEST / 2)


def projected_bytes(geometry: Geometry, window: Window) -> int:
    """Memory that a window will take, transforms and counts [bytes]."""
    bin, bins = _binning(geometry)
    positions = window.shape[0] * window.shape[1]
    pixels = min(bins**2, ceil(np.pi * (geometry.radius / bin + MARGIN + 1) ** 2))
    reach = [2 * HIGHEST * geometry.aperture * step for step in geometry.scan_step]
    frequencies = min(1.0, reach[0]) * min(1.0, reach[1]) * positions / 2
    # Two bytes for each of both parts; counts take two while they are read.
    coarse = min(2 * COARSE_BYTES, 2 * COARSE_BINS**2 * positions)
    return int(pixels * (4 * frequencies + 2 * positions) + coarse)


def largest_window(store: EventStore, geometry: Geometry) -> Window:
    """The whole scan, or the largest window in its middle that fits into memory."""
    free = SHARE_OF_MEMORY * psutil.virtual_memory().available
    whole = Window(0, store.scan_shape[0], 0, store.scan_shape[1])
    needed = projected_bytes(geometry, whole)
    if needed <= free:
        return whole
    side = int(max(store.scan_shape) * np.sqrt(free / needed)) // 8 * 8
    return Window.middle(store.scan_shape, max(32, side))


def hold(
    store: EventStore, geometry: Geometry, window: Window, progress: Progress = lambda *_: None
) -> Held:
    """Read a window of the scan into memory and transform it.

    Parameters
    ----------
    store : EventStore
        The recording.
    geometry : Geometry
        Where the disk is, and the scan step.
    window : Window
        Which scan positions.
    progress : callable
        Is told how far it is.

    Returns
    -------
    Held

    Raises
    ------
    HeldError
        If no pixel or no position can be used.
    DamagedResultError
        If the store cannot be read.
    """
    bin, bins = _binning(geometry)
    dense_bin, origin = window_bins(store.detector_shape, geometry.center, bin, bins)
    along = bin * (np.arange(bins) + 0.5) - 0.5
    rows, cols = (
        axis.ravel() for axis in np.meshgrid(origin[0] + along, origin[1] + along, indexing="ij")
    )
    apart = np.hypot(rows - geometry.center[0], cols - geometry.center[1])
    on_detector = (
        (rows > -0.5) & (rows < store.detector_shape[0] - 0.5)
        & (cols > -0.5) & (cols < store.detector_shape[1] - 0.5)
    )  # fmt: skip
    chosen = np.flatnonzero((apart < geometry.radius + MARGIN * bin) & on_detector)
    if not chosen.size:
        raise HeldError(
            f"no detector pixel lies in the disk of radius {geometry.radius:.1f} px around "
            f"({geometry.center[0]:.1f}, {geometry.center[1]:.1f}) px; check centre and radius"
        )
    number = np.full(bins * bins + 1, -1, np.int32)
    number[chosen] = np.arange(chosen.size)
    about_the_disk = [(0.0, radius_of_com(geometry.radius))]
    disk_plan = plan_pixels(
        store.detector_shape,
        com_mask=annular_masks(store.detector_shape, geometry.center, about_the_disk)[0],
        dense_bin=number[dense_bin],
        dense_size=chosen.size,
    )
    coarse_bin = _coarse_bin(store, window)
    coarse_plan = _coarse_plan(store.detector_shape, coarse_bin)
    unusable = window.of(store.unusable())
    if unusable.all():
        raise HeldError(f"{store.path}: no position of the scan has a whole frame")
    read = _read(store, window, disk_plan, coarse_plan, progress)
    counts, coarse, com_electrons, com_sums, frame_electrons = read
    spectrum = HeldTrotters.of(
        _filled(counts, Filler(unusable), window.of(store.frame_scale()), progress),
        len(counts), window.shape, geometry.scan_step, HIGHEST * geometry.aperture,
    )  # fmt: skip
    return Held(
        window, window.shape == store.scan_shape, geometry, store.detector_shape, bin,
        rows[chosen], cols[chosen], counts, spectrum, com_electrons, com_sums,
        frame_electrons, unusable, coarse, coarse_bin,
    )  # fmt: skip


def _binning(geometry: Geometry) -> tuple[int, int]:
    bin = max(1, round(2 * geometry.radius / DISK_BINS))
    return bin, 2 * ceil(geometry.radius / bin + MARGIN) + 2


def _coarse_bin(store: EventStore, window: Window) -> int:
    positions = window.shape[0] * window.shape[1]
    bins = min(COARSE_BINS, max(8, int(np.sqrt(COARSE_BYTES / positions))))
    return max(1, ceil(max(store.detector_shape) / bins))


def _coarse_plan(detector_shape: tuple[int, int], bin: int) -> PixelPlan:
    shape = tuple(ceil(n / bin) for n in detector_shape)
    row, col = (np.arange(n) // bin for n in detector_shape)
    return plan_pixels(
        detector_shape,
        dense_bin=(row[:, None] * shape[1] + col).astype(np.int32),
        dense_size=shape[0] * shape[1],
    )


def _read(
    store: EventStore, window: Window, disk: PixelPlan, coarse: PixelPlan, progress: Progress
) -> tuple[np.ndarray, ...]:
    shape = window.shape
    dense = np.empty((disk.dense_size, *shape), np.uint16)
    whole = np.empty((coarse.dense_size, *shape), np.uint16)
    com_electrons, com_sums = np.empty(shape, np.uint32), np.empty((*shape, 2), np.int64)
    frame_electrons = np.empty(shape, np.uint32)
    slabs = [n for n in range(store.slabs) if _overlap(store.rows(n), window)]
    done = iter(range(1, len(slabs) + 1))

    def read(slab: int) -> None:
        first, _ = store.rows(slab)
        y0, y1 = _overlap(store.rows(slab), window) or (0, 0)
        indptr, indices = store.read(slab)
        width = store.scan_shape[1]
        indptr = indptr[(y0 - first) * width : (y1 - first) * width + 1]
        indices, indptr = indices[indptr[0] : indptr[-1]], indptr - indptr[0]
        to, columns = slice(y0 - window.y0, y1 - window.y0), slice(window.x0, window.x1)
        sums = reduce_events(indptr, indices, disk, frame_sum=False)
        dense[:, to] = sums.dense.reshape(-1, y1 - y0, width)[..., columns]  # type: ignore[union-attr]
        com_electrons[to] = sums.com_electrons.reshape(-1, width)[:, columns]  # type: ignore[union-attr]
        com_sums[to] = sums.com_sums.reshape(-1, width, 2)[:, columns]  # type: ignore[union-attr]
        frame_electrons[to] = sums.electrons.reshape(-1, width)[:, columns]
        sums = reduce_events(indptr, indices, coarse, frame_sum=False)
        whole[:, to] = sums.dense.reshape(-1, y1 - y0, width)[..., columns]  # type: ignore[union-attr]
        progress("reading events", next(done) / len(slabs))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, slabs))
    flat = _narrow(whole).reshape(coarse.dense_size, -1)
    return _narrow(dense), flat, com_electrons, com_sums, frame_electrons


def _overlap(rows: tuple[int, int], window: Window) -> tuple[int, int] | None:
    first, last = max(rows[0], window.y0), min(rows[1], window.y1)
    return (first, last) if first < last else None


def _narrow(counts: np.ndarray) -> np.ndarray:
    return counts.astype(np.uint8) if counts.max(initial=0) < 256 else counts


def _filled(
    counts: np.ndarray, filler: Filler, scale: np.ndarray, progress: Progress
) -> Iterator[np.ndarray]:
    for first in range(0, len(counts), PIXELS_AT_ONCE):
        progress("transforming", first / len(counts))
        yield filler.fill(counts[first : first + PIXELS_AT_ONCE] * scale)
