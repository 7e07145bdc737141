"""Reductions of electron events on one core of the host; Dask runs many slabs at once.

Each reduction goes over the events of a frame in a loop of its own: they stay in the first cache,
and a loop that looks up one small table and adds one number runs at one or two cycles an event. One
loop for everything was slower, because its table of 8 bytes a pixel did not fit the second cache.
Counts go into several histograms in turn, since neighbouring events often hit the same class, and a
counter that has just been written is not there for some cycles.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from gpu_kernels.pixel_plan import PixelPlan

TILE = 64
"""Positions whose dense counts are gathered before they are written: whole cache lines then."""
TILE_BYTES = 1 << 18
"""Dense counts alternate between two tiles where both are no larger together: the second cache."""
MOST_CLASSES_AT_ONCE = 1024
"""With more, adding up the histograms of a frame costs more than they save."""


class Sums(NamedTuple):
    """What either side's pass leaves."""

    virtual: np.ndarray
    """(masks, positions) uint32."""
    radial: np.ndarray
    """(positions, rings) uint32."""
    moments: np.ndarray
    """(positions, 3) int64: electrons, sum of row and sum of col in the disk."""
    dense: np.ndarray
    """(bins, positions)."""
    frame_sum: np.ndarray
    """(pixels,) uint32."""
    dropped: int
    """Electrons outside the dense window."""
    worst: int
    """Highest dense count."""
    bad: int
    """First event outside the detector, or -1."""


def reduce_cpu(
    indptr: np.ndarray, indices: np.ndarray, plan: PixelPlan, frame_sum: bool, dense_dtype: Any
) -> Sums:
    """CPU form of ``reduce_events``."""
    positions = indptr.size - 1
    virtual = np.empty((positions, len(plan.members)), np.uint32)
    radial = np.empty((positions, plan.ring_count), np.uint32)
    moments = np.empty((positions if plan.with_disk else 0, 3), np.int64)
    dense = np.empty((plan.dense_size, positions), dense_dtype)
    sums = np.zeros(plan.label.size if frame_sum else 0, np.uint32)
    longest = int(np.diff(indptr).max(initial=0))
    tile = np.zeros((plan.dense_size + 1, TILE), np.uint16 if longest < 1 << 16 else np.uint32)
    second = np.zeros_like(tile) if 2 * tile.nbytes <= TILE_BYTES else tile
    several = plan.classes <= MOST_CLASSES_AT_ONCE
    histograms = [np.zeros(plan.classes if n == 0 or several else 0, np.uint32) for n in range(4)]
    dropped, worst, bad = _pass(
        indptr, indices, plan.detector_shape[1],
        plan.label, *histograms, plan.starts, plan.runs, plan.rings,
        plan.disk, plan.dense_bin, tile, second, second is not tile,
        virtual, radial, moments, dense, sums,
        plan.with_masks or plan.ring_count > 0, plan.with_disk, plan.dense_size > 0, frame_sum,
    )  # fmt: skip
    return Sums(np.ascontiguousarray(virtual.T), radial, moments, dense, sums, dropped, worst, bad)


def spread(classes: np.ndarray, plan: PixelPlan) -> tuple[np.ndarray, np.ndarray]:
    """Virtual images (masks, positions) and rings (positions, rings) of counts by class.

    Parameters
    ----------
    classes : (positions, classes) uint32
        From a pass that keeps them; the one on the host spreads them frame by frame.
    plan : PixelPlan
        Which classes belong to what.
    """
    virtual = np.empty((len(classes), len(plan.members)), np.uint32)
    radial = np.empty((len(classes), plan.ring_count), np.uint32)
    _spread_all(classes, plan.starts, plan.runs, plan.rings, virtual, radial)
    return np.ascontiguousarray(virtual.T), radial


@njit(nogil=True, cache=True)
def _spread_all(classes, starts, runs, rings, virtual, radial):
    for p in range(len(classes)):
        _spread(classes[p], p, starts, runs, rings, virtual, radial)


