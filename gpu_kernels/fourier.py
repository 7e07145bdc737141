"""Fourier transforms over the scan, on either side; forward is e^(−2πi Q·R), as in NumPy."""

from typing import Any

import numpy as np
import scipy.fft

from gpu_kernels.backend import Array, cupy, on_gpu


def scan_spectrum(block: Array, columns: int, dtype: Any = np.float32) -> Array:
    """Transform counts over the scan, keeping the half plane and the frequencies that matter.

    Parameters
    ----------
    block : (pixels, scan_y, scan_x)
        Real values: counts of some detector pixels.
    columns : int
        Frequencies Q_x = 0, 1, … along x to keep; the others are dropped after the first pass.
    dtype : float32 or float64
        Precision.

    Returns
    -------
    (pixels, scan_y, columns) complex
        G(k, Q).
    """
    if on_gpu(block):
        half = cupy.fft.rfft(block.astype(dtype), axis=-1)[..., :columns]
        return cupy.fft.fft(half, axis=-2)
    half = scipy.fft.rfft(block.astype(dtype, copy=False), axis=-1)[..., :columns]
    return scipy.fft.fft(np.ascontiguousarray(half), axis=-2, overwrite_x=True)


def scan_frequencies(
    scan_shape: tuple[int, int], scan_step: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Spatial frequencies of the half plane.

    Returns
    -------
    q_y : (scan_y,) float64
    q_x : (scan_x // 2 + 1,) float64
        [1/Å].
    """
    return np.fft.fftfreq(scan_shape[0], scan_step[0]), np.fft.rfftfreq(scan_shape[1], scan_step[1])
