"""Single-sideband ptychography, streamed over blocks of detector pixels.

Every block is transformed over the scan and added to the sums of each spatial frequency; G(k, Q)
of all pixels never exists. The sums of blocks add up, so that they may be computed anywhere.
Pelz et al., real-time interactive ptychography from electron event representation data; the weak
phase object in the form G = |A|²δ + iΦΓ, Γ = A*(k)A(k−Q) − A(k)A*(k+Q).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.fft

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host
from gpu_kernels.fourier import ScanTransform, scan_spectrum
from gpu_kernels.ssb_geometry import SsbGeometry
from gpu_kernels.ssb_reduce import (
    FIELDS,
    NOISE_FROM,
    PIXELS_AT_ONCE,
    THREADS_PER_BLOCK,
    UNSCALED,
    over_rows,
    reduce_block,
    reduce_kernel,
)

Estimate = Literal["both", "left", "right", "wpo"]
ESTIMATES = {
    "both": ((1, 0, 6), (-1, 2, 7)),
    "right": ((1, 0, 6),),
    "left": ((-1, 2, 7),),
    "wpo": ((1, 0, 6), (-1, 2, 7), (1, 4, 8)),
}
"""Signed sums of each estimate: the sign, where Γ*G begins in ``FIELDS``, and where its |Γ|² is."""

BYTES_AT_ONCE = 16 * 2**20
"""Of transformed pixels that exist at a time on the CPU; larger was no faster."""


@dataclass
class SsbSums:
    """Partial sums of SSB; those of different pixels add up."""

    fields: np.ndarray
    """(10, scan_y, columns) float64: see ``ssb_reduce.FIELDS``."""
    noise: float
    """Sum of |G|² at frequencies beyond 2 k0, where there is nothing but noise."""
    noise_count: int
    """Terms of that sum."""
    electrons: float
    """Sum of G(k, 0) over the pixels: all their counts."""

    @classmethod
    def none(cls, geometry: SsbGeometry) -> "SsbSums":
        """Of no pixel."""
        return cls(np.zeros((FIELDS, geometry.scan_shape[0], geometry.columns)), 0.0, 0, 0.0)

    def __add__(self, other: "SsbSums") -> "SsbSums":
        return SsbSums(
            self.fields + other.fields,
            self.noise + other.noise,
            self.noise_count + other.noise_count,
            self.electrons + other.electrons,
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
    block: Array,
    k_y: np.ndarray,
    k_x: np.ndarray,
    geometry: SsbGeometry,
    dtype: Any = np.float32,
    into: SsbSums | None = None,
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
    into : SsbSums, optional
        Sums of other pixels, to which these are added; so there is one array of sums, not three.

    Returns
    -------
    SsbSums
        On the host; ``into``, if it is given.

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
    total = SsbSums.none(geometry) if into is None else into
    for part, spectrum in _spectra(block, chosen, geometry, dtype):
        total = ssb_of_spectrum(spectrum, k_y[part], k_x[part], geometry, into=total)
    return total


def ssb_of_spectrum(
    spectrum: Array,
    k_y: np.ndarray,
    k_x: np.ndarray,
    geometry: SsbGeometry,
    threads: int = 1,
    into: SsbSums | None = None,
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
    into : SsbSums, optional
        As in ``ssb_partial``.

    Returns
    -------
    SsbSums
        On the host; ``into``, if it is given.
    """
    total = SsbSums.none(geometry) if into is None else into
    q_y, q_x = geometry.frequencies()
    parts = parts_of(spectrum)
    sums_of_parts(parts, k_y, k_x, q_y, geometry, threads=threads, sums=total.fields)
    beyond = np.hypot(q_y[:, None], q_x) > NOISE_FROM * geometry.aperture
    total.noise = float(total.fields[9].sum())
    total.noise_count += int(beyond.sum()) * k_y.size
    total.electrons += float(to_host(parts[:, 0, 0, 0]).sum(dtype=np.float64))
    return total


def parts_of(spectrum: Array) -> Array:
    """(pixels, scan_y, columns, 2): a view of the real and imaginary part of each number."""
    real = np.float64 if spectrum.dtype == np.complex128 else np.float32
    return spectrum.view(real).reshape(*spectrum.shape, 2)


