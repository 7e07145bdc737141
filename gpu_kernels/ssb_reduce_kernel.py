"""The kernel of ``ssb_reduce_gpu``, made for a type of numbers and for what is asked of it.

What a detector pixel means for a row of frequencies is worked out once a block of threads: χ along
the row as a polynomial in single precision, and the runs of columns that the disks around ±Q cover,
decided in double precision as on the host. Each warp then goes through lists of the pixels that one
of its frequencies has in a sideband, a list a sideband: it meets no pixel in vain, and its threads
do not part. A table of χ would be as many bytes to read as G.
"""

import math
from functools import lru_cache
from typing import Any

import numba
import numpy as np
from numba import cuda, int32, uint8

from gpu_kernels.chi import chi_turns
from gpu_kernels.ssb_reduce import NOISE_FROM, PIXELS_AT_ONCE, along_row, chord

THREADS_PER_BLOCK = 128
"""Columns of a block, and pixels that it prepares at a time: each thread one."""
WARP = 32
WARPS = THREADS_PER_BLOCK // WARP
GROUPS = THREADS_PER_BLOCK // PIXELS_AT_ONCE
HEAD = 15
"""Numbers before those of pixels and rows: intensity, the step along x, the aperture, and χ."""
TERMS = 10
"""Of a pixel's polynomials along a row: five of k − Q, five of k + Q."""
RIGHT, LEFT, BOTH, NOISE = 0, 1, 2, 3
"""How a pixel counts at a frequency, if it does."""
KINDS = 4
LISTS = KINDS * GROUPS
NO_PIXEL = THREADS_PER_BLOCK
"""Ends a list whose length is no multiple of the four that are read at once; covered by no disk."""
PLACES = THREADS_PER_BLOCK + 1
IN_LIST = PIXELS_AT_ONCE + 3
NEAREST = {np.float32: 1.5 * 2**23, np.float64: 1.5 * 2**52}
"""Added and taken away again, it leaves the nearest whole number: the sum has no bits below 1."""


def reduce_kernel(dtype: Any, everything: bool, closing: bool = False) -> Any:
    """Kernel for G of a type, or of words (uint64) of two float32.

    For single sidebands alone it is one that needs fewer registers; ``closing``, one that goes on
    from their sums to Φ(Q).
    """
    real = np.float64 if dtype == np.float64 else np.float32
    return _kernel(real, dtype == np.uint64, everything, closing)


_chi = cuda.jit(device=True)(chi_turns.py_func)
_row = cuda.jit(device=True)(along_row.py_func)
_run = cuda.jit(device=True)(chord.py_func)


@cuda.jit(device=True)
def _prepare(pixel, k_y, k_x, chi, qy, step, limit, start, columns, terms, near, runs, wanted):
    # A thread's own pixel, and which warps meet it how. Outside the disk it adds nothing, not even
    # to the noise; nor does a thread without a pixel.
    at = cuda.threadIdx.x
    wanted[at] = 0
    if pixel >= k_y.size:
        return
    y, x = k_y[pixel], k_x[pixel]
    if y * y + x * x >= limit:
        return
    m0, m1 = _run(y - qy, x, limit, step, columns)
    p0, p1 = _run(y + qy, -x, limit, step, columns)
    runs[0, at], runs[1, at], runs[2, at], runs[3, at] = m0, m1, p0, p1
    here, near[at] = _chi(chi, y, x), x
    a0, a1, a2, a3, a4 = _row(chi, y - qy)
    terms[0, at], terms[1, at], terms[2, at], terms[3, at], terms[4, at] = a0 - here, a1, a2, a3, a4
    a0, a1, a2, a3, a4 = _row(chi, y + qy)
    terms[5, at], terms[6, at], terms[7, at], terms[8, at], terms[9, at] = a0 - here, a1, a2, a3, a4
    bits = 0
    for warp in range(WARPS):
        first, end = start + warp * WARP, min(start + warp * WARP + WARP, columns)
        if first < end:
            r0, r1, l0, l1 = max(m0, first), min(m1, end), max(p0, first), min(p1, end)
            if r0 < r1 and (l0 > r0 or r1 > l1):
                bits |= 1 << (KINDS * warp + RIGHT)
            if l0 < l1 and (r0 > l0 or l1 > r1):
                bits |= 1 << (KINDS * warp + LEFT)
            if max(r0, l0) < min(r1, l1):
                bits |= 1 << (KINDS * warp + BOTH)
            last = (end - 1) * step
            if qy * qy + last * last > NOISE_FROM * NOISE_FROM * limit:
                bits |= 1 << (KINDS * warp + NOISE)
    wanted[at] = bits


