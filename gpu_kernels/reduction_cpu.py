"""Reductions of electron events on one core of the host; Dask runs many slabs at once.

Each reduction goes over the events of a tile of frames in a loop of its own: they stay in the
second cache, and a loop that looks up one small table runs at one or two cycles an event. One loop
for everything was slower: its tables and counters did not fit the cache. Counts go into several
histograms in turn, since neighbouring events often hit the same class, and a counter that has just
been written is not there for some cycles.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from gpu_kernels.circle import moments_in_circle
from gpu_kernels.pixel_plan import PixelPlan

TILE = 64
"""Positions whose dense counts are gathered before they are written: whole cache lines then."""
TILE_BYTES = 1 << 18
"""Dense counts alternate between two tiles where both are no larger together: the second cache."""
EIGHT = np.uint64(8)
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
    words = _words(plan)
    masks = len(plan.members) if plan.ring_count else 8 * len(words)
    virtual = np.empty((positions, masks), np.uint32)
    radial = np.empty((positions, plan.ring_count), np.uint32)
    moments = np.empty((positions if plan.with_disk else 0, 3), np.int64)
    dense = np.empty((plan.dense_size, positions), dense_dtype)
    sums = np.zeros(plan.label.size if frame_sum else 0, np.uint32)
    longest = int(np.diff(indptr).max(initial=0))
    tile = np.zeros((plan.dense_size + 1, TILE), np.uint16 if longest < 1 << 16 else np.uint32)
    second = np.zeros_like(tile) if 2 * tile.nbytes <= TILE_BYTES else tile
    several = plan.classes <= MOST_CLASSES_AT_ONCE
    histograms = [np.zeros(plan.classes if n == 0 or several else 0, np.uint32) for n in range(4)]
    circle = plan.circle if plan.with_disk else None
    dropped, worst, bad = _pass(
        indptr, indices, plan.detector_shape[1],
        plan.label, *histograms, plan.starts, plan.runs, plan.rings, words,
        plan.disk, _NO_CIRCLE if circle is None else circle,
        plan.dense_bin, tile, second, second is not tile,
        virtual, radial, moments, dense, sums,
        plan.ring_count > 0, np.array_equal(plan.members, [[False, True]]), plan.with_disk,
        plan.dense_size > 0, frame_sum,
    )  # fmt: skip
    images = np.ascontiguousarray(virtual.T[: len(plan.members)])
    return Sums(images, radial, moments, dense, sums, dropped, worst, bad)


_NO_CIRCLE = np.zeros(0, np.float32)


def _words(plan: PixelPlan) -> np.ndarray:
    """(masks / 8, classes) uint64: the virtual detectors of each class, a byte each."""
    members = np.zeros((-(-len(plan.members) // 8) * 8, plan.classes), np.uint8)
    members[: len(plan.members)] = plan.members
    shift = (8 * np.arange(8, dtype=np.uint64))[None, :, None]
    return (members.reshape(-1, 8, plan.classes).astype(np.uint64) << shift).sum(1, np.uint64)


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
    label, a, b, c, d, starts, runs, rings, words, disk, circle, dense_bin, tile, second, apart,
    virtual, radial, moments, dense, sums,
    with_classes, with_one_mask, with_disk, with_dense, with_sums,
):  # fmt: skip
    positions, pixels = indptr.size - 1, label.size
    by = np.uint64((1 << 48) // cols + 1)
    dropped, worst = 0, 0
    for first in range(0, positions, TILE):
        last = min(first + TILE, positions)
        events = indices[indptr[first] : indptr[last]]
        if largest(events) >= pixels:
            for event in range(indptr[first], indptr[last]):
                if indices[event] >= pixels:
                    return dropped, worst, event
        if with_sums:
            for event in range(events.size):
                sums[events[event]] += np.uint32(1)
        if with_classes:
            for p in range(first, last):
                _count(indices[indptr[p] : indptr[p + 1]], label, a, b, c, d)
                _spread(a, p, starts, runs, rings, virtual, radial)
                a[:] = 0
        elif with_one_mask:
            for p in range(first, last):
                virtual[p, 0] = _inside(indices[indptr[p] : indptr[p + 1]], label)
        else:
            for word in range(len(words)):
                for p in range(first, last):
                    _pack(indices[indptr[p] : indptr[p + 1]], label, words, word, virtual, p)
        if with_disk and circle.size:
            for p in range(first, last):
                moments_in_circle(indices[indptr[p] : indptr[p + 1]], cols, circle, moments, p)
        elif with_disk:
            for p in range(first, last):
                _moments(indices[indptr[p] : indptr[p + 1]], disk, cols, by, moments, p)
        if with_dense:
            for p in range(first, last):
                _bin(indices[indptr[p] : indptr[p + 1]], dense_bin, tile, second, p - first)
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
def _pack(events, label, words, word, virtual, p):
    """Count a frame's events in eight virtual detectors at once, each in 8 bits of a number.

    Four numbers for the four quarters of a stretch, so that no addition waits for another, and the
    compiler does not gather from the table, which takes longer.
    """
    row, field, masks = words[word], np.uint64(0xFF), range(8 * word, 8 * word + 8)
    for mask in masks:
        virtual[p, mask] = 0
    for begin in range(0, events.size, 4 * 255):
        part = events[begin : begin + 4 * 255]
        quarter = part.size // 4
        a, b, c, d = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
        for event in range(quarter):
            a += row[label[part[event]]]
            b += row[label[part[event + quarter]]]
            c += row[label[part[event + 2 * quarter]]]
            d += row[label[part[event + 3 * quarter]]]
        for mask in masks:
            virtual[p, mask] += (a & field) + (b & field) + (c & field) + (d & field)
            a, b, c, d = a >> EIGHT, b >> EIGHT, c >> EIGHT, d >> EIGHT
        for event in range(4 * quarter, part.size):
            a += row[label[part[event]]]
        for mask in masks:
            virtual[p, mask] += a & field
            a >>= EIGHT


@njit(nogil=True, cache=True)
def _inside(events, label):
    """Count a frame's events in a virtual detector that is the only one."""
    quarter = events.size // 4
    a, b, c, d = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    for event in range(quarter):
        a += np.uint64(label[events[event]])
        b += np.uint64(label[events[event + quarter]])
        c += np.uint64(label[events[event + 2 * quarter]])
        d += np.uint64(label[events[event + 3 * quarter]])
    for event in range(4 * quarter, events.size):
        a += np.uint64(label[events[event]])
    return a + b + c + d


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
