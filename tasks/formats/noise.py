"""Thresholds between noise, electrons and X-rays, from the values of some raw frames.

Most pixels of a frame are hit by nothing, so the values have a sharp peak of noise. A Gaussian is
fitted to it; what is some of its standard deviations above its mean is no noise. So it is for the
sums of four pixels in a square, whose noise is fitted by itself: it is twice that of a pixel only
where the noise of neighbours is independent. X-rays are what lies many standard deviations of all
values above the mean of all (the rule of the 4D Camera's own counting, P. Ercius et al., Microsc.
Microanal. 30, 903 (2024)).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import curve_fit

LOWEST, HIGHEST = -(1 << 15), 1 << 18
"""Values, and sums of four, outside are counted at the ends."""
PEAK = 0.02
"""Bins above this part of the highest make up the peak of noise."""


class NoiseError(ValueError):
    """Values in which no peak of noise is found."""


@dataclass(frozen=True)
class Thresholds:
    """Between which values a pixel may be an electron, and where they come from."""

    background: float
    """Of a pixel alone."""
    block: float
    """Of four pixels in a square together; infinite where that of a pixel was known."""
    xray: float
    mean: float
    """Of all sampled values."""
    std: float
    noise_mean: float
    """Of the fitted Gaussian; the sampled mean where no fit was needed."""
    noise_std: float
    block_std: float
    """Of the Gaussian fitted to sums of four; 0 where no fit was needed."""

    @property
    def pedestal(self) -> float:
        """What a pixel that nothing hits shows; 0 where that was not fitted."""
        return self.noise_mean if self.block_std > 0 else 0.0


def thresholds_of(
    frames: Iterable[np.ndarray],
    background_sigmas: float,
    xray_sigmas: float,
    background: float | None = None,
    xray: float | None = None,
) -> Thresholds:
    """Find the thresholds of frames less their dark levels.

    Parameters
    ----------
    frames : iterable of (rows, cols) float32
        Values of some frames; taken one at a time.
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
    pixels, blocks = (np.zeros(HIGHEST - LOWEST + 1, np.int64) for _ in range(2))
    total, squares, count = 0.0, 0.0, 0
    for frame in frames:
        count, total = count + frame.size, total + float(frame.sum(dtype=np.float64))
        squares += float(np.square(frame, dtype=np.float64).sum())
        if background is None:
            _tally(pixels, frame)
            _tally(blocks, _sums_of_four(frame))
    if not count:
        raise NoiseError("no frame to take thresholds from")
    mean = total / count
    std = float(np.sqrt(max(0.0, squares / count - mean**2)))
    noise, block, block_std = (mean, std), np.inf, 0.0
    if background is None:
        noise, (block_mean, block_std) = _fitted(pixels), _fitted(blocks)
        background = noise[0] + background_sigmas * noise[1]
        block = block_mean + background_sigmas * block_std
    found = Thresholds(
        background, block, mean + xray_sigmas * std if xray is None else xray,
        mean, std, *noise, block_std,
    )  # fmt: skip
    if not found.background < found.xray:
        raise NoiseError(
            f"the threshold for X-rays, {found.xray:.4g}, is not above that of the background, "
            f"{found.background:.4g}"
        )
    return found


def _tally(histogram: np.ndarray, values: np.ndarray) -> None:
    bins = np.rint(values.ravel()).astype(np.int32)
    bins -= LOWEST
    np.clip(bins, 0, histogram.size - 1, out=bins)
    counted = np.bincount(bins)
    histogram[: counted.size] += counted


def _sums_of_four(frame: np.ndarray) -> np.ndarray:
    """Sums of 2 x 2 pixels, each pixel in one of them."""
    rows, cols = (n // 2 * 2 for n in frame.shape)
    pairs = frame[0:rows:2, :cols] + frame[1:rows:2, :cols]
    return pairs[:, ::2] + pairs[:, 1::2]


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