def sums_of_parts(
    parts: Array,
    k_y: np.ndarray,
    k_x: np.ndarray,
    q_y: np.ndarray,
    geometry: SsbGeometry,
    scale: Array | None = None,
    everything: bool = True,
    threads: int = 1,
    sums: np.ndarray | None = None,
) -> np.ndarray:
    """Sums over all pixels of G, as it lies in memory.

    Parameters
    ----------
    parts : (pixels, rows, columns, 2) float32, float64 or int16
        Real and imaginary part of G(k, Q).
    k_y, k_x, geometry
        As in ``ssb_partial``; pixels outside the disk add nothing.
    q_y : (rows,) float64
        Frequencies of the rows [1/Å]; those of the columns begin at 0.
    scale : (groups, rows, columns) float32, optional
        What the parts of each ``PIXELS_AT_ONCE`` pixels are to be multiplied by.
    everything : bool
        Whether the double overlap and the noise are summed as well as the single sidebands.
    threads : int
        As in ``ssb_of_spectrum``.
    sums : (10, rows, columns) float64, optional
        On the host; added to.

    Returns
    -------
    (10, rows, columns) float64
        ``sums``, or a new array; see ``ssb_reduce.FIELDS``.
    """
    k_y, k_x = geometry.on_scan(k_y, k_x)
    step, chi = 1 / (geometry.scan_shape[1] * geometry.scan_step[1]), geometry.chi()
    _, rows, columns, _ = parts.shape
    sums = np.zeros((FIELDS, rows, columns)) if sums is None else sums
    if on_gpu(parts):
        there = device_zeros(sums.shape, np.float64)
        scale = to_device(np.zeros((0, 0, 0), np.float32)) if scale is None else scale
        k_y, k_x, q_y, chi = map(to_device, (k_y, k_x, q_y, chi))
        reduce_kernel[-(-rows * columns // THREADS_PER_BLOCK), THREADS_PER_BLOCK](
            parts, k_y, k_x, q_y, step, geometry.aperture, chi, scale, everything, there
        )
        sums += to_host(there)
        return sums

    def add(rows: tuple[int, int]) -> None:
        for group, first in enumerate(range(0, k_y.size, PIXELS_AT_ONCE)):
            at = slice(first, first + PIXELS_AT_ONCE)
            of_group = UNSCALED if scale is None else scale[group]
            reduce_block(
                parts[at], k_y[at], k_x[at], q_y, step, geometry.aperture, chi, sums, rows,
                of_group, everything,
            )  # fmt: skip

    over_rows(add, rows, threads)
    return sums


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
    spectrum, weight = phase_spectrum(sums.fields, disk_intensity, estimate)
    right, left = (sums.fields[f] + 1j * sums.fields[f + 1] for f in (0, 2))
    n_right, n_left = sums.fields[6:8]
    even = (_divide(right, n_right) + _divide(left, n_left)) / 2
    even[(n_right < 1) | (n_left < 1)] = 0
    spectrum, amplitude = _pad(spectrum, geometry), _pad(even / disk_intensity, geometry)
    return SsbImages(
        phase=scipy.fft.irfft2(spectrum, s=geometry.scan_shape),
        amplitude=1 + scipy.fft.irfft2(amplitude, s=geometry.scan_shape),
        spectrum=spectrum,
        weight=_pad(weight, geometry),
    )


def phase_spectrum(
    fields: np.ndarray, disk_intensity: float, estimate: Estimate = "both"
) -> tuple[np.ndarray, np.ndarray]:
    """Φ(Q) from the sums of all pixels.

    Parameters
    ----------
    fields : (10, rows, columns) float64
        See ``ssb_reduce.FIELDS``.
    disk_intensity, estimate
        As in ``ssb_finish``.

    Returns
    -------
    spectrum : (rows, columns) complex128
        Φ(Q) [rad]; 0 where no sideband is.
    weight : (rows, columns) float64
        Σ|Γ|² behind it.

    Raises
    ------
    ValueError
        If the estimate is unknown.
    """
    if estimate not in ESTIMATES:
        raise ValueError(f"unknown estimate {estimate!r}; there are {', '.join(ESTIMATES)}")
    numerator, weight = np.zeros(fields.shape[1:], np.complex128), np.zeros(fields.shape[1:])
    for sign, first, count in ESTIMATES[estimate]:
        numerator.real += sign * fields[first]
        numerator.imag += sign * fields[first + 1]
        weight += fields[count]
    return _divide(numerator, 1j * disk_intensity * weight), weight


def _divide(numerator: np.ndarray, weight: np.ndarray) -> np.ndarray:
    seen = np.abs(weight) > 1e-9
    return np.divide(numerator, weight, out=np.zeros_like(numerator), where=seen)


def _pad(half: np.ndarray, geometry: SsbGeometry) -> np.ndarray:
    full = np.zeros((geometry.scan_shape[0], geometry.scan_shape[1] // 2 + 1), half.dtype)
    full[:, : geometry.columns] = half
    return full
