"""The strong spatial frequencies of a scan, and how well a trial of rotation and aberrations fits.

A trial is a vector of 13: the rotation [rad] and the 12 Cartesian aberration coefficients [Å] of
``models.aberrations.CARTESIAN``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import pi
from typing import Any

import numpy as np

from gpu_kernels.backend import to_host
from gpu_kernels.explained_energy import explained, project
from gpu_kernels.explained_slope import energy_and_slope
from gpu_kernels.scan_modes import (
    Modes,
    collect_modes,
    scan_power,
    scan_window,
    strongest_modes,
    window_correlation,
)
from gpu_kernels.subaperture import Patches, PatchSums
from models.aberrations import CARTESIAN, ORDERS
from models.geometry import Geometry
from tasks.device import blocks_on_device, on_device

PIXELS_PER_BLOCK = 32
"""Pixels that are read at a time: those of one chunk."""
POSITIONS_AT_ONCE = 2**21
"""Counts that are transformed at a time, at least of one pixel: 8 MB of single precision."""
LONGEST_SIDE = 512
"""Positions along a side of the scan's middle in which shifts of images are looked for."""
FEWEST_SAMPLED = 96
"""Pixels by which frequencies are ranked: they share the signal, so that a sample will do."""
HIGHEST = 1.9
"""In units of k0; at 2 k0 the sidebands vanish."""
LOWEST = 0.15
"""In units of k0: below, both sidebands cancel, and drift and thickness are what is left."""
EDGE_FREQUENCIES = 2.5
"""Lowest frequency in periods across the scan: below, the fading edges are seen."""
FEWEST_PIXELS = 60
"""Disk pixels below which nothing is to be learned."""
MODES = 4000
"""Frequencies that are kept: 30 MB for 450 pixels."""
MANY_TRIALS = 64
"""Trials from which on a device is worth the way there."""
UNDERSAMPLED = 0.04
"""Lowest frequency in units of that of the scan's step, where the step is far above 1/k0."""

NAMES = ("rotation", *CARTESIAN)
"""What the numbers of a trial are."""


@dataclass(frozen=True)
class Evidence:
    """G(k, Q) at the strongest frequencies, in units of its noise."""

    g: np.ndarray
    """(frequencies, pixels) complex128, the strongest frequency first."""
    k_row: np.ndarray
    k_col: np.ndarray
    """(pixels,) float64: wave vectors on the detector's axes as they are [1/Å]."""
    amplitude: np.ndarray
    """(pixels,) float64: root of the mean count over that of the disk."""
    modes: Modes
    aperture: float
    """k0 [1/Å]."""
    wavelength: float
    """[Å]."""
    edge: float
    """Size of a pixel, over which the aperture's edge is spread [1/Å]."""
    correlation: float
    """How many neighbouring frequencies share one noise, because the window blurs them."""

    @property
    def energy(self) -> float:
        """Σ|G|²; one for each value is noise."""
        return float((self.g.real**2 + self.g.imag**2).sum())

    @property
    def scale(self) -> np.ndarray:
        """(13,) float64: 0.05 rad, and the coefficients that turn the disk's edge by 1 rad [Å]."""
        semiangle = self.aperture * self.wavelength
        orders = [ORDERS[name[:3]][0] for name in CARTESIAN]
        turns = [(n + 1) * self.wavelength / (2 * pi * semiangle ** (n + 1)) for n in orders]
        return np.array([0.05, *turns])

    @property
    def depth_of_focus(self) -> float:
        """λ/α² [Å]."""
        return 1 / (self.aperture**2 * self.wavelength)

    def strongest(self, count: int) -> "Evidence":
        """The same for the strongest frequencies only: quicker, for a first search."""
        return replace(self, g=self.g[:count], modes=self.modes.chosen(slice(count)))

    def project(self, trials: np.ndarray, flip: bool) -> tuple[np.ndarray, np.ndarray]:
        """Overlap and weight of each trial, (trials, frequencies): see the kernel."""
        overlap, weight = project(*self._as_kernels_take_it(trials, flip))
        return to_host(overlap), to_host(weight)

    def explained(self, trials: np.ndarray, flip: bool) -> np.ndarray:
        """(trials,) float64: energy that each trial explains; chance gives one a frequency."""
        return explained(*self.project(trials, flip))

    def explained_and_slope(self, trial: np.ndarray, flip: bool) -> tuple[float, np.ndarray]:
        """The same of one (13,) trial, and its slope (13,) [1/rad, 1/Å]."""
        energy, slope = energy_and_slope(*self._as_kernels_take_it(trial[None], flip))
        return float(energy[0]), slope[0]

    def _as_kernels_take_it(self, trials: np.ndarray, flip: bool) -> tuple[Any, ...]:
        k_y, k_x = (self.k_col, self.k_row) if flip else (self.k_row, self.k_col)
        put = on_device if len(trials) >= MANY_TRIALS else np.asarray
        return (
            put(self.g), put(k_y), put(k_x), put(self.amplitude), put(self.modes.q_y),
            put(self.modes.q_x), trials, self.aperture, self.wavelength, self.edge,
        )  # fmt: skip


