"""Thresholds between noise, electrons and X-rays, from the values of some raw frames.

Most pixels of a frame are hit by nothing, so the values have a sharp peak of noise. A Gaussian is
fitted to it; what is some of its standard deviations above its mean is no noise. X-rays are what
lies many standard deviations of all values above the mean of all (the rule of the 4D Camera's own
counting, P. Ercius et al., Microsc. Microanal. 30, 903 (2024)).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import curve_fit

LOWEST, HIGHEST = -(1 << 15), 1 << 17
"""Corrected values outside are counted at the ends."""
PEAK = 0.02
"""Bins above this part of the highest make up the peak of noise."""


class NoiseError(ValueError):
    """Values in which no peak of noise is found."""


@dataclass(frozen=True)
class Thresholds:
    """Between which corrected values a pixel may be an electron, and where they come from."""

    background: float
    xray: float
    mean: float
    """Of all sampled values."""
    std: float
    noise_mean: float
    """Of the fitted Gaussian; the sampled mean where no fit was needed."""
    noise_std: float


def thresholds_of(
    frames: Iterable[np.ndarray],
    background_sigmas: float,
    xray_sigmas: float,
    background: float | None = None,
    xray: float | None = None,
) -> Thresholds:
    """Find the thresholds of corrected frames.

    Parameters
    ----------
    frames : iterable of (rows, cols) float32
        Corrected values of some frames; taken one at a time.
    background_sigmas : float
        Standard deviations of the noise.
    xray_sigmas : float
        Standard deviations of all values.
    background, xray : float, optional
        Known thresholds, in place of those.

    Returns
    -------
    Thresholds

    Raises
    ------
    NoiseError
        If a fit is needed and the values have no peak that a Gaussian describes, or the threshold
        for X-rays is not above that of the background.
    """
    histogram = np.zeros(HIGHEST - LOWEST + 1, np.int64)
    total, squares, count = 0.0, 0.0, 0
    for frame in frames:
        count, total = count + frame.size, total + float(frame.sum(dtype=np.float64))
        squares += float(np.square(frame, dtype=np.float64).sum())
        bins = np.clip(np.rint(frame), LOWEST, HIGHEST).astype(np.int32).ravel() - LOWEST
        histogram += np.bincount(bins, minlength=histogram.size)
    if not count:
        raise NoiseError("no frame to take thresholds from")
    mean = total / count
    std = float(np.sqrt(max(0.0, squares / count - mean**2)))
    noise = (mean, std) if background is not None else _fitted(histogram)
    found = Thresholds(
        noise[0] + background_sigmas * noise[1] if background is None else background,
        mean + xray_sigmas * std if xray is None else xray,
        mean, std, *noise,
    )  # fmt: skip
    if not found.background < found.xray:
        raise NoiseError(
            f"the threshold for X-rays, {found.xray:.4g}, is not above that of the background, "
            f"{found.background:.4g}"
        )
    return found


def _fitted(histogram: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the peak of noise, in bins one wide."""
    top = int(np.argmax(histogram))
    first = last = top
    floor = PEAK * histogram[top]
    while first > 0 and histogram[first - 1] > floor:
        first -= 1
    while last < histogram.size - 1 and histogram[last + 1] > floor:
        last += 1
    bins = np.arange(first, last + 1) + LOWEST
    counts = histogram[first : last + 1]
    if bins.size < 4 or first == 0 or last == histogram.size - 1:
        raise NoiseError(
            f"the noise fills {bins.size} values around {top + LOWEST}; a Gaussian cannot be "
            "fitted to it"
        )
    width = float(np.sqrt(np.average((bins - bins.mean()) ** 2, weights=counts)))
    start = (float(histogram[top]), float(top + LOWEST), width)
    try:
        (_, mean, std), _ = curve_fit(_gaussian, bins, counts, start)
    except RuntimeError as error:
        raise NoiseError(f"a Gaussian does not fit the noise ({error})") from error
    return float(mean), abs(float(std))


def _gaussian(x: np.ndarray, height: float, mean: float, std: float) -> np.ndarray:
    return height * np.exp(-0.5 * ((x - mean) / std) ** 2)
