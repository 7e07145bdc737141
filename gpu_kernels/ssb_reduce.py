"""The reduction at the heart of single-sideband ptychography, over blocks of detector pixels.

For each spatial frequency Q of the scan and each detector pixel k of the bright-field disk, the
transformed intensity G(k, Q) holds the object's frequency twice: through the sideband
m = A*(k) A(k−Q) and through p = A(k) A*(k+Q). Where only one of the disks around ±Q covers k, it is
that sideband alone. One pass sums both single sidebands and their double overlap apart, so that
every estimate (left, right, both, full weak phase, amplitude) follows from the same sums.
"""

from math import cos, pi, sin

import numpy as np
from numba import cuda, njit

THREADS_PER_BLOCK = 128
MONOMIALS = 12
"""χ of orders 2, 3 and 4 in (ky, kx): 3 + 4 + 5 monomials."""
FIELDS = 9
"""Sums of one frequency: right re, im; left re, im; double re, im; counts right, left; |Γ|²."""


def chi_polynomial(aberrations: np.ndarray, wavelength: float) -> np.ndarray:
    """χ/2π as a polynomial in (ky, kx).

    Parameters
    ----------
    aberrations : (12,) float64
        Cartesian Krivanek coefficients [Å]: C10, C12a, C12b, C21a, C21b, C23a, C23b, C30, C32a,
        C32b, C34a, C34b, with C_a = C cos(mφ_nm), C_b = C sin(mφ_nm).
    wavelength : float
        Of the electron [Å].

    Returns
    -------
    (12,) float64
        Factors of y², yx, x²; y³, y²x, yx², x³; y⁴, y³x, y²x², yx³, x⁴ [turns Åⁿ].
    """
    C10, C12a, C12b, C21a, C21b, C23a, C23b, C30, C32a, C32b, C34a, C34b = aberrations
    l1, l2, l3 = wavelength / 2, wavelength**2 / 3, wavelength**3 / 4
    # x = k cos φ, y = k sin φ: k^n cos mφ and k^n sin mφ written out in x and y.
    second = [C10 - C12a, 2 * C12b, C10 + C12a]
    third = [C21b - C23b, C21a - 3 * C23a, C21b + 3 * C23b, C21a + C23a]
    fourth = [
        C30 - C32a + C34a,
        2 * C32b - 4 * C34b,
        2 * C30 - 6 * C34a,
        2 * C32b + 4 * C34b,
        C30 + C32a + C34a,
    ]
    return np.concatenate(
        [np.multiply(second, l1), np.multiply(third, l2), np.multiply(fourth, l3)]
    )


@njit(nogil=True, cache=True, inline="always")
def chi_turns(c, y, x):
    """χ/2π at one wave vector."""
    second = y * (c[0] * y + c[1] * x) + c[2] * x * x
    third = y * (y * (c[3] * y + c[4] * x) + c[5] * x * x) + c[6] * x * x * x
    fourth = y * (y * (y * (c[7] * y + c[8] * x) + c[9] * x * x) + c[10] * x * x * x)
    return second + third + fourth + c[11] * x * x * x * x


def _one(re, im, y, x, qy, qx, k0, chi, out):
    """Add one pixel to the nine sums of one frequency, in double precision."""
    my, mx, py, px = y - qy, x - qx, y + qy, x + qx
    in_m = my * my + mx * mx < k0
    in_p = py * py + px * px < k0
    if not (in_m or in_p):
        return
    here = _chi(chi, y, x)
    m_re, m_im, p_re, p_im = 0.0, 0.0, 0.0, 0.0
    if in_m:
        phase = 2 * pi * (here - _chi(chi, my, mx))
        m_re, m_im = cos(phase), sin(phase)
    if in_p:
        phase = 2 * pi * (_chi(chi, py, px) - here)
        p_re, p_im = cos(phase), sin(phase)
    if in_m and not in_p:
        out[0] += m_re * re + m_im * im
        out[1] += m_re * im - m_im * re
        out[6] += 1
    elif in_p and not in_m:
        out[2] += p_re * re + p_im * im
        out[3] += p_re * im - p_im * re
        out[7] += 1
    else:
        d_re, d_im = m_re - p_re, m_im - p_im
        out[4] += d_re * re + d_im * im
        out[5] += d_re * im - d_im * re
        out[8] += d_re * d_re + d_im * d_im


_chi = chi_turns
_one_cpu = njit(nogil=True, cache=True)(_one)


@njit(nogil=True, cache=True)
def reduce_block(g, k_y, k_x, q_y, q_x, turn, limit, chi, sums):
    """Add a block of pixels to the sums of every frequency.

    Parameters
    ----------
    g : (pixels, rows, cols) complex64 or complex128
        G(k, Q) of the half plane; frequencies beyond 2 k0 hold nothing and are passed over.
    k_y, k_x : (pixels,) float64
        Wave vectors of the pixels [1/Å], detector frame.
    q_y, q_x : (rows,), (cols,) float64
        Frequencies along the scan [1/Å].
    turn : (2,) float64
        cos θ, sin θ of the scan's rotation.
    limit : float
        Radius of the aperture k0 [1/Å].
    chi : (12,) float64
        From ``chi_polynomial``.
    sums : (rows, cols, FIELDS) float64
        Added to.
    """
    # Branches save more than vectors would: most pairs have no sideband, and so no sine.
    k0 = limit * limit
    out = np.zeros(FIELDS)
    for row in range(q_y.size):
        for col in range(q_x.size):
            qy = turn[0] * q_y[row] + turn[1] * q_x[col]
            qx = turn[0] * q_x[col] - turn[1] * q_y[row]
            if qy * qy + qx * qx >= 4 * k0:
                continue
            out[:] = sums[row, col]
            for pixel in range(k_y.size):
                value = g[pixel, row, col]
                _one_cpu(value.real, value.imag, k_y[pixel], k_x[pixel], qy, qx, k0, chi, out)
            sums[row, col] = out


def _gpu_kernel():
    # The device's forms of the same two functions: `_one` sees the device's polynomial as `_chi`.
    scope = {**_one.__globals__, "_chi": cuda.jit(device=True)(chi_turns.py_func)}
    one = cuda.jit(device=True)(type(_one)(_one.__code__, scope, "_one"))

    @cuda.jit
    def kernel(g, k_y, k_x, q_y, q_x, turn, limit, chi, sums):
        # One thread a frequency, over all pixels: no atomics, and reproducible to the bit.
        at = cuda.grid(1)
        row, col = at // q_x.size, at % q_x.size
        if row >= q_y.size:
            return
        qy = turn[0] * q_y[row] + turn[1] * q_x[col]
        qx = turn[0] * q_x[col] - turn[1] * q_y[row]
        k0 = limit * limit
        if qy * qy + qx * qx >= 4 * k0:
            return
        out = cuda.local.array(FIELDS, np.float64)
        for field in range(FIELDS):
            out[field] = sums[row, col, field]
        for pixel in range(k_y.size):
            value = g[pixel, row, col]
            one(value.real, value.imag, k_y[pixel], k_x[pixel], qy, qx, k0, chi, out)
        for field in range(FIELDS):
            sums[row, col, field] = out[field]

    return kernel


reduce_kernel = _gpu_kernel()