@njit(nogil=True, cache=True)
def _pass(
    indptr, indices, cols,
    label, a, b, c, d, starts, runs, rings, disk, dense_bin, tile, second, apart,
    virtual, radial, moments, dense, sums,
    with_classes, with_disk, with_dense, with_sums,
):  # fmt: skip
    # One view a frame: each more costs as much as tens of events.
    positions, pixels = indptr.size - 1, label.size
    by = np.uint64((1 << 48) // cols + 1)
    dropped, worst = 0, 0
    for first in range(0, positions, TILE):
        last = min(first + TILE, positions)
        if largest(indices[indptr[first] : indptr[last]]) >= pixels:
            for event in range(indptr[first], indptr[last]):
                if indices[event] >= pixels:
                    return dropped, worst, event
        for p in range(first, last):
            events = indices[indptr[p] : indptr[p + 1]]
            if with_classes:
                _count(events, label, a, b, c, d)
                _spread(a, p, starts, runs, rings, virtual, radial)
                a[:] = 0
            if with_disk:
                _moments(events, disk, cols, by, moments, p)
            if with_dense:
                _bin(events, dense_bin, tile, second, p - first)
            if with_sums:
                for event in range(events.size):
                    sums[events[event]] += np.uint32(1)
        if with_dense:
            outside, most = _write_tile(tile, second, apart, dense, first, last)
            dropped += outside
            worst = max(worst, most)
    return dropped, worst, -1


@njit(nogil=True, cache=True)
def largest(events):
    """Highest index of some events, 0 of none."""
    most = events.dtype.type(0)
    for event in range(events.size):
        most = max(most, events[event])
    return np.int64(most)


@njit(nogil=True, cache=True)
def _count(events, label, a, b, c, d):
    """Count a frame's events by class into the first histogram, by way of the other three."""
    one, quarter = np.uint32(1), events.size // 4 if b.size == a.size else 0
    if quarter:
        for event in range(quarter):
            a[label[events[event]]] += one
            b[label[events[event + quarter]]] += one
            c[label[events[event + 2 * quarter]]] += one
            d[label[events[event + 3 * quarter]]] += one
        for k in range(a.size):
            a[k] += b[k] + c[k] + d[k]
            b[k] = c[k] = d[k] = 0
    for event in range(4 * quarter, events.size):
        a[label[events[event]]] += one


@njit(nogil=True, cache=True)
def _spread(counts, p, starts, runs, rings, virtual, radial):
    """Add a frame's counts by class to its rings and virtual images."""
    if radial.shape[1] == counts.size:  # the rings are in order, one class each
        for k in range(counts.size):
            radial[p, k] = counts[k]
    elif radial.shape[1]:
        for k in range(radial.shape[1]):
            radial[p, k] = 0
        for k in range(counts.size):
            radial[p, rings[k]] += counts[k]
    for mask in range(virtual.shape[1]):
        total = np.uint32(0)
        for run in range(starts[mask], starts[mask + 1]):
            for k in range(runs[run, 0], runs[run, 1]):
                total += counts[k]
        virtual[p, mask] = total


@njit(nogil=True, cache=True)
def _moments(events, disk, cols, by, moments, p):
    # A division is a product and a shift: exact for all pixels of a detector below 65,535 a side.
    # Two sums of each kind, since an addition waits for the one before it. Written out, because
    # the compiler would else gather from the table, which is slower than looking up one by one.
    shift, none = np.uint64(48), np.uint64(0)
    electrons, others, pixels, pixels_2, rows, rows_2 = none, none, none, none, none, none
    pairs = events.size // 2 * 2
    for event in range(0, pairs, 2):
        pixel, inside = np.uint64(events[event]), np.uint64(disk[events[event]])
        electrons += inside
        mask = none - inside
        rows += ((pixel * by) >> shift) & mask
        pixels += pixel & mask
        pixel, inside = np.uint64(events[event + 1]), np.uint64(disk[events[event + 1]])
        others += inside
        mask = none - inside
        rows_2 += ((pixel * by) >> shift) & mask
        pixels_2 += pixel & mask
    for event in range(pairs, events.size):
        pixel, inside = np.uint64(events[event]), np.uint64(disk[events[event]])
        electrons += inside
        rows += ((pixel * by) >> shift) * inside
        pixels += pixel * inside
    rows += rows_2
    moments[p, 0] = electrons + others
    moments[p, 1] = rows
    moments[p, 2] = pixels + pixels_2 - rows * np.uint64(cols)


@njit(nogil=True, cache=True)
def _bin(events, dense_bin, tile, second, column):
    """Count a frame's events by bin into its column of the two tiles, in turn."""
    one = tile.dtype.type(1)
    pairs = events.size // 2 * 2
    for event in range(0, pairs, 2):
        tile[dense_bin[events[event]], column] += one
        second[dense_bin[events[event + 1]], column] += one
    for event in range(pairs, events.size):
        tile[dense_bin[events[event]], column] += one


@njit(nogil=True, cache=True)
def _write_tile(tile, second, apart, dense, first, last):
    """Write the tiles as rows of the dense array and clear them."""
    size, count = len(dense), last - first
    most = tile.dtype.type(0)
    for bin_ in range(size):
        row, target = tile[bin_, :count], dense[bin_, first:last]
        if apart:
            more = second[bin_, :count]
            for p in range(count):
                row[p] += more[p]
        for p in range(count):
            target[p] = row[p]
            most = max(most, row[p])
    outside = 0
    for p in range(count):
        outside += np.int64(tile[size, p]) + (np.int64(second[size, p]) if apart else 0)
    tile[:] = 0
    second[:] = 0
    return outside, np.int64(most)
