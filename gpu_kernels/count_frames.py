"""Electrons in raw camera frames: pixels that stand out of the noise and above their neighbours.

An electron leaves its charge in a few neighbouring pixels; the brightest of them is taken as its
place. It stands out where that pixel alone does, or where the four pixels of a block of 2 x 2 do
together: charge that is shared by several pixels may rise above the noise in none of them, but
their sum holds all of it under twice the noise. Two electrons that enter two pixels apart often
have no gap between them: the second is a shoulder of the first, too bright for its charge's rim.

Which raw value of a pixel may be an electron's follows from its dark level once for all frames, so
that the many dark pixels cost one comparison of whole numbers each.
"""

from typing import NamedTuple

import numpy as np
from numba import cuda, njit

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host

THREADS_PER_BLOCK = 128
RAW_VALUES = 1 << 16
SHOULDER = 0.5
"""Part of a brighter neighbour that a second electron beside it has at least; a single electron's
charge falls off faster where a camera spreads it by 0.7 pixels (standard deviation) or less."""


class Levels(NamedTuple):
    """What the raw values of each pixel mean; arrays are (rows, cols)."""

    lowest: Array
    """uint16: the smallest raw value that may be an electron."""
    highest: Array
    """uint16: the largest; above it the pixel was hit by an X-ray. Below ``lowest``: no value."""
    dark: Array
    """float32: raw value without any electron."""
    factor: Array
    """float32: one over the gain, which makes neighbours comparable."""
    background: np.float32
    """A pixel so far above its dark level stands out alone."""
    block: np.float32
    """Four pixels of a square that are so far above theirs together stand out."""
    shoulder: np.float32
    """Part of a brighter neighbour that a second electron beside it has at least."""


def levels_of(
    dark: np.ndarray,
    gain: np.ndarray,
    background: float,
    xray: float,
    block: float = np.inf,
    pedestal: float = 0.0,
    shoulder: float = SHOULDER,
) -> Levels:
    """Raw values between which a pixel may hold an electron.

    Thresholds are of ``raw − dark``, in which the noise of the read-out is the same everywhere;
    over the gain, it would be larger in pixels of small gain.

    Parameters
    ----------
    dark : (rows, cols)
        Raw value without any electron.
    gain : (rows, cols)
        Above 0 and finite.
    background, xray : float
        Above the one a pixel stands out of the noise, from the other on it was hit by an X-ray.
    block : float
        Above it the sum of four pixels in a square stands out of its noise. The brightest of the
        four must have a third of it at least, as all but the weakest electrons do, and few pixels
        without one. Infinite: a pixel must stand out alone.
    pedestal : float
        Mean of ``raw − dark`` where nothing hits; it is no charge, and not divided by the gain.
    shoulder : float
        Part of a brighter neighbour that a second electron beside it has at least. Infinite: only
        peaks are electrons.

    Returns
    -------
    Levels
        On the host.

    Raises
    ------
    ValueError
        If the shapes differ, or a dark level or gain is not what it must be.
    """
    dark, gain = np.array(dark, np.float32), np.asarray(gain, np.float32)
    if dark.shape != gain.shape or dark.ndim != 2:
        raise ValueError(f"a dark frame of {dark.shape} and a gain of {gain.shape} do not fit")
    if not (np.isfinite(dark).all() and np.isfinite(gain).all() and (gain > 0).all()):
        raise ValueError("dark levels must be finite, gains finite and above 0")
    dark += np.float32(pedestal)
    background, block, xray = background - pedestal, block - 4 * pedestal, xray - pedestal
    above = np.clip(np.floor(dark.astype(float) + min(background, block / 3)) + 1, 0, RAW_VALUES)
    beyond = np.clip(np.ceil(dark.astype(float) + xray), 0, RAW_VALUES)
    none = (above >= beyond) | (above == RAW_VALUES)
    lowest = np.where(none, RAW_VALUES - 1, above).astype(np.uint16)
    highest = np.where(none, 0, beyond - 1).astype(np.uint16)
    limits = (np.float32(limit) for limit in (background, block, shoulder))
    return Levels(lowest, highest, dark, 1 / gain, *limits)


