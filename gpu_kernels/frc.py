"""Fourier ring correlation: up to which detail two images of one object agree.

FRC(q) = Re Σ F₁F₂* / √(Σ|F₁|² Σ|F₂|²) over the frequencies of a ring (Saxton and Baumeister,
J. Microsc. 127 (1982) 127; van Heel, Ultramicroscopy 21 (1987) 95). Between images made from two
halves of the electrons it measures signal against noise and needs no reference.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import t as student

from gpu_kernels.backend import Array, as_library, beside
from gpu_kernels.fourier import libraries
from gpu_kernels.frc_curve import FrcCurve
from gpu_kernels.registration import levelling, shift_between, shifted, without_plane
from gpu_kernels.rings import ring_sums, rings_of, shared_noise

EMPTY = 1e-8
"""A ring whose power is this part of the strongest ring's, or less, holds rounding and nothing."""
FALSE_ALARM = 0.01
"""Chance that noise alone passes for signal anywhere in a curve."""


@dataclass(frozen=True)
class Resolution:
    """Up to which frequency a curve stays above a threshold."""

    frequency: float
    """Where it falls below for good [1/length of a pixel]; 0 where it never is above."""
    limited: bool
    """It is above in its last ring: the images resolve this much **or more** (read "≥")."""
    gaps: tuple[tuple[float, float], ...] = ()
    """Frequencies (from, to) in between where it is below: a perfect lattice has no signal between
    its reflections, and a curve that is held to them all would end at the first."""
    spread: tuple[float, float] = (0.0, 0.0)
    """Where a curve lower, or higher, by its standard deviation would fall [1/length of pixel]."""

    @property
    def length(self) -> float:
        """1/frequency, the resolution; infinite where there is none."""
        return _length(self.frequency)

    @property
    def lengths(self) -> tuple[float, float]:
        """Finest and coarsest resolution within the spread; infinite where there is none."""
        return _length(self.spread[1]), _length(self.spread[0])


def fourier_ring_correlation(
    first: Array,
    second: Array,
    pixel: tuple[float, float] = (1.0, 1.0),
    *,
    window: str = "hann",
    register: bool = False,
    flatten: bool = True,
    even: bool = False,
    band_limit: float = np.inf,
) -> FrcCurve:
    """Compare two images of one object, ring by ring.

    Parameters
    ----------
    first, second : (rows, columns)
        Real or complex, of any one shape; finite.
    pixel : (row, column)
        Size of a pixel; frequencies come out in its inverse.
    window : str
        ``hann`` (periodic: it ties a frequency to its neighbours and to no other) or ``none``.
    register : bool
        First move the second image onto the first. Leave it away for images that share a grid: a
        shift that is fitted to noise correlates it.
    flatten : bool
        First remove mean and linear ramp: from real images the plane that fits each, from complex
        ones the ramp of the phase.
    even : bool
        Noise is known to be spread evenly over a ring, as it is in images that are linear in the
        counts. Few strong frequencies are then the signal of a lattice; else they may be noise, and
        the spread of noise is taken from the ring's own powers. Of complex images: that of phases.
    band_limit : float
        Frequency beyond which the images can hold nothing [1/length of a pixel].

    Returns
    -------
    FrcCurve
        On the host, whichever side computed it.

    Raises
    ------
    ValueError
        If the shapes differ, are too small, or a value is not finite.
    """
    like, first, second = first, as_library(first), as_library(second)
    xp, fft = libraries(first)
    _check(first, second, pixel, window)
    shape, real = first.shape, not (xp.iscomplexobj(first) or xp.iscomplexobj(second))
    dtype = np.float64 if real else np.complex128
    images = [xp.asarray(image).astype(dtype) for image in (first, second)]
    if flatten and real:
        images = [without_plane(image) for image in images]
    elif flatten:
        images[1] = images[1] * levelling(images[1] * images[0].conj())
        images = [image * levelling(images[0] + images[1]) for image in images]
        images = [image - image.mean() for image in images]
    weight = _window(shape, window, xp)
    shift = (0.0, 0.0)
    if register:
        shift = shift_between(images[0], images[1], weight)
        images[1] = shifted(images[1], (-shift[0], -shift[1]))
    transform = fft.rfft2 if real else fft.fft2
    rings = rings_of(shape, pixel, half_plane=real)
    spectra = [beside(transform(image * weight), like) for image in images]
    common, *powers, squares = ring_sums(spectra[0], spectra[1], rings, shape[1])
    floors = [EMPTY * (power[1:] / rings.pixels[1:]).max() for power in powers]
    empty = rings.frequency > band_limit
    for power, floor in zip(powers, floors, strict=True):
        empty |= ~(power / rings.pixels > floor)
    strength = np.sqrt(powers[0] * powers[1])
    strength = np.where(strength > 0, strength, 1)
    correlation = np.where(empty, np.nan, common / strength)
    shared = shared_noise(shape, (float(pixel[0]), float(pixel[1])), window == "hann")
    # Of a complex image every frequency is a measurement of its own, of a real one every second.
    alone = 1.0 if real else 2.0
    unevenness = np.where(empty | even, alone, alone * rings.pixels * squares / strength**2)
    return FrcCurve(
        rings.frequency, correlation, rings.pixels, shared / alone, unevenness, shift, even=even
    )


