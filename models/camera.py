"""What a raw frame of a direct electron camera shows: pedestal, noise, and the charge of electrons.

An electron that crosses the thin active layer deposits an energy with the long tail of Landau's
law, here in Moyal's closed form (J. E. Moyal, Phil. Mag. 46, 263 (1955)); the charge diffuses into
neighbouring pixels on its way to them. Rarely an X-ray leaves many times as much.
"""

from dataclasses import dataclass
from math import erf, sqrt

import numpy as np
from numba import njit


@dataclass(frozen=True)
class Camera:
    """Response of a camera, in raw units."""

    pedestal: float = 20.0
    """Mean value without electrons."""
    pattern: float = 0.6
    """Standard deviation of the pedestal from pixel to pixel, which a dark frame shows."""
    noise: float = 1.8
    """Standard deviation of a pixel from frame to frame."""
    deposit: float = 45.0
    """Most likely value that an electron leaves, summed over the pixels that share it."""
    spread: float = 6.0
    """Width of the deposits' distribution (Moyal's scale)."""
    diffusion: float = 0.35
    """Standard deviation of the charge around the electron's path [px]."""
    xrays: float = 0.5
    """Mean number of X-rays in a frame."""
    xray_deposit: float = 3000.0
    """Mean value that an X-ray leaves."""


def dark_frame(camera: Camera, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Pedestal of each pixel, (rows, cols) float64."""
    return rng.normal(camera.pedestal, camera.pattern, shape)


def raw_frame(
    electrons: np.ndarray,
    dark: np.ndarray,
    gain: np.ndarray,
    camera: Camera,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw the raw frame of some electrons.

    Parameters
    ----------
    electrons : (electrons,) int
        Pixels that they enter, ``row * cols + col``; where in a pixel is drawn.
    dark, gain : (rows, cols)
        Pedestal, and what charge is multiplied by.
    camera : Camera
        The response.
    rng : numpy.random.Generator
        Decides all.

    Returns
    -------
    (rows, cols) uint16
        Rounded, and cut where the type ends.
    """
    rows, cols = dark.shape
    charge = np.zeros((rows, cols))
    count = len(electrons)
    # Minus the logarithm of a squared normal number follows Moyal's law.
    moyal = -np.log(np.maximum(rng.standard_normal(count) ** 2, 1e-300))
    energy = np.maximum(camera.deposit + camera.spread * moyal, 0.0)
    place = np.stack(np.divmod(np.asarray(electrons, np.int64), cols), axis=1)
    _deposit(charge, place + rng.random((count, 2)), energy, camera.diffusion)
    number = rng.poisson(camera.xrays)
    _deposit(
        charge,
        rng.random((number, 2)) * (rows, cols),
        rng.exponential(camera.xray_deposit, number),
        camera.diffusion,
    )
    raw = dark + gain * charge + rng.normal(0, camera.noise, (rows, cols))
    return np.clip(np.rint(raw), 0, 65_535).astype(np.uint16)


@njit(nogil=True, cache=True)
def _deposit(
    charge: np.ndarray, places: np.ndarray, energies: np.ndarray, diffusion: float
) -> None:
    rows, cols = charge.shape
    down, across = np.empty(5), np.empty(5)
    for n in range(len(energies)):
        row, col = int(places[n, 0]), int(places[n, 1])
        for k in range(5):
            down[k] = _share(row + k - 2 - places[n, 0], diffusion)
            across[k] = _share(col + k - 2 - places[n, 1], diffusion)
        for y in range(max(row - 2, 0), min(row + 3, rows)):
            for x in range(max(col - 2, 0), min(col + 3, cols)):
                charge[y, x] += energies[n] * down[y - row + 2] * across[x - col + 2]


@njit(nogil=True, cache=True)
def _share(begin: float, diffusion: float) -> float:
    """Part of the charge between a pixel's edge, as far from the path, and its other edge."""
    scale = diffusion * sqrt(2.0)
    return 0.5 * (erf((begin + 1) / scale) - erf(begin / scale))
