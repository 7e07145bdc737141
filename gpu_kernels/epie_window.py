"""What ePIE does to one window on one core: shift, multiply, transform, put right, gather.

Windows in real space are [x][y] and in Fourier space [ky][kx], so that patterns are read as they
lie and each transform needs one transposition. Planes and rows are as ``row_fft`` has them.
"""

from math import cos, pi, sin

import numpy as np
from numba import njit

from gpu_kernels.counted_root import counted_root_cpu, root_gain_cpu
from gpu_kernels.row_fft import (
    FAST,
    forward_rows,
    inverse_rows,
    pitch_of,
    side_of,
    transpose_from,
    transpose_to,
)


@njit(nogil=True, cache=True)
def ramp(fraction, ramps, at):
    """Fill e^(−2πi k f / n) for k = 0, 1, …, −1 into rows ``at`` and ``at + 1`` of ``ramps``."""
    # A product of unit numbers, in double precision: sixteen sines would cost ten times as much.
    n = ramps.shape[1]
    c, s = cos(2 * pi * fraction / n), sin(2 * pi * fraction / n)
    re, im = 1.0, 0.0
    for k in range(n // 2):
        ramps[at, k], ramps[at + 1, k] = re, -im
        if k > 0:
            ramps[at, n - k], ramps[at + 1, n - k] = re, im
        re, im = re * c - im * s, re * s + im * c
    ramps[at, n // 2], ramps[at + 1, n // 2] = re, im


@njit(nogil=True, cache=True, fastmath=FAST)
def shifted(spectrum, ramps, order, out, side):
    """Multiply the probe's transform by the ramps, into rows as an inverse pass wants them."""
    n, pitch = side_of(side), pitch_of(side)
    imag = n * pitch
    for k in range(n):
        c, s, to = ramps[0, k], ramps[1, k], order[k] * pitch
        for j in range(n):
            re = ramps[2, j] * c - ramps[3, j] * s
            im = ramps[2, j] * s + ramps[3, j] * c
            out[to + j] = spectrum[0, k, j] * re - spectrum[1, k, j] * im
            out[to + imag + j] = spectrum[0, k, j] * im + spectrum[1, k, j] * re


@njit(nogil=True, cache=True)
def to_space(fourier, space, turn, order, side):
    """Transform back, over 1 / side²; ``fourier`` is overwritten."""
    inverse_rows(fourier, turn, side)
    transpose_to(fourier, order, space, side)
    inverse_rows(space, turn, side)


@njit(nogil=True, cache=True)
def to_fourier(space, fourier, turn, order, side):
    """Transform; ``space`` is overwritten."""
    forward_rows(space, turn, side)
    transpose_from(space, order, fourier, side)
    forward_rows(fourier, turn, side)


@njit(nogil=True, cache=True, fastmath=FAST)
def exit_wave(probe, obj, x, y, wave, side):
    """Multiply the probe by the object's window at (y, x)."""
    n, pitch = side_of(side), pitch_of(side)
    imag = n * pitch
    for i in range(n):
        re, im, at = obj[0, x + i], obj[1, x + i], i * pitch
        for j in range(n):
            p, q = probe[at + j], probe[at + imag + j]
            wave[at + j] = p * re[y + j] - q * im[y + j]
            wave[at + imag + j] = p * im[y + j] + q * re[y + j]


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def replace_amplitude(wave, pattern, weight, doubt, order, residuals, side):
    """Turn a wave into what puts its amplitude right; add the squared residual."""
    # The wave arrives as n times the one whose squares are counts, and leaves as what is to be
    # added to it, over n² for the inverse transform. Residuals are summed by column: a single sum
    # would go one number at a time.
    n, pitch = side_of(side), pitch_of(side)
    imag = n * pitch
    kind = wave.dtype.type
    scale, doubt = kind(1 / n**2), kind(doubt)
    for k in range(n):
        at, seen, used = order[k] * pitch, pattern[k], weight[k]
        for j in range(n):
            re, im = wave[at + j], wave[at + imag + j]
            root, slope, variance = counted_root_cpu((re * re + im * im) * scale)
            rest = (np.sqrt(kind(seen[j])) - root) * used[j]
            factor = root_gain_cpu(slope, variance, doubt) * rest
            residuals[j] += rest * rest
            wave[at + j] = factor * scale * re
            wave[at + imag + j] = factor * scale * im


@njit(nogil=True, cache=True)
def derivative(wave, order, axis, side):
    """Turn a wave into its derivative by the probe's position along an axis."""
    # Times −2πi k / n along one axis; the highest frequency has no sign and no derivative.
    n, pitch = side_of(side), pitch_of(side)
    imag = n * pitch
    for k in range(n):
        at = order[k] * pitch
        for j in range(n):
            frequency = k if axis == 0 else j
            frequency = 0 if 2 * frequency == n else frequency - n * (2 * frequency > n)
            turn = wave.dtype.type(-2 * pi * frequency / n)
            re, im = wave[at + j], wave[at + imag + j]
            wave[at + j], wave[at + imag + j] = -turn * im, turn * re


@njit(nogil=True, cache=True, error_model="numpy")
def solve_step(seen, moved_y, moved_x, pattern, weight, order, side, step):
    """Fill the least-squares step of a position from its wave and the wave's two derivatives."""
    n, pitch = side_of(side), pitch_of(side)
    imag = n * pitch
    yy, yx, xx, y, x = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(n):
        at = order[k] * pitch
        for j in range(n):
            re, im = seen[at + j], seen[at + imag + j]
            root, slope, _ = counted_root_cpu((re * re + im * im) / n**2)
            along = 2 * slope / n**2 * weight[k, j]
            slope_y = (re * moved_y[at + j] + im * moved_y[at + imag + j]) * along
            slope_x = (re * moved_x[at + j] + im * moved_x[at + imag + j]) * along
            rest = np.sqrt(np.float64(pattern[k, j])) - root
            yy, yx, xx = yy + slope_y**2, yx + slope_y * slope_x, xx + slope_x**2
            y, x = y + slope_y * rest, x + slope_x * rest
    # A ridge of a thousandth: where the specimen shows nothing, a position cannot be told.
    ridge = 1e-3 * (yy + xx) + 1e-20
    yy, xx = yy + ridge, xx + ridge
    determinant = yy * xx - yx * yx
    step[0] = (xx * y - yx * x) / determinant
    step[1] = (yy * x - yx * y) / determinant


@njit(nogil=True, cache=True, fastmath=FAST)
def gather_object(probe, wave, x, y, numerator, denominator, side):
    """Add P*Δψ and |P|² to the sums of the object's window at (y, x)."""
    n, pitch = side_of(side), pitch_of(side)
    imag = n * pitch
    for i in range(n):
        re, im, den = numerator[0, x + i], numerator[1, x + i], denominator[x + i]
        at = i * pitch
        for j in range(n):
            p, q, a, b = probe[at + j], probe[at + imag + j], wave[at + j], wave[at + imag + j]
            re[y + j] += p * a + q * b
            im[y + j] += p * b - q * a
            den[y + j] += p * p + q * q


@njit(nogil=True, cache=True, fastmath=FAST)
def conjugate_product(obj, x, y, wave, side):
    """Multiply a difference by O* of the window at (y, x)."""
    n, pitch = side_of(side), pitch_of(side)
    imag = n * pitch
    for i in range(n):
        re, im, at = obj[0, x + i], obj[1, x + i], i * pitch
        for j in range(n):
            a, b = wave[at + j], wave[at + imag + j]
            wave[at + j] = re[y + j] * a + im[y + j] * b
            wave[at + imag + j] = re[y + j] * b - im[y + j] * a


@njit(nogil=True, cache=True, fastmath=FAST)
def gather_probe(wave, ramps, order, change, side):
    """Add a difference, moved back to the probe's own place, to the sums of its transform."""
    n, pitch = side_of(side), pitch_of(side)
    imag = n * pitch
    for k in range(n):
        c, s, at = ramps[0, k], ramps[1, k], order[k] * pitch
        for j in range(n):
            re = ramps[2, j] * c - ramps[3, j] * s
            im = ramps[2, j] * s + ramps[3, j] * c
            a, b = wave[at + j], wave[at + imag + j]
            change[0, k, j] += a * re + b * im
            change[1, k, j] += b * re - a * im


@njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def apply_change(obj, velocity, numerator, denominator, box, step, momentum, part, floor):
    """Change the object inside a box by the sums of a batch, and by what momentum keeps."""
    kind = obj.dtype.type
    part, floor, step, keep = kind(part), kind(floor), kind(step), kind(momentum)
    for i in range(box[2], box[3]):
        for j in range(box[0], box[1]):
            # What no window of the batch covers stays as it is, and keeps its momentum.
            here = denominator[i, j]
            go = kind(here > 0)
            scale = step / (part * here + floor)
            re = keep * velocity[0, i, j] + scale * numerator[0, i, j]
            im = keep * velocity[1, i, j] + scale * numerator[1, i, j]
            velocity[0, i, j] += go * (re - velocity[0, i, j])
            velocity[1, i, j] += go * (im - velocity[1, i, j])
            obj[0, i, j] += go * re
            obj[1, i, j] += go * im
