"""What ePIE does between the transforms on a CUDA device; see ``epie_gpu``."""

from math import pi, sqrt

import numpy as np
from numba import cuda

from gpu_kernels.counted_root import counted_root_gpu, root_gain_gpu


@cuda.jit(device=True)
def _turn(k, fraction, side):
    # −2π k f / side with k from −side / 2.
    frequency = k - side if 2 * k >= side else k
    return -2 * pi * frequency * fraction / side


@cuda.jit(device=True)
def _place(at, side):
    # Of a thread's pixel: its pattern, its row and its column.
    return at // side**2, at // side % side, at % side


@cuda.jit(device=True)
def _stretch(number, stretches, patterns):
    # First pattern of one of some stretches, and the one after its last.
    length = (patterns + stretches - 1) // stretches
    return number * length, min((number + 1) * length, patterns)


@cuda.jit
def ramp_kernel(fractions, ramps):
    """Fill the phase ramps of each pattern, (patterns, 2, side) complex64."""
    # e^(−2πi k f / n) along each axis of each pattern: of sines in double precision there would be
    # side / 2 times as many if every pixel had its own.
    at = cuda.grid(1)
    side = ramps.shape[2]
    if at < ramps.size:
        p, axis, k = at // (2 * side), at // side % 2, at % side
        angle = _turn(k, fractions[p, axis], side)
        ramps[p, axis, k] = complex(np.cos(angle), np.sin(angle))


@cuda.jit
def shift_kernel(spectrum, ramps, axis, out):
    """Shift the probe's transform to each pattern's place, or take its derivative by that."""
    at = cuda.grid(1)
    side = spectrum.shape[0]
    if at < out.size:
        p, k, j = _place(at, side)
        value = spectrum[k, j] * (ramps[p, 0, k] * ramps[p, 1, j])
        if axis >= 0:  # the derivative by the position; the highest frequency has no sign
            along = k if axis == 0 else j
            value *= complex(0.0, 0.0 if 2 * along == side else _turn(along, 1.0, side))
        out[p, k, j] = value


@cuda.jit
def exit_kernel(probes, obj, corners, out):
    """Multiply each probe by its window of the object."""
    at = cuda.grid(1)
    side = probes.shape[1]
    if at < probes.size:
        p, i, j = _place(at, side)
        out[p, i, j] = probes[p, i, j] * obj[corners[p, 0] + i, corners[p, 1] + j]


@cuda.jit
def replace_kernel(waves, patterns, chosen, weight, doubt, columns):
    """Turn waves into what puts their amplitudes right; sum the squared residuals."""
    # One thread a column: neighbours read neighbours, and each sums its own residual.
    at = cuda.grid(1)
    side = waves.shape[1]
    if at < columns.size:
        p, j = at // side, at % side
        total = 0.0
        for k in range(side):
            wave = waves[p, k, j]
            model = np.float32(wave.real * wave.real + wave.imag * wave.imag)
            root, slope, variance = counted_root_gpu(model)
            rest = (sqrt(np.float32(patterns[chosen[p], k, j])) - root) * weight[k, j]
            total += rest * rest
            waves[p, k, j] = wave * (root_gain_gpu(slope, variance, doubt) * rest)
        columns[p, j] = total


@cuda.jit
def gather_kernel(probes, waves, corners, first, last, numerator, denominator):
    """Add P*Δψ and |P|² of a batch to the sums of each pixel of the object."""
    # One thread a pixel of the object; the batch is sorted by its windows' first row.
    at = cuda.grid(1)
    side, width = probes.shape[1], numerator.shape[1]
    if at < numerator.size:
        y, x = at // width, at % width
        up, down = numerator[y, x], denominator[y, x]
        for p in range(first[y], last[y]):
            j = x - corners[p, 1]
            if 0 <= j < side:
                probe = probes[p, y - corners[p, 0], j]
                up += probe.conjugate() * waves[p, y - corners[p, 0], j]
                down += np.float32(probe.real * probe.real + probe.imag * probe.imag)
        numerator[y, x], denominator[y, x] = up, down


