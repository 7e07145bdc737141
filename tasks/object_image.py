"""A reconstructed object as images along the axes of the scan.

Iterative ptychography works in the detector's frame, because patterns must not be resampled. Its
object is turned to the scan's axes afterwards: on a grid twice as fine, which its transform gives
exactly, a cubic spline turns it without a loss that could be seen. Amplitude and phase are turned
apart: from pixel to pixel the amplitude is far noisier than the phase, and in between the one would
become the other.
"""

from typing import NamedTuple

import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter, map_coordinates

from models.geometry import Geometry

FINER = 2
SMOOTH = 4.0
"""Pixels over which an object is blurred to tell its mean slope."""


class ObjectImage(NamedTuple):
    """An object along the axes of the scan."""

    obj: np.ndarray
    """(rows, cols) complex64; neither its phase nor its slope has a mean."""
    y: np.ndarray
    """(rows,) float64: place along the slow axis, 0 at the first scan position [Å]."""
    x: np.ndarray
    """(cols,) float64: place along the fast axis [Å]."""


def along_scan(
    obj: np.ndarray,
    origin: tuple[float, float],
    geometry: Geometry,
    sampling: float,
    places: tuple[np.ndarray, np.ndarray],
) -> ObjectImage:
    """Turn an object to the axes of the scan, as far as the scan reached.

    Parameters
    ----------
    obj : (rows, cols) complex
        Object in the detector's frame.
    origin : (row, col)
        Place of its first pixel in that frame [px].
    geometry : Geometry
        With the rotation.
    sampling : float
        Its pixel, and that of the image [Å].
    places : (y, x)
        Scan positions that made it, along the scan's axes [Å].

    Returns
    -------
    ObjectImage
        From the first to the last of these positions.
    """
    y, x = (
        low + sampling * np.arange(int((high - low) / sampling + 1e-9) + 1)
        for low, high in ((p.min(), p.max()) for p in places)
    )
    rows, cols = geometry.scan_to_detector(y[:, None], x[None, :])
    at = [FINER * (r / sampling - first) for r, first in zip((rows, cols), origin, strict=True)]
    amplitude, phasor = (_turned(part, at) for part in (np.abs(obj), np.exp(1j * np.angle(obj))))
    image = np.abs(amplitude) * np.exp(1j * np.angle(phasor))
    flat = _without_ramp(image)
    mean = np.mean(flat)
    return ObjectImage((flat * np.conj(mean) / abs(mean)).astype(np.complex64), y, x)


def _without_ramp(image: np.ndarray) -> np.ndarray:
    """The same without its mean slope, which is the same as a disk's centre that is a little off.

    A tenth of a detector pixel is one turn over ten windows of the probe.
    """
    # Blurred, because noise of single pixels has a slope of its own, that of the detector's edges;
    # again, because a steep ramp is dimmed by the blur.
    for axis in (0, 1, 0, 1):
        smooth = np.moveaxis(gaussian_filter(image, SMOOTH), axis, 0)
        slope = np.angle(np.vdot(smooth[:-1], smooth[1:]))
        along = np.exp(-1j * slope * np.arange(image.shape[axis]))
        image = image * np.expand_dims(along, 1 - axis)
    return image


def _turned(part: np.ndarray, at: list[np.ndarray]) -> np.ndarray:
    """(rows, cols) complex: a part of an object at places of the grid ``FINER`` times as fine."""
    fine = _refined(part)
    real, imag = (map_coordinates(n, at, order=3, mode="nearest") for n in (fine.real, fine.imag))
    return real + 1j * imag


def _refined(obj: np.ndarray) -> np.ndarray:
    """The same on a grid ``FINER`` times as fine, by zeros around its transform."""
    # The blank border of a canvas is all that meets at the ends.
    spectrum = scipy.fft.fftshift(scipy.fft.fft2(obj))
    wide = [(n * FINER // 2 - n // 2, 0) for n in obj.shape]
    pads = [(low, n * FINER - n - low) for (low, _), n in zip(wide, obj.shape, strict=True)]
    return scipy.fft.ifft2(scipy.fft.ifftshift(np.pad(spectrum, pads))) * FINER**2
