"""The reduction of ``ssb_reduce`` on a CUDA device, one thread for each spatial frequency.

A block of threads has a stretch of one row of frequencies. What a detector pixel means for that row
is worked out once for all of them: χ along the row as a polynomial in single precision, and the
runs of columns that the disks around ±Q cover, decided in double precision as on the host. No two
threads write to one place: no atomics, and sums that repeat to the bit. Sums of more than
``PIXELS_AT_ONCE`` pixels are in double precision. A table of χ would be as many bytes to read as G.
"""

from functools import lru_cache
from typing import Any

import numba
import numpy as np
from numba import cuda, int32

from gpu_kernels.backend import Array, device_zeros
from gpu_kernels.chi import chi_turns
from gpu_kernels.ssb_reduce import (
    COSINE,
    NOISE_FROM,
    PIXELS_AT_ONCE,
    SINE,
    along_row,
    chord,
)

THREADS_PER_BLOCK = 128
"""Columns of a block, and pixels that it prepares at a time: each thread one."""
HEAD = 14
"""Numbers before those of pixels and rows: the step along x, the aperture, and χ."""
TERMS = 10
"""Of a pixel's polynomials along a row: five of k − Q, five of k + Q."""
RIGHT, LEFT, BOTH, NOISE = 1, 2, 3, 4
"""How a pixel counts at a frequency; 0 is not at all."""
NEAREST = {np.float32: 1.5 * 2**23, np.float64: 1.5 * 2**52}
"""Added and taken away again, it leaves the nearest whole number: the sum has no bits below 1."""


def packed(
    k_y: np.ndarray,
    k_x: np.ndarray,
    q_y: np.ndarray,
    step_x: float,
    aperture: float,
    chi: np.ndarray,
) -> np.ndarray:
    """All numbers that the kernel takes, as one array: each copy costs as much as its start.

    Parameters
    ----------
    k_y, k_x, q_y, step_x, aperture, chi
        As in ``ssb_reduce.reduce_block``.

    Returns
    -------
    (HEAD + 2 pixels + rows,) float64
    """
    return np.concatenate([[step_x, aperture], chi, k_y, k_x, q_y])


