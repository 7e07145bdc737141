"""Drawn pictures: noise of every roughness, fallen leaves, gratings, and scattered round atoms."""

from collections.abc import Callable

import numpy as np
import scipy.fft

SIDE = 160
"""Rows and columns of a picture."""


def procedural_images(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw pictures, the four kinds in turn.

    Parameters
    ----------
    count : int
        How many.
    rng : numpy.random.Generator
        Decides all.

    Returns
    -------
    list of (160, 160) float32
        On no particular scale.
    """
    return [KINDS[n % len(KINDS)](rng).astype(np.float32) for n in range(count)]


def power_law_noise(rng: np.random.Generator) -> np.ndarray:
    """(160, 160) float64: noise of amplitude 1/f^a, a from 0.3 to 1.8: from sand to clouds."""
    f_y, f_x = scipy.fft.fftfreq(SIDE)[:, None], scipy.fft.rfftfreq(SIDE)
    f = np.hypot(f_y, f_x)
    f[0, 0] = np.inf
    white = scipy.fft.rfft2(rng.standard_normal((SIDE, SIDE)))
    return scipy.fft.irfft2(white / f ** rng.uniform(0.3, 1.8), s=(SIDE, SIDE))


def fallen_leaves(rng: np.random.Generator) -> np.ndarray:
    """(160, 160) float64: ellipses that hide one another, of all sizes: edges at every scale."""
    picture = np.zeros((SIDE, SIDE))
    y, x = np.indices(picture.shape)
    for _ in range(220):
        radius = 2.5 * (1 - 0.985 * rng.random()) ** -0.75
        at, angle = rng.uniform(0, SIDE, 2), rng.uniform(0, np.pi)
        across = radius * rng.uniform(0.4, 1.0)
        u = (y - at[0]) * np.cos(angle) + (x - at[1]) * np.sin(angle)
        v = (x - at[1]) * np.cos(angle) - (y - at[0]) * np.sin(angle)
        # The edge is a pixel wide.
        inside = np.clip((1 - np.hypot(u / radius, v / across)) * across + 0.5, 0, 1)
        picture += inside * (rng.random() - picture)
    return picture


def gratings(rng: np.random.Generator) -> np.ndarray:
    """(160, 160) float64: two to four waves that cross, made sharper or flatter."""
    y, x = np.indices((SIDE, SIDE))
    picture = np.zeros((SIDE, SIDE))
    for _ in range(rng.integers(2, 5)):
        frequency, angle = 1 / np.exp(rng.uniform(np.log(4), np.log(24))), rng.uniform(0, np.pi)
        wave = y * np.cos(angle) + x * np.sin(angle)
        picture += rng.uniform(0.4, 1) * np.cos(2 * np.pi * (frequency * wave + rng.random()))
    low, high = picture.min(), picture.max()
    return ((picture - low) / (high - low)) ** rng.uniform(0.5, 3)


def scattered_atoms(rng: np.random.Generator) -> np.ndarray:
    """(160, 160) float64: round bumps of unlike height, at random or on a strained lattice."""
    width = np.exp(rng.uniform(np.log(0.7), np.log(3.0)))
    spacing = width * rng.uniform(2.5, 7)
    u, v = np.indices((2 * int(SIDE / spacing) + 8,) * 2).reshape(2, -1) * spacing
    angle, shear = rng.uniform(0, np.pi), rng.uniform(0, 0.6)
    u, v = u + shear * v - SIDE / 2, v - SIDE / 2
    y = SIDE / 2 + (u - u.mean()) * np.cos(angle) - (v - v.mean()) * np.sin(angle)
    x = SIDE / 2 + (u - u.mean()) * np.sin(angle) + (v - v.mean()) * np.cos(angle)
    disorder = rng.choice([0.03, 0.15, 1.0]) * spacing
    y, x = y + disorder * rng.standard_normal(y.size), x + disorder * rng.standard_normal(x.size)
    heights = 1 + rng.choice([0.1, 0.8]) * rng.standard_normal(y.size)
    keep = (np.abs(y - SIDE / 2) < SIDE / 2 + 9) & (np.abs(x - SIDE / 2) < SIDE / 2 + 9)
    axis = np.arange(SIDE)
    rows = np.exp(-0.5 * ((axis - y[keep, None]) / width) ** 2) * heights[keep, None]
    cols = np.exp(-0.5 * ((axis - x[keep, None]) / width) ** 2)
    return rows.T @ cols + 0.15 * power_law_noise(rng)


KINDS: tuple[Callable[[np.random.Generator], np.ndarray], ...] = (
    power_law_noise, fallen_leaves, gratings, scattered_atoms,
)  # fmt: skip
"""Of pictures, in the order in which they are drawn."""
