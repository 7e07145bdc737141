"""The last step of single-sideband ptychography on a CUDA device, one thread a frequency.

A library would start some sixty kernels for these few operations, which takes longer than the sum
over all detector pixels.
"""

import numpy as np
from numba import cuda

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device

THREADS_PER_BLOCK = 128
LEAST = 1e-9
"""Weight below which no sideband is there."""


def phase_spectrum_gpu(
    fields: Array, disk_intensity: float | Array, signs: tuple[float, float, float]
) -> tuple[Array, Array]:
    """Device form of ``ssb_finish.phase_spectrum``.

    Parameters
    ----------
    fields : (10, rows, columns) float64
        See ``ssb_reduce.FIELDS``.
    disk_intensity : float, or a number on the device
        Mean counts of a pixel inside the disk [e]; nobody waits for one on the device.
    signs : (right, left, double)
        With which each of the sums counts; 0 for not at all.

    Returns
    -------
    spectrum : (rows, columns) complex128
        [rad].
    weight : (rows, columns) float64
    """
    shape = fields.shape[1:]
    spectrum, weight = device_zeros(shape, np.complex128), device_zeros(shape, np.float64)
    _phase_kernel[_blocks(weight), THREADS_PER_BLOCK](
        fields, _one_number(disk_intensity), *(float(sign) for sign in signs), spectrum, weight
    )
    return spectrum, weight


def common_spectrum_gpu(fields: Array, disk_intensity: float | Array) -> Array:
    """Device form of ``ssb_finish.common_spectrum``, (rows, columns) complex128."""
    common = device_zeros(fields.shape[1:], np.complex128)
    _common_kernel[_blocks(common), THREADS_PER_BLOCK](fields, _one_number(disk_intensity), common)
    return common


def _blocks(array: Array) -> int:
    return -(-array.size // THREADS_PER_BLOCK)


def _one_number(value: Array) -> Array:
    return value.reshape(1) if on_gpu(value) else to_device(np.full(1, value, np.float64))


@cuda.jit
def _phase_kernel(fields, intensity, right, left, double, spectrum, weight):
    at = cuda.grid(1)
    columns = weight.shape[1]
    if at < weight.size:
        row, col = at // columns, at % columns
        re = right * fields[0, row, col] + left * fields[2, row, col] + double * fields[4, row, col]
        im = right * fields[1, row, col] + left * fields[3, row, col] + double * fields[5, row, col]
        behind = (
            right * right * fields[6, row, col]
            + left * left * fields[7, row, col]
            + double * double * fields[8, row, col]
        )
        weight[row, col] = behind
        if behind > LEAST:
            whole = intensity[0] * behind  # and over i
            spectrum[row, col] = complex(im / whole, -re / whole)


@cuda.jit
def _common_kernel(fields, intensity, common):
    at = cuda.grid(1)
    columns = common.shape[1]
    if at < common.size:
        row, col = at // columns, at % columns
        right, left = fields[6, row, col], fields[7, row, col]
        if right >= 1 and left >= 1:
            re = fields[0, row, col] / right + fields[2, row, col] / left
            im = fields[1, row, col] / right + fields[3, row, col] / left
            common[row, col] = complex(re / (2 * intensity[0]), im / (2 * intensity[0]))
