"""The reduction of ``ssb_reduce`` on a CUDA device, one thread for each spatial frequency.

A block of threads has a stretch of one row of frequencies. No two threads write to one place: no
atomics, and sums that repeat to the bit. Sums of more than ``PIXELS_AT_ONCE`` pixels are in double
precision.
"""

from typing import Any

import numpy as np

from gpu_kernels.backend import Array, device_zeros
from gpu_kernels.ssb_reduce_kernel import THREADS_PER_BLOCK, reduce_kernel


def packed(
    k_y: np.ndarray,
    k_x: np.ndarray,
    q_y: np.ndarray,
    step_x: float,
    aperture: float,
    chi: np.ndarray,
    intensity: float = 0.0,
) -> np.ndarray:
    """All numbers that the kernel takes, as one array: each copy costs as much as its start.

    Parameters
    ----------
    k_y, k_x, q_y, step_x, aperture, chi
        As in ``ssb_reduce.reduce_block``.
    intensity : float
        Mean counts of a pixel inside the disk at one position [e], for ``spectrum_on_gpu``.

    Returns
    -------
    (HEAD + 2 pixels + rows,) float64
    """
    return np.concatenate([[intensity, step_x, aperture], chi, k_y, k_x, q_y])


def reduce_on_gpu(
    g: Array,
    numbers: Array,
    sums: Array,
    scale: Array | None = None,
    everything: bool = True,
    queue: Any = 0,
    rows_first: bool = False,
) -> None:
    """Add pixels to the sums of every frequency, see ``ssb_reduce.reduce_block``.

    Parameters
    ----------
    g : (pixels, rows, columns or more, 2) float32, float64 or int16
        On the device, without gaps; integers are summed in single precision. Columns beyond those
        of the sums are not read.
    numbers : (HEAD + 2 pixels + rows,) float64
        On the device; from ``packed``.
    sums : (10, rows, columns) float64
        On the device; added to.
    scale : (groups, rows, columns) float32, optional
        On the device: what the parts of each ``PIXELS_AT_ONCE`` pixels are to be multiplied by.
    everything : bool
        Whether the double overlap and the noise are summed as well as the single sidebands.
    queue : numba stream
        Where the work is queued.
    rows_first : bool
        Whether ``g`` is (rows, pixels, columns or more, 2).
    """
    columns, nowhere = sums.shape[2], device_zeros(0, np.int64)
    _launch(g, numbers, columns, scale, everything, sums, nowhere, 0.0, queue, rows_first)


def spectrum_on_gpu(
    g: Array,
    numbers: Array,
    columns: int,
    rows: Array,
    share: float,
    spectrum: Array,
    scale: Array | None = None,
    queue: Any = 0,
    rows_first: bool = False,
) -> None:
    """Φ(Q) from both single sidebands of all pixels, without sums that pass through memory.

    Parameters
    ----------
    g, numbers, scale, queue, rows_first
        As in ``reduce_on_gpu``; all pixels, and their intensity in ``numbers``.
    columns : int
        Frequencies along x that are wanted.
    rows : (rows of g,) int64
        Where each row of ``g`` lies in the spectrum.
    share : float
        What Φ is multiplied by.
    spectrum : (scan_y, scan_x // 2 + 1) complex128
        Written, on the device: [rad] times ``share``; rows that are not named, and columns beyond
        those that are wanted, stay as they are.
    """
    _launch(g, numbers, columns, scale, False, spectrum, rows, share, queue, rows_first)


def _launch(
    g: Array,
    numbers: Array,
    columns: int,
    scale: Array | None,
    everything: bool,
    out: Array,
    places: Array,
    share: float,
    queue: Any,
    rows_first: bool,
) -> None:
    scale = device_zeros((0, 0, 0), np.float32) if scale is None else scale
    (rows, pixels), pitch = g.shape[:2] if rows_first else g.shape[1::-1], 2 * g.shape[2]
    blocks = rows * -(-columns // THREADS_PER_BLOCK)
    strides = (pitch, pixels * pitch) if rows_first else (rows * pitch, pitch)
    flat = g.reshape(-1)
    if g.dtype == np.float32:  # a number is one word, and one access to memory
        flat, strides = flat.view(np.uint64), (strides[0] // 2, strides[1] // 2)
    kernel = reduce_kernel(flat.dtype, everything, out.dtype == np.complex128)
    kernel[blocks, THREADS_PER_BLOCK, queue](
        flat, pixels, np.uint32(strides[0]), np.uint32(strides[1]), columns, numbers, scale, out,
        places, share,
    )  # fmt: skip