@cuda.jit
def apply_kernel(obj, velocity, numerator, denominator, step, momentum, part, floor):
    """Change the object by the sums of a batch, and by what momentum keeps."""
    at = cuda.grid(1)
    width = obj.shape[1]
    if at < obj.size:
        y, x = at // width, at % width
        if denominator[y, x] > 0:  # what no window of the batch covers stays as it is
            scale = step / (part * denominator[y, x] + floor)
            change = momentum * velocity[y, x] + scale * numerator[y, x]
            velocity[y, x] = change
            obj[y, x] += change


@cuda.jit
def conjugate_kernel(waves, obj, corners):
    """Multiply each difference by O* of its window."""
    at = cuda.grid(1)
    side = waves.shape[1]
    if at < waves.size:
        p, i, j = _place(at, side)
        waves[p, i, j] *= obj[corners[p, 0] + i, corners[p, 1] + j].conjugate()


@cuda.jit
def gather_probe_kernel(waves, ramps, sums):
    """Add up what stretches of patterns say of the probe's transform."""
    # One thread a pixel of a stretch of patterns: the pixels alone would leave most of it idle.
    at = cuda.grid(1)
    side = waves.shape[1]
    if at < sums.size:
        stretch, k, j = _place(at, side)
        first, last = _stretch(stretch, sums.shape[0], waves.shape[0])
        total = 0j
        for p in range(first, last):
            total += waves[p, k, j] * (ramps[p, 0, k] * ramps[p, 1, j]).conjugate()
        sums[stretch, k, j] = total


@cuda.jit
def add_up_kernel(sums, change):
    """Add the sums of the stretches to the probe's change, in their order."""
    at = cuda.grid(1)
    side = change.shape[1]
    if at < change.size:
        k, j = at // side, at % side
        total = 0j
        for stretch in range(sums.shape[0]):
            total += sums[stretch, k, j]
        change[k, j] += total


@cuda.jit
def add_kernel(total, change, factor):
    """Add a multiple of a change."""
    at = cuda.grid(1)
    side = total.shape[1]
    if at < total.size:
        total[at // side, at % side] += factor * change[at // side, at % side]


@cuda.jit
def total_kernel(patterns, chosen, sums):
    """Add up the counts of stretches of patterns."""
    at = cuda.grid(1)
    side = sums.shape[1]
    if at < sums.size:
        stretch, k, j = _place(at, side)
        first, last = _stretch(stretch, sums.shape[0], chosen.size)
        total = 0.0
        for c in range(first, last):
            total += patterns[chosen[c], k, j]
        sums[stretch, k, j] = total


@cuda.jit
def step_kernel(waves, moved_y, moved_x, patterns, chosen, weight, sums):
    """Sums of one column of one pattern: squares of its slopes, and with the residual."""
    at = cuda.grid(1)
    side = waves.shape[1]
    if at < waves.shape[0] * side:
        p, j = at // side, at % side
        yy = yx = xx = y = x = 0.0
        for k in range(side):
            wave, down, right = waves[p, k, j], moved_y[p, k, j], moved_x[p, k, j]
            root, slope, _ = counted_root_gpu(wave.real * wave.real + wave.imag * wave.imag)
            along = 2 * slope * weight[k, j]
            slope_y = (wave.real * down.real + wave.imag * down.imag) * along
            slope_x = (wave.real * right.real + wave.imag * right.imag) * along
            rest = sqrt(np.float64(patterns[chosen[p], k, j])) - root
            yy, yx, xx = yy + slope_y**2, yx + slope_y * slope_x, xx + slope_x**2
            y, x = y + slope_y * rest, x + slope_x * rest
        sums[p, j, 0], sums[p, j, 1], sums[p, j, 2] = yy, yx, xx
        sums[p, j, 3], sums[p, j, 4] = y, x
