"""The reduction at the heart of single-sideband ptychography, over blocks of detector pixels.

For each spatial frequency Q of the scan and each detector pixel k of the bright-field disk, the
transformed intensity G(k, Q) holds the object's frequency twice: through the sideband
m = A*(k) A(k−Q) and through p = A(k) A*(k+Q). Where only one of the disks around ±Q covers k, it is
that sideband alone. One pass sums both single sidebands and their double overlap apart, so that
every estimate (left, right, both, full weak phase, amplitude) follows from the same sums.

Everything is in the scan's frame: pixels and aberrations are turned once, not each frequency.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import ceil, floor, sqrt

import numpy as np
from numba import njit

from gpu_kernels.chi import chi_turns

PIXELS_AT_ONCE = 32
"""Pixels that are summed in single precision before they are added in double precision, and that
share the scale of their integers where G is kept so."""
FIELDS = 10
"""Sums of one frequency: right re, im; left re, im; double re, im; counts of right and left pixels;
|Γ|² of the double overlap; and, beyond 2 k0 where there is no sideband, |G|²."""

NOISE_FROM = 2.05
"""|Q| in units of k0 from where on G is noise: a calibration a little off leaves it so."""

UNSCALED = np.zeros((0, 0), np.float32)

SINE = (
    3.141592653536129, -5.1677127645927206, 2.550163317932369,
    -0.5992521864819006, 0.08205035003144684, -0.007028303652380903,
)  # fmt: skip
COSINE = (
    0.9999999997791529, -4.934802136928833, 4.058709154760502,
    -1.335211949366169, 0.23493706849740192, -0.0243959319559508,
)  # fmt: skip
"""sin πr = r P(r²) and cos πr = P(r²) for |r| ≤ 1/2, interpolated at Chebyshev points: to 3e-10.
A polynomial becomes vector instructions where a library's sine does not."""


def reduce_block(
    g: np.ndarray,
    k_y: np.ndarray,
    k_x: np.ndarray,
    q_y: np.ndarray,
    step_x: float,
    aperture: float,
    chi: np.ndarray,
    sums: np.ndarray,
    rows: tuple[int, int] | None = None,
    scale: np.ndarray = UNSCALED,
    everything: bool = True,
) -> None:
    """Add a block of pixels to the sums of every frequency, on the CPU.

    Parameters
    ----------
    g : (pixels, rows, columns, 2) float32, float64 or int16
        Real and imaginary part of G(k, Q). Within a block they are summed in their own precision,
        integers in single precision.
    k_y, k_x : (pixels,) float64
        Wave vectors of the pixels, turned to the scan's axes [1/Å]; those outside the disk are left
        out.
    q_y : (rows,) float64
        Frequencies along y [1/Å].
    step_x : float
        Frequencies along x are 0, 1, … times this [1/Å].
    aperture : float
        k0 [1/Å].
    chi : (12,) float64
        From ``chi_polynomial`` of ``turned_aberrations``.
    sums : (FIELDS, rows, columns) float64
        Added to.
    rows : (first, last), optional
        Only these rows of the frequencies; threads may share ``sums`` if their rows differ.
    scale : (rows, columns) float32, optional
        What ``g`` is to be multiplied by; 1 when absent.
    everything : bool
        Whether the double overlap and the noise are summed as well as the single sidebands.
    """
    real = np.float64 if g.dtype == np.float64 else np.float32
    first, last = rows or (0, q_y.size)
    scratch = np.zeros((FIELDS, g.shape[2]), dtype=real)
    q_x = (np.arange(g.shape[2]) * step_x).astype(real)
    trig = tuple(real(value) for value in (*SINE, *COSINE, 0.5, 1, 2))
    _reduce_cpu(
        g, k_y, k_x, q_y, q_x, step_x, aperture, chi, trig, first, last, scale, everything,
        scratch, sums,
    )  # fmt: skip


def over_rows(add: Callable[[tuple[int, int]], None], rows: int, threads: int) -> None:
    """Let threads share the rows of frequencies, each with its own."""
    if threads <= 1:
        add((0, rows))
        return
    # Low |Q_y| holds most of the work and lies at both ends: a few cuts for each thread even it.
    cuts = np.linspace(0, rows, 8 * threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(add, pairwise(cuts)))


@njit(nogil=True, cache=True, inline="always")
def chord(y, x, limit, step, columns):
    """Run of columns, (first, one beyond the last), that a disk around (y, x) covers."""
    # Columns c with (x − c·step)² + y² < k0²: a disk cuts a row in one piece. The root is right to
    # a rounding error; the inequality itself decides at the ends, as it does on the device.
    square = limit - y * y
    if square <= 0.0:
        return 0, 0
    half = sqrt(square)
    first, last = ceil((x - half) / step), floor((x + half) / step)
    while first <= last and (x - first * step) ** 2 + y * y >= limit:
        first += 1
    while (x - (first - 1) * step) ** 2 + y * y < limit:
        first -= 1
    while first <= last and (x - last * step) ** 2 + y * y >= limit:
        last -= 1
    while (x - (last + 1) * step) ** 2 + y * y < limit:
        last += 1
    first, last = max(first, 0), min(last + 1, columns)
    return first, max(first, last)


@njit(nogil=True, cache=True, inline="always")
def along_row(c, y):
    """χ/2π at a fixed y: factors of 1, x, x², x³, x⁴."""
    return (
        y * y * (c[0] + y * (c[3] + y * c[7])),
        y * (c[1] + y * (c[4] + y * c[8])),
        c[2] + y * (c[5] + y * c[9]),
        c[6] + y * c[10],
        c[11],
    )


