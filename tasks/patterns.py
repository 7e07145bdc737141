"""Patterns, probe and positions on one grid, as iterative ptychography takes them.

All of it lives in the detector's frame after its mirror, where wave vectors and aberrations do;
patterns are never resampled. A pattern is a square of binned pixels whose zero frequency comes
first. The disk's centre hardly ever lies on a pixel: what is left over is a tilt of the probe, and
the object knows nothing of it.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
import scipy.fft

from gpu_kernels.pixel_plan import window_bins
from gpu_kernels.row_fft import SIDES
from models.aberrations import Aberrations, phase_shift
from models.geometry import Geometry
from models.probe import aperture, probe_width
from tasks import dense
from tasks.memory import room_of_this_unit
from tasks.store.events import EventStore

ROOM_FOCUSED = 14.0
"""Room for a probe in focus, in λ/2α: some six times its central disc."""
ROOM_DEFOCUSED = 1.5
"""Room for a defocused one, in widths of its geometric shadow."""
SHARE_OF_MEMORY = 0.6
"""Part of the memory that a unit may take, which patterns may have."""
COUNTS = (np.uint8, np.uint16)


class PatternError(ValueError):
    """Patterns that cannot be had from a recording."""


@dataclass(frozen=True)
class PatternGrid:
    """Which pixels of the detector make up a pattern, and what they are in 1/Å and Å."""

    detector_shape: tuple[int, int]
    center: tuple[float, float]
    """Centre of the disk on the detector, (row, col) [px]."""
    bin: int
    """Detector pixels along a side of a binned one."""
    side: int
    """Binned pixels along a side of a pattern."""
    pixel_wavevector: float
    """Size of a binned pixel [1/Å]."""
    flip: bool
    """Whether patterns are transposed."""

    @property
    def sampling(self) -> float:
        """Pixel of probe and object [Å]."""
        return 1 / (self.side * self.pixel_wavevector)

    @property
    def extent(self) -> float:
        """Side of the window that holds a probe [Å]."""
        return 1 / self.pixel_wavevector

    @property
    def window(self) -> dense.DenseSettings:
        """The window on the detector; the middle of its pixel side // 2 is next to the centre."""
        middle = self.center[0] - self.bin / 2, self.center[1] - self.bin / 2
        return dense.DenseSettings(middle, self.bin, (self.side, self.side), "uint16")

    @property
    def order(self) -> np.ndarray:
        """(side²,) int: bin of the window that each pixel of a pattern comes from."""
        bins = np.arange(self.side**2).reshape(self.side, self.side)
        return scipy.fft.ifftshift(bins.T if self.flip else bins).ravel()

    @property
    def offset(self) -> tuple[float, float]:
        """Where the disk's centre lies from the zero frequency, (y, x) [binned px]."""
        return self.offset_of(self.center)

    def offset_of(self, place: tuple[float, float]) -> tuple[float, float]:
        """Where a place (row, col) of the detector lies from the zero frequency [binned px]."""
        along = dense.bin_centres(self.window, self.detector_shape)
        away = [
            (middle - pixels[self.side // 2]) / self.bin
            for middle, pixels in zip(place, along, strict=True)
        ]
        return (away[1], away[0]) if self.flip else (away[0], away[1])

    @property
    def wavevectors(self) -> tuple[np.ndarray, np.ndarray]:
        """(side, 1) and (side,) float64: wave vectors (ky, kx) of a pattern's pixels [1/Å]."""
        k = scipy.fft.fftfreq(self.side, 1 / self.side)
        y, x = ((k - away) * self.pixel_wavevector for away in self.offset)
        return y[:, None], x

    @property
    def tilt(self) -> np.ndarray:
        """(side, side) complex128: what a probe is multiplied by that has its disk on a pixel."""
        return self.tilt_by(self.offset)

    def tilt_by(self, away: tuple[float, float]) -> np.ndarray:
        """(side, side) complex128: what moves a disk by so many binned pixels (y, x)."""
        across = 2j * np.pi * (np.arange(self.side) - self.side // 2) / self.side
        y, x = (np.exp(across * one) for one in away)
        return y[:, None] * x

    def measured(self) -> np.ndarray:
        """(side, side) float64: 1 where a binned pixel lies on the detector as a whole, else 0."""
        bins, _ = window_bins(self.detector_shape, self.window.center, self.bin, self.side)
        pixels = np.bincount(bins[bins >= 0], minlength=self.side**2)
        return (pixels[self.order] == self.bin**2).astype(float).reshape(self.side, self.side)


def choose_grid(
    geometry: Geometry,
    aberrations: Aberrations,
    detector_shape: tuple[int, int],
    bin: int | None = None,
    side: int | None = None,
) -> PatternGrid:
    """Bin as far as the probe allows, and take in twice the disk.

    Binned pixels set the window of the probe: n times coarser, n times smaller. Twice the disk
    holds all that a weak object does to it, up to 2α.

    Parameters
    ----------
    geometry, aberrations
        Of the microscope.
    detector_shape : (rows, cols)
        Of the detector's frames.
    bin : int, optional
        Detector pixels along a side of a binned one, where it is not to be chosen.
    side : int, optional
        Binned pixels along a side of a pattern, where it is not to be chosen.

    Returns
    -------
    PatternGrid
        Its side has a fast transform.

    Raises
    ------
    PatternError
        If there is no transform of the side.
    """
    if bin is None:
        bin = max(1, int(1 / (geometry.pixel_wavevector * probe_room(geometry, aberrations))))
    if side is None:
        side = next((n for n in SIDES if n >= ceil(4 * geometry.radius / bin)), SIDES[-1])
    check_side(side)
    return PatternGrid(
        detector_shape, geometry.center, bin, side, geometry.pixel_wavevector * bin, geometry.flip
    )


def check_side(side: int) -> None:
    """Refuse patterns that there is no transform of.

    Raises
    ------
    PatternError
        With the sides that there are.
    """
    if side not in SIDES:
        raise PatternError(
            f"there is no transform of patterns of {side} x {side} pixels; side can be "
            + ", ".join(map(str, SIDES))
        )


def probe_room(geometry: Geometry, aberrations: Aberrations) -> float:
    """Side of the window that a probe needs [Å]."""
    width = probe_width(geometry.energy, geometry.semiangle, aberrations)
    return max(ROOM_FOCUSED / (2 * geometry.aperture), ROOM_DEFOCUSED * width)


def read_patterns(events: EventStore, grid: PatternGrid, chosen: np.ndarray) -> np.ndarray:
    """Patterns of some positions from their events.

    Parameters
    ----------
    events : EventStore
        A whole store.
    grid : PatternGrid
        Which pixels.
    chosen : (rows, cols) bool
        Which positions of the scan.

    Returns
    -------
    (positions, side, side) uint8, uint16 or float32
        Counts in the smallest type that holds them, zero frequency first, in the scan's order; of
        a scan with several frames at each position, those of a position that has all of them.

    Raises
    ------
    PatternError
        If they would not fit into memory, or a pixel holds more than 65,535 electrons.
    """
    size, free = int(chosen.sum()) * grid.side**2, room_of_this_unit()
    for dtype in COUNTS:
        needed = size * np.dtype(dtype).itemsize
        if needed > SHARE_OF_MEMORY * free:
            raise PatternError(
                f"epie: {int(chosen.sum())} patterns of {grid.side} x {grid.side} pixels take "
                f"{needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB of memory are free; give "
                "more tiles, a window of the scan, a greater bin or a smaller side."
            )
        try:
            patterns = _read(events, grid, chosen, dtype)
        except dense.DenseError:
            continue
        scale = events.frame_scale()[chosen]
        return patterns if (scale == 1).all() else patterns * scale[:, None, None]
    raise PatternError(
        "epie: a binned pixel holds more than 65535 electrons of one position; give a smaller bin."
    )


def _read(events: EventStore, grid: PatternGrid, chosen: np.ndarray, dtype: type) -> np.ndarray:
    patterns: np.ndarray = np.empty((int(chosen.sum()), grid.side, grid.side), dtype)
    settings = dense.DenseSettings(grid.window.center, grid.bin, grid.window.bins, dtype.__name__)
    order, done, at_once = grid.order, 0, max(1, dense.CHUNK_BYTES // grid.side**2)
    for slab in range(events.slabs):
        first, last = events.rows(slab)
        keep = chosen[first:last].ravel()
        if not keep.any():
            continue
        indptr, indices = events.read(slab)
        for begin in range(0, keep.size, at_once):
            here = keep[begin : begin + at_once]
            offsets = indptr[begin : begin + here.size + 1]
            stretch = indices[offsets[0] : offsets[-1]]
            counts, _ = dense.counts_of(
                offsets - offsets[0], stretch, events.detector_shape, settings
            )
            part = counts[here][:, order].reshape(-1, grid.side, grid.side)
            patterns[done : done + len(part)] = part
            done += len(part)
    return patterns


def probe_positions(
    grid: PatternGrid, geometry: Geometry, places: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Places of the probe in the frame of the patterns.

    Parameters
    ----------
    grid, geometry
        Of the dataset.
    places : (y, x)
        Each (positions,) float64, along the axes of the scan [Å].

    Returns
    -------
    (positions, 2) float64
        (y, x), in pixels of the object.
    """
    return np.stack(geometry.scan_to_detector(*places), axis=-1) / grid.sampling


def modelled_probe(
    grid: PatternGrid,
    geometry: Geometry,
    aberrations: Aberrations,
    electrons: float,
    vacuum: np.ndarray | None = None,
) -> np.ndarray:
    """Probe with the calibrated aberrations.

    Parameters
    ----------
    grid, geometry, aberrations
        Of the dataset.
    electrons : float
        Σ|probe|² [e].
    vacuum : (rows, cols), optional
        Pattern without a specimen, on the whole detector: its root is the amplitude in the
        aperture. A round aperture without it.

    Returns
    -------
    (side, side) complex128
        In real space, centred on pixel side // 2.
    """
    ky, kx = grid.wavevectors
    if vacuum is None:
        size = aperture(ky, kx, geometry.aperture, grid.pixel_wavevector)
    else:
        size = np.sqrt(_binned(grid, vacuum))
    wave = size * np.exp(-1j * phase_shift(ky, kx, geometry.wavelength, aberrations))
    return with_electrons(wave, electrons)


def with_electrons(wave: np.ndarray, electrons: float) -> np.ndarray:
    """Probe of a wave in the aperture.

    Parameters
    ----------
    wave : (side, side) complex
        Zero frequency first, on any scale.
    electrons : float
        Σ|probe|² [e].

    Returns
    -------
    (side, side) complex128
        In real space, centred on pixel side // 2.
    """
    probe = scipy.fft.fftshift(scipy.fft.ifft2(wave, norm="ortho"))
    return probe * np.sqrt(electrons / np.sum(np.abs(probe) ** 2))


def _binned(grid: PatternGrid, frame: np.ndarray) -> np.ndarray:
    bins, _ = window_bins(grid.detector_shape, grid.window.center, grid.bin, grid.side)
    inside = bins >= 0
    sums = np.bincount(bins[inside], frame[inside], minlength=grid.side**2)
    return sums[grid.order].reshape(grid.side, grid.side)
