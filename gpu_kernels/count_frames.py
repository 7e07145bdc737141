"""Electrons in raw camera frames: pixels that stand out of the noise and above their neighbours.

An electron leaves its charge in a few neighbouring pixels; the brightest of them is taken as its
place. Which raw value of a pixel is bright enough follows from its dark level and gain once for
all frames, so that the many dark pixels cost one comparison of whole numbers each.
"""

from typing import NamedTuple

import numpy as np
from numba import cuda, njit

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host

THREADS_PER_BLOCK = 128
RAW_VALUES = 1 << 16


class Levels(NamedTuple):
    """What the raw values of each pixel mean; all (rows, cols)."""

    lowest: Array
    """uint16: the smallest raw value that may be an electron."""
    highest: Array
    """uint16: the largest; above it the pixel was hit by an X-ray. Below ``lowest``: no value."""
    dark: Array
    """float32: raw value without any electron."""
    factor: Array
    """float32: what the difference from it is multiplied by."""


def levels_of(dark: np.ndarray, gain: np.ndarray, background: float, xray: float) -> Levels:
    """Raw values between which a pixel may hold an electron.

    A pixel's value is ``(raw − dark) / gain``, in 32 bits; it must be above ``background`` and
    below ``xray``.

    Parameters
    ----------
    dark : (rows, cols)
        Raw value without any electron.
    gain : (rows, cols)
        Above 0 and finite.
    background, xray : float
        Thresholds of the corrected value.

    Returns
    -------
    Levels
        On the host; the comparison with whole numbers is exactly that of the corrected values.

    Raises
    ------
    ValueError
        If the shapes differ, or a dark level or gain is not what it must be.
    """
    dark, gain = np.asarray(dark, np.float32), np.asarray(gain, np.float32)
    if dark.shape != gain.shape or dark.ndim != 2:
        raise ValueError(f"a dark frame of {dark.shape} and a gain of {gain.shape} do not fit")
    if not (np.isfinite(dark).all() and np.isfinite(gain).all() and (gain > 0).all()):
        raise ValueError("dark levels must be finite, gains finite and above 0")
    factor = 1 / gain
    above = _first_raw(dark, factor, lambda value: value > background)
    beyond = _first_raw(dark, factor, lambda value: value >= xray)
    none = (above >= beyond) | (above == RAW_VALUES)
    lowest = np.where(none, RAW_VALUES - 1, above).astype(np.uint16)
    highest = np.where(none, 0, beyond - 1).astype(np.uint16)
    return Levels(lowest, highest, dark, factor)


def _first_raw(dark, factor, passes):
    """The smallest raw value of each pixel that passes; the corrected value only grows with it."""
    low, high = np.zeros(dark.shape, np.int64), np.full(dark.shape, RAW_VALUES, np.int64)
    for _ in range(17):
        middle = (low + high) // 2
        good = passes((middle.astype(np.float32) - dark) * factor)
        high = np.where(good, middle, high)
        low = np.where(good, low, np.minimum(middle + 1, high))
    return high


def count_frames(frames: Array, levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """Find the electrons of raw frames.

    A pixel is an electron where its raw value lies within its levels and its corrected value is
    above those of its (up to eight) neighbours. Of neighbours with the same value the first in the
    order of rows is taken, so that charge shared evenly by two pixels is one electron, not none.
    A pixel hit by an X-ray is none, and keeps its neighbours from being one.

    Parameters
    ----------
    frames : (frames, rows, cols) uint16
        Raw values; contiguous.
    levels : Levels
        Of the same rows and columns, where ``frames`` live.

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


def _peak(frame, dark, factor, row, col):
    rows, cols = frame.shape
    value = (np.float32(frame[row, col]) - dark[row, col]) * factor[row, col]
    for y in range(max(row - 1, 0), min(row + 2, rows)):
        for x in range(max(col - 1, 0), min(col + 2, cols)):
            other = (np.float32(frame[y, x]) - dark[y, x]) * factor[y, x]
            if other > value:
                return False
            if other == value and (y < row or (y == row and x < col)):
                return False
    return True


_peak_cpu = njit(nogil=True, cache=True, inline="always")(_peak)
_peak_gpu = cuda.jit(device=True)(_peak)


@njit(nogil=True, cache=True)
def _count_cpu(frames, lowest, highest, dark, factor):
    # Bright pixels are few: they are marked 16 and more at a time, and found by words of 8 marks.
    count, _, cols = frames.shape
    limits, most = lowest.ravel(), highest.ravel()
    pixels = limits.size
    bright = np.zeros(-(-pixels // 8) * 8, np.uint8)
    words = bright.view(np.uint64)
    indptr, indices, found = np.zeros(count + 1, np.int64), np.empty(4096, np.uint32), 0
    for n in range(count):
        raw = frames[n].ravel()
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
                    if _peak_cpu(frames[n], dark, factor, row, pixel - row * cols):
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
def _find(frames, lowest, highest, dark, factor, at, out, writing):
    # One thread a detector row, first to count and then to write: the events come out in order
    # without atomics, and the same on every run.
    row = cuda.grid(1)
    count, rows, cols = frames.shape
    if row < count * rows:
        n, y, found = row // rows, row % rows, 0
        for x in range(cols):
            raw = frames[n, y, x]
            electron = lowest[y, x] <= raw <= highest[y, x]
            if electron and _peak_gpu(frames[n], dark, factor, y, x):
                if writing:
                    out[at[row] + found] = y * cols + x
                found += 1
        if not writing:
            out[row] = found
