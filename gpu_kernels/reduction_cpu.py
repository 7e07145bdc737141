"""Reductions of electron events on one core of the host; Dask runs many slabs at once.

Each reduction goes over the events of some frames in a loop of its own: they stay in the second
cache, and a loop that does one thing runs at one or two cycles an event. One loop for everything
was slower: its tables and counters did not fit the cache. Rings and bins are computed where they
follow a rule, many at once, and counted from a small buffer.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from gpu_kernels.circle import moments_in_circle
from gpu_kernels.computed_pixels import bins_of, rings_of
from gpu_kernels.frame_counts import (
    count_bins,
    count_classes,
    count_inside,
    count_packed,
    moments_in_mask,
)
from gpu_kernels.pixel_plan import PixelPlan

TILE, SMALL_TILE = 128, 64
"""Positions whose dense counts are gathered before they are written: whole cache lines then."""
TILE_BYTES = 1 << 18
"""Dense counts of the larger tile stay in the second cache where they are no more than this."""
STRETCH, SHORT_STRETCH = 1 << 15, 1 << 11
"""Events, or one frame's, that fit the second cache with their bins, and the first with rings."""
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
    count = np.dtype(np.uint16 if longest < 1 << 16 else np.uint32)
    large = TILE * (plan.dense_size + 1) * count.itemsize <= TILE_BYTES
    tile = np.zeros((plan.dense_size + 1, TILE if large else SMALL_TILE), count)
    several = plan.classes <= MOST_CLASSES_AT_ONCE
    histograms = [np.zeros(plan.classes if n == 0 or several else 0, count) for n in range(4)]
    rules = (
        plan.circle if plan.with_disk else None,
        plan.ring_rule if plan.ring_count else None,
        plan.bin_rule,
    )
    circle, ring_rule, bin_rule = (_NO_RULE if rule is None else rule for rule in rules)
    dropped, worst, bad = _pass(
        indptr, indices, plan.detector_shape[1], np.empty(max(longest, STRETCH), np.uint16),
        plan.label, *histograms, plan.starts, plan.runs, plan.rings, words,
        plan.disk, circle, ring_rule, plan.dense_bin, bin_rule, tile,
        virtual, radial, moments, dense, sums,
        plan.ring_count > 0, np.array_equal(plan.members, [[False, True]]), plan.with_disk,
        plan.dense_size > 0, frame_sum,
    )  # fmt: skip
    images = np.ascontiguousarray(virtual.T[: len(plan.members)])
    return Sums(images, radial, moments, dense, sums, dropped, worst, bad)


_NO_RULE = np.zeros(0, np.float32)


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
    if radial.shape == classes.shape:
        radial[:] = classes
    for p in range(len(classes)):
        _spread(classes[p], p, starts, runs, rings, virtual, radial)