def gather_evidence(
    dense: Any,
    rows: np.ndarray,
    cols: np.ndarray,
    bin_size: float,
    geometry: Geometry,
    missing: np.ndarray | None = None,
    count: int = MODES,
) -> tuple[Evidence, Patches, np.ndarray]:
    """Find the strongest frequencies of a scan and collect them, block after block of pixels.

    The data are read twice, and no more than ``PIXELS_PER_BLOCK`` pixels are held at a time, of
    which some are transformed together. The images of parts of the disk are those of the scan's
    middle: what they show need not be more than 512 positions across.

    Parameters
    ----------
    dense : (pixels, scan_y, scan_x)
        Counts; anything that gives NumPy arrays for slices of its first axis.
    rows, cols : (pixels,) float64
        Centres of the pixels on the detector [px].
    bin_size : float
        Detector pixels along a side of one of these.
    geometry : Geometry
        Energy, semi-angle, scan step, centre and radius; rotation and mirror are not used.
    missing : (scan_y, scan_x) bool, optional
        Positions without data.
    count : int
        Frequencies.

    Returns
    -------
    Evidence
        Of the pixels of the disk that are lit.
    Patches
        Images of the parts of the disk, for their shifts.
    (scan_y, scan_x) float64
        The window of those images.

    Raises
    ------
    ValueError
        If too few pixels lie in the disk.
    """
    k_row = (np.asarray(rows, np.float64) - geometry.center[0]) * geometry.pixel_wavevector
    k_col = (np.asarray(cols, np.float64) - geometry.center[1]) * geometry.pixel_wavevector
    edge = bin_size * geometry.pixel_wavevector
    disk = np.nonzero(np.hypot(k_row, k_col) < geometry.aperture + 0.3 * edge)[0]
    if disk.size < FEWEST_PIXELS:
        raise ValueError(
            f"{disk.size} of {k_row.size} pixels lie in the bright-field disk, at least "
            f"{FEWEST_PIXELS} are needed: bin by less, or check its centre "
            f"({geometry.center[0]:.1f}, {geometry.center[1]:.1f}) and radius "
            f"{geometry.radius:.1f} px"
        )
    scan_shape = (int(dense.shape[1]), int(dense.shape[2]))
    window = scan_window(scan_shape, missing)
    band = frequency_band(scan_shape, geometry.scan_step, geometry.aperture)
    columns = int(band[1] * scan_shape[1] * geometry.scan_step[1]) + 2
    middle = _middle(scan_shape, missing)
    own_window = scan_window(
        np.empty(scan_shape, bool)[middle].shape, None if missing is None else missing[middle]
    )
    patches = PatchSums(k_row[disk], k_col[disk], geometry.aperture, own_window.shape)
    power = scan_power(
        blocks_on_device(_survey(dense, disk, patches, middle)),
        window,
        min(columns, scan_shape[1] // 2 + 1),
    )
    modes = strongest_modes(power, scan_shape, geometry.scan_step, band, count)
    g, mean = collect_modes(blocks_on_device(pixel_blocks(dense, disk)), window, modes)
    lit = mean > 0.3 * np.median(mean[mean > 0])  # not those in a gap or behind a beam stop
    order = np.argsort(-(g.real**2 + g.imag**2).sum(axis=1), kind="stable")
    evidence = Evidence(
        g=np.ascontiguousarray(g[order][:, lit]),
        k_row=k_row[disk][lit],
        k_col=k_col[disk][lit],
        amplitude=np.sqrt(mean[lit] / np.median(mean[lit])),
        modes=modes.chosen(order),
        aperture=geometry.aperture,
        wavelength=geometry.wavelength,
        edge=edge,
        correlation=window_correlation(window),
    )
    return evidence, patches.finish(), own_window


def _middle(scan_shape: tuple[int, int], missing: np.ndarray | None) -> tuple[slice, slice]:
    """The middle of the scan; all of it where little was recorded there."""
    starts = [max(0, (n - LONGEST_SIDE) // 2) for n in scan_shape]
    middle = slice(starts[0], starts[0] + LONGEST_SIDE), slice(starts[1], starts[1] + LONGEST_SIDE)
    empty = missing is not None and missing[middle].mean() > 0.5
    return (slice(None), slice(None)) if empty else middle


def _survey(
    dense: Any, disk: np.ndarray, patches: PatchSums, middle: tuple[slice, slice]
) -> Iterator[np.ndarray]:
    """A fair sample of the disk's pixels, while all of them are added to the patches."""
    every = max(1, disk.size // FEWEST_SAMPLED)
    seen = 0
    for block in pixel_blocks(dense, disk):
        patches.add(block[:, *middle])
        if len(sample := block[-seen % every :: every]):
            yield sample
        seen += len(block)


def frequency_band(
    scan_shape: tuple[int, ...], scan_step: tuple[float, float], aperture: float
) -> tuple[float, float]:
    """Lowest and highest frequency that are looked at [1/Å]."""
    extent = min(n * step for n, step in zip(scan_shape, scan_step, strict=True))
    lowest = min(LOWEST * aperture, UNDERSAMPLED * 0.5 / max(scan_step))
    return max(lowest, EDGE_FREQUENCIES / extent), HIGHEST * aperture


def pixel_blocks(dense: Any, pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of some pixels of a dense array, (pixels, scan_y, scan_x); each chunk is read once."""
    at_once = max(1, POSITIONS_AT_ONCE // (int(dense.shape[1]) * int(dense.shape[2])))
    for first in range(0, dense.shape[0], PIXELS_PER_BLOCK):
        own = pixels[(pixels >= first) & (pixels < first + PIXELS_PER_BLOCK)] - first
        if own.size:
            chunk = np.asarray(dense[first : first + PIXELS_PER_BLOCK])
            for begin in range(0, own.size, at_once):
                yield chunk[own[begin : begin + at_once]]
