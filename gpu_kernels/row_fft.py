"""Fourier transforms of small square windows, for compiled loops that take one pattern at a time.

A library's transform costs more to call than a window of 32 × 32 costs to compute, and it cannot be
called from compiled code. Here a window is two planes of rows, real and imaginary, and a pass runs
along its columns: neighbours in a row are independent of each other, so they fill the processor's
vectors. The other axis is reached by transposing. In place, a forward pass leaves the rows in
digit-reversed order and an inverse one takes them in it, so that between the two nothing is sorted.

The side of a window travels as a type, a tuple with a zero for each of its factors: with a side
that the compiler does not know, the inner loops are not vectorised and ten times slower.
"""

import numpy as np
from numba import njit

SIDES = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Sides of a window that there are transforms for."""
LANES = 16
"""Columns that go through all passes together; a vector of single precision."""

Side = tuple[tuple[int, ...], tuple[int, ...]]
"""A zero for each factor 2 of a side, and one for each factor 3."""

FAST = {"contract", "nsz", "nnan", "ninf"}
"""Liberties of the compiler that do not change what an equation says: no NaN, and a·b + c at once.
Sums are not reordered, so a result does not depend on the processor's vectors."""


def side_as_type(side: int) -> Side:
    """Write a side as the tuple that stands for it.

    Raises
    ------
    ValueError
        If there is no transform for it.
    """
    if side not in SIDES:
        raise ValueError(
            f"there is no transform of {side} x {side} pixels; the side of a window can be "
            + ", ".join(map(str, SIDES))
        )
    threes = 1 if side % 3 == 0 else 0
    return (0,) * ((side // 3**threes).bit_length() - 1), (0,) * threes


def row_order(side: int) -> np.ndarray:
    """Row that holds each frequency after a forward pass.

    Returns
    -------
    (side,) uint32
        Of frequency 0, 1, … as in ``numpy.fft.fft``. Without a sign, which lets the compiler prove
        that an index is none from the end, and use vectors.
    """
    twos, threes = (len(zeros) for zeros in side_as_type(side))
    radices = [3] * threes + [4] * ((twos - 3 * (twos % 2)) // 2) + [8] * (twos % 2)
    order = np.zeros(side, np.uint32)
    for frequency in range(side):
        rest, stretch, row = frequency, side, 0
        for radix in radices:
            stretch //= radix
            row += (rest % radix) * stretch
            rest //= radix
        order[frequency] = row
    return order


def turns(side: int, dtype: type = np.float32) -> np.ndarray:
    """(2, side): cosine and sine of every part of a turn, for the passes."""
    angle = 2 * np.pi * np.arange(side) / side
    return np.stack([np.cos(angle), np.sin(angle)]).astype(dtype)


@njit(inline="always")
def side_of(side):
    """The number that a ``Side`` stands for."""
    return (1 << len(side[0])) * (3 if len(side[1]) == 1 else 1)


@njit(inline="always")
def pitch_of(side):
    """Distance of the rows of a plane: rows a power of two apart would fight for the same cache."""
    n = side_of(side)
    return n if n < 64 else n + LANES


@njit(cache=True)
def window_of(side, dtype):
    """Room for a window: rows of the real plane, then of the imaginary one, one array."""
    return np.zeros(2 * side_of(side) * pitch_of(side), dtype)


@njit(nogil=True, cache=True, fastmath=FAST)
def forward_rows(planes, turn, side):
    """Transform along the columns: Σ a e^(−2πi k n / side); rows end up in ``row_order``.

    Parameters
    ----------
    planes : (2 · side · pitch,) float32 or float64
        A window as ``window_of`` lays it out; overwritten.
    turn : (2, side)
        From ``turns``, of the same type.
    side : Side
        From ``side_as_type``.
    """
    n, pitch, fours = side_of(side), pitch_of(side), (len(side[0]) - 3 * (len(side[0]) % 2)) // 2
    for column in range(0, n, LANES):
        left = n
        if len(side[1]) == 1:
            _pass_3(planes, turn, n, pitch, left, column)
            left //= 3
        if fours >= 1:
            _pass_4(planes, turn, n, pitch, left, column)
            left //= 4
        if fours >= 2:
            _pass_4(planes, turn, n, pitch, left, column)
            left //= 4
        if fours >= 3:
            _pass_4(planes, turn, n, pitch, left, column)
            left //= 4
        if fours >= 4:
            _pass_4(planes, turn, n, pitch, left, column)
        if len(side[0]) % 2 == 1:
            _pass_8(planes, n, pitch, column, 0, n * pitch)


@njit(nogil=True, cache=True, fastmath=FAST)
def inverse_rows(planes, turn, side):
    """Undo ``forward_rows`` but for a factor ``side``: rows are taken in ``row_order``."""
    n, pitch, fours = side_of(side), pitch_of(side), (len(side[0]) - 3 * (len(side[0]) % 2)) // 2
    for column in range(0, n, LANES):
        left = 1
        if len(side[0]) % 2 == 1:
            _pass_8(planes, n, pitch, column, n * pitch, 0)
            left *= 8
        if fours >= 1:
            left *= 4
            _back_4(planes, turn, n, pitch, left, column)
        if fours >= 2:
            left *= 4
            _back_4(planes, turn, n, pitch, left, column)
        if fours >= 3:
            left *= 4
            _back_4(planes, turn, n, pitch, left, column)
        if fours >= 4:
            left *= 4
            _back_4(planes, turn, n, pitch, left, column)
        if len(side[1]) == 1:
            _back_3(planes, turn, n, pitch, n, column)


@njit(nogil=True, cache=True)
def transpose_from(planes, order, out, side):
    """Transpose what a forward pass left: column k of ``out`` is row ``order[k]``."""
    n, pitch = side_of(side), pitch_of(side)
    for plane in range(0, 2 * n * pitch, n * pitch):
        for block in range(0, n, 8):
            for k in range(n):
                row = plane + order[k] * pitch + block
                to = plane + block * pitch + k
                for at in range(8):
                    out[to + at * pitch] = planes[row + at]


@njit(nogil=True, cache=True)
def transpose_to(planes, order, out, side):
    """Transpose for an inverse pass: row ``order[k]`` of ``out`` is column k."""
    n, pitch = side_of(side), pitch_of(side)
    for plane in range(0, 2 * n * pitch, n * pitch):
        for block in range(0, n, 8):
            for k in range(n):
                row = plane + order[k] * pitch + block
                at = plane + block * pitch + k
                for step in range(8):
                    out[row + step] = planes[at + step * pitch]


# A stretch of ``size`` rows is split into interleaved ones (decimation in frequency, in place); the
# inverse passes run backwards through the same steps (decimation in time).


@njit(inline="always")
def _pass_4(b, turn, n, pitch, size, column):
    m, imag, every = size // 4, n * pitch, n // size
    one, two, three = m * pitch, 2 * m * pitch, 3 * m * pitch
    for first in range(0, n, size):
        for i in range(m):
            c1, s1 = turn[0, every * i], turn[1, every * i]
            c2, s2 = turn[0, 2 * every * i], turn[1, 2 * every * i]
            c3, s3 = turn[0, 3 * every * i], turn[1, 3 * every * i]
            start = (first + i) * pitch + column
            for p in range(start, start + LANES):
                sum_re, sum_im = b[p] + b[p + two], b[p + imag] + b[p + two + imag]
                dif_re, dif_im = b[p] - b[p + two], b[p + imag] - b[p + two + imag]
                odd_re, odd_im = b[p + one] + b[p + three], b[p + one + imag] + b[p + three + imag]
                way_re, way_im = b[p + one] - b[p + three], b[p + one + imag] - b[p + three + imag]
                b[p], b[p + imag] = sum_re + odd_re, sum_im + odd_im
                re, im = dif_re + way_im, dif_im - way_re
                b[p + one], b[p + one + imag] = re * c1 + im * s1, im * c1 - re * s1
                re, im = sum_re - odd_re, sum_im - odd_im
                b[p + two], b[p + two + imag] = re * c2 + im * s2, im * c2 - re * s2
                re, im = dif_re - way_im, dif_im + way_re
                b[p + three], b[p + three + imag] = re * c3 + im * s3, im * c3 - re * s3


@njit(inline="always")
def _back_4(b, turn, n, pitch, size, column):
    m, imag, every = size // 4, n * pitch, n // size
    one, two, three = m * pitch, 2 * m * pitch, 3 * m * pitch
    for first in range(0, n, size):
        for i in range(m):
            c1, s1 = turn[0, every * i], turn[1, every * i]
            c2, s2 = turn[0, 2 * every * i], turn[1, 2 * every * i]
            c3, s3 = turn[0, 3 * every * i], turn[1, 3 * every * i]
            start = (first + i) * pitch + column
            for p in range(start, start + LANES):
                one_re = b[p + one] * c1 - b[p + one + imag] * s1
                one_im = b[p + one] * s1 + b[p + one + imag] * c1
                two_re = b[p + two] * c2 - b[p + two + imag] * s2
                two_im = b[p + two] * s2 + b[p + two + imag] * c2
                three_re = b[p + three] * c3 - b[p + three + imag] * s3
                three_im = b[p + three] * s3 + b[p + three + imag] * c3
                sum_re, sum_im = b[p] + two_re, b[p + imag] + two_im
                dif_re, dif_im = b[p] - two_re, b[p + imag] - two_im
                odd_re, odd_im = one_re + three_re, one_im + three_im
                way_re, way_im = one_re - three_re, one_im - three_im
                b[p], b[p + imag] = sum_re + odd_re, sum_im + odd_im
                b[p + one], b[p + one + imag] = dif_re - way_im, dif_im + way_re
                b[p + two], b[p + two + imag] = sum_re - odd_re, sum_im - odd_im
                b[p + three], b[p + three + imag] = dif_re + way_im, dif_im - way_re


@njit(inline="always")
def _pass_8(b, n, pitch, column, re, im):
    # Last forwards and first backwards, where nothing is turned: 8 = 2 · 4, of the sums and of the
    # differences. Backwards is forwards with the planes exchanged.
    root = b.dtype.type(0.7071067811865476)
    for first in range(0, n, 8):
        start = first * pitch + column
        for p in range(start, start + LANES):
            a0_re, a0_im = b[re + p] + b[re + p + 4 * pitch], b[im + p] + b[im + p + 4 * pitch]
            d0_re, d0_im = b[re + p] - b[re + p + 4 * pitch], b[im + p] - b[im + p + 4 * pitch]
            q = p + pitch
            a1_re, a1_im = b[re + q] + b[re + q + 4 * pitch], b[im + q] + b[im + q + 4 * pitch]
            d1_re, d1_im = b[re + q] - b[re + q + 4 * pitch], b[im + q] - b[im + q + 4 * pitch]
            q = p + 2 * pitch
            a2_re, a2_im = b[re + q] + b[re + q + 4 * pitch], b[im + q] + b[im + q + 4 * pitch]
            d2_re, d2_im = b[re + q] - b[re + q + 4 * pitch], b[im + q] - b[im + q + 4 * pitch]
            q = p + 3 * pitch
            a3_re, a3_im = b[re + q] + b[re + q + 4 * pitch], b[im + q] + b[im + q + 4 * pitch]
            d3_re, d3_im = b[re + q] - b[re + q + 4 * pitch], b[im + q] - b[im + q + 4 * pitch]
            # Frequencies 0, 2, 4, 6.
            s_re, s_im, t_re, t_im = a0_re + a2_re, a0_im + a2_im, a1_re + a3_re, a1_im + a3_im
            u_re, u_im, v_re, v_im = a0_re - a2_re, a0_im - a2_im, a1_re - a3_re, a1_im - a3_im
            b[re + p], b[im + p] = s_re + t_re, s_im + t_im
            b[re + p + 4 * pitch], b[im + p + 4 * pitch] = s_re - t_re, s_im - t_im
            b[re + p + 2 * pitch], b[im + p + 2 * pitch] = u_re + v_im, u_im - v_re
            b[re + p + 6 * pitch], b[im + p + 6 * pitch] = u_re - v_im, u_im + v_re
            # The differences turn by 0, 1, 2, 3 eighths; then frequencies 1, 3, 5, 7.
            e1_re, e1_im = root * (d1_re + d1_im), root * (d1_im - d1_re)
            e3_re, e3_im = root * (d3_im - d3_re), -root * (d3_re + d3_im)
            s_re, s_im, t_re, t_im = d0_re + d2_im, d0_im - d2_re, e1_re + e3_re, e1_im + e3_im
            u_re, u_im, v_re, v_im = d0_re - d2_im, d0_im + d2_re, e1_re - e3_re, e1_im - e3_im
            b[re + p + pitch], b[im + p + pitch] = s_re + t_re, s_im + t_im
            b[re + p + 5 * pitch], b[im + p + 5 * pitch] = s_re - t_re, s_im - t_im
            b[re + p + 3 * pitch], b[im + p + 3 * pitch] = u_re + v_im, u_im - v_re
            b[re + p + 7 * pitch], b[im + p + 7 * pitch] = u_re - v_im, u_im + v_re


@njit(inline="always")
def _pass_3(b, turn, n, pitch, size, column):
    m, imag, every = size // 3, n * pitch, n // size
    one, two = m * pitch, 2 * m * pitch
    half, high = b.dtype.type(0.5), b.dtype.type(0.8660254037844386)
    for first in range(0, n, size):
        for i in range(m):
            c1, s1 = turn[0, every * i], turn[1, every * i]
            c2, s2 = turn[0, 2 * every * i], turn[1, 2 * every * i]
            start = (first + i) * pitch + column
            for p in range(start, start + LANES):
                sum_re, sum_im = b[p + one] + b[p + two], b[p + one + imag] + b[p + two + imag]
                dif_re = high * (b[p + one] - b[p + two])
                dif_im = high * (b[p + one + imag] - b[p + two + imag])
                mid_re, mid_im = b[p] - half * sum_re, b[p + imag] - half * sum_im
                b[p], b[p + imag] = b[p] + sum_re, b[p + imag] + sum_im
                re, im = mid_re + dif_im, mid_im - dif_re
                b[p + one], b[p + one + imag] = re * c1 + im * s1, im * c1 - re * s1
                re, im = mid_re - dif_im, mid_im + dif_re
                b[p + two], b[p + two + imag] = re * c2 + im * s2, im * c2 - re * s2


@njit(inline="always")
def _back_3(b, turn, n, pitch, size, column):
    m, imag, every = size // 3, n * pitch, n // size
    one, two = m * pitch, 2 * m * pitch
    half, high = b.dtype.type(0.5), b.dtype.type(0.8660254037844386)
    for first in range(0, n, size):
        for i in range(m):
            c1, s1 = turn[0, every * i], turn[1, every * i]
            c2, s2 = turn[0, 2 * every * i], turn[1, 2 * every * i]
            start = (first + i) * pitch + column
            for p in range(start, start + LANES):
                one_re = b[p + one] * c1 - b[p + one + imag] * s1
                one_im = b[p + one] * s1 + b[p + one + imag] * c1
                two_re = b[p + two] * c2 - b[p + two + imag] * s2
                two_im = b[p + two] * s2 + b[p + two + imag] * c2
                sum_re, sum_im = one_re + two_re, one_im + two_im
                dif_re, dif_im = high * (one_re - two_re), high * (one_im - two_im)
                mid_re, mid_im = b[p] - half * sum_re, b[p + imag] - half * sum_im
                b[p], b[p + imag] = b[p] + sum_re, b[p + imag] + sum_im
                b[p + one], b[p + one + imag] = mid_re - dif_im, mid_im + dif_re
                b[p + two], b[p + two + imag] = mid_re + dif_im, mid_im - dif_re