@cuda.jit(device=True)
def _list(kinds, wanted, lists, counts):
    # A warp's own lists, each by one of its threads: a kind, and PIXELS_AT_ONCE pixels.
    warp, lane = cuda.threadIdx.x // WARP, cuda.threadIdx.x % WARP
    if lane < kinds * GROUPS:
        bit, first, found = KINDS * warp + lane // GROUPS, lane % GROUPS * PIXELS_AT_ONCE, 0
        for at in range(first, first + PIXELS_AT_ONCE):
            if (wanted[at] >> bit) & 1:
                lists[warp, lane, found] = at
                found += 1
        counts[warp, lane] = found
        for at in range(found, found + 3):
            lists[warp, lane, at] = NO_PIXEL


@lru_cache(maxsize=8)
def _kernel(real: Any, words: bool, everything: bool, closing: bool) -> Any:
    none, one, two_pi, nearest = real(0), real(1), real(2 * math.pi), real(NEAREST[real])
    noise_from, type_of_real = NOISE_FROM**2, numba.from_dtype(np.dtype(real))
    kinds = KINDS if everything else 2
    # Numbers without a sign: an index that may be negative costs more than the sum it leads to.
    next_one, third, fourth, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    low, high, a_number = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(1 if words else 2)

    @cuda.jit(device=True)
    def nearest_part(turns):
        return turns - ((turns + nearest) - nearest)

    @cuda.jit(device=True, fastmath=True)
    def unit(turns):
        # The device's own sine and cosine, right to 5e-7 within half a turn.
        angle = two_pi * nearest_part(turns)
        return math.cos(angle), math.sin(angle)

    @cuda.jit(device=True)
    def turned(terms, first, at, x):
        return terms[first, at] + x * (
            terms[first + 1, at]
            + x * (terms[first + 2, at] + x * (terms[first + 3, at] + x * terms[first + 4, at]))
        )

    @cuda.jit(device=True)
    def minus(terms, near, at, q):
        return unit(-turned(terms, 0, at, near[at] - q))

    @cuda.jit(device=True)
    def plus(terms, near, at, q):
        return unit(turned(terms, 5, at, near[at] + q))

    @cuda.jit(device=True)
    def covers(runs, disk, at, col):
        return (runs[2 * disk, at] <= col) & (col < runs[2 * disk + 1, at])

    @cuda.jit(device=True)
    def read(g, inside, at, base, stride):
        # Where a pixel does not count nothing is added: faster than to go another way.
        re, im, number = none, none, none
        if inside:
            place = base + np.uint64(at) * np.uint64(stride)
            if words:
                word = g[place]
                re = np.uint32(word & low).view(np.float32)
                im = np.uint32(word >> high).view(np.float32)
            else:
                re, im = real(g[place]), real(g[place + next_one])
            number = one
        return re, im, number

    @cuda.jit(device=True)
    def single(side, g, runs, at, col, base, stride):
        inside = covers(runs, side, at, col) & (not covers(runs, 1 - side, at, col))
        return read(g, inside, at, base, stride)

    @cuda.jit(device=True)
    def added(side, re, im, terms, near, at, q, sum_re, sum_im):
        if side == RIGHT:
            s_re, s_im = minus(terms, near, at, q)
        else:
            s_re, s_im = plus(terms, near, at, q)
        return sum_re + (s_re * re + s_im * im), sum_im + (s_re * im - s_im * re)

    @cuda.jit(device=True)
    def singles(side, g, runs, terms, near, held, found, col, q, base, stride):
        # Four are read before one is added: the reads do not wait for each other.
        sum_re, sum_im, number, j = none, none, none, np.uint64(0)
        while j < found:
            a, b = np.uint64(held[j]), np.uint64(held[j + next_one])
            c, d = np.uint64(held[j + third]), np.uint64(held[j + fourth])
            a_re, a_im, a_n = single(side, g, runs, a, col, base, stride)
            b_re, b_im, b_n = single(side, g, runs, b, col, base, stride)
            c_re, c_im, c_n = single(side, g, runs, c, col, base, stride)
            d_re, d_im, d_n = single(side, g, runs, d, col, base, stride)
            sum_re, sum_im = added(side, a_re, a_im, terms, near, a, q, sum_re, sum_im)
            sum_re, sum_im = added(side, b_re, b_im, terms, near, b, q, sum_re, sum_im)
            sum_re, sum_im = added(side, c_re, c_im, terms, near, c, q, sum_re, sum_im)
            sum_re, sum_im = added(side, d_re, d_im, terms, near, d, q, sum_re, sum_im)
            number += (a_n + b_n) + (c_n + d_n)
            j += four
        return sum_re, sum_im, number

    @cuda.jit(device=True)
    def doubles(g, runs, terms, near, held, found, col, q, base, stride):
        sum_re, sum_im, norm, j = none, none, none, np.uint64(0)
        while j < found:
            at = np.uint64(held[j])
            inside = covers(runs, RIGHT, at, col) & covers(runs, LEFT, at, col)
            re, im, number = read(g, inside, at, base, stride)
            m_re, m_im = minus(terms, near, at, q)
            p_re, p_im = plus(terms, near, at, q)
            m_re, m_im = m_re - p_re, m_im - p_im
            sum_re += m_re * re + m_im * im
            sum_im += m_re * im - m_im * re
            norm += number * (m_re * m_re + m_im * m_im)
            j += next_one
        return sum_re, sum_im, norm

    @cuda.jit(device=True)
    def powers_of(g, held, found, noisy, base, stride):
        power, j = none, np.uint64(0)
        while j < found:
            re, im, _ = read(g, noisy, np.uint64(held[j]), base, stride)
            power += re * re + im * im
            j += next_one
        return power

    @cuda.jit(device=True)
    def summed(out, places, row, col, numbers, share, singles, doubles, power):
        right_re, right_im, right, left_re, left_im, left = singles
        out[0, row, col] += right_re
        out[1, row, col] += right_im
        out[2, row, col] += left_re
        out[3, row, col] += left_im
        out[6, row, col] += right
        out[7, row, col] += left
        if everything:
            out[4, row, col] += doubles[0]
            out[5, row, col] += doubles[1]
            out[8, row, col] += doubles[2]
            out[9, row, col] += power

    @cuda.jit(device=True)
    def closed(out, places, row, col, numbers, share, singles, doubles, power):
        # (right − left) / (i · intensity · pixels).
        right_re, right_im, right, left_re, left_im, left = singles
        pixels = right + left
        factor = share / (numbers[0] * pixels) if pixels > none else 0.0
        out[places[row], col] = complex(
            (right_im - left_im) * factor, (left_re - right_re) * factor
        )

    conclude = closed if closing else summed

    @cuda.jit
    def kernel(
        g, pixels, pixel_stride, row_stride, columns, numbers, scale, out, places, share
    ):  # fmt: skip
        terms = cuda.shared.array((TERMS, PLACES), type_of_real)
        near = cuda.shared.array(PLACES, type_of_real)
        runs = cuda.shared.array((4, PLACES), int32)
        wanted = cuda.shared.array(THREADS_PER_BLOCK, int32)
        lists = cuda.shared.array((WARPS, LISTS, IN_LIST), uint8)
        counts = cuda.shared.array((WARPS, LISTS), int32)
        step, limit = numbers[1], numbers[2] * numbers[2]
        chi, k_y = numbers[3:HEAD], numbers[HEAD : HEAD + pixels]
        k_x, q_y = numbers[HEAD + pixels : HEAD + 2 * pixels], numbers[HEAD + 2 * pixels :]
        stretches = (columns + THREADS_PER_BLOCK - 1) // THREADS_PER_BLOCK
        row, start = cuda.blockIdx.x // stretches, cuda.blockIdx.x % stretches * THREADS_PER_BLOCK
        warp, col = cuda.threadIdx.x // WARP, start + cuda.threadIdx.x
        qy, qx = q_y[row], col * step
        if not everything and qy * qy + (start * step) ** 2 >= 4 * limit:
            if closing and col < columns:
                nothing = 0.0, 0.0, none, 0.0, 0.0, none
                conclude(out, places, row, col, numbers, share, nothing, (0.0, 0.0, 0.0), 0.0)
            return  # the whole block, before it waits for its threads
        if cuda.threadIdx.x < TERMS:
            terms[cuda.threadIdx.x, NO_PIXEL] = none
        if cuda.threadIdx.x < 4:
            runs[cuda.threadIdx.x, NO_PIXEL] = 0
        near[NO_PIXEL] = none
        noisy = col < columns and qy * qy + qx * qx > noise_from * limit
        right, left = none, none
        # Sums of all groups stay in registers: each would be read and written once a group.
        right_re, right_im, left_re, left_im = 0.0, 0.0, 0.0, 0.0
        both_re, both_im, norms, powers = 0.0, 0.0, 0.0, 0.0
        q, here = real(qx), int32(col)
        base = np.uint64(row) * np.uint64(row_stride) + a_number * np.uint64(col)
        for stage in range(0, pixels, THREADS_PER_BLOCK):
            cuda.syncthreads()
            _prepare(
                stage + cuda.threadIdx.x, k_y, k_x, chi, qy, step, limit, start, columns,
                terms, near, runs, wanted,
            )  # fmt: skip
            cuda.syncthreads()
            _list(kinds, wanted, lists, counts)
            cuda.syncthreads()
            for group in range(GROUPS):
                scaled = 1.0
                if scale.size and col < columns and stage + group * PIXELS_AT_ONCE < pixels:
                    scaled = float(scale[stage // PIXELS_AT_ONCE + group, row, col])
                at = RIGHT * GROUPS + group
                re, im, number = singles(
                    RIGHT, g, runs, terms, near, lists[warp, at], np.uint64(counts[warp, at]),
                    here, q, base, pixel_stride,
                )  # fmt: skip
                right_re += scaled * re
                right_im += scaled * im
                right += number
                at = LEFT * GROUPS + group
                re, im, number = singles(
                    LEFT, g, runs, terms, near, lists[warp, at], np.uint64(counts[warp, at]),
                    here, q, base, pixel_stride,
                )  # fmt: skip
                left_re += scaled * re
                left_im += scaled * im
                left += number
                if everything:
                    at = BOTH * GROUPS + group
                    re, im, norm = doubles(
                        g, runs, terms, near, lists[warp, at], np.uint64(counts[warp, at]),
                        here, q, base, pixel_stride,
                    )  # fmt: skip
                    both_re += scaled * re
                    both_im += scaled * im
                    norms += norm
                    at = NOISE * GROUPS + group
                    power = powers_of(
                        g, lists[warp, at], np.uint64(counts[warp, at]), noisy, base, pixel_stride
                    )
                    powers += scaled * scaled * power
            base += np.uint64(THREADS_PER_BLOCK) * np.uint64(pixel_stride)
        if col >= columns:
            return
        sidebands = right_re, right_im, right, left_re, left_im, left
        overlap = both_re, both_im, norms
        conclude(out, places, row, col, numbers, share, sidebands, overlap, powers)

    return kernel
