"""Cubic B-splines on a grid of pixels: what a point takes from the coefficients around it."""

import numpy as np


def spline_taps(fractions: np.ndarray) -> np.ndarray:
    """Weights of the four coefficients around a point, of a cubic B-spline.

    Parameters
    ----------
    fractions : (...) float64
        Place of the point between the second and the third coefficient, 0 to 1.

    Returns
    -------
    (..., 4) float64
        Sum 1.
    """
    f = np.asarray(fractions)
    e = 1 - f
    return np.stack([e**3, 4 - 6 * f**2 + 3 * f**3, 4 - 6 * e**2 + 3 * e**3, f**3], axis=-1) / 6


def spline_values(coefficients: np.ndarray) -> np.ndarray:
    """(rows, cols) float64: a cubic B-spline at its own grid, its edges continued."""
    out = coefficients
    for axis in (0, 1):
        edge = [(0, 0), (0, 0)]
        edge[axis] = (1, 1)
        wide = np.moveaxis(np.pad(out, edge, mode="edge"), axis, 0)
        out = np.moveaxis((wide[:-2] + 4 * wide[1:-1] + wide[2:]) / 6, 0, axis)
    return out


def mean_blur(q: np.ndarray) -> np.ndarray:
    """Mean over all fractions of |Σ taps e^(iqk)|² at each frequency ``q`` [rad/px].

    That is the transform of the spline of degree seven at the integers.
    """
    return (2416 + 2382 * np.cos(q) + 240 * np.cos(2 * q) + 2 * np.cos(3 * q)) / 5040
