"""From the sums of single-sideband ptychography to phase and amplitude, on either side."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gpu_kernels.backend import Array, as_library, on_gpu, to_device
from gpu_kernels.bin_transfer import BinTransfer, limited
from gpu_kernels.fourier import libraries
from gpu_kernels.ssb import SsbSums
from gpu_kernels.ssb_finish_gpu import LEAST, common_spectrum_gpu, phase_spectrum_gpu
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
    """(scan_y, scan_x // 2 + 1): Σ|Γ|² behind each Φ(Q), times |T|² of bins; its noise is
    1/weight."""


def ssb_finish(
    sums: SsbSums,
    disk_intensity: float | Array,
    geometry: SsbGeometry,
    estimate: Estimate = "both",
    bins: BinTransfer | None = None,
) -> SsbImages:
    """Turn the sums of all pixels into phase and amplitude.

    Each single sideband is the object itself: the right one gives Ψ(Q), the left one Ψ*(−Q), where
    Ψ = μ + iφ is the transform of a weak object 1 + μ + iφ. So the phase is the least squares over
    both for an object without absorption, and the amplitude what the two have in common.

    Parameters
    ----------
    sums : SsbSums
        Of every pixel in the disk.
    disk_intensity : float, or a number on the device
        Mean counts of a pixel inside the disk at one position [e]; |A|² = 1 there.
    geometry : SsbGeometry
        As in ``ssb_partial``.
    estimate : str
        ``both`` sidebands; ``right``, k inside the disk around +Q only, or ``left``, around −Q
        only, for the half plane Q_x >= 0; or ``wpo``, the least squares over all of Γ. As G(k, −Q)
        = G*(k, Q), the left sideband of the other half plane is the right one of this: over the
        whole plane left and right would be one and the same estimate. Over the half plane they are
        two, from different pixels and with independent noise.
    bins : BinTransfer, optional
        What the width of the detector's bins leaves of each frequency, to be undone; pixels are
        points when absent.

    Returns
    -------
    SsbImages
        On the side of the sums. The phase has no mean: no sideband carries it.

    Raises
    ------
    ValueError
        If the estimate is unknown, or the disk holds no electrons.
    """
    there = on_gpu(sums.fields)
    if not there:
        _refuse_empty_disk(disk_intensity)
    spectrum, weight = phase_spectrum(sums.fields, disk_intensity, estimate)
    spectrum, weight, common = (
        as_library(half)
        for half in (spectrum, weight, common_spectrum(sums.fields, disk_intensity))
    )
    if bins is not None:
        q_y, q_x = (to_device(one) if there else one for one in geometry.frequencies())
        divisor = limited(bins.at(q_y, q_x, estimate))
        spectrum, weight = spectrum / divisor, weight * abs(divisor) ** 2
        common = common / limited(bins.at(q_y, q_x, "common"))
    spectrum, weight, common = (padded(half, geometry) for half in (spectrum, weight, common))
    _, fft = libraries(spectrum)
    found = SsbImages(
        phase=fft.irfft2(spectrum, s=geometry.scan_shape),
        amplitude=1 + fft.irfft2(common, s=geometry.scan_shape, overwrite_x=True),
        spectrum=spectrum,
        weight=weight,
    )
    if there:  # last, since a number on the device is waited for
        _refuse_empty_disk(disk_intensity)
    return found


def _refuse_empty_disk(intensity: float | Array) -> None:
    if not intensity > 0:
        raise ValueError(
            f"the bright-field disk holds {intensity} e per pixel and position; the phase is "
            "relative to it. Check the disk's centre and radius"
        )


def phase_spectrum(
    fields: Array, disk_intensity: float | Array, estimate: Estimate = "both"
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
    if on_gpu(fields):
        signs = {count: sign for sign, _, count in ESTIMATES[estimate]}
        return phase_spectrum_gpu(
            fields, disk_intensity, (signs.get(6, 0), signs.get(7, 0), signs.get(8, 0))
        )
    numerator, weight = np.zeros(fields.shape[1:], np.complex128), np.zeros(fields.shape[1:])
    for sign, first, count in ESTIMATES[estimate]:
        numerator.real += sign * fields[first]
        numerator.imag += sign * fields[first + 1]
        weight += fields[count]
    return _divide(numerator, 1j * disk_intensity * weight), weight


def common_spectrum(fields: Array, disk_intensity: float | Array) -> Array:
    """What both sidebands have in common: the transform of a weak object's absorption.

    Parameters
    ----------
    fields, disk_intensity
        As in ``phase_spectrum``.

    Returns
    -------
    (rows, columns) complex128
        0 where one of them is missing.
    """
    if on_gpu(fields):
        return common_spectrum_gpu(fields, disk_intensity)
    right, left = (fields[f] + 1j * fields[f + 1] for f in (0, 2))
    n_right, n_left = fields[6], fields[7]
    even = (_divide(right, n_right) + _divide(left, n_left)) / 2
    even[(n_right < 1) | (n_left < 1)] = 0
    return even / disk_intensity


def _divide(numerator: np.ndarray, weight: np.ndarray) -> np.ndarray:
    seen = abs(weight) > LEAST
    return np.where(seen, numerator / np.where(seen, weight, 1), 0)


def padded(half: Array, geometry: SsbGeometry) -> Array:
    """(scan_y, scan_x // 2 + 1): all frequencies of the half plane, with 0 for those not kept."""
    xp, _ = libraries(half)
    full = xp.zeros((geometry.scan_shape[0], geometry.scan_shape[1] // 2 + 1), half.dtype)
    full[:, : geometry.columns] = half
    return full
