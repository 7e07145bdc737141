"""Frames as files give them: made regular events, whole, sorted and inside their detector.

These run on the host, where files are read; the later kernels then need not check anything.
"""

import numpy as np
from numba import njit


def regular_events(indptr: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Sort the events of each frame or position, in place, where they are not sorted.

    Parameters
    ----------
    indptr : (positions + 1,) int64
        Where each one's events begin.
    indices : (events,) integer
        Detector pixels; sorted in place. Repeats stay: they are electrons.

    Returns
    -------
    (events,)
        The same array.
    """
    longest = int(np.diff(indptr).max(initial=0))
    _sort_each(indptr, indices, np.empty(longest, indices.dtype))
    return indices


def are_regular(indptr: np.ndarray, indices: np.ndarray, pixels: int) -> bool:
    """Tell in one look whether frames are sorted and on their detector, as nearly all are.

    Parameters
    ----------
    indptr : (frames + 1,) int64
        Where each frame's events begin.
    indices : (events,) integer
        Detector pixels.
    pixels : int
        Pixels of the detector.

    Returns
    -------
    bool
        Whether neither ``regular_events`` nor ``drop_outside`` would change anything.
    """
    return bool(_all_regular(indptr, indices, pixels))


def count_outside(indptr: np.ndarray, indices: np.ndarray, pixels: int) -> np.ndarray:
    """Events of each frame that lie outside the detector.

    Parameters
    ----------
    indptr : (frames + 1,) int64
        Where each frame's events begin.
    indices : (events,) integer
        Detector pixels.
    pixels : int
        Pixels of the detector.

    Returns
    -------
    (frames,) int64
        Zero for a frame that is whole.
    """
    outside = (indices < 0) | (indices >= pixels)
    before = np.concatenate([[0], np.cumsum(outside, dtype=np.int64)])
    return np.diff(before[indptr])


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
    keep = (indices >= 0) & (indices < pixels)
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


def electrons_of_counts(counts: np.ndarray) -> np.ndarray:
    """Sum dense counts over each frame.

    Parameters
    ----------
    counts : (frames, pixels) integer
        Electrons of each pixel; below 2^31.

    Returns
    -------
    (frames,) int64
    """
    electrons = np.empty(len(counts), np.int64)
    _sum_counts(counts, *_words(counts), electrons)
    return electrons


def events_of_counts(counts: np.ndarray, electrons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn dense counts into events: a count of n is n events.

    Parameters
    ----------
    counts : (frames, pixels) integer
        Electrons of each pixel; not negative.
    electrons : (frames,) int64
        From ``electrons_of_counts``; the caller knows by it what memory the events need.

    Returns
    -------
    indptr : (frames + 1,) int64
    indices : (events,) uint32
        Sorted within each frame.
    """
    indptr = np.concatenate([[0], np.cumsum(electrons)])
    indices = np.empty(int(indptr[-1]), np.uint32)
    _fill(counts, *_words(counts), indptr, indices)
    return indptr, indices


def _words(counts: np.ndarray) -> tuple[np.ndarray, int]:
    """The same memory as words of 8 bytes, and the pixels of a word: most pixels are empty."""
    per_word = 8 // counts.itemsize
    if counts.shape[1] % per_word or not counts.flags.c_contiguous:
        return counts, 1
    return counts.view(np.uint64), per_word


@njit(nogil=True, cache=True)
def _sum_counts(counts, words, per_word, electrons):
    for frame in range(counts.shape[0]):
        total = 0
        for word in range(words.shape[1]):
            if words[frame, word] != 0:
                for pixel in range(word * per_word, (word + 1) * per_word):
                    total += np.int64(counts[frame, pixel])
        electrons[frame] = total


@njit(nogil=True, cache=True)
def _fill(counts, words, per_word, indptr, indices):
    for frame in range(counts.shape[0]):
        event = indptr[frame]
        for word in range(words.shape[1]):
            if words[frame, word] != 0:
                for pixel in range(word * per_word, (word + 1) * per_word):
                    for _ in range(counts[frame, pixel]):
                        indices[event] = pixel
                        event += 1


@njit(nogil=True, cache=True)
def _all_regular(indptr, indices, pixels):
    for frame in range(indptr.size - 1):
        events = indices[indptr[frame] : indptr[frame + 1]]
        if _falls(events):
            return False
        # Of sorted events the first and the last are the least and the greatest.
        if events.size and (events[0] < 0 or events[-1] >= pixels):
            return False
    return True


@njit(nogil=True, cache=True)
def _falls(events):
    falls = 0
    for at in range(events.size - 1):  # most are sorted: without a branch, 16 are seen at once
        falls += events[at + 1] < events[at]
    return falls


@njit(nogil=True, cache=True)
def _sort_each(indptr, indices, scratch):
    for frame in range(indptr.size - 1):
        events = indices[indptr[frame] : indptr[frame + 1]]
        if _falls(events):
            _sort_runs(events, scratch)


@njit(nogil=True, cache=True)
def _sort_runs(values, scratch):
    # Natural merge sort: the events of several frames at one position are as many sorted runs,
    # and two runs cost one pass, where a general sort knows nothing of them.
    size, runs = values.size, 2
    while runs > 1:
        begin, runs = 0, 0
        while begin < size:
            middle = _run_end(values, begin, size)
            end = _run_end(values, middle, size)
            _merge(values, begin, middle, end, scratch)
            begin, runs = end, runs + 1
        values[:] = scratch[:size]


@njit(nogil=True, cache=True)
def _merge(values, begin, middle, end, scratch):
    left, right = begin, middle
    for target in range(begin, end):
        if right >= end or (left < middle and values[left] <= values[right]):
            scratch[target] = values[left]
            left += 1
        else:
            scratch[target] = values[right]
            right += 1


@njit(nogil=True, cache=True)
def _run_end(values, begin, end):
    """End of the ascending run that begins here."""
    at = begin + 1
    while at < end and values[at] >= values[at - 1]:
        at += 1
    return min(at, end)