def reduce_on_gpu(
    g: Array,
    numbers: Array,
    sums: Array,
    scale: Array | None = None,
    everything: bool = True,
    queue: Any = 0,
) -> None:
    """Add pixels to the sums of every frequency, see ``ssb_reduce.reduce_block``.

    Parameters
    ----------
    g : (pixels, rows, columns, 2) float32, float64 or int16
        On the device; integers are summed in single precision.
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
    """
    scale = device_zeros((0, 0, 0), np.float32) if scale is None else scale
    _, rows, columns = sums.shape
    blocks = rows * -(-columns // THREADS_PER_BLOCK)
    kernel = reduce_kernel(g.dtype, everything)
    kernel[blocks, THREADS_PER_BLOCK, queue](g, numbers, scale, sums)


def reduce_kernel(dtype: Any, everything: bool) -> Any:
    """Kernel for G of a type; for single sidebands alone it is one that needs fewer registers."""
    return _kernel(np.float64 if dtype == np.float64 else np.float32, everything)


_chi = cuda.jit(device=True)(chi_turns.py_func)
_row = cuda.jit(device=True)(along_row.py_func)
_run = cuda.jit(device=True)(chord.py_func)


@cuda.jit(device=True)
def _prepare(pixel, k_y, k_x, chi, qy, step, limit, columns, terms, runs, near):
    # A thread's own pixel. Outside the disk it adds nothing, not even to the noise; nor does a
    # thread without a pixel.
    at = cuda.threadIdx.x
    if pixel >= k_y.size:
        runs[0, at] = -1
        return
    y, x = k_y[pixel], k_x[pixel]
    if y * y + x * x >= limit:
        runs[0, at] = -1
        return
    m0, m1 = _run(y - qy, x, limit, step, columns)
    p0, p1 = _run(y + qy, -x, limit, step, columns)
    runs[0, at], runs[1, at], runs[2, at], runs[3, at] = m0, m1, p0, p1
    here, near[at] = _chi(chi, y, x), x
    a0, a1, a2, a3, a4 = _row(chi, y - qy)
    terms[0, at], terms[1, at], terms[2, at], terms[3, at], terms[4, at] = a0 - here, a1, a2, a3, a4
    a0, a1, a2, a3, a4 = _row(chi, y + qy)
    terms[5, at], terms[6, at], terms[7, at], terms[8, at], terms[9, at] = a0 - here, a1, a2, a3, a4


@lru_cache(maxsize=4)
def _kernel(real: Any, everything: bool) -> Any:
    s0, s1, s2, s3, s4, s5 = (real(value) for value in SINE)
    c0, c1, c2, c3, c4, c5 = (real(value) for value in COSINE)
    none, one, two, nearest = real(0), real(1), real(2), real(NEAREST[real])
    noise_from, type_of_real = NOISE_FROM**2, numba.from_dtype(np.dtype(real))

    @cuda.jit(device=True)
    def unit(turns):
        # cos and sin of 2π·turns from those of half the angle, as on the host.
        r = turns - ((turns + nearest) - nearest)
        s = r * r
        sine = r * (s0 + s * (s1 + s * (s2 + s * (s3 + s * (s4 + s * s5)))))
        cosine = c0 + s * (c1 + s * (c2 + s * (c3 + s * (c4 + s * c5))))
        return one - two * sine * sine, two * sine * cosine

    @cuda.jit(device=True)
    def turned(terms, first, at, x):
        return terms[first, at] + x * (
            terms[first + 1, at]
            + x * (terms[first + 2, at] + x * (terms[first + 3, at] + x * terms[first + 4, at]))
        )

    @cuda.jit(device=True)
    def fetched(g, runs, stage, at, row, col, noisy):
        # How a pixel counts at a frequency, and G where it does.
        m0, kind = runs[0, at], 0
        in_m = m0 <= col and col < runs[1, at]
        in_p = runs[2, at] <= col and col < runs[3, at]
        if m0 >= 0:
            if noisy:
                kind = NOISE
            elif in_m and in_p:
                kind = BOTH if everything else 0
            elif in_m:
                kind = RIGHT
            elif in_p:
                kind = LEFT
        re, im = none, none
        if kind:
            re, im = real(g[stage + at, row, col, 0]), real(g[stage + at, row, col, 1])
        return kind, re, im

    @cuda.jit(device=True)
    def added(kind, re, im, terms, near, at, q, sums):
        r_re, r_im, right, l_re, l_im, left, d_re, d_im, norm, power = sums
        if kind == RIGHT:
            m_re, m_im = unit(-turned(terms, 0, at, near[at] - q))
            r_re += m_re * re + m_im * im
            r_im += m_re * im - m_im * re
            right += one
        elif kind == LEFT:
            p_re, p_im = unit(turned(terms, 5, at, near[at] + q))
            l_re += p_re * re + p_im * im
            l_im += p_re * im - p_im * re
            left += one
        elif everything and kind == NOISE:
            power += re * re + im * im
        elif everything and kind == BOTH:
            m_re, m_im = unit(-turned(terms, 0, at, near[at] - q))
            p_re, p_im = unit(turned(terms, 5, at, near[at] + q))
            m_re, m_im = m_re - p_re, m_im - p_im
            d_re += m_re * re + m_im * im
            d_im += m_re * im - m_im * re
            norm += m_re * m_re + m_im * m_im
        return r_re, r_im, right, l_re, l_im, left, d_re, d_im, norm, power

    @cuda.jit
    def kernel(g, numbers, scale, sums):
        terms = cuda.shared.array((TERMS, THREADS_PER_BLOCK), type_of_real)
        near = cuda.shared.array(THREADS_PER_BLOCK, type_of_real)
        runs = cuda.shared.array((4, THREADS_PER_BLOCK), int32)
        pixels, columns = g.shape[0], sums.shape[2]
        step, limit = numbers[0], numbers[1] * numbers[1]
        chi, k_y = numbers[2:HEAD], numbers[HEAD : HEAD + pixels]
        k_x, q_y = numbers[HEAD + pixels : HEAD + 2 * pixels], numbers[HEAD + 2 * pixels :]
        stretches = (columns + THREADS_PER_BLOCK - 1) // THREADS_PER_BLOCK
        row, start = cuda.blockIdx.x // stretches, cuda.blockIdx.x % stretches * THREADS_PER_BLOCK
        col = start + cuda.threadIdx.x
        qy, qx = q_y[row], col * step
        if not everything and qy * qy + (start * step) ** 2 >= 4 * limit:
            return  # the whole block, before it waits for its threads
        square = qy * qy + qx * qx
        noisy = square > noise_from * limit
        seen = col < columns and (square < 4 * limit or (noisy and everything))
        right, left = none, none
        # Sums of all groups stay in registers: each would be read and written once a group.
        right_re, right_im, left_re, left_im = 0.0, 0.0, 0.0, 0.0
        both_re, both_im, norms, powers = 0.0, 0.0, 0.0, 0.0
        q = real(qx)
        for stage in range(0, pixels, THREADS_PER_BLOCK):
            held = min(THREADS_PER_BLOCK, pixels - stage)
            cuda.syncthreads()
            _prepare(
                stage + cuda.threadIdx.x, k_y, k_x, chi, qy, step, limit, columns,
                terms, runs, near,
            )  # fmt: skip
            cuda.syncthreads()
            for first in range(0, held if seen else 0, PIXELS_AT_ONCE):
                some = none, none, right, none, none, left, none, none, none, none
                for at in range(first, min(first + PIXELS_AT_ONCE, held), 4):
                    # Four are read before one is added: the reads do not wait for each other.
                    a, a_re, a_im = fetched(g, runs, stage, at, row, col, noisy)
                    b, b_re, b_im = fetched(g, runs, stage, at + 1, row, col, noisy)
                    c, c_re, c_im = fetched(g, runs, stage, at + 2, row, col, noisy)
                    d, d_re, d_im = fetched(g, runs, stage, at + 3, row, col, noisy)
                    some = added(a, a_re, a_im, terms, near, at, q, some)
                    some = added(b, b_re, b_im, terms, near, at + 1, q, some)
                    some = added(c, c_re, c_im, terms, near, at + 2, q, some)
                    some = added(d, d_re, d_im, terms, near, at + 3, q, some)
                r_re, r_im, right, l_re, l_im, left, d_re, d_im, norm, power = some
                scaled = 1.0
                if scale.size:
                    scaled = float(scale[(stage + first) // PIXELS_AT_ONCE, row, col])
                right_re += scaled * r_re
                right_im += scaled * r_im
                left_re += scaled * l_re
                left_im += scaled * l_im
                both_re += scaled * d_re
                both_im += scaled * d_im
                norms += norm
                powers += scaled * scaled * power
        if not seen:
            return
        sums[0, row, col] += right_re
        sums[1, row, col] += right_im
        sums[2, row, col] += left_re
        sums[3, row, col] += left_im
        sums[6, row, col] += right
        sums[7, row, col] += left
        if everything:
            sums[4, row, col] += both_re
            sums[5, row, col] += both_im
            sums[8, row, col] += norms
            sums[9, row, col] += powers

    return kernel
