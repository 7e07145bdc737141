"""Fourier transforms over the scan, on either side; forward is e^(−2πi Q·R), as in NumPy.

Counts are real, so on the CPU the images of two detector pixels travel through one complex
transform, as its real and imaginary part, in place: that costs no memory beyond the pair, and the
same time as one transform of real numbers each. Frequencies along x beyond those that are wanted
are dropped after the pass along x.
"""

from types import ModuleType
from typing import Any

import numpy as np
import scipy.fft
from numba import cuda, njit

from gpu_kernels.backend import Array, as_library, beside, cupy, device_empty, on_gpu

POSITIONS_PER_CALL = 131_072
"""Scan positions that go through one call of the library, so that a pass stays in the cache."""


THREADS_PER_BLOCK, NUMBERS_A_THREAD = 256, 8
"""Of the kernel that widens counts."""


def libraries(array: Array) -> tuple[ModuleType, Any]:
    """NumPy and SciPy's transforms, or CuPy's, for where an array lives."""
    if cupy is not None and on_gpu(array):
        import cupyx.scipy.fft

        return cupy, cupyx.scipy.fft
    return np, scipy.fft


def scan_frequencies(
    scan_shape: tuple[int, int], scan_step: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Spatial frequencies of the half plane.

    Returns
    -------
    q_y : (scan_y,) float64
    q_x : (scan_x // 2 + 1,) float64
        [1/Å].
    """
    return np.fft.fftfreq(scan_shape[0], scan_step[0]), np.fft.rfftfreq(scan_shape[1], scan_step[1])


def scan_spectrum(block: Array, columns: int, dtype: Any = np.float32) -> Array:
    """Transform counts over the scan, keeping the half plane and the frequencies that matter.

    Parameters
    ----------
    block : (pixels, scan_y, scan_x)
        Real values: counts of some detector pixels.
    columns : int
        Frequencies Q_x = 0, 1, … along x to keep, at most scan_x // 2 + 1.
    dtype : float32 or float64
        Precision.

    Returns
    -------
    (pixels, scan_y, columns) complex
        G(k, Q). It lives where ``block`` lives.
    """
    return (
        half_plane(block, dtype)[..., :columns]
        if on_gpu(block)
        else ScanTransform(block.shape[1:], columns, dtype)(block)
    )


def half_plane(block: Array, dtype: Any = np.float32, queue: Any = 0, plan: Any = None) -> Array:
    """Transform (pixels, scan_y, scan_x) counts on a device; see ``scan_spectrum``.

    All frequencies of the half plane come out, (pixels, scan_y, scan_x // 2 + 1). ``queue`` is the
    stream of numba that goes with CuPy's current one, ``plan`` from ``plan_of``.

    One plan for both axes, which CuPy keeps with its workspace from block to block: to drop the
    frequencies that nobody wants between the two would cost a copy of those that are wanted.
    """
    _, fft = libraries(as_library(block))
    return beside(fft.rfft2(as_library(widened(block, dtype, queue)), plan=plan), block)


def plan_of(array: Array, kind: str, shape: tuple[int, int] | None = None) -> Any:
    """The library's plan for a transform over the last two axes; None on the host.

    Parameters
    ----------
    array : array
        What is transformed, or another of its shape and type.
    kind : str
        ``R2C`` or ``C2R``.
    shape : (scan_y, scan_x), optional
        Of the result of ``C2R``.

    Returns
    -------
    plan
        Who records a transform holds on to it: the library keeps those that were used last.
    """
    if cupy is None or not isinstance(array, cupy.ndarray):
        return None
    from cupyx.scipy.fftpack import get_fft_plan

    return get_fft_plan(array, shape, (array.ndim - 2, array.ndim - 1), kind)


def widened(block: Array, dtype: Any, queue: Any = 0) -> Array:
    """Numbers in another type, on a device; a block that has it already is given back.

    Each thread has several numbers in flight: of counts of one byte, a single one, as a library
    has it, leaves two thirds of the memory's speed unused.
    """
    if block.dtype == dtype:
        return block
    flat, found = block.reshape(-1), device_empty(block.shape, dtype)
    blocks = -(-flat.size // (THREADS_PER_BLOCK * NUMBERS_A_THREAD))
    _widen_kernel[blocks, THREADS_PER_BLOCK, queue](flat, found.reshape(-1))
    return found


def parts_of(spectrum: Array) -> Array:
    """(pixels, scan_y, columns, 2): a view of the real and imaginary part of each number."""
    real = np.float64 if spectrum.dtype == np.complex128 else np.float32
    return spectrum.view(real).reshape(*spectrum.shape, 2)


class ScanTransform:
    """The transform of ``scan_spectrum`` for many blocks of one scan, with its own scratch."""

    def __init__(self, scan_shape: tuple[int, ...], columns: int, dtype: Any = np.float32) -> None:
        """Allocate the scratch: one complex number for two pixels at some scan positions."""
        rows, cols = scan_shape
        if not 0 < columns <= cols // 2 + 1:
            raise ValueError(
                f"{columns} columns of a spectrum were asked for; a scan of {cols} positions along "
                f"x has 1 to {cols // 2 + 1}"
            )
        self.columns = columns
        self.complex_type = np.result_type(dtype, np.complex64)
        self._pairs = np.empty(
            (max(1, POSITIONS_PER_CALL // (rows * cols)), rows, cols), dtype=self.complex_type
        )

    def __call__(
        self, block: np.ndarray, pixels: np.ndarray | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Transform a block.

        Parameters
        ----------
        block : (pixels, scan_y, scan_x)
            Real values.
        pixels : (chosen,) int64, optional
            Which pixels of the block to transform; all of them when absent.
        out : (chosen, scan_y, columns) complex, optional
            Where to put the result.

        Returns
        -------
        (chosen, scan_y, columns) complex
            ``out``, or a new array.
        """
        if pixels is None:
            pixels = np.arange(block.shape[0])
        if out is None:
            shape = (pixels.size, block.shape[1], self.columns)
            out = np.empty(shape, dtype=self.complex_type)
        at_once = 2 * self._pairs.shape[0]
        for first in range(0, pixels.size, at_once):
            chosen = pixels[first : first + at_once]
            pairs = self._pairs[: (chosen.size + 1) // 2]
            _pack(block, chosen, pairs)
            self._transform(pairs)
            _split(pairs, out[first : first + at_once])
        return out

    def _transform(self, pairs: np.ndarray) -> None:
        cols, kept = pairs.shape[2], self.columns
        if 2 * kept > cols:
            _in_place(pairs, (1, 2))
            return
        # Frequency −Q of a pair is needed to tell its two pixels apart, so both ends are kept.
        _in_place(pairs, (2,))
        _in_place(pairs[:, :, :kept], (1,))
        if kept > 1:
            _in_place(pairs[:, :, cols - kept + 1 :], (1,))


def _in_place(array: np.ndarray, axes: tuple[int, ...]) -> None:
    found = scipy.fft.fftn(array, axes=axes, overwrite_x=True)
    if not np.may_share_memory(found, array):  # the library may, but need not, work in place
        array[:] = found


@njit(nogil=True, cache=True)
def _pack(block, pixels, pairs):
    # The first pixel of each pair becomes the real part and the second the imaginary part.
    for pair in range(pairs.shape[0]):
        first = block[pixels[2 * pair]]
        alone = 2 * pair + 1 >= pixels.size
        second = block[pixels[2 * pair if alone else 2 * pair + 1]]
        for row in range(pairs.shape[1]):
            a, b, out = first[row], second[row], pairs[pair, row]
            for col in range(out.size):
                out[col] = complex(a[col], b[col])


@njit(nogil=True, cache=True, inline="always")
def _of_pair(z, w, half, second):
    # With z = a + ib: F[a](Q) = (Z(Q) + Z*(−Q)) / 2 and F[b](Q) = (Z(Q) − Z*(−Q)) / 2i.
    if second:
        return complex(half * (z.imag + w.imag), half * (w.real - z.real))
    return complex(half * (z.real + w.real), half * (z.imag - w.imag))


@njit(nogil=True, cache=True)
def _split(pairs, out):
    rows, cols, kept = pairs.shape[1], pairs.shape[2], out.shape[2]
    half = pairs.real.dtype.type(0.5)
    for pixel in range(out.shape[0]):
        second = pixel % 2 == 1
        for row in range(rows):
            plus, minus = pairs[pixel // 2, row], pairs[pixel // 2, (rows - row) % rows]
            out[pixel, row, 0] = _of_pair(plus[0], minus[0], half, second)
            to, here, mirror = out[pixel, row, 1:], plus[1:kept], minus[cols - kept + 1 :]
            last = here.size - 1
            for col in range(here.size):
                to[col] = _of_pair(here[col], mirror[last - col], half, second)


@cuda.jit
def _widen_kernel(values, found):
    # All are read before one is written, so that the reads do not wait for each other.
    step = cuda.blockDim.x
    at = cuda.blockIdx.x * step * NUMBERS_A_THREAD + cuda.threadIdx.x
    if at + 7 * step < values.size:
        a, b, c, d = values[at], values[at + step], values[at + 2 * step], values[at + 3 * step]
        at_e = at + 4 * step
        e, f, g, h = (
            values[at_e], values[at_e + step], values[at_e + 2 * step], values[at_e + 3 * step]
        )  # fmt: skip
        found[at], found[at + step], found[at + 2 * step], found[at + 3 * step] = a, b, c, d
        found[at_e], found[at_e + step] = e, f
        found[at_e + 2 * step], found[at_e + 3 * step] = g, h
    else:
        while at < values.size:
            found[at] = values[at]
            at += step
