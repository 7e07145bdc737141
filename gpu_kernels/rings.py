"""Rings of the Fourier plane: which frequency lies in which, their sums, and their noise.

A ring is one frequency pixel wide. What two spectra have in common in a ring is a sum of products,
so it carries noise; a window makes neighbouring frequencies repeat each other, so there are fewer
independent products than frequencies, and their number is counted here and not assumed.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import cuda, float64, njit

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host

THREADS_PER_BLOCK = 64
REACH = 2
"""Frequency pixels over which a Hann window ties the noise of two frequencies together."""


@dataclass(frozen=True)
class Rings:
    """Rings of a Fourier plane."""

    frequency: np.ndarray
    """(rings,) float64: middle of each ring [1/length of a pixel]."""
    index: np.ndarray
    """(rows, columns) int32: ring of each frequency, −1 beyond the last ring."""
    pixels: np.ndarray
    """(rings,) int64: frequencies in each ring, of the whole plane."""


def rings_of(shape: tuple[int, int], pixel: tuple[float, float], half_plane: bool) -> Rings:
    """Sort the frequencies of an image into rings up to the Nyquist frequency.

    Parameters
    ----------
    shape : (rows, columns)
        Of the image.
    pixel : (row, column)
        Size of a pixel.
    half_plane : bool
        Whether ``index`` is that of ``rfft2`` or that of ``fft2``.

    Returns
    -------
    Rings
        One frequency pixel wide, that of the axis where it is greater; the last ring ends at the
        Nyquist frequency of the coarser axis, beyond which no ring is whole.
    """
    q_y, q_x = (np.fft.fftfreq(n, d) for n, d in zip(shape, pixel, strict=True))
    if half_plane:
        q_x = np.fft.rfftfreq(shape[1], pixel[1])
    width = max(1 / (n * d) for n, d in zip(shape, pixel, strict=True))
    nyquist = 0.5 / max(pixel)
    q = np.hypot(q_y[:, None], q_x)
    count = int(nyquist / width + 1e-9) + 1
    index = np.floor(q / width + 0.5).astype(np.int32)
    index[(index >= count) | (q > nyquist * (1 + 1e-9))] = -1
    twice = conjugates(shape, half_plane)
    inside = index >= 0
    pixels = np.bincount(index[inside], np.broadcast_to(twice, index.shape)[inside], count)
    return Rings(np.arange(count) * width, index, pixels.astype(np.int64))


def conjugates(shape: tuple[int, int], half_plane: bool) -> np.ndarray:
    """(columns,) int64: how many frequencies of the whole plane each column stands for."""
    if not half_plane:
        return np.ones(shape[1], np.int64)
    twice = np.full(shape[1] // 2 + 1, 2, np.int64)
    twice[0] = 1
    if shape[1] % 2 == 0:
        twice[-1] = 1
    return twice


def ring_sums(first: Array, second: Array, rings: Rings, columns: int) -> np.ndarray:
    """Sum over each ring what two spectra have in common, how unevenly, and the power of each.

    With z(q) = F₁(q)F₂*(q), what they have in common is Σy of y(q) = (z(q) + z*(−q))/2, the
    transform of the real part of the images' cross-correlation; of real images y is z.

    Parameters
    ----------
    first, second : (rows, columns or columns // 2 + 1) complex128
        Spectra of ``fft2`` or of ``rfft2``, as ``rings`` is.
    rings : Rings
        Of their shape.
    columns : int
        Of the image.

    Returns
    -------
    (4, rings) float64
        Re Σ F₁F₂*, Σ|F₁|², Σ|F₂|² and Σ|y|² over the whole plane, on the host.
    """
    half_plane = rings.index.shape[1] != columns
    twice = conjugates((rings.index.shape[0], columns), half_plane).astype(np.float64)
    sums = np.zeros((4, rings.frequency.size))
    if not on_gpu(first):
        _sums_cpu(first, second, rings.index, twice, half_plane, sums)
        return sums
    flat = rings.index.ravel()
    order = np.argsort(flat, kind="stable").astype(np.int64)
    starts = np.searchsorted(flat[order], np.arange(rings.frequency.size + 1))
    found = device_zeros(sums.shape, np.float64)
    _sums_kernel[rings.frequency.size, THREADS_PER_BLOCK](
        first, second, to_device(order), to_device(starts), to_device(twice), half_plane, found
    )
    return to_host(found)


@lru_cache(maxsize=16)
def shared_noise(shape: tuple[int, int], pixel: tuple[float, float], windowed: bool) -> np.ndarray:
    """How strongly noise is shared within a ring and between neighbouring rings.

    White noise behind a window w has E[F(q)F*(q′)] ∝ R(q − q′), the transform of w². The sum of
    products of two independent spectra over rings i and j has the covariance Σ|R(q − q′)|², q in i
    and q′ in j; for Hann's window R is 1, 2/3 and 1/6 at distances 0, 1 and 2 along each axis.

    Parameters
    ----------
    shape, pixel
        As in ``rings_of``.
    windowed : bool
        Hann's window or none.

    Returns
    -------
    (rings, 3) float64
        Σ|R|² of a ring with itself, the next and the one after that.
    """
    rings = rings_of(shape, pixel, half_plane=False)
    factor = np.array([1.0, 4 / 9, 1 / 36]) if windowed else np.array([1.0, 0.0, 0.0])
    shared = np.zeros((rings.frequency.size, 3))
    _shared_cpu(rings.index, factor, shared)
    return shared


@njit(nogil=True, cache=True)
def _sums_cpu(first, second, index, twice, half_plane, sums):
    rows, cols = index.shape
    for row in range(rows):
        for col in range(cols):
            ring = index[row, col]
            if ring < 0:
                continue
            a, b, w = first[row, col], second[row, col], twice[col]
            real, imag = a.real * b.real + a.imag * b.imag, a.imag * b.real - a.real * b.imag
            sums[0, ring] += w * real
            sums[1, ring] += w * (a.real * a.real + a.imag * a.imag)
            sums[2, ring] += w * (b.real * b.real + b.imag * b.imag)
            if not half_plane:
                other_row, other_col = (rows - row) % rows, (cols - col) % cols
                c, d = first[other_row, other_col], second[other_row, other_col]
                real = 0.5 * (real + c.real * d.real + c.imag * d.imag)
                imag = 0.5 * (imag - c.imag * d.real + c.real * d.imag)
            sums[3, ring] += w * (real * real + imag * imag)


@cuda.jit
def _sums_kernel(first, second, order, starts, twice, half_plane, sums):
    # One block a ring, and a tree over its threads: no atomics, so the sums are reproducible.
    parts = cuda.shared.array((4, THREADS_PER_BLOCK), float64)
    ring, thread = cuda.blockIdx.x, cuda.threadIdx.x
    common, power_first, power_second, squares = 0.0, 0.0, 0.0, 0.0
    rows, cols = first.shape
    for at in range(starts[ring] + thread, starts[ring + 1], THREADS_PER_BLOCK):
        row, col = order[at] // cols, order[at] % cols
        a, b, w = first[row, col], second[row, col], twice[col]
        real, imag = a.real * b.real + a.imag * b.imag, a.imag * b.real - a.real * b.imag
        common += w * real
        power_first += w * (a.real * a.real + a.imag * a.imag)
        power_second += w * (b.real * b.real + b.imag * b.imag)
        if not half_plane:
            other_row, other_col = (rows - row) % rows, (cols - col) % cols
            c, d = first[other_row, other_col], second[other_row, other_col]
            real = 0.5 * (real + c.real * d.real + c.imag * d.imag)
            imag = 0.5 * (imag - c.imag * d.real + c.real * d.imag)
        squares += w * (real * real + imag * imag)
    parts[0, thread], parts[1, thread] = common, power_first
    parts[2, thread], parts[3, thread] = power_second, squares
    stride = THREADS_PER_BLOCK // 2
    while stride > 0:
        cuda.syncthreads()
        if thread < stride:
            for kind in range(4):
                parts[kind, thread] += parts[kind, thread + stride]
        stride //= 2
    if thread == 0:
        for kind in range(4):
            sums[kind, ring] = parts[kind, 0]


@njit(nogil=True, cache=True)
def _shared_cpu(index, factor, shared):
    # On the host alone: it depends on the shape of the image and is kept between calls.
    rows, cols = index.shape
    for row in range(rows):
        for col in range(cols):
            ring = index[row, col]
            if ring < 0:
                continue
            for down in range(-REACH, REACH + 1):
                for right in range(-REACH, REACH + 1):
                    other = index[(row + down) % rows, (col + right) % cols]
                    if 0 <= other - ring < 3 and other >= 0:
                        shared[ring, other - ring] += factor[abs(down)] * factor[abs(right)]
