"""A few strong spatial frequencies of the scan, for every pixel of the bright-field disk.

Blind calibration needs G(k, Q) at some tens of frequencies only. They are found in one pass over
the pixels and collected in a second, block by block: all of G never exists. The scan is multiplied
by a window that fades at its edges, because an image is no torus, and every pixel is divided by the
noise of its own counts, so that each mode has a noise of variance 1.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gpu_kernels.backend import Array, as_library, beside, to_host
from gpu_kernels.fourier import libraries, scan_frequencies, scan_spectrum

TAPER = 0.5
"""Part of each side of the scan that fades. A full Hann window (1) throws away half of the
electrons; none (0) leaks along the axes and turns the rotation by half a degree."""


@dataclass(frozen=True)
class Modes:
    """Chosen frequencies of the scan, over the pixels of the disk."""

    q_y: np.ndarray
    q_x: np.ndarray
    """(frequencies,) float64 [1/Å]."""
    row: np.ndarray
    col: np.ndarray
    """(frequencies,) int64: where they are in the half plane of the scan's transform."""
    power: np.ndarray
    """(frequencies,) float64: Σ_k|G|² over its noise, per pixel."""

    def chosen(self, which: np.ndarray | slice) -> "Modes":
        """Some of them, in the given order."""
        parts = (self.q_y, self.q_x, self.row, self.col, self.power)
        return Modes(*(part[which] for part in parts))


def scan_window(scan_shape: tuple[int, int], missing: np.ndarray | None = None) -> np.ndarray:
    """Window that lets a scan fade at its edges, and leaves out what is missing.

    Parameters
    ----------
    scan_shape : (scan_y, scan_x)
        Positions.
    missing : (scan_y, scan_x) bool, optional
        Positions without data: 0 in the window.

    Returns
    -------
    (scan_y, scan_x) float64
        With Σ window² = 1.

    Raises
    ------
    ValueError
        If all positions are missing.
    """
    sides = [np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) / (0.5 * n) for n in scan_shape]
    fades = [0.5 - 0.5 * np.cos(np.pi * np.clip(side / TAPER, 0, 1)) for side in sides]
    window = np.outer(*fades)
    if missing is not None:
        window = np.where(missing, 0.0, window)
    norm = np.sqrt((window**2).sum())
    if not norm > 0:
        raise ValueError("all positions of the scan are missing; there is nothing to calibrate by")
    return window / norm


def block_modes(block: Array, window: np.ndarray, columns: int) -> tuple[Array, np.ndarray]:
    """Transform a block of pixels, in units of the noise of each.

    Parameters
    ----------
    block : (pixels, scan_y, scan_x)
        Counts.
    window : (scan_y, scan_x) float64
        From ``scan_window``.
    columns : int
        Frequencies along x that are kept.

    Returns
    -------
    (pixels, scan_y, columns) complex64
        F[window (M − mean)] / √mean: Poisson noise has variance 1. Lives where ``block`` lives.
    mean : (pixels,) float64
        Mean count of a position, on the host.
    """
    counts = as_library(block)
    xp, _ = libraries(counts)
    present = xp.asarray(window > 0)
    counts = xp.where(present, counts, 0).astype(np.float32)
    mean = counts.sum(axis=(1, 2), dtype=np.float64) / int((window > 0).sum())
    counts -= mean[:, None, None].astype(np.float32)
    scale = 1 / xp.sqrt(xp.where(mean > 0, mean, np.inf))
    counts *= xp.asarray(window, dtype=np.float32)
    counts *= scale[:, None, None].astype(np.float32)
    return scan_spectrum(beside(counts, block), columns), to_host(mean)


def scan_power(blocks: Iterable[Array], window: np.ndarray, columns: int) -> np.ndarray:
    """Signal and noise of each frequency, summed over pixels.

    Parameters
    ----------
    blocks : iterable of (pixels, scan_y, scan_x)
        Counts of pixels of the disk; a fair sample of them will do.
    window : (scan_y, scan_x) float64
        From ``scan_window``.
    columns : int
        Frequencies along x that are kept.

    Returns
    -------
    (scan_y, columns) float64
        Σ_k |G(k, Q)|² per pixel: 1 where there is noise alone.

    Raises
    ------
    ValueError
        If no pixel has an electron.
    """
    power = np.zeros((window.shape[0], columns))
    pixels = 0
    for block in blocks:
        modes, mean = block_modes(block, window, columns)
        for one in to_host(modes)[mean > 0]:
            power += one.real.astype(np.float64) ** 2 + one.imag.astype(np.float64) ** 2
        pixels += int((mean > 0).sum())
    if not pixels:
        raise ValueError("no pixel of the bright-field disk holds any electron")
    return power / pixels


def strongest_modes(
    power: np.ndarray,
    scan_shape: tuple[int, int],
    scan_step: tuple[float, float],
    band: tuple[float, float],
    count: int,
) -> Modes:
    """Choose the strongest frequencies of a band.

    Parameters
    ----------
    power : (scan_y, columns) float64
        From ``scan_power``.
    scan_shape, scan_step : (y, x)
        Positions; their distance [Å].
    band : (lowest, highest)
        [1/Å].
    count : int
        How many at most.

    Returns
    -------
    Modes
        One of each pair ±Q.

    Raises
    ------
    ValueError
        If the band holds none.
    """
    q_y, q_x = (q for q in scan_frequencies(scan_shape, scan_step))
    q_x = q_x[: power.shape[1]]
    q = np.hypot(q_y[:, None], q_x)
    one_of_pair = (q_x[None] > 0) & (q_x[None] * scan_step[1] < 0.4999) | (
        (q_x[None] == 0) & (q_y[:, None] > 0)
    )
    allowed = (q > band[0]) & (q < band[1]) & one_of_pair
    if not allowed.any():
        raise ValueError(
            f"the scan of {scan_shape[0]} x {scan_shape[1]} positions has no spatial frequency "
            f"between {band[0]:.3g} and {band[1]:.3g} 1/Å"
        )
    order = np.argsort(np.where(allowed, -power, np.inf), axis=None, kind="stable")
    row, col = np.unravel_index(order[: min(count, int(allowed.sum()))], power.shape)
    return Modes(q_y[row], q_x[col], row, col, power[row, col])


def collect_modes(
    blocks: Iterable[Array], window: np.ndarray, modes: Modes
) -> tuple[np.ndarray, np.ndarray]:
    """Collect the chosen frequencies of every pixel.

    Parameters
    ----------
    blocks : iterable of (pixels, scan_y, scan_x)
        Counts of all pixels of the disk, block after block.
    window : (scan_y, scan_x) float64
        From ``scan_window``.
    modes : Modes
        What to collect.

    Returns
    -------
    g : (frequencies, pixels) complex128
        G(k, Q) in units of its noise.
    mean : (pixels,) float64
        Mean count of a position.
    """
    columns = int(modes.col.max()) + 1
    parts, means = [], []
    for block in blocks:
        transformed, mean = block_modes(block, window, columns)
        parts.append(to_host(transformed[:, modes.row, modes.col]).astype(np.complex128))
        means.append(mean)
    return np.ascontiguousarray(np.concatenate(parts).T), np.concatenate(means)


def window_correlation(window: np.ndarray) -> float:
    """How many frequencies share one noise: Σ of the squared correlation of neighbours.

    Parameters
    ----------
    window : (scan_y, scan_x) float64
        With Σ window² = 1.

    Returns
    -------
    float
        1 without a window.
    """
    return float(window.size * (window**4).sum())
