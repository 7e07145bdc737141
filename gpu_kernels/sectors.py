"""Detector sectors that lost their data: bands of rows that hold no electron where many are due.

A detector that is read out in sectors can lose one of them for a frame. Its electrons are then
missing, not absent: the centre of mass jumps by tens of pixels and nothing else says so.
"""

import numpy as np
from numba import cuda, njit

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_host

THREADS_PER_BLOCK = 128
LOG_FALSE_ALARM = -np.log(1e-10)
"""A sector is called lost where its emptiness has less than this chance: 1e-4 false alarms in a
scan of 10^6 positions."""


def sector_counts(
    indptr: Array,
    indices: Array,
    detector_shape: tuple[int, int],
    sectors: int = 4,
    ascending: bool = False,
) -> np.ndarray:
    """Count the electrons of each scan position in equal bands of detector rows.

    Parameters
    ----------
    indptr : (positions + 1,) int64
        Where each position's events begin.
    indices : (events,) uint16 or uint32
        ``row * cols + col``.
    detector_shape : (rows, cols)
        Of the detector.
    sectors : int
        Number of bands; the last is smaller where the rows do not divide.
    ascending : bool
        That each position's events are known to be sorted, as in a store: less need be looked at.

    Returns
    -------
    (positions, sectors) uint32
        Electrons [e], on the host.
    """
    band = -(-detector_shape[0] // sectors) * detector_shape[1]
    shape = (indptr.size - 1, sectors)
    if on_gpu(indices):
        counts = device_zeros(shape, np.uint32)
        blocks = -(-shape[0] // THREADS_PER_BLOCK)
        _count_kernel[blocks, THREADS_PER_BLOCK](indptr, indices, band, counts)
        return to_host(counts)
    counts = np.zeros(shape, np.uint32)
    count = _count_sorted if ascending else _count_cpu
    count(indptr, indices, band, np.iinfo(indices.dtype).max, counts)
    return counts


@njit(nogil=True, cache=True)
def _count_cpu(indptr, indices, band, highest, counts):
    # Events below each edge, which the compiler compares 16 at a time; a division an event would
    # cost more than all else.
    for p in range(indptr.size - 1):
        events, before = indices[indptr[p] : indptr[p + 1]], 0
        for sector in range(counts.shape[1]):
            edge, below = (sector + 1) * band, events.size
            if sector < counts.shape[1] - 1 and edge <= highest:
                limit, below = indices.dtype.type(edge), 0
                for event in range(events.size):
                    below += events[event] < limit
            counts[p, sector] = below - before
            before = below


@njit(nogil=True, cache=True)
def _count_sorted(indptr, indices, band, highest, counts):
    for p in range(indptr.size - 1):
        before = indptr[p]
        for sector in range(counts.shape[1]):
            edge, below = (sector + 1) * band, indptr[p + 1]
            if sector < counts.shape[1] - 1 and edge <= highest:
                limit, low = indices.dtype.type(edge), before
                while low < below:  # the first event that is not below the edge, by bisection
                    middle = (low + below) // 2
                    if indices[middle] < limit:
                        low = middle + 1
                    else:
                        below = middle
            counts[p, sector] = below - before
            before = below


@cuda.jit
def _count_kernel(indptr, indices, band, counts):
    # One thread a position, as in the other reductions: no two write to the same count.
    p = cuda.grid(1)
    if p < indptr.size - 1:
        for event in range(indptr[p], indptr[p + 1]):
            counts[p, min(indices[event] // band, counts.shape[1] - 1)] += 1


def lost_sectors(
    counts: np.ndarray, frames_present: np.ndarray, scan_shape: tuple[int, int]
) -> np.ndarray:
    """Find sectors that are empty where electrons were due.

    What is due in a sector is the position's own dose in the other sectors, shared out as the whole
    scan shares it out: a dim position is not mistaken for a broken one.

    Parameters
    ----------
    counts : (positions, sectors)
        From ``sector_counts``.
    frames_present : (positions,)
        0 marks a missing position, which is not flagged here.
    scan_shape : (rows, cols)
        Of the scan, for the error.

    Returns
    -------
    (positions,) uint8
        Bit ``s`` is set where sector ``s`` was lost.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    if len(counts) != scan_shape[0] * scan_shape[1]:
        raise ValueError(f"{len(counts)} positions for a scan of {scan_shape[0]} x {scan_shape[1]}")
    empty = counts == 0
    full = ~empty.any(axis=1)
    whole = counts[full] if full.any() else counts
    share = whole.sum(axis=0, dtype=np.float64) / max(1, int(whole.sum(dtype=np.int64)))
    share_seen = np.maximum(1e-12, np.where(empty, 0.0, share).sum(axis=1))
    due = counts.sum(axis=1, dtype=np.float64)[:, None] * share / share_seen[:, None]
    lost = empty & (due > LOG_FALSE_ALARM) & (frames_present > 0)[:, None]
    return (lost << np.arange(counts.shape[1])).sum(axis=1).astype(np.uint8)
