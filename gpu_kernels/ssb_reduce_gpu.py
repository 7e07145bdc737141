"""The reduction of ``ssb_reduce`` on a CUDA device, one thread for each spatial frequency.

No two threads write to one place: no atomics, and sums that repeat to the bit. Which disk covers a
pixel is decided in double precision, as on the host; sines are polynomials in the precision of G,
and sums of more than ``PIXELS_AT_ONCE`` pixels are in double precision. The lens is evaluated
inline, since a table of it would be as many bytes to read as G.
"""

from functools import lru_cache
from math import floor
from typing import Any

import numpy as np
from numba import cuda

from gpu_kernels.chi import chi_turns
from gpu_kernels.ssb_reduce import COSINE, NOISE_FROM, PIXELS_AT_ONCE, SINE

THREADS_PER_BLOCK = 128


def reduce_kernel(dtype: Any, everything: bool) -> Any:
    """Kernel for G of a type; integers are summed in single precision.

    It takes ``g`` (pixels, rows, columns, 2), ``k_y``, ``k_x`` (pixels,) and ``here`` (pixels,),
    χ/2π of each pixel; ``q_y`` (rows,), ``step``, ``aperture``, ``chi`` and ``sums`` as
    ``ssb_reduce.reduce_block`` has them; and ``scale`` (groups, rows, columns), one for each
    ``PIXELS_AT_ONCE`` pixels, or of no size. For single sidebands alone, without ``everything``,
    it is a kernel of its own that needs fewer registers.
    """
    return _kernel(np.float64 if dtype == np.float64 else np.float32, everything)


_chi = cuda.jit(device=True)(chi_turns.py_func)


@lru_cache(maxsize=4)
def _kernel(real: Any, everything: bool) -> Any:
    s0, s1, s2, s3, s4, s5 = (real(value) for value in SINE)
    c0, c1, c2, c3, c4, c5 = (real(value) for value in COSINE)
    none, one, two = real(0), real(1), real(2)
    noise_from = NOISE_FROM**2

    @cuda.jit(device=True)
    def unit(turns):
        # cos and sin of 2π·turns from those of half the angle, as on the host.
        r = real(turns - floor(turns + 0.5))
        s = r * r
        sine = r * (s0 + s * (s1 + s * (s2 + s * (s3 + s * (s4 + s * s5)))))
        cosine = c0 + s * (c1 + s * (c2 + s * (c3 + s * (c4 + s * c5))))
        return one - two * sine * sine, two * sine * cosine

    @cuda.jit
    def kernel(g, k_y, k_x, here, q_y, step, aperture, chi, scale, sums):
        # Neighbouring threads read neighbouring frequencies of one pixel: whole lines of memory.
        at = cuda.grid(1)
        columns, limit = sums.shape[2], aperture * aperture
        row, col = at // columns, at % columns
        if row >= q_y.size:
            return
        qy, qx = q_y[row], col * step
        square = qy * qy + qx * qx
        noisy = square > noise_from * limit
        if not (square < 4 * limit or (noisy and everything)):
            return
        right, left = none, none
        # Sums of all groups stay in registers: each would be read and written once a group.
        right_re, right_im, left_re, left_im = 0.0, 0.0, 0.0, 0.0
        both_re, both_im, norms, powers = 0.0, 0.0, 0.0, 0.0
        for first in range(0, k_y.size, PIXELS_AT_ONCE):
            r_re, r_im, l_re, l_im = none, none, none, none
            d_re, d_im, norm, power = none, none, none, none
            for pixel in range(first, min(first + PIXELS_AT_ONCE, k_y.size)):
                y, x = k_y[pixel], k_x[pixel]
                if y * y + x * x >= limit:
                    continue
                my, mx, py, px = y - qy, x - qx, y + qy, x + qx
                in_m, in_p = mx * mx + my * my < limit, px * px + py * py < limit
                if not (noisy or in_m or in_p) or (in_m and in_p and not everything):
                    continue
                re, im = real(g[pixel, row, col, 0]), real(g[pixel, row, col, 1])
                if noisy:
                    power += re * re + im * im
                    continue
                m_re, m_im, p_re, p_im = none, none, none, none
                if in_m:
                    m_re, m_im = unit(here[pixel] - _chi(chi, my, mx))
                if in_p:
                    p_re, p_im = unit(_chi(chi, py, px) - here[pixel])
                if not in_p:
                    r_re += m_re * re + m_im * im
                    r_im += m_re * im - m_im * re
                    right += one
                elif not in_m:
                    l_re += p_re * re + p_im * im
                    l_im += p_re * im - p_im * re
                    left += one
                else:
                    m_re, m_im = m_re - p_re, m_im - p_im
                    d_re += m_re * re + m_im * im
                    d_im += m_re * im - m_im * re
                    norm += m_re * m_re + m_im * m_im
            scaled = 1.0
            if scale.size:
                scaled = float(scale[first // PIXELS_AT_ONCE, row, col])
            right_re += scaled * r_re
            right_im += scaled * r_im
            left_re += scaled * l_re
            left_im += scaled * l_im
            both_re += scaled * d_re
            both_im += scaled * d_im
            norms += norm
            powers += scaled * scaled * power
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
