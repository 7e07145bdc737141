"""From the sums of single-sideband ptychography to phase and amplitude, on either side."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gpu_kernels.backend import Array, as_library
from gpu_kernels.fourier import libraries
from gpu_kernels.ssb import SsbSums
from gpu_kernels.ssb_geometry import SsbGeometry

Estimate = Literal["both", "left", "right", "wpo"]
ESTIMATES = {
    "both": ((1, 0, 6), (-1, 2, 7)),
    "right": ((1, 0, 6),),
    "left": ((-1, 2, 7),),
    "wpo": ((1, 0, 6), (-1, 2, 7), (1, 4, 8)),
}
"""Signed sums of each estimate: the sign, where Γ*G begins in ``FIELDS``, and where its |Γ|² is."""


@dataclass(frozen=True)
class SsbImages:
    """Phases and amplitude on the scan's grid, (scan_y, scan_x)."""

    phase: Array
    """[rad]"""
    amplitude: Array
    spectrum: Array
    """(scan_y, scan_x // 2 + 1) complex: Φ(Q) that the phase is the transform of."""
    weight: Array
    """(scan_y, scan_x // 2 + 1): Σ|Γ|² behind each Φ(Q); its noise is 1/weight."""


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
        On the side of the sums. The phase has no mean: no sideband carries it.

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
    fields = as_library(sums.fields)
    _, fft = libraries(fields)
    spectrum, weight = phase_spectrum(fields, disk_intensity, estimate)
    right, left = (fields[f] + 1j * fields[f + 1] for f in (0, 2))
    n_right, n_left = fields[6], fields[7]
    even = (_divide(right, n_right) + _divide(left, n_left)) / 2
    even[(n_right < 1) | (n_left < 1)] = 0
    spectrum, amplitude = _pad(spectrum, geometry), _pad(even / disk_intensity, geometry)
    return SsbImages(
        phase=fft.irfft2(spectrum, s=geometry.scan_shape),
        amplitude=1 + fft.irfft2(amplitude, s=geometry.scan_shape),
        spectrum=spectrum,
        weight=_pad(weight, geometry),
    )


def phase_spectrum(
    fields: Array, disk_intensity: float, estimate: Estimate = "both"
) -> tuple[Array, Array]:
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
    xp, _ = libraries(fields)
    numerator, weight = xp.zeros(fields.shape[1:], np.complex128), xp.zeros(fields.shape[1:])
    for sign, first, count in ESTIMATES[estimate]:
        numerator.real += sign * fields[first]
        numerator.imag += sign * fields[first + 1]
        weight += fields[count]
    return _divide(numerator, 1j * disk_intensity * weight), weight


def _divide(numerator: Array, weight: Array) -> Array:
    xp, _ = libraries(numerator)
    seen = abs(weight) > 1e-9
    return xp.where(seen, numerator / xp.where(seen, weight, 1), 0)


def _pad(half: Array, geometry: SsbGeometry) -> Array:
    xp, _ = libraries(half)
    full = xp.zeros((geometry.scan_shape[0], geometry.scan_shape[1] // 2 + 1), half.dtype)
    full[:, : geometry.columns] = half
    return full
