"""The curve of a Fourier ring correlation, and how far noise alone would carry it.

Spread of noise: given the powers, independent noise has products z = F₁F₂* of random phase. Their
sum over a ring is that of y(q) = (z(q) + z*(−q))/2, and its variance Σ|y|², for y(q) and y(−q) are
conjugates; a window ties neighbours together and multiplies it by Σ|R|²/N (``shared_noise``). Of
real images |y|² is |F₁|²|F₂|², of complex ones half of that where real and imaginary part are
equally noisy, and all of it where noise is of the phase alone. Only where the ring is white is
Σ|F₁|²|F₂|² that of the mean powers; few strong frequencies are few throws of the dice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

THRESHOLDS = ("0.143", "0.5", "half_bit")
"""Names of the thresholds: two constants, and the half-bit curve of van Heel and Schatz."""


@dataclass(frozen=True)
class FrcCurve:
    """Fourier ring correlation over spatial frequency."""

    frequency: np.ndarray
    """(rings,) float64: middle of each ring [1/length of a pixel]."""
    correlation: np.ndarray
    """(rings,) float64: NaN where a ring is empty in either image, or beyond the band limit."""
    pixels: np.ndarray
    """(rings,) int64: frequencies in each ring."""
    shared: np.ndarray
    """(rings, 3) float64: variance of the sum of a ring's products for white noise of unit power,
    and covariance with the sums of the next two rings."""
    unevenness: np.ndarray
    """(rings,) float64: how many times that variance the images' own products have: 1 for white
    noise, 2 for that of a complex image's phase alone, more where few frequencies hold a ring's
    power."""
    shift: tuple[float, float] = (0.0, 0.0)
    """(row, column) by which the second image was moved back [px]."""
    splits: int = 1
    """Partings of the same electrons into halves that the correlation is the mean of."""
    even: bool = False
    """Whether noise is known to be spread evenly over a ring, and ``unevenness`` not measured."""

    @property
    def sigma(self) -> np.ndarray:
        """(rings,) float64: standard deviation that noise without signal has in each ring."""
        return np.sqrt(self.shared[:, 0] * self.unevenness * self._left) / self.pixels

    @property
    def independent(self) -> np.ndarray:
        """(rings,) float64: independent products in each ring of white images."""
        return self.pixels**2 / self.shared[:, 0]

    @property
    def _left(self) -> float:
        # Another parting draws the halves' difference anew, and never their sum.
        return (1 + 1 / self.splits) / 2

    def threshold(self, name: str) -> np.ndarray:
        """(rings,) float64: a threshold over the rings.

        The half-bit curve is that of van Heel and Schatz, J. Struct. Biol. 151 (2005) 250, with
        the independent products of each ring as its number.

        Raises
        ------
        ValueError
            If there is no such threshold.
        """
        if name not in THRESHOLDS:
            raise ValueError(f"unknown threshold {name!r}; there are {', '.join(THRESHOLDS)}")
        if name != "half_bit":
            return np.full(self.frequency.size, float(name))
        root = np.sqrt(self.independent)
        return (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)

    def smoothed(self) -> tuple[np.ndarray, np.ndarray]:
        """The curve averaged over three rings, and its standard deviation for noise alone.

        Returns
        -------
        correlation, sigma : (rings,) float64
            Rings weigh by their frequencies; an empty one counts for nothing and stays NaN.
        """
        known = np.isfinite(self.correlation)
        weight = np.where(known, self.pixels, 0.0)
        summed = _over_three(weight)
        value = _over_three(weight * np.where(known, self.correlation, 0)) / np.where(
            summed > 0, summed, 1
        )
        # The variance of a sum over three rings: theirs, and twice what each two of them share.
        uneven = self.unevenness
        one = self.shared[:, 0] * uneven
        two = self.shared[:-1, 1] * np.sqrt(uneven[:-1] * uneven[1:])
        three = self.shared[:-2, 2] * np.sqrt(uneven[:-2] * uneven[2:])
        both = known[:-1] & known[1:]
        outer = known[:-2] & known[2:]
        variance = _over_three(np.where(known, one, 0))
        pairs = np.zeros_like(variance)
        pairs[:-1] += np.where(both, two, 0)
        pairs[1:] += np.where(both, two, 0)
        pairs[1:-1] += np.where(outer, three, 0)
        sigma = np.sqrt(self._left * (variance + 2 * pairs)) / np.where(summed > 0, summed, 1)
        return np.where(known, value, np.nan), np.where(known, sigma, np.nan)


def mean_curve(curves: Sequence[FrcCurve]) -> FrcCurve:
    """Curve of several partings of the same electrons into halves.

    Parameters
    ----------
    curves : sequence of FrcCurve
        One each, of images of one shape and pixel.

    Returns
    -------
    FrcCurve
        Their mean, which many partings bring to 1/√2 of the spread of one; NaN where one is.
    """
    mean = np.mean([curve.correlation for curve in curves], axis=0)
    uneven = np.mean([curve.unevenness for curve in curves], axis=0)
    return replace(curves[0], correlation=mean, unevenness=uneven, splits=len(curves))


def _over_three(values: np.ndarray) -> np.ndarray:
    return np.convolve(values, np.ones(3), mode="same")
