"""Single-sideband ptychography, streamed over blocks of detector pixels.

Every block is transformed over the scan and added to the sums of each spatial frequency; G(k, Q)
of all pixels never exists. The sums of blocks add up, so that they may be computed anywhere.
Pelz et al., real-time interactive ptychography from electron event representation data; the weak
phase object in the form G = |A|²δ + iΦΓ, Γ = A*(k)A(k−Q) − A(k)A*(k+Q).
"""

from dataclasses import dataclass
from math import ceil, cos, sin
from typing import Any, Literal

import numpy as np
import scipy.fft

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host
from gpu_kernels.fourier import scan_frequencies, scan_spectrum
from gpu_kernels.ssb_reduce import (
    FIELDS,
    THREADS_PER_BLOCK,
    chi_polynomial,
    reduce_block,
    reduce_kernel,
)

Estimate = Literal["both", "left", "right", "wpo"]


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

    @property
    def turn(self) -> np.ndarray:
        """Cos θ and sin θ."""
        return np.array([cos(self.rotation), sin(self.rotation)])

    def frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies of the sums, along y and the kept ones along x [1/Å]."""
        q_y, q_x = scan_frequencies(self.scan_shape, self.scan_step)
        return q_y, q_x[: self.columns]


@dataclass
class SsbSums:
    """Partial sums of SSB; those of different pixels add up."""

    fields: np.ndarray
    """(scan_y, columns, 9) float64: see ``ssb_reduce.FIELDS``."""
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
        Precision of the transform; the sums are always float64.

    Returns
    -------
    SsbSums
        On the host.
    """
    inside = np.hypot(k_y, k_x) < geometry.aperture
    sums = np.zeros((geometry.scan_shape[0], geometry.columns, FIELDS))
    if not inside.any():
        return SsbSums(sums, 0.0, 0)
    spectrum = scan_spectrum(block[inside], geometry.columns, dtype)
    return ssb_of_spectrum(spectrum, k_y[inside], k_x[inside], geometry)


def ssb_of_spectrum(
    spectrum: Array, k_y: np.ndarray, k_x: np.ndarray, geometry: SsbGeometry
) -> SsbSums:
    """Sums of pixels whose transform is kept: what new aberrations need, and nothing else.

    Parameters
    ----------
    spectrum : (pixels, scan_y, columns) complex
        From ``scan_spectrum``.
    k_y, k_x, geometry
        As in ``ssb_partial``; the pixels are inside the disk.

    Returns
    -------
    SsbSums
        On the host.
    """
    q_y, q_x = geometry.frequencies()
    chi = chi_polynomial(geometry.aberrations, geometry.wavelength)
    shape = (q_y.size, q_x.size, FIELDS)
    arguments = (k_y, k_x, q_y, q_x, geometry.turn)
    if on_gpu(spectrum):
        sums = device_zeros(shape, np.float64)
        blocks = -(-q_y.size * q_x.size // THREADS_PER_BLOCK)
        reduce_kernel[blocks, THREADS_PER_BLOCK](
            spectrum, *map(to_device, arguments), geometry.aperture, to_device(chi), sums
        )
        spectrum = to_host(spectrum)
    else:
        sums = np.zeros(shape)
        reduce_block(spectrum, *arguments, geometry.aperture, chi, sums)
    beyond = np.hypot(q_y[:, None], q_x) > 2.05 * geometry.aperture
    noise = float(sum((np.abs(one[beyond]) ** 2).sum(dtype=np.float64) for one in spectrum))
    return SsbSums(to_host(sums), noise, int(beyond.sum()) * len(spectrum))


def ssb_finish(
    sums: SsbSums, disk_intensity: float, geometry: SsbGeometry, estimate: Estimate = "both"
) -> SsbImages:
    """Turn the sums of all pixels into phase and amplitude.

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
        = G*(k, Q), the left sideband of the other half plane is the right one of this: left and
        right are two estimates from different pixels, with independent noise.

    Returns
    -------
    SsbImages
        The phase has no mean: no sideband carries it.
    """
    right = sums.fields[..., 0] + 1j * sums.fields[..., 1]
    left = sums.fields[..., 2] + 1j * sums.fields[..., 3]
    double = sums.fields[..., 4] + 1j * sums.fields[..., 5]
    n_right, n_left, n_double = (sums.fields[..., f] for f in (6, 7, 8))
    phase, weight = {
        "both": (right - left, n_right + n_left),
        "right": (right, n_right),
        "left": (-left, n_left),
        "wpo": (right - left + double, n_right + n_left + n_double),
    }[estimate]
    spectrum = _pad(_divide(phase, weight) / (1j * disk_intensity), geometry)
    # Ψ(Q) and Ψ*(−Q) each by its own sideband: their mean is free of the phase.
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