@njit(nogil=True, cache=True, inline="always")
def _unit(turns, t):
    # cos and sin of 2π·turns from those of half the angle.
    r = turns - np.floor(turns + t[12])
    s = r * r
    sine = r * (t[0] + s * (t[1] + s * (t[2] + s * (t[3] + s * (t[4] + s * t[5])))))
    cosine = t[6] + s * (t[7] + s * (t[8] + s * (t[9] + s * (t[10] + s * t[11]))))
    return t[13] - t[14] * sine * sine, t[14] * sine * cosine


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _add_single(sums, field, g, q_x, first, last, k_x, sign, p, t):
    # sums += conj(sideband)·G with phase χ(k) − χ(k−Q), sign −1, or χ(k+Q) − χ(k), sign +1; χ(k) is
    # already off p[0]. Slices, because the compiler vectorises a loop that starts at zero.
    if last <= first:
        return
    g, q_x = g[first:last], q_x[first:last]
    re, im, count = (
        sums[2 * field, first:last],
        sums[2 * field + 1, first:last],
        sums[6 + field, first:last],
    )
    real = re.dtype.type
    for c in range(q_x.size):
        x = k_x + sign * q_x[c]
        g_re, g_im = real(g[c, 0]), real(g[c, 1])
        turns = p[0] + x * (p[1] + x * (p[2] + x * (p[3] + x * p[4])))
        cosine, sine = _unit(sign * turns, t)
        re[c] += cosine * g_re + sine * g_im
        im[c] += cosine * g_im - sine * g_re
        count[c] += t[13]


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _add_double(sums, g, q_x, first, last, k_x, p, q, t):
    if last <= first:
        return
    g, q_x = g[first:last], q_x[first:last]
    re, im, norm = sums[4, first:last], sums[5, first:last], sums[8, first:last]
    real = re.dtype.type
    for c in range(q_x.size):
        g_re, g_im = real(g[c, 0]), real(g[c, 1])
        x = k_x - q_x[c]
        m_re, m_im = _unit(-(p[0] + x * (p[1] + x * (p[2] + x * (p[3] + x * p[4])))), t)
        x = k_x + q_x[c]
        p_re, p_im = _unit(q[0] + x * (q[1] + x * (q[2] + x * (q[3] + x * q[4]))), t)
        d_re, d_im = m_re - p_re, m_im - p_im
        re[c] += d_re * g_re + d_im * g_im
        im[c] += d_re * g_im - d_im * g_re
        norm[c] += d_re * d_re + d_im * d_im


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _add_power(sums, g, first):
    g, power = g[first:], sums[9, first:]
    real = power.dtype.type
    for c in range(power.size):
        g_re, g_im = real(g[c, 0]), real(g[c, 1])
        power[c] += g_re * g_re + g_im * g_im


@njit(nogil=True, cache=True)
def _reduce_cpu(
    g, k_y, k_x, q_y, q_x, step, aperture, chi, trig, first_row, last_row, scale, everything,
    scratch, sums,
):  # fmt: skip
    # A row of frequencies at a time, over the pixels: its sums stay in the first cache. Each disk
    # covers a run of the row, so that no pair is tested and the runs are vector loops.
    columns, limit = q_x.size, aperture * aperture
    one = trig[13]
    real = scratch.dtype.type
    for row in range(first_row, last_row):
        square = 4 * limit - q_y[row] * q_y[row]
        end = min(columns, ceil(sqrt(square) / step)) if square > 0.0 else 0
        square = NOISE_FROM**2 * limit - q_y[row] * q_y[row]
        noisy = floor(sqrt(square) / step) + 1 if square >= 0.0 else 0
        noisy = noisy if everything else columns
        scratch[:] = 0
        for pixel in range(k_y.size):
            if k_y[pixel] * k_y[pixel] + k_x[pixel] * k_x[pixel] >= limit:
                continue
            value = g[pixel, row]
            if noisy < columns:
                _add_power(scratch, value, noisy)
            y, x = k_y[pixel], real(k_x[pixel])
            m0, m1 = chord(y - q_y[row], k_x[pixel], limit, step, end)
            p0, p1 = chord(y + q_y[row], -k_x[pixel], limit, step, end)
            if m1 <= m0 and p1 <= p0:
                continue
            here = chi_turns(chi, y, k_x[pixel])
            a, b = along_row(chi, y - q_y[row]), along_row(chi, y + q_y[row])
            p = (real(a[0] - here), real(a[1]), real(a[2]), real(a[3]), real(a[4]))
            q = (real(b[0] - here), real(b[1]), real(b[2]), real(b[3]), real(b[4]))
            d0, d1 = max(m0, p0), min(m1, p1)
            if d1 <= d0:
                _add_single(scratch, 0, value, q_x, m0, m1, x, -one, p, trig)
                _add_single(scratch, 1, value, q_x, p0, p1, x, one, q, trig)
                continue
            _add_single(scratch, 0, value, q_x, m0, d0, x, -one, p, trig)
            _add_single(scratch, 0, value, q_x, d1, m1, x, -one, p, trig)
            _add_single(scratch, 1, value, q_x, p0, d0, x, one, q, trig)
            _add_single(scratch, 1, value, q_x, d1, p1, x, one, q, trig)
            if everything:
                _add_double(scratch, value, q_x, d0, d1, x, p, q, trig)
        for field in range(FIELDS):
            for column in range(columns):
                value_here = scratch[field, column]
                if scale.size and (field < 6 or field == 9):
                    value_here *= scale[row, column] if field < 6 else scale[row, column] ** 2
                sums[field, row, column] += value_here
