"""What no pattern tells of object and probe, and how it is settled.

Patterns stay as they are when the probe grows and the object shrinks, when the probe is tilted and
the object is tilted back, and when the probe lies off its centre and all positions make up for it.
A probe that is updated wanders along these ways, so that it is brought back to where it started.
"""

import numpy as np
import scipy.fft


def settle(
    obj: np.ndarray,
    origin: tuple[int, int],
    probe: np.ndarray,
    positions: np.ndarray,
    start: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the probe the power, the tilt and the place of the one that it started from.

    Parameters
    ----------
    obj : (rows, cols) complex
        Object.
    origin : (row, col)
        Place of its first pixel, on the axes of the positions [px].
    probe, start : (side, side) complex
        Probe that was found, and the one that was given, in real space.
    positions : (positions, 2) float64
        (y, x) [px].

    Returns
    -------
    obj, probe, positions
        Of the same patterns: power Σ|probe|², centre of mass of |F(probe)|² and of |probe|² are
        those of ``start``.
    """
    side = len(probe)
    scale = np.sqrt(np.sum(np.abs(start) ** 2) / np.sum(np.abs(probe) ** 2))
    tilt = _centre(scipy.fft.fft2(probe), True) - _centre(scipy.fft.fft2(start), True)
    away = _centre(probe, False) - _centre(start, False)
    across = np.arange(side) - side // 2
    probe = probe * scale * _ramp(across, across, -tilt, side)
    k = scipy.fft.fftfreq(side, 1 / side)
    k[side // 2] = 0  # of the highest frequency the sign is not known
    probe = scipy.fft.ifft2(scipy.fft.fft2(probe) * _ramp(k, k, away, side))
    rows, cols = (first + np.arange(n) for first, n in zip(origin, obj.shape, strict=True))
    obj = obj / scale * _ramp(rows, cols, tilt, side)
    return obj.astype(np.complex64), probe.astype(np.complex64), positions + away


def _centre(wave: np.ndarray, fourier: bool) -> np.ndarray:
    """Centre of mass of |wave|² (y, x) [px], by frequency where it is a transform."""
    power = np.abs(wave) ** 2
    n = len(wave)
    along = scipy.fft.fftfreq(n, 1 / n) if fourier else np.arange(n)
    return np.array([power.sum(axis=1) @ along, power.sum(axis=0) @ along]) / power.sum()


def _ramp(rows: np.ndarray, cols: np.ndarray, turns: np.ndarray, side: int) -> np.ndarray:
    angle = 2j * np.pi / side
    return np.exp(angle * turns[0] * rows)[:, None] * np.exp(angle * turns[1] * cols)
