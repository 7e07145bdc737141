"""Wiener weights for a phase spectrum: each frequency counts by how much of it is signal."""

import numpy as np
import scipy.fft

SMOOTH = np.array([0.25, 0.5, 0.25])


def ring_wiener(
    spectrum: np.ndarray,
    weight: np.ndarray,
    noise: float,
    q: np.ndarray,
    ring_width: float,
) -> np.ndarray:
    """Weigh a spectrum by its signal, ring by ring.

    The signal's power in a ring is what is left of the measured power when that of the noise is
    taken away, each frequency counting by the inverse variance of its noise.

    Parameters
    ----------
    spectrum : (rows, cols) complex
        Φ(Q) of the half plane.
    weight : (rows, cols) float64
        Σ|Γ|² behind each Φ(Q).
    noise : float
        Variance of Φ(Q) times its weight.
    q : (rows, cols) float64
        |Q| of each frequency.
    ring_width : float
        In the units of ``q``.

    Returns
    -------
    (rows, cols) complex
        The weighted spectrum, 0 where nothing was measured.
    """
    measured = weight > 1e-9
    variance = np.where(measured, noise / np.where(measured, weight, 1), np.inf)
    ring = np.floor(q / ring_width).astype(np.int64)
    counted = np.where(measured, weight, 0.0) ** 2
    excess = np.where(measured, np.abs(spectrum) ** 2 - np.where(measured, variance, 0), 0.0)
    total = np.bincount(ring.ravel(), (counted * excess).ravel())
    norm = np.bincount(ring.ravel(), counted.ravel())
    signal = np.maximum(total / np.where(norm > 0, norm, 1), 0)
    padded = np.pad(signal, 1, mode="edge")
    signal = np.convolve(padded, SMOOTH, mode="valid")
    power = signal[ring]
    return np.where(measured, spectrum * power / (power + variance + 1e-300), 0)


def noise_of_sums(noise: float, noise_count: int, electrons: float, disk_intensity: float) -> float:
    """Variance of Φ(Q) times its weight.

    Parameters
    ----------
    noise, noise_count : float, int
        Sum of |G|² beyond 2 k0 and its terms: the noise as it is.
    electrons : float
        Mean over the pixels of the electrons in the whole scan, by which Poisson noise is known
        where the scan is too coarse to reach beyond 2 k0 [e].
    disk_intensity : float
        Mean counts of a disk pixel at a position [e].

    Returns
    -------
    float
        Of unnormalised scan transforms divided by the disk's intensity.
    """
    power = noise / noise_count if noise_count > 1000 else electrons
    return power / disk_intensity**2


def image_of(spectrum: np.ndarray, scan_shape: tuple[int, int]) -> np.ndarray:
    """(scan_y, scan_x) float64: the real image of a half-plane spectrum."""
    return scipy.fft.irfft2(spectrum, s=scan_shape)