@njit(nogil=True, cache=True)
def _pass(
    indptr, indices, cols, found,
    label, a, b, c, d, starts, runs, rings, words, disk, circle, ring_rule,
    dense_bin, bin_rule, tile,
    virtual, radial, moments, dense, sums,
    with_classes, with_one_mask, with_disk, with_dense, with_sums,
):  # fmt: skip
    positions, pixels = indptr.size - 1, label.size
    by = np.uint64((1 << 48) // cols + 1)
    with_words = len(words) > 0 and not with_classes and not with_one_mask
    looks_up = (
        with_sums or with_words or (with_one_mask and not with_classes)
        or (with_classes and not ring_rule.size) or (with_disk and not circle.size)
        or (with_dense and not bin_rule.size)
    )  # fmt: skip
    in_place = radial.shape[1] == a.size  # the rings are in order, one class each
    room = radial if in_place else np.empty((1, a.size), np.uint32)
    dropped, worst, begin, first = 0, 0, 0, 0
    while begin < positions:
        end = _until(indptr, begin, min(first + tile.shape[1], positions), STRETCH)
        events = indices[indptr[begin] : indptr[end]]
        most = largest(events) if looks_up or not (with_classes or with_dense) else 0
        if most < pixels:
            if with_sums:
                for event in range(events.size):
                    sums[events[event]] += np.uint32(1)
            if with_classes and ring_rule.size:
                highest = _rings(
                    indptr, indices, begin, end, cols, ring_rule, found, a, b, c, d, room
                )
                most = max(most, highest)
            elif with_classes and in_place:
                count_classes(indptr, begin, end, events, label, a, b, c, d, room, 0)
            elif with_classes:
                for p in range(begin, end):
                    mine = indices[indptr[p] : indptr[p + 1]]
                    count_classes(indptr, p, p + 1, mine, label, a, b, c, d, room, p)
                    _spread(room[0], p, starts, runs, rings, virtual, radial)
            if with_classes and in_place and virtual.shape[1]:
                for p in range(begin, end):
                    _spread(room[p], p, starts, runs, rings, virtual, radial)
            if with_one_mask and not with_classes:
                for p in range(begin, end):
                    virtual[p, 0] = count_inside(indices[indptr[p] : indptr[p + 1]], label)
            elif with_words:
                for p in range(begin, end):
                    mine = indices[indptr[p] : indptr[p + 1]]
                    for word in range(len(words)):
                        count_packed(mine, label, words, word, virtual, p)
            if with_disk and circle.size:
                for p in range(begin, end):
                    moments_in_circle(indices[indptr[p] : indptr[p + 1]], cols, circle, moments, p)
            elif with_disk:
                for p in range(begin, end):
                    moments_in_mask(indices[indptr[p] : indptr[p + 1]], disk, cols, by, moments, p)
            if with_dense and bin_rule.size:
                most = max(most, np.int64(bins_of(events, cols, bin_rule, found)))
                count_bins(indptr, begin, end, found, None, tile, first)
            elif with_dense:
                count_bins(indptr, begin, end, events, dense_bin, tile, first)
        if most >= pixels:
            for event in range(indptr[begin], indptr[end]):
                if indices[event] >= pixels:
                    return dropped, worst, event
        begin = end
        if end == min(first + tile.shape[1], positions):
            if with_dense:
                outside, highest = _write_tile(tile, dense, first, end)
                dropped += outside
                worst = max(worst, highest)
            first = end
    return dropped, worst, -1


@njit(nogil=True, cache=True)
def _rings(indptr, indices, begin, end, cols, rule, found, a, b, c, d, radial):
    """Count the rings of frames ``begin`` to ``end``, some at a time; returns the highest event."""
    most = 0
    while begin < end:
        last = _until(indptr, begin, end, SHORT_STRETCH)
        part = indices[indptr[begin] : indptr[last]]
        most = max(most, np.int64(rings_of(part, cols, rule, found)))
        count_classes(indptr, begin, last, found, None, a, b, c, d, radial, 0)
        begin = last
    return most


@njit(nogil=True, cache=True)
def _until(indptr, begin, end, most):
    """End of the frames from ``begin`` that have so many events together, or of the first."""
    last = begin + 1
    while last < end and indptr[last + 1] - indptr[begin] <= most:
        last += 1
    return last


@njit(nogil=True, cache=True)
def largest(events):
    """Highest index of some events, 0 of none."""
    most = events.dtype.type(0)
    for event in range(events.size):
        most = max(most, events[event])
    return np.int64(most)


@njit(nogil=True, cache=True)
def _spread(counts, p, starts, runs, rings, virtual, radial):
    """Add a frame's counts by class to its rings and virtual images."""
    if radial.shape[1] != counts.size:  # else the counts are in their place already
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
def _write_tile(tile, dense, first, last):
    """Write the tile as rows of the dense array and clear it."""
    size, count = len(dense), last - first
    most = tile.dtype.type(0)
    for bin_ in range(size):
        row, target = tile[bin_, :count], dense[bin_, first:last]
        for p in range(count):
            target[p] = row[p]
            most = max(most, row[p])
    outside = 0
    for p in range(count):
        outside += np.int64(tile[size, p])
    tile[:] = 0
    return outside, np.int64(most)
