"""Frames as files give them: made regular events, whole, sorted and inside their detector.

These run on the host, where files are read; the later kernels then need not check anything.
"""

import numpy as np
from numba import njit


def regular_events(
    indptr: np.ndarray, indices: np.ndarray, pixels: int
) -> tuple[np.ndarray, int, int]:
    """Sort each frame's events where they are not sorted, in place, and look for bad ones.

    Parameters
    ----------
    indptr : (frames + 1,) int64
        Where each frame's events begin.
    indices : (events,) integer
        Detector pixels; sorted in place.
    pixels : int
        Pixels of the detector.

    Returns
    -------
    indices : (events,)
        The same array.
    repeats : int
        Events that repeat the index before them in their frame.
    bad : int
        Number of the first event outside the detector in its frame's sorted order, or -1.
    """
    repeats, bad = _regular(indptr, indices, pixels)
    return indices, repeats, bad


def drop_outside(
    indptr: np.ndarray, indices: np.ndarray, pixels: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Drop events outside the detector, and count them.

    Returns
    -------
    indptr, indices : arrays
        What remains.
    dropped : int
        Events that were outside.
    """
    keep = indices < pixels
    before = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
    return before[indptr], indices[keep], int(keep.size - before[-1])


def merge_frames(indptr: np.ndarray, frames_per_position: np.ndarray) -> np.ndarray:
    """Offsets of scan positions from those of their frames, which follow one another.

    Parameters
    ----------
    indptr : (frames + 1,) int64
        Where each frame's events begin.
    frames_per_position : (positions,) int
        How many frames each position has.

    Returns
    -------
    (positions + 1,) int64
        Where each position's events begin.
    """
    return indptr[np.concatenate([[0], np.cumsum(frames_per_position)])]


def events_of_counts(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn dense counts into events: a count of n is n events.

    Parameters
    ----------
    counts : (frames, pixels) integer
        Electrons of each pixel; not negative.

    Returns
    -------
    indptr : (frames + 1,) int64
    indices : (events,) uint32
    """
    sums = np.zeros(len(counts) + 1, np.int64)
    _sum_counts(counts, sums)
    indptr = np.cumsum(sums)
    indices = np.empty(indptr[-1], np.uint32)
    _fill(counts, indptr, indices)
    return indptr, indices


@njit(nogil=True, cache=True)
def _regular(indptr, indices, pixels):
    repeats, bad = 0, -1
    for frame in range(indptr.size - 1):
        first, last = indptr[frame], indptr[frame + 1]
        ordered = True
        for event in range(first + 1, last):
            if indices[event] < indices[event - 1]:
                ordered = False
                break
        if not ordered:
            indices[first:last] = np.sort(indices[first:last])
        for event in range(first + 1, last):
            repeats += indices[event] == indices[event - 1]
        if bad < 0 and last > first and indices[last - 1] >= pixels:
            event = first
            while indices[event] < pixels:
                event += 1
            bad = event
    return repeats, bad


@njit(nogil=True, cache=True)
def _sum_counts(counts, sums):
    for frame in range(counts.shape[0]):
        total = 0
        for pixel in range(counts.shape[1]):
            total += counts[frame, pixel]
        sums[frame + 1] = total


@njit(nogil=True, cache=True)
def _fill(counts, indptr, indices):
    for frame in range(counts.shape[0]):
        event = indptr[frame]
        for pixel in range(counts.shape[1]):
            for _ in range(counts[frame, pixel]):
                indices[event] = pixel
                event += 1
