"""Single-sideband ptychography, streamed over blocks of detector pixels.

Every block is transformed over the scan and added to the sums of each spatial frequency; G(k, Q)
of all pixels never exists. The sums of blocks add up, so that they may be computed anywhere.
Pelz et al., real-time interactive ptychography from electron event representation data; the weak
phase object in the form G = |A|²δ + iΦΓ, Γ = A*(k)A(k−Q) − A(k)A*(k+Q).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, cos, sin
from typing import Any, Literal

import numpy as np
import scipy.fft

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host
from gpu_kernels.fourier import ScanTransform, scan_frequencies, scan_spectrum
from gpu_kernels.ssb_reduce import (
    FIELDS,
    NOISE_FROM,
    THREADS_PER_BLOCK,
    chi_polynomial,
    reduce_block,
    reduce_kernel,
    turned_aberrations,
)

Estimate = Literal["both", "left", "right", "wpo"]

BYTES_AT_ONCE = 16 * 2**20
"""Of transformed pixels that exist at a time on the CPU; larger was no faster."""
PIXELS_AT_ONCE = 32
"""Pixels that are summed in single precision before they are added in double precision."""


@dataclass(frozen=True)
class SsbGeometry:
    """Numbers that an SSB reduction needs, in Å and rad."""

    scan_shape: tuple[int, int]
    scan_step: tuple[float, float]
    """Along (y, x) [Å]."""
    rotation: float
    """Detector to scan [rad]."""
    aperture: float
    """k0 [1/Å]."""
    wavelength: float
    """[Å]."""
    aberrations: np.ndarray
    """(12,) Cartesian Krivanek coefficients [Å], see ``chi_polynomial``."""

    @property
    def columns(self) -> int:
        """Frequencies along x up to 2 k0 and one beyond: further out there is no sideband."""
        half = self.scan_shape[1] // 2 + 1
        return min(half, ceil(2 * self.aperture * self.scan_shape[1] * self.scan_step[1]) + 2)

    def frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies of the sums, along y and the kept ones along x [1/Å]."""
        q_y, q_x = scan_frequencies(self.scan_shape, self.scan_step)
        return q_y, q_x[: self.columns]

    def on_scan(self, k_y: np.ndarray, k_x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn wave vectors of the detector to the scan's axes [1/Å]."""
        c, s = cos(self.rotation), sin(self.rotation)
        return c * k_y - s * k_x, s * k_y + c * k_x

    def chi(self) -> np.ndarray:
        """(12,) float64: χ/2π as a polynomial on the scan's axes, see ``chi_polynomial``."""
        turned = turned_aberrations(self.aberrations, self.rotation)
        return chi_polynomial(turned, self.wavelength)


@dataclass
class SsbSums:
    """Partial sums of SSB; those of different pixels add up."""

    fields: np.ndarray
    """(10, scan_y, columns) float64: see ``ssb_reduce.FIELDS``."""
    noise: float
    """Sum of |G|² at frequencies beyond 2 k0, where there is nothing but noise."""
    noise_count: int
    """Terms of that sum."""

    def __add__(self, other: "SsbSums") -> "SsbSums":
        return SsbSums(
            self.fields + other.fields,
            self.noise + other.noise,
            self.noise_count + other.noise_count,
        )


@dataclass(frozen=True)
class SsbImages:
    """Phases and amplitude on the scan's grid, (scan_y, scan_x)."""

    phase: np.ndarray
    """[rad]"""
    amplitude: np.ndarray
    spectrum: np.ndarray
    """(scan_y, scan_x // 2 + 1) complex: Φ(Q) that the phase is the transform of."""
    weight: np.ndarray
    """(scan_y, scan_x // 2 + 1): Σ|Γ|² behind each Φ(Q); its noise is 1/weight."""


def ssb_partial(
    block: Array, k_y: np.ndarray, k_x: np.ndarray, geometry: SsbGeometry, dtype: Any = np.float32
) -> SsbSums:
    """Sums of a block of detector pixels.

    Parameters
    ----------
    block : (pixels, scan_y, scan_x)
        Counts of pixels inside the disk (those outside add nothing); missing positions filled.
    k_y, k_x : (pixels,) float64
        Their wave vectors in the detector's frame, after the mirror [1/Å].
    geometry : SsbGeometry
        Scan, aperture and aberrations.
    dtype : float32 or float64
        Precision of the transform and of the sums of up to 32 pixels; sums of more are float64.

    Returns
    -------
    SsbSums
        On the host.

    Raises
    ------
    ValueError
        If the block's shape is not that of the pixels and the scan.
    """
    expected = (k_y.size, *geometry.scan_shape)
    if tuple(block.shape) != expected:
        raise ValueError(
            f"a block of {tuple(block.shape)} values was given; {k_y.size} wave vectors and a scan "
            f"of {geometry.scan_shape[0]} x {geometry.scan_shape[1]} positions need {expected}"
        )
    chosen = np.flatnonzero(np.hypot(k_y, k_x) < geometry.aperture)
    total = _no_sums(geometry)
    for part, spectrum in _spectra(block, chosen, geometry, dtype):
        total += ssb_of_spectrum(spectrum, k_y[part], k_x[part], geometry)
    return total


def ssb_of_spectrum(
    spectrum: Array, k_y: np.ndarray, k_x: np.ndarray, geometry: SsbGeometry, threads: int = 1
) -> SsbSums:
    """Sums of pixels whose transform is kept: what new aberrations need, and nothing else.

    Parameters
    ----------
    spectrum : (pixels, scan_y, columns) complex
        From ``scan_spectrum``.
    k_y, k_x, geometry
        As in ``ssb_partial``; the pixels are inside the disk.
    threads : int
        On the CPU, over rows of frequencies; the sums are the same to the bit for any number.

    Returns
    -------
    SsbSums
        On the host.
    """
    q_y, q_x = geometry.frequencies()
    k_y, k_x = geometry.on_scan(k_y, k_x)
    step, chi = 1 / (geometry.scan_shape[1] * geometry.scan_step[1]), geometry.chi()
    shape = (FIELDS, q_y.size, q_x.size)
    if on_gpu(spectrum):
        sums = device_zeros(shape, np.float64)
        blocks = -(-q_y.size * q_x.size // THREADS_PER_BLOCK)
        k_y_there, k_x_there, q_y_there, chi_there = map(to_device, (k_y, k_x, q_y, chi))
        reduce_kernel[blocks, THREADS_PER_BLOCK](
            spectrum, k_y_there, k_x_there, q_y_there, step, geometry.aperture, chi_there, sums
        )
    else:
        sums = np.zeros(shape)

        def add(rows: tuple[int, int]) -> None:
            for first in range(0, k_y.size, PIXELS_AT_ONCE):
                at = slice(first, first + PIXELS_AT_ONCE)
                reduce_block(
                    spectrum[at], k_y[at], k_x[at], q_y, step, geometry.aperture, chi, sums, rows
                )

        _over_rows(add, q_y.size, threads)
    fields = to_host(sums)
    beyond = np.hypot(q_y[:, None], q_x) > NOISE_FROM * geometry.aperture
    return SsbSums(fields, float(fields[9].sum()), int(beyond.sum()) * k_y.size)


def _spectra(
    block: Array, chosen: np.ndarray, geometry: SsbGeometry, dtype: Any
) -> Iterator[tuple[np.ndarray, Array]]:
    """Transforms of the chosen pixels, some at a time, and which pixels they are."""
    if on_gpu(block):
        if chosen.size:
            yield chosen, scan_spectrum(block[chosen], geometry.columns, dtype)
        return
    transform = ScanTransform(geometry.scan_shape, geometry.columns, dtype)
    one = geometry.scan_shape[0] * geometry.columns * transform.complex_type.itemsize
    at_once = max(2, min(PIXELS_AT_ONCE, BYTES_AT_ONCE // one // 2 * 2))
    kept = np.empty(
        (min(at_once, chosen.size), geometry.scan_shape[0], geometry.columns),
        dtype=transform.complex_type,
    )
    for first in range(0, chosen.size, at_once):
        part = chosen[first : first + at_once]
        yield part, transform(block, part, kept[: part.size])


def _over_rows(add: Any, rows: int, threads: int) -> None:
    if threads <= 1:
        add((0, rows))
        return
    # Low |Q_y| holds most of the work and lies at both ends: a few cuts for each thread even it.
    cuts = np.linspace(0, rows, 8 * threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(add, pairwise(cuts)))


def _no_sums(geometry: SsbGeometry) -> SsbSums:
    return SsbSums(np.zeros((FIELDS, geometry.scan_shape[0], geometry.columns)), 0.0, 0)


def ssb_finish(
    sums: SsbSums, disk_intensity: float, geometry: SsbGeometry, estimate: Estimate = "both"
) -> SsbImages:
    """Turn the sums of all pixels into phase and amplitude.

    Each single sideband is the object itself: the right one gives Ψ(Q), the left one Ψ*(−Q), where
    Ψ = μ + iφ is the transform of a weak object 1 + μ + iφ. So the phase is the least squares over
    both for an object without absorption, and the amplitude what the two have in common.

    Parameters
    ----------
    sums : SsbSums
        Of every pixel in the disk.
    disk_intensity : float
        Mean counts of a pixel inside the disk at one position [e]; |A|² = 1 there.
    geometry : SsbGeometry
        As in ``ssb_partial``.
    estimate : str
        ``both`` sidebands; ``right``, k inside the disk around +Q only, or ``left``, around −Q
        only, for the half plane Q_x >= 0; or ``wpo``, the least squares over all of Γ. As G(k, −Q)
        = G*(k, Q), the left sideband of the other half plane is the right one of this: over the
        whole plane left and right would be one and the same estimate. Over the half plane they are
        two, from different pixels and with independent noise.

    Returns
    -------
    SsbImages
        The phase has no mean: no sideband carries it.

    Raises
    ------
    ValueError
        If the estimate is unknown, or the disk holds no electrons.
    """
    if not disk_intensity > 0:
        raise ValueError(
            f"the bright-field disk holds {disk_intensity} e per pixel and position; the phase is "
            "relative to it. Check the disk's centre and radius"
        )
    fields = sums.fields
    right, left, double = (fields[f] + 1j * fields[f + 1] for f in (0, 2, 4))
    n_right, n_left, n_double = fields[6:9]
    estimates = {
        "both": (right - left, n_right + n_left),
        "right": (right, n_right),
        "left": (-left, n_left),
        "wpo": (right - left + double, n_right + n_left + n_double),
    }
    if estimate not in estimates:
        raise ValueError(f"unknown estimate {estimate!r}; there are {', '.join(estimates)}")
    numerator, weight = estimates[estimate]
    spectrum = _pad(_divide(numerator, weight) / (1j * disk_intensity), geometry)
    even = (_divide(right, n_right) + _divide(left, n_left)) / 2
    even[(n_right < 1) | (n_left < 1)] = 0
    amplitude = _pad(even / disk_intensity, geometry)
    return SsbImages(
        phase=scipy.fft.irfft2(spectrum, s=geometry.scan_shape),
        amplitude=1 + scipy.fft.irfft2(amplitude, s=geometry.scan_shape),
        spectrum=spectrum,
        weight=_pad(weight, geometry),
    )


def _divide(numerator: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.where(weight > 1e-9, numerator / np.where(weight > 1e-9, weight, 1), 0)


def _pad(half: np.ndarray, geometry: SsbGeometry) -> np.ndarray:
    full = np.zeros((geometry.scan_shape[0], geometry.scan_shape[1] // 2 + 1), half.dtype)
    full[:, : geometry.columns] = half
    return full
