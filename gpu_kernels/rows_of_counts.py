"""The pass along rows of a transform of counts on a CUDA device, which reads counts as they are.

A library's transform of real numbers takes them in single precision and gives all frequencies: of
counts of one byte that is three times the memory traffic. Here a row of two detector pixels, as
real and imaginary part, is read as it is, transformed in registers and shared memory (radix 16, 16
and 4), parted into the two pixels, and cut to the frequencies that are wanted. For rows of 1,024
positions, those of the largest scans that are usual.

Complex numbers are kept in words of 64 bits, so that each is one access to memory, and places are
numbers without a sign: an index that may be negative costs more than the sum it leads to.
"""

from math import cos, pi, sin

import numpy as np
from numba import cuda, uint64

from gpu_kernels.backend import Array, to_device

LENGTH = 1024
"""Positions of a row."""
THREADS_PER_BLOCK = 256
ROWS_PER_BLOCK = 4
"""A row is 64 threads with 16 numbers each."""
HELD = 1088
"""Words of a row in shared memory: one more after each 16, or threads would wait for one bank."""
ALL_HELD = ROWS_PER_BLOCK * HELD


def rows_of_counts(counts: Array, turns: Array, found: Array, queue: object = 0) -> None:
    """Transform counts along x.

    Parameters
    ----------
    counts : (pixels, scan_y, 1024)
        On the device, of any real type, without gaps.
    turns : (1024,) complex64
        From ``turns_of_a_row``.
    found : (scan_y, pixels, columns) complex64
        Written, on the device, without gaps: frequencies Q_x = 0, 1, …, at most 513.
    queue : numba stream
        Where the work is queued.
    """
    pixels, rows, _ = counts.shape
    grid = (-(-rows // ROWS_PER_BLOCK), -(-pixels // 2))
    _kernel[grid, THREADS_PER_BLOCK, queue](
        counts.reshape(-1), turns.view(np.uint64), pixels, rows, found.shape[2],
        found.reshape(-1).view(np.uint64),
    )  # fmt: skip


def turns_of_a_row() -> Array:
    """(1024,) complex64 on the device: e^(−2πi n / 1024)."""
    return to_device(np.exp(-2j * np.pi * np.arange(LENGTH) / LENGTH).astype(np.complex64))


REAL, NUMBER, WORD = np.float32, np.uint32, np.uint64
HALF, ROOT = REAL(0.5), REAL(np.sqrt(0.5))
HIGH, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
C1, S1 = REAL(cos(pi / 8)), REAL(sin(pi / 8))
U0, U1, U2, U3, U4, U5, U6, U7 = (np.uint64(n) for n in range(8))
U8, U9, U10, U11, U12, U13, U14, U15 = (np.uint64(n) for n in range(8, 16))
U16, U17, U63, U64, U68 = (np.uint64(n) for n in (16, 17, 63, 64, 68))
U128, U192, U256, U272, U512 = (np.uint64(n) for n in (128, 192, 256, 272, 512))
ROW_WORDS = np.uint64(HELD)
POSITIONS = np.uint64(LENGTH)


@cuda.jit(device=True)
def _word(value):
    return WORD(value[0].view(NUMBER)) | (WORD(value[1].view(NUMBER)) << HIGH)


@cuda.jit(device=True)
def _parts(word):
    return NUMBER(word & LOW).view(REAL), NUMBER(word >> HIGH).view(REAL)


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


@cuda.jit(device=True)
def _eighth(a):  # by e^(−iπ/4)
    return ROOT * (a[0] + a[1]), ROOT * (a[1] - a[0])


@cuda.jit(device=True)
def _three_eighths(a):  # by e^(−3iπ/4)
    return ROOT * (a[1] - a[0]), -ROOT * (a[0] + a[1])


@cuda.jit(device=True)
def _dft16(x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15):
    a0, a1, a2, a3 = _dft4(x0, x4, x8, x12)
    b0, b1, b2, b3 = _dft4(x1, x5, x9, x13)
    c0, c1, c2, c3 = _dft4(x2, x6, x10, x14)
    d0, d1, d2, d3 = _dft4(x3, x7, x11, x15)
    y0, y4, y8, y12 = _dft4(a0, b0, c0, d0)
    y1, y5, y9, y13 = _dft4(a1, _by(b1, (C1, -S1)), _eighth(c1), _by(d1, (S1, -C1)))
    y2, y6, y10, y14 = _dft4(a2, _eighth(b2), (c2[1], -c2[0]), _three_eighths(d2))
    y3, y7, y11, y15 = _dft4(a3, _by(b3, (S1, -C1)), _three_eighths(c3), _by(d3, (-C1, S1)))
    return y0, y1, y2, y3, y4, y5, y6, y7, y8, y9, y10, y11, y12, y13, y14, y15


@cuda.jit(device=True)
def _counted(counts, first, second, at):
    return REAL(counts[first + at]), REAL(counts[second + at])


@cuda.jit(device=True)
def _turned16(y, turn, held, start, by):
    # The 16 results of a thread, each turned by a power of its own turn, to their places.
    w2 = _by(turn, turn)
    w3, w4 = _by(w2, turn), _by(w2, w2)
    w5, w6, w7, w8 = _by(w4, turn), _by(w4, w2), _by(w4, w3), _by(w4, w4)
    held[start] = _word(y[0])
    held[start + by] = _word(_by(y[1], turn))
    held[start + U2 * by] = _word(_by(y[2], w2))
    held[start + U3 * by] = _word(_by(y[3], w3))
    held[start + U4 * by] = _word(_by(y[4], w4))
    held[start + U5 * by] = _word(_by(y[5], w5))
    held[start + U6 * by] = _word(_by(y[6], w6))
    held[start + U7 * by] = _word(_by(y[7], w7))
    held[start + U8 * by] = _word(_by(y[8], w8))
    held[start + U9 * by] = _word(_by(y[9], _by(w8, turn)))
    held[start + U10 * by] = _word(_by(y[10], _by(w8, w2)))
    held[start + U11 * by] = _word(_by(y[11], _by(w8, w3)))
    held[start + U12 * by] = _word(_by(y[12], _by(w8, w4)))
    held[start + U13 * by] = _word(_by(y[13], _by(w8, w5)))
    held[start + U14 * by] = _word(_by(y[14], _by(w8, w6)))
    held[start + U15 * by] = _word(_by(y[15], _by(w8, w7)))


@cuda.jit(device=True)
def _last4(held, row, at):
    # What is left of the transform: frequencies at, at + 256, … of the row.
    place = row + at + at // U16
    return _dft4(
        _parts(held[place]), _parts(held[place + U272]), _parts(held[place + U2 * U272]),
        _parts(held[place + U3 * U272]),
    )  # fmt: skip


@cuda.jit(device=True)
def _part(z, mirror, col, columns, one, two, apart, found):
    # Z = A + iB: A is (Z(Q) + Z*(−Q)) / 2, and B (Z(Q) − Z*(−Q)) / 2i.
    if col < columns:
        found[one + col] = _word((HALF * (z[0] + mirror[0]), HALF * (z[1] - mirror[1])))
        if apart:
            found[two + col] = _word((HALF * (z[1] + mirror[1]), HALF * (mirror[0] - z[0])))


@cuda.jit(device=True)
def _both(u, v, alone, held, row, columns, one, two, apart, found):
    # Frequencies u + 256 i and v + 256 i of a thread; of u + v = 256 each mirrors the other.
    u0, u1, u2, u3 = _last4(held, row, u)
    v0, v1, v2, v3 = _last4(held, row, v)
    if alone:  # 0 and 128 mirror themselves
        _part(u0, u0, u, columns, one, two, apart, found)
        _part(u1, u3, u + U256, columns, one, two, apart, found)
        _part(u2, u2, u + U512, columns, one, two, apart, found)
        _part(v0, v3, v, columns, one, two, apart, found)
        _part(v1, v2, v + U256, columns, one, two, apart, found)
    else:
        _part(u0, v3, u, columns, one, two, apart, found)
        _part(u1, v2, u + U256, columns, one, two, apart, found)
        _part(v0, u3, v, columns, one, two, apart, found)
        _part(v1, u2, v + U256, columns, one, two, apart, found)


@cuda.jit
def _kernel(counts, turns, pixels, rows, columns, found):
    held = cuda.shared.array(ALL_HELD, uint64)
    thread = WORD(cuda.threadIdx.x)
    mine, t = thread // U64, thread & U63
    # Neighbouring blocks have neighbouring rows of one pair of pixels. One beyond the last works on
    # the last, and keeps it to itself: its threads are waited for.
    row = cuda.blockIdx.x * ROWS_PER_BLOCK + cuda.threadIdx.x // 64
    alive = row < rows
    row = min(row, rows - 1)
    pixel = 2 * cuda.blockIdx.y
    other = min(pixel + 1, pixels - 1)
    a = WORD(pixel * rows + row) * POSITIONS + t
    b = WORD(other * rows + row) * POSITIONS + t
    y = _dft16(
        _counted(counts, a, b, U0), _counted(counts, a, b, U64),
        _counted(counts, a, b, U2 * U64), _counted(counts, a, b, U3 * U64),
        _counted(counts, a, b, U4 * U64), _counted(counts, a, b, U5 * U64),
        _counted(counts, a, b, U6 * U64), _counted(counts, a, b, U7 * U64),
        _counted(counts, a, b, U8 * U64), _counted(counts, a, b, U9 * U64),
        _counted(counts, a, b, U10 * U64), _counted(counts, a, b, U11 * U64),
        _counted(counts, a, b, U12 * U64), _counted(counts, a, b, U13 * U64),
        _counted(counts, a, b, U14 * U64), _counted(counts, a, b, U15 * U64),
    )  # fmt: skip
    start = mine * ROW_WORDS
    _turned16(y, _parts(turns[t]), held, start + U17 * t, U1)
    cuda.syncthreads()
    place = start + t + t // U16
    y = _dft16(
        _parts(held[place]), _parts(held[place + U68]),
        _parts(held[place + U2 * U68]), _parts(held[place + U3 * U68]),
        _parts(held[place + U4 * U68]), _parts(held[place + U5 * U68]),
        _parts(held[place + U6 * U68]), _parts(held[place + U7 * U68]),
        _parts(held[place + U8 * U68]), _parts(held[place + U9 * U68]),
        _parts(held[place + U10 * U68]), _parts(held[place + U11 * U68]),
        _parts(held[place + U12 * U68]), _parts(held[place + U13 * U68]),
        _parts(held[place + U14 * U68]), _parts(held[place + U15 * U68]),
    )  # fmt: skip
    cuda.syncthreads()
    p, q = t // U16, t & U15
    _turned16(y, _parts(turns[U16 * p]), held, start + q + U272 * p, U17)
    cuda.syncthreads()
    if alive:
        wanted = WORD(columns)
        one = WORD(row * pixels + pixel) * wanted
        two, apart = one + wanted, other > pixel
        first = t == U0
        _both(t, U128 if first else U256 - t, first, held, start, wanted, one, two, apart, found)
        _both(U64 + t, U192 - t, False, held, start, wanted, one, two, apart, found)
