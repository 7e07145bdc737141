"""Arrays as the pixels that a browser shows."""

from math import ceil

import numpy as np

from tasks.report.pictures import shrink
from tasks.report.vectors import vector_colours

MOVING = 512
"""Pixels along a side that are sent while a slider moves."""
LARGEST = 1024
"""Pixels along a side that are sent; a larger image is averaged."""
SAMPLE = 40_000
"""Values by which the range of the colours is chosen."""
PERCENTILES = (0.5, 99.5)


def for_display(image: np.ndarray, limit: int = LARGEST) -> np.ndarray:
    """(rows, cols) float32, averaged where a side is longer than a limit."""
    factor = ceil(max(image.shape) / limit)
    if factor == 1:
        return np.ascontiguousarray(image, np.float32)
    if any(n % factor for n in image.shape):
        return shrink(np.asarray(image, np.float64), limit)[0].astype(np.float32)
    rows, cols = (n // factor for n in image.shape)
    return image.reshape(rows, factor, cols, factor).mean(axis=(1, 3), dtype=np.float32)


def shown_range(image: np.ndarray) -> tuple[float, float]:
    """Values of the first and of the last colour, from a sample of the finite pixels."""
    sample = image.ravel()[:: max(1, image.size // SAMPLE)]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(sample, PERCENTILES))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def complex_colours(values: np.ndarray) -> np.ndarray:
    """(rows, cols) uint32 RGBA: the phase as hue, the modulus as brightness; NaN is transparent.

    Phase 0 is yellow, π is blue, π/2 is light and −π/2 is dark: it can be read without telling red
    from green.
    """
    colours = vector_colours(-values.imag, values.real)
    alpha = np.where(np.isnan(values), 0, 255).astype(np.uint8)
    return np.dstack([colours, alpha]).view(np.uint32)[..., 0]


def tiled(images: np.ndarray, columns: int = 3) -> np.ndarray:
    """Put images (n, rows, cols) beside each other, in rows of some, NaN where there is none."""
    count, height, width = images.shape
    rows = ceil(count / columns)
    sheet = np.full((rows * columns, height, width), np.nan, images.dtype)
    sheet[:count] = images
    return sheet.reshape(rows, columns, height, width).swapaxes(1, 2).reshape(rows * height, -1)


def spectrum_picture(spectrum: np.ndarray, columns: int) -> np.ndarray:
    """(rows, cols) float32: log₁₀|Φ(Q)| of the whole plane, zero frequency in the middle.

    Parameters
    ----------
    spectrum : (scan_y, scan_x // 2 + 1) complex
        Half plane.
    columns : int
        Scan positions along x.
    """
    half = np.abs(spectrum).astype(np.float32)
    full = np.zeros((half.shape[0], columns), np.float32)
    full[:, : half.shape[1]] = half
    rest = columns - half.shape[1]
    full[:, half.shape[1] :] = np.roll(half[::-1], 1, axis=0)[:, rest:0:-1]
    full = np.fft.fftshift(full)
    least = full[full > 0].min(initial=1.0) if (full > 0).any() else 1.0
    return np.log10(np.maximum(full, least))
