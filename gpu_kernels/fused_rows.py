"""Transforms over the scan on a CUDA device that read counts as they are and write what is wanted.

A library's transform of real numbers takes them in single precision, and gives all frequencies: of
counts of one byte that is three times the memory traffic. Here a row of two detector pixels, as
real and imaginary part, is read as it is, transformed in registers and shared memory (radix 16, 16
and what is left), parted into the two pixels, and cut to the frequencies below 2 k0. The pass along
y is the library's, in place. For rows of 256, 512, 1024, 2048 or 4096 positions.
"""

from functools import lru_cache
from math import cos, pi, sin
from typing import Any

import numba
import numpy as np
import scipy.fft
from numba import cuda

from gpu_kernels.backend import Array, cupy, device_empty, to_device, to_host

LENGTHS = (256, 512, 1024, 2048, 4096)
THREADS_PER_BLOCK = 256
"""Each holds 16 numbers: a block transforms 4,096."""
PADDED = 4096 + 4096 // 16
"""A number more after each 16, or threads would wait for the same bank of memory."""


def fits(scan_x: int) -> bool:
    """Whether rows of so many positions can be transformed here."""
    return scan_x in LENGTHS


def rows_of_counts(counts: Array, columns: int, queue: Any = 0) -> Array:
    """Transform counts along x.

    Parameters
    ----------
    counts : (pixels, scan_y, scan_x)
        On the device, of any type.
    columns : int
        Frequencies Q_x = 0, 1, … to keep, at most scan_x // 2 + 1.
    queue : numba stream
        Where the work is queued.

    Returns
    -------
    (scan_y, pixels, columns) complex64
        On the device.
    """
    pixels, rows, length = counts.shape
    found = device_empty((rows, pixels, columns), np.complex64)
    pairs = -(-pixels // 2) * rows
    blocks = -(-pairs * length // (16 * THREADS_PER_BLOCK))
    _kernel(length)[blocks, THREADS_PER_BLOCK, queue](counts, _turns(length), found)
    return found


def along_y(spectrum: Array, plan: Any = None) -> Array:
    """Transform (scan_y, pixels, columns) along y; on a device in place.

    ``plan`` is of ``plan_along_y``, for a device; the work is queued on CuPy's current stream.
    """
    if plan is None:
        return to_device(scipy.fft.fft(to_host(spectrum), axis=0))
    plan.fft(spectrum, spectrum, cupy.cuda.cufft.CUFFT_FORWARD)
    return spectrum


def plan_along_y(scan_y: int, others: int) -> Any:
    """Plan of the transforms of (scan_y, others) numbers along y; None without CuPy."""
    if cupy is None:
        return None
    cufft, one = cupy.cuda.cufft, (scan_y,)
    return cufft.PlanNd(
        one, one, others, 1, one, others, 1, cufft.CUFFT_C2C, others, "C", 0, None
    )  # fmt: skip


@lru_cache(maxsize=8)
def _turns(length: int) -> Array:
    """(length, 2) float32 on the device: e^(−2πi n / length)."""
    turn = np.exp(-2j * np.pi * np.arange(length) / length)
    return to_device(np.stack([turn.real, turn.imag], axis=1).astype(np.float32))


@cuda.jit(device=True)
def _by(a, b):
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


@cuda.jit(device=True)
def _dft2(a, b):
    return (a[0] + b[0], a[1] + b[1]), (a[0] - b[0], a[1] - b[1])


@cuda.jit(device=True)
def _dft4(a, b, c, d):
    s, t = _dft2(a, c)
    u, v = _dft2(b, d)
    first, third = _dft2(s, u)
    # t ∓ i v
    return first, (t[0] + v[1], t[1] - v[0]), third, (t[0] - v[1], t[1] + v[0])


@lru_cache(maxsize=len(LENGTHS))
def _kernel(length: int) -> Any:
    real = np.float32
    half = real(0.5)
    a_row, rest = length // 16, length // 256  # threads of a row; the last radix
    in_block = THREADS_PER_BLOCK // a_row
    step = PADDED // in_block
    w = tuple((real(cos(2 * pi * n / 16)), real(-sin(2 * pi * n / 16))) for n in range(10))
    w1, w2, w3, w4, w6, w9 = w[1], w[2], w[3], w[4], w[6], w[9]

    @cuda.jit(device=True)
    def dft8(x0, x1, x2, x3, x4, x5, x6, x7):
        a0, a1, a2, a3 = _dft4(x0, x2, x4, x6)
        b0, b1, b2, b3 = _dft4(x1, x3, x5, x7)
        y0, y4 = _dft2(a0, b0)
        y1, y5 = _dft2(a1, _by(b1, w2))
        y2, y6 = _dft2(a2, _by(b2, w4))
        y3, y7 = _dft2(a3, _by(b3, w6))
        return y0, y1, y2, y3, y4, y5, y6, y7

    @cuda.jit(device=True)
    def dft16(x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15):
        a0, a1, a2, a3 = _dft4(x0, x4, x8, x12)
        b0, b1, b2, b3 = _dft4(x1, x5, x9, x13)
        c0, c1, c2, c3 = _dft4(x2, x6, x10, x14)
        d0, d1, d2, d3 = _dft4(x3, x7, x11, x15)
        y0, y4, y8, y12 = _dft4(a0, b0, c0, d0)
        y1, y5, y9, y13 = _dft4(a1, _by(b1, w1), _by(c1, w2), _by(d1, w3))
        y2, y6, y10, y14 = _dft4(a2, _by(b2, w2), _by(c2, w4), _by(d2, w6))
        y3, y7, y11, y15 = _dft4(a3, _by(b3, w3), _by(c3, w6), _by(d3, w9))
        return y0, y1, y2, y3, y4, y5, y6, y7, y8, y9, y10, y11, y12, y13, y14, y15

    @cuda.jit(device=True)
    def counted(first, second, at):
        return real(first[at]), real(second[at])

    @cuda.jit(device=True)
    def held(re, im, at):
        at += at // 16
        return re[at], im[at]

    @cuda.jit(device=True)
    def hold(re, im, at, value):
        at += at // 16
        re[at], im[at] = value

    @cuda.jit(device=True)
    def turned16(y, turn, re, im, start, by):
        # The 16 results of a thread, each turned by a power of its own turn, to their places.
        hold(re, im, start, y[0])
        power = turn
        hold(re, im, start + by, _by(y[1], power))
        power = _by(power, turn)
        hold(re, im, start + 2 * by, _by(y[2], power))
        power = _by(power, turn)
        hold(re, im, start + 3 * by, _by(y[3], power))
        power = _by(power, turn)
        hold(re, im, start + 4 * by, _by(y[4], power))
        power = _by(power, turn)
        hold(re, im, start + 5 * by, _by(y[5], power))
        power = _by(power, turn)
        hold(re, im, start + 6 * by, _by(y[6], power))
        power = _by(power, turn)
        hold(re, im, start + 7 * by, _by(y[7], power))
        power = _by(power, turn)
        hold(re, im, start + 8 * by, _by(y[8], power))
        power = _by(power, turn)
        hold(re, im, start + 9 * by, _by(y[9], power))
        power = _by(power, turn)
        hold(re, im, start + 10 * by, _by(y[10], power))
        power = _by(power, turn)
        hold(re, im, start + 11 * by, _by(y[11], power))
        power = _by(power, turn)
        hold(re, im, start + 12 * by, _by(y[12], power))
        power = _by(power, turn)
        hold(re, im, start + 13 * by, _by(y[13], power))
        power = _by(power, turn)
        hold(re, im, start + 14 * by, _by(y[14], power))
        power = _by(power, turn)
        hold(re, im, start + 15 * by, _by(y[15], power))

    @cuda.jit
    def kernel(counts, turns, found):
        all_re = cuda.shared.array(PADDED, numba.float32)
        all_im = cuda.shared.array(PADDED, numba.float32)
        mine, t = cuda.threadIdx.x // a_row, cuda.threadIdx.x % a_row
        re = all_re[mine * step : (mine + 1) * step]
        im = all_im[mine * step : (mine + 1) * step]
        pixels, rows = counts.shape[0], counts.shape[1]
        # Neighbouring blocks have neighbouring rows of one pair of pixels. One beyond the last
        # works on the last, and keeps it to itself: its threads are waited for.
        pair = cuda.blockIdx.x * in_block + mine
        alive = pair < (pixels + 1) // 2 * rows
        pair = pair if alive else (pixels + 1) // 2 * rows - 1
        row, one = pair % rows, pair // rows * 2
        two = min(one + 1, pixels - 1)
        a, b = counts[one, row], counts[two, row]
        y = dft16(
            counted(a, b, t), counted(a, b, t + a_row),
            counted(a, b, t + 2 * a_row), counted(a, b, t + 3 * a_row),
            counted(a, b, t + 4 * a_row), counted(a, b, t + 5 * a_row),
            counted(a, b, t + 6 * a_row), counted(a, b, t + 7 * a_row),
            counted(a, b, t + 8 * a_row), counted(a, b, t + 9 * a_row),
            counted(a, b, t + 10 * a_row), counted(a, b, t + 11 * a_row),
            counted(a, b, t + 12 * a_row), counted(a, b, t + 13 * a_row),
            counted(a, b, t + 14 * a_row), counted(a, b, t + 15 * a_row),
        )  # fmt: skip
        turned16(y, (turns[t, 0], turns[t, 1]), re, im, 16 * t, 1)
        cuda.syncthreads()
        y = dft16(
            held(re, im, t), held(re, im, t + a_row),
            held(re, im, t + 2 * a_row), held(re, im, t + 3 * a_row),
            held(re, im, t + 4 * a_row), held(re, im, t + 5 * a_row),
            held(re, im, t + 6 * a_row), held(re, im, t + 7 * a_row),
            held(re, im, t + 8 * a_row), held(re, im, t + 9 * a_row),
            held(re, im, t + 10 * a_row), held(re, im, t + 11 * a_row),
            held(re, im, t + 12 * a_row), held(re, im, t + 13 * a_row),
            held(re, im, t + 14 * a_row), held(re, im, t + 15 * a_row),
        )  # fmt: skip
        cuda.syncthreads()
        p, q = t // 16, t % 16
        turned16(y, (turns[16 * p, 0], turns[16 * p, 1]), re, im, q + 256 * p, 16)
        cuda.syncthreads()
        # What is left of the transform stays in its places.
        for u in range(t, 256 if rest > 1 else 0, a_row):
            if rest == 2:
                y0, y1 = _dft2(held(re, im, u), held(re, im, u + 256))
                hold(re, im, u, y0)
                hold(re, im, u + 256, y1)
            elif rest == 4:
                y0, y1, y2, y3 = _dft4(
                    held(re, im, u), held(re, im, u + 256), held(re, im, u + 512),
                    held(re, im, u + 768),
                )  # fmt: skip
                hold(re, im, u, y0)
                hold(re, im, u + 256, y1)
                hold(re, im, u + 512, y2)
                hold(re, im, u + 768, y3)
            elif rest == 8:
                y0, y1, y2, y3, y4, y5, y6, y7 = dft8(
                    held(re, im, u), held(re, im, u + 256), held(re, im, u + 512),
                    held(re, im, u + 768), held(re, im, u + 1024), held(re, im, u + 1280),
                    held(re, im, u + 1536), held(re, im, u + 1792),
                )  # fmt: skip
                hold(re, im, u, y0)
                hold(re, im, u + 256, y1)
                hold(re, im, u + 512, y2)
                hold(re, im, u + 768, y3)
                hold(re, im, u + 1024, y4)
                hold(re, im, u + 1280, y5)
                hold(re, im, u + 1536, y6)
                hold(re, im, u + 1792, y7)
            else:
                y = dft16(
                    held(re, im, u), held(re, im, u + 256),
                    held(re, im, u + 512), held(re, im, u + 768),
                    held(re, im, u + 1024), held(re, im, u + 1280),
                    held(re, im, u + 1536), held(re, im, u + 1792),
                    held(re, im, u + 2048), held(re, im, u + 2304),
                    held(re, im, u + 2560), held(re, im, u + 2816),
                    held(re, im, u + 3072), held(re, im, u + 3328),
                    held(re, im, u + 3584), held(re, im, u + 3840),
                )  # fmt: skip
                turned16(y, (real(1), real(0)), re, im, u, 256)
        cuda.syncthreads()
        if not alive:
            return
        # Z = A + iB: A is (Z(Q) + Z*(−Q)) / 2, and B (Z(Q) − Z*(−Q)) / 2i.
        for col in range(t, found.shape[2], a_row):
            z_re, z_im = held(re, im, col)
            m_re, m_im = held(re, im, (length - col) % length)
            found[row, one, col] = complex(half * (z_re + m_re), half * (z_im - m_im))
            if two > one:
                found[row, two, col] = complex(half * (z_im + m_im), half * (m_re - z_re))

    return kernel
