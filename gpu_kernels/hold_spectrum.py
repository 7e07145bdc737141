"""Taking G(k, Q) of a scan into memory, some detector pixels at a time.

Two 16-bit integers a number, with one unit for each frequency of 32 pixels, take half of the memory
of single precision and round by less than 1e-4 of what a pixel shows at that frequency.
"""

import numpy as np
from numba import cuda, njit

from gpu_kernels.backend import Array, on_gpu, to_host
from gpu_kernels.fourier import (
    ScanTransform,
    libraries,
    parts_of,
    scan_frequencies,
    scan_spectrum,
)
from gpu_kernels.ssb_reduce import NOISE_FROM, PIXELS_AT_ONCE
from gpu_kernels.ssb_reduce_kernel import THREADS_PER_BLOCK

LARGEST = 32_767
"""Of a 16-bit integer."""
SAMPLED = 4
"""Every so many pixels are looked at for the strongest frequencies."""
HANN = (-0.25, 0.5, -0.25)
"""A Hann window over the scan, as a sum over neighbours in its transform."""


class Collector:
    """Fills the memory for G, group of pixels after group."""

    def __init__(
        self,
        pixels: int,
        scan_shape: tuple[int, int],
        scan_step: tuple[float, float],
        highest: float,
        integers: bool,
    ) -> None:
        """Lay out what ``HeldTrotters.of`` is asked for."""
        q_y, q_x = scan_frequencies(scan_shape, scan_step)
        self.pixels, self.scan_shape, self.scan_step = pixels, scan_shape, scan_step
        self.rows = np.flatnonzero(np.abs(q_y) < highest)
        self.columns = int(np.count_nonzero(q_x < highest))
        # Beyond the aperture that is asked for there may be none; where there is, it is noise.
        self.beyond = np.hypot(q_y[:, None], q_x[: self.columns]) > NOISE_FROM / 2 * highest
        self.integers, self.filled = integers, 0
        self.mean, self.noise = np.zeros(pixels), np.zeros(pixels)

    def add(self, block: Array) -> None:
        """Transform the next pixels and keep them.

        Parameters
        ----------
        block : (some pixels, scan_y, scan_x)
            Counts.

        Raises
        ------
        ValueError
            If there are too many pixels, or the scan has another shape.
        """
        if len(block) > self.pixels - self.filled or tuple(block.shape[1:]) != self.scan_shape:
            raise ValueError(
                f"a block of {tuple(block.shape)} values was given; {self.pixels - self.filled} of "
                f"{self.pixels} pixels are still to come, each with a scan of {self.scan_shape}"
            )
        if not self.filled:
            self._allocate(block)
        taken = 0
        while taken < len(block):
            at = self.filled % PIXELS_AT_ONCE
            piece = block[taken : taken + PIXELS_AT_ONCE - at]
            self.mean[self.filled : self.filled + len(piece)] = to_host(piece.mean(axis=(1, 2)))
            spectrum = self.group[at : at + len(piece)]
            if on_gpu(block):
                spectrum[:] = scan_spectrum(piece, self.columns)
            else:
                self.transform(piece, out=spectrum)
            noise = (abs(spectrum[:, self.beyond_there]) ** 2).sum(axis=1)
            self.noise[self.filled : self.filled + len(piece)] = to_host(noise)
            taken, self.filled = taken + len(piece), self.filled + len(piece)
            if self.filled % PIXELS_AT_ONCE == 0 or self.filled == self.pixels:
                self._keep()

    def _allocate(self, like: Array) -> None:
        xp, _ = libraries(like)
        held = (self.rows.size, self.columns)
        self.group = xp.zeros((PIXELS_AT_ONCE, self.scan_shape[0], self.columns), np.complex64)
        self.parts = xp.empty((self.pixels, *held, 2), np.int16 if self.integers else np.float32)
        groups = -(-self.pixels // PIXELS_AT_ONCE) if self.integers else 0
        self.scale = xp.zeros((groups, *held), np.float32)
        self.power = xp.zeros((self.scan_shape[0], self.columns))
        self.beyond_there, self.rows_there = xp.asarray(self.beyond), xp.asarray(self.rows)
        if not on_gpu(like):
            self.transform = ScanTransform(self.scan_shape, self.columns)

    def _keep(self) -> None:
        first = (self.filled - 1) // PIXELS_AT_ONCE * PIXELS_AT_ONCE
        group = self.group[: self.filled - first]
        add_faded_power(group[::SAMPLED], self.power)
        parts = self.parts[first : self.filled]
        if self.integers:
            unit = self.scale[first // PIXELS_AT_ONCE]
            to_integers(parts_of(group), self.rows_there, parts, unit)
        else:
            parts[:] = parts_of(group)[:, self.rows_there]

    def check_complete(self) -> None:
        """Refuse to hold fewer pixels than there are.

        Raises
        ------
        ValueError
            With both numbers.
        """
        if self.filled != self.pixels:
            raise ValueError(f"{self.filled} pixels were given, {self.pixels} were promised")


def to_integers(values: Array, rows: Array, parts: Array, scale: Array) -> None:
    """Write the real and imaginary parts of some pixels as integers with one unit a frequency.

    Parameters
    ----------
    values : (pixels, scan_y, columns, 2) float32
        Of all rows.
    rows : (held,) int64
        Which rows to write.
    parts : (pixels, held, columns, 2) int16
        Written.
    scale : (held, columns) float32
        Written: ``parts · scale`` are the values, to half of a unit.
    """
    if on_gpu(values):
        blocks = -(-scale.size // THREADS_PER_BLOCK)
        _to_integers_gpu[blocks, THREADS_PER_BLOCK](values, rows, parts, scale)
    else:
        _to_integers_cpu(values, rows, parts, scale)


@njit(nogil=True, cache=True)
def _to_integers_cpu(values, rows, parts, scale):
    # Row by row over the pixels: what is read twice lies in the cache the second time.
    largest = np.empty(values.shape[2], np.float32)
    for at in range(rows.size):
        largest[:] = 0
        for pixel in range(values.shape[0]):
            line = values[pixel, rows[at]]
            for col in range(largest.size):
                largest[col] = max(largest[col], max(abs(line[col, 0]), abs(line[col, 1])))
        for col in range(largest.size):
            scale[at, col] = largest[col] / np.float32(LARGEST)
            largest[col] = np.float32(LARGEST) / max(largest[col], np.float32(1e-30))
        for pixel in range(values.shape[0]):
            line, out = values[pixel, rows[at]], parts[pixel, at]
            for col in range(largest.size):
                out[col, 0] = np.int16(np.rint(line[col, 0] * largest[col]))
                out[col, 1] = np.int16(np.rint(line[col, 1] * largest[col]))


@cuda.jit
def _to_integers_gpu(values, rows, parts, scale):
    # One thread a frequency: neighbours in a row are read and written together.
    thread = cuda.grid(1)
    at, col = thread // scale.shape[1], thread % scale.shape[1]
    if at >= rows.size:
        return
    row, largest = rows[at], np.float32(0)
    for pixel in range(values.shape[0]):
        largest = max(largest, abs(values[pixel, row, col, 0]), abs(values[pixel, row, col, 1]))
    scale[at, col] = largest / np.float32(LARGEST)
    factor = np.float32(LARGEST) / max(largest, np.float32(1e-30))
    for pixel in range(values.shape[0]):
        for part in range(2):
            turned = values[pixel, row, col, part] * factor
            parts[pixel, at, col, part] = np.int16(round(turned))


def add_faded_power(spectrum: Array, power: Array) -> None:
    """Add Σ_k|G|² of a scan that is multiplied by a Hann window, from G of the bare scan.

    Parameters
    ----------
    spectrum : (pixels, scan_y, columns) complex64
        Of the half plane.
    power : (scan_y, columns) float64
        Added to; the last column is left as it is, for want of a neighbour.
    """
    if on_gpu(spectrum):
        blocks = -(-power.size // THREADS_PER_BLOCK)
        _add_power_gpu[blocks, THREADS_PER_BLOCK](spectrum, power)
    else:
        _add_power_cpu(spectrum, power)


@njit(nogil=True, cache=True, inline="always")
def _faded(g, row, col):
    # ¼ … of the nine around; G(−Q) = G*(Q) continues the half plane to the left.
    rows, total = g.shape[0], 0j
    for dy in range(3):
        y = (row + dy - 1) % rows
        left = g[y, col - 1] if col > 0 else g[(rows - y) % rows, 1].conjugate()
        total += HANN[dy] * (HANN[0] * left + HANN[1] * g[y, col] + HANN[2] * g[y, col + 1])
    return total


@njit(nogil=True, cache=True)
def _add_power_cpu(spectrum, power):
    for pixel in range(spectrum.shape[0]):
        for row in range(power.shape[0]):
            for col in range(power.shape[1] - 1):
                value = _faded(spectrum[pixel], row, col)
                power[row, col] += value.real**2 + value.imag**2


_faded_gpu = cuda.jit(device=True)(_faded.py_func)


@cuda.jit
def _add_power_gpu(spectrum, power):
    # One thread a frequency, over all pixels: no atomics.
    thread = cuda.grid(1)
    row, col = thread // power.shape[1], thread % power.shape[1]
    if row < power.shape[0] and col < power.shape[1] - 1:
        for pixel in range(spectrum.shape[0]):
            value = _faded_gpu(spectrum[pixel], row, col)
            power[row, col] += value.real**2 + value.imag**2