def count_frames(frames: Array, levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """Find the electrons of raw frames.

    A pixel is an electron where its raw value lies within its levels, it stands out of the noise,
    alone or in one of the four squares of 2 x 2 pixels that it belongs to, and its value over its
    gain is above those of its (up to eight) neighbours: a peak. Of neighbours with the same value
    the first in the order of rows is the brighter, so that charge shared evenly by two pixels is
    one electron, not none. A pixel hit by an X-ray is none, and keeps its neighbours from being
    one.

    A pixel that is no peak is an electron as well where it stands out alone and none of its
    brighter neighbours is one by itself: each belongs to the charge of a peak beside it, and has
    no more than twice the pixel's value.

    Parameters
    ----------
    frames : (frames, rows, cols) uint16
        Raw values; contiguous.
    levels : Levels
        Of the same rows and columns; its arrays live where ``frames`` live.

    Returns
    -------
    indptr : (frames + 1,) int64
        Where each frame's electrons begin, on the host.
    indices : (electrons,) uint32
        ``row * cols + col``, ascending within a frame, on the host.
    """
    if on_gpu(frames):
        return _count_gpu(frames, levels)
    return _count_cpu(frames, *levels)


def _rule(compiled):
    """The rule of an electron, compiled for one side or the other."""

    @compiled
    def height(frame, dark, factor, row, col):
        return (np.float32(frame[row, col]) - dark[row, col]) * factor[row, col]

    @compiled
    def brighter(one, y, x, other, row, col):
        # The value at (y, x) than that at (row, col); of equal ones, the first in the frame.
        return one > other or (one == other and (y < row or (y == row and x < col)))

    @compiled
    def peak(frame, dark, factor, row, col):
        value = height(frame, dark, factor, row, col)
        for y in range(max(row - 1, 0), min(row + 2, frame.shape[0])):
            for x in range(max(col - 1, 0), min(col + 2, frame.shape[1])):
                if brighter(height(frame, dark, factor, y, x), y, x, value, row, col):
                    return False
        return True

    @compiled
    def beside_a_peak(frame, dark, factor, row, col):
        value = height(frame, dark, factor, row, col)
        for y in range(max(row - 1, 0), min(row + 2, frame.shape[0])):
            for x in range(max(col - 1, 0), min(col + 2, frame.shape[1])):
                other = height(frame, dark, factor, y, x)
                if brighter(other, y, x, value, row, col) and peak(frame, dark, factor, y, x):
                    return True
        return False

    @compiled
    def shoulder(frame, dark, factor, part, row, col):
        value = height(frame, dark, factor, row, col)
        for y in range(max(row - 1, 0), min(row + 2, frame.shape[0])):
            for x in range(max(col - 1, 0), min(col + 2, frame.shape[1])):
                other = height(frame, dark, factor, y, x)
                if brighter(other, y, x, value, row, col):
                    if value < part * other or peak(frame, dark, factor, y, x):
                        return False
                    if not beside_a_peak(frame, dark, factor, y, x):
                        return False
        return True

    @compiled
    def block_stands_out(frame, dark, block, row, col):
        for top in range(max(row - 1, 0), min(row + 1, frame.shape[0] - 1)):
            for left in range(max(col - 1, 0), min(col + 1, frame.shape[1] - 1)):
                total = np.float32(0)
                for y in range(top, top + 2):
                    for x in range(left, left + 2):
                        total += np.float32(frame[y, x]) - dark[y, x]
                if total > block:
                    return True
        return False

    @compiled
    def electron(frame, dark, factor, background, block, part, row, col):
        alone = np.float32(frame[row, col]) - dark[row, col] > background
        if peak(frame, dark, factor, row, col):
            return alone or block_stands_out(frame, dark, block, row, col)
        return alone and shoulder(frame, dark, factor, part, row, col)

    return electron


_electron_cpu = _rule(njit(nogil=True))
_electron_gpu = _rule(cuda.jit(device=True))


@njit(nogil=True, cache=True)
def _count_cpu(frames, lowest, highest, dark, factor, background, block, part):
    # Bright pixels are few: they are marked 16 and more at a time, and found by words of 8 marks.
    count, _, cols = frames.shape
    limits, most = lowest.ravel(), highest.ravel()
    pixels = limits.size
    bright = np.zeros(-(-pixels // 8) * 8, np.uint8)
    words = bright.view(np.uint64)
    indptr, indices, found = np.zeros(count + 1, np.int64), np.empty(4096, np.uint32), 0
    for n in range(count):
        frame = frames[n]
        raw = frame.ravel()
        for pixel in range(pixels):
            bright[pixel] = raw[pixel] >= limits[pixel]
        for word in range(words.size):
            if words[word] == 0:
                continue
            if found + 8 > indices.size:
                grown = np.empty(2 * indices.size, np.uint32)
                grown[:found] = indices[:found]
                indices = grown
            for pixel in range(8 * word, 8 * word + 8):
                if bright[pixel] != 0 and raw[pixel] <= most[pixel]:
                    row = pixel // cols
                    col = pixel - row * cols
                    if _electron_cpu(frame, dark, factor, background, block, part, row, col):
                        indices[found] = pixel
                        found += 1
        indptr[n + 1] = found
    return indptr, indices[:found].copy()


def _count_gpu(frames, levels):
    count, rows, _ = frames.shape
    blocks = -(-count * rows // THREADS_PER_BLOCK)
    in_row = device_zeros(count * rows, np.int64)
    _find[blocks, THREADS_PER_BLOCK](frames, *levels, in_row, in_row, False)
    ends = np.cumsum(to_host(in_row))
    begins = to_device(np.concatenate([[0], ends[:-1]]))
    indices = device_zeros(max(1, int(ends[-1])), np.uint32)
    _find[blocks, THREADS_PER_BLOCK](frames, *levels, begins, indices, True)
    indptr = np.concatenate([[0], ends[rows - 1 :: rows]])
    return indptr, to_host(indices)[: int(ends[-1])]


@cuda.jit
def _find(frames, lowest, highest, dark, factor, background, block, part, at, out, writing):
    # One thread a detector row, first to count and then to write: the events come out in order
    # without atomics, and the same on every run.
    row = cuda.grid(1)
    count, rows, cols = frames.shape
    if row < count * rows:
        n, y, found = row // rows, row % rows, 0
        for x in range(cols):
            raw = frames[n, y, x]
            if lowest[y, x] <= raw <= highest[y, x] and _electron_gpu(
                frames[n], dark, factor, background, block, part, y, x
            ):
                if writing:
                    out[at[row] + found] = y * cols + x
                found += 1
        if not writing:
            out[row] = found