def resolution(curve: FrcCurve, threshold: str = "0.143") -> Resolution:
    """Up to which frequency a curve, smoothed over three rings, stays above a threshold.

    The first stretch of rings above the threshold counts if noise alone would not reach it; one
    that follows after a gap counts only where it lies above the threshold beyond doubt, so that a
    curve that hovers about the threshold ends where it first falls below. Beyond doubt: with a
    chance of ``FALSE_ALARM`` over the whole curve, by the curve's own spread; and noise alone would
    reach no further in that one ring with the same chance. The mean of the images is no detail, so
    the first ring is left out.

    Parameters
    ----------
    curve : FrcCurve
        Of two images.
    threshold : str
        One of ``THRESHOLDS``. Two halves of the electrons agree by 0.143 where the whole agrees
        with the truth by 0.5 (Rosenthal and Henderson, J. Mol. Biol. 333 (2003) 721).

    Returns
    -------
    Resolution
        Interpolated between rings. Its spread is that of one standard deviation of the curve, which
        is ``sigma`` (1 − FRC²), for what is correlated scatters less; where ``sigma`` is taken from
        the images' own products it is that over √(1 + FRC²), as which a signal raises those.
    """
    value, sigma = curve.smoothed()
    limit = curve.threshold(threshold)
    known = np.isfinite(value)
    known[0] = False
    if not known.any():
        return Resolution(0.0, limited=False)
    value, sigma = np.where(known, value, -1.0), np.where(known, sigma, 0.0)
    doubt = _reach_of_noise(sigma, FALSE_ALARM / known.sum())
    squared = np.clip(value, -1, 1) ** 2
    part = (1 - squared) / np.sqrt(1 + squared * (not curve.even))
    # Behind a gap one ring's chance: the few reflections of a lattice tell no more by themselves.
    later = np.maximum(limit + doubt * part, _reach_of_noise(sigma, FALSE_ALARM))
    surely = doubt, later
    found, *others = (
        _end_of(curve.frequency, known, value + shift * sigma * part, limit, surely)
        for shift in (0, -1, 1)
    )
    # A lower curve never ends later, but for a stretch behind a gap that only it has.
    low, high = (one.frequency for one in others)
    return replace(found, spread=(min(low, found.frequency), max(high, found.frequency)))


def _reach_of_noise(sigma: np.ndarray, chance: float) -> np.ndarray:
    """Correlation that noise of a spread exceeds with a chance.

    1/σ² is how many independent numbers each image has in a ring, and the correlation r of two
    vectors of n random numbers has r√(n − 1)/√(1 − r²) distributed as Student's t of n − 1. Few
    numbers thus reach far, but never 1.
    """
    freedom = np.maximum(1 / np.where(sigma > 0, sigma, 1) ** 2 - 1, 0.5)
    quantile = student.isf(chance, freedom)
    return quantile / np.sqrt(freedom + quantile**2)


def _end_of(
    frequency: np.ndarray,
    known: np.ndarray,
    value: np.ndarray,
    limit: np.ndarray,
    surely: tuple[np.ndarray, np.ndarray],
) -> Resolution:
    """Up to where a curve lies above a limit, the first stretch and later ones ``surely``."""
    above = known & (value > limit)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]]).astype(np.int8)))
    stretches: list[tuple[int, int]] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if (value > surely[bool(stretches)])[start:stop].any():
            stretches.append((start, stop))
    if not stretches:
        return Resolution(0.0, limited=False)
    last = int(np.flatnonzero(known)[-1])
    ends = [
        float(frequency[last])
        if stop > last
        else _crossing(frequency, np.where(known, value - limit, np.nan), stop)
        for _, stop in stretches
    ]
    begins = [float(frequency[start]) for start, _ in stretches]
    gaps = tuple(zip(ends[:-1], begins[1:], strict=True))
    return Resolution(ends[-1], stretches[-1][1] > last, gaps)


def signal_to_noise(correlation: np.ndarray, halves: bool = True) -> np.ndarray:
    """Spectral signal-to-noise ratio, power over power, that goes with a correlation.

    Parameters
    ----------
    correlation : (...,) float64
        FRC of two images of equal noise.
    halves : bool
        They are halves of the data, and the ratio is wanted for the whole: 2 FRC/(1 − FRC). Else
        it is that of each image, FRC/(1 − FRC).

    Returns
    -------
    (...,) float64
        0 where nothing is correlated, infinite where everything is, NaN where the FRC is.
    """
    known = np.where(np.isnan(correlation), np.nan, np.clip(correlation, 0, 1))
    with np.errstate(divide="ignore"):
        return (2.0 if halves else 1.0) * known / (1 - known)


def _check(first: Array, second: Array, pixel: tuple[float, float], window: str) -> None:
    xp, _ = libraries(first)
    if first.ndim != 2 or first.shape != second.shape or min(first.shape) < 4:
        raise ValueError(
            f"images of {first.shape} and {second.shape} cannot be compared ring by ring; two of "
            "one shape are needed, at least 4 pixels along each side"
        )
    if not min(pixel) > 0:
        raise ValueError(f"pixel sizes {tuple(pixel)} must be positive")
    if window not in ("hann", "none"):
        raise ValueError(f"unknown window {window!r}; there are hann and none")
    for name, image in (("first", first), ("second", second)):
        bad = int((~xp.isfinite(image)).sum())
        if bad:
            raise ValueError(f"{bad} of {image.size} values of the {name} image are not finite")


def _window(shape: tuple[int, int], name: str, xp: Any) -> Array:
    if name == "none":
        return xp.ones(shape)
    rows, cols = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in shape)
    return xp.asarray(rows[:, None] * cols)


def _length(frequency: float) -> float:
    return 1 / frequency if frequency > 0 else float("inf")


def _crossing(frequency: np.ndarray, above: np.ndarray, stop: int) -> float:
    """Where a curve falls to zero between ring ``stop − 1`` and ring ``stop``."""
    before, after = above[stop - 1], above[stop]
    if not np.isfinite(after):
        return float(frequency[stop - 1])
    share = before / (before - after)
    return float(frequency[stop - 1] + share * (frequency[stop] - frequency[stop - 1]))
