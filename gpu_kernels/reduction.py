"""Reductions of electron events in one pass: images, moments, rings, dense bins, sums of frames.

The cost grows with the electrons, not with the detector's pixels. Everything is an exact integer,
so the order of summation does not matter and every form gives the same numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda, njit

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host
from gpu_kernels.pixel_plan import OUTSIDE, PixelPlan

THREADS_PER_BLOCK = 128
TILE = 64
"""Positions whose dense counts are gathered before they are written: whole cache lines then."""


class EventRangeError(ValueError):
    """An event lies outside its detector."""


@dataclass
class Reductions:
    """What ``reduce_events`` found; what was not asked for is None."""

    electrons: np.ndarray
    """(positions,) uint32: electrons of each scan position [e]."""
    virtual: np.ndarray | None
    """(masks, positions) uint32 [e]."""
    com_electrons: np.ndarray | None
    """(positions,) uint32: electrons inside the disk [e]."""
    com_sums: np.ndarray | None
    """(positions, 2) int64: sums of row and of column inside the disk [px e]."""
    radial: np.ndarray | None
    """(positions, rings) uint32, the overflow last [e]."""
    frame_sum: np.ndarray | None
    """(rows, cols) uint32 [e]."""
    dense: np.ndarray | None
    """(bins, positions) [e]."""
    dense_kept: int = 0
    """Electrons in the window."""
    dense_dropped: int = 0
    """Electrons outside it; kept + dropped = all."""


def reduce_events(
    indptr: Array,
    indices: Array,
    plan: PixelPlan,
    *,
    frame_sum: bool = True,
    dense_dtype: Any = np.uint16,
) -> Reductions:
    """Reduce the events of some scan positions to all that a plan asks for.

    Parameters
    ----------
    indptr : (positions + 1,) int64
        Events ``indptr[p]:indptr[p + 1]`` belong to scan position ``p``.
    indices : (events,) uint16 or uint32
        ``row * cols + col`` of each electron.
    plan : PixelPlan
        What each pixel contributes to.
    frame_sum : bool
        Also sum all frames.
    dense_dtype : dtype
        Unsigned integer of the dense array.

    Returns
    -------
    Reductions
        On the host, whichever side computed it.

    Raises
    ------
    EventRangeError
        If an index lies outside the detector; it names the position and the index.
    OverflowError
        If a dense bin holds more electrons than ``dense_dtype`` can count.
    """
    positions = indptr.size - 1
    form = _reduce_gpu if on_gpu(indices) else _reduce_cpu
    classes, moments, dense, sums, kept, worst, bad = form(
        indptr, indices, plan, frame_sum, np.dtype(dense_dtype)
    )
    if bad >= 0:
        _raise_out_of_range(to_host(indptr), to_host(indices), bad, plan.detector_shape)
    limit = np.iinfo(dense_dtype).max
    if worst > limit:
        raise OverflowError(
            f"a dense bin counts {worst} electrons at one position, {np.dtype(dense_dtype)} holds "
            f"{limit}; use a wider type or smaller bins."
        )
    electrons = np.diff(to_host(indptr)).astype(np.uint32)
    radial = None
    if plan.ring_count:
        radial = np.zeros((positions, plan.ring_count), np.uint32)
        _sum_rings(classes, plan.rings, radial)
    return Reductions(
        electrons=electrons,
        virtual=_sum_members(classes, plan.members) if plan.with_masks else None,
        com_electrons=_sum_members(classes, plan.in_disk[None])[0] if plan.with_disk else None,
        com_sums=_from_zero(moments, classes, plan) if plan.with_disk else None,
        radial=radial,
        frame_sum=sums.reshape(plan.detector_shape) if frame_sum else None,
        dense=dense if plan.dense_size else None,
        dense_kept=int(kept),
        dense_dropped=int(indices.size - kept) if plan.dense_size else 0,
    )


def sum_frames(
    indptr: Array,
    indices: Array,
    detector_shape: tuple[int, int],
    region: np.ndarray | None = None,
) -> np.ndarray:
    """Sum the frames of all scan positions, or of a region of the scan.

    Parameters
    ----------
    indptr, indices
        As in ``reduce_events``.
    detector_shape : (rows, cols)
        Of the detector.
    region : (positions,) bool, optional
        Which positions to sum: a PACBED of a grain, a probe in vacuum.

    Returns
    -------
    (rows, cols) uint32
        Electrons of each pixel [e].

    Raises
    ------
    EventRangeError
        If an index lies outside the detector.
    """
    pixels = detector_shape[0] * detector_shape[1]
    chosen = np.ones(indptr.size - 1, bool) if region is None else np.ascontiguousarray(region)
    if on_gpu(indices):
        sums, bad = device_zeros(pixels, np.uint32), device_zeros(1, np.int64)
        blocks = -(-(indptr.size - 1) // THREADS_PER_BLOCK)
        _sum_kernel[blocks, THREADS_PER_BLOCK](indptr, indices, to_device(chosen), sums, bad)
        sums, found = to_host(sums), int(to_host(bad)[0]) - 1
    else:
        sums = np.zeros(pixels, np.uint32)
        found = _sum_cpu(indptr, indices, chosen, sums)
    if found >= 0:
        _raise_out_of_range(to_host(indptr), to_host(indices), found, detector_shape)
    return sums.reshape(detector_shape)


def _raise_out_of_range(
    indptr: np.ndarray, indices: np.ndarray, event: int, shape: tuple[int, int]
) -> None:
    position = int(np.searchsorted(indptr, event, side="right")) - 1
    raise EventRangeError(
        f"scan position {position}: event {event - int(indptr[position])} has index "
        f"{int(indices[event])}, outside the detector of {shape[0]} x {shape[1]} = "
        f"{shape[0] * shape[1]} pixels"
    )


def _sum_members(classes: np.ndarray, members: np.ndarray) -> np.ndarray:
    sums = np.zeros((len(members), classes.shape[0]), np.uint32)
    for row, member in zip(sums, members, strict=True):
        _add_columns(classes, np.flatnonzero(member), row)
    return sums


@njit(nogil=True, cache=True)
def _add_columns(classes, chosen, row):
    for p in range(classes.shape[0]):
        total = 0
        for c in chosen:
            total += classes[p, c]
        row[p] = total


@njit(nogil=True, cache=True)
def _sum_rings(classes, rings, radial):
    for p in range(classes.shape[0]):
        for c in range(classes.shape[1]):
            radial[p, rings[c]] += classes[p, c]


def _from_zero(moments: np.ndarray, classes: np.ndarray, plan: PixelPlan) -> np.ndarray:
    # The table counts rows and columns of the disk from 1, so that 0 can mean outside.
    inside = _sum_members(classes, plan.in_disk[None])[0].astype(np.int64)
    return moments - inside[:, None]


def _reduce_cpu(indptr, indices, plan, frame_sum, dense_dtype):
    positions = indptr.size - 1
    classes = np.zeros((positions, plan.classes), np.uint32)
    moments = np.zeros((positions, 2), np.int64)
    dense = np.zeros((plan.dense_size, positions), dense_dtype)
    sums = np.zeros(plan.table.size if frame_sum else 0, np.uint32)
    kept, worst, bad = _pass_cpu(
        indptr, indices, plan.table, classes, moments, dense, sums,
        plan.with_disk, frame_sum, plan.dense_size,
    )  # fmt: skip
    return classes, moments, dense, sums, kept, worst, bad


@njit(nogil=True, cache=True)
def _pass_cpu(
    indptr, indices, table, classes, moments, dense, sums, with_disk, with_sums, dense_size
):
    # One core: Dask runs many slabs at once. Dense counts of a tile of positions stay in the cache
    # and are written row by row, because the dense array is pixel-major.
    positions, pixels = indptr.size - 1, table.size
    tile = np.zeros((TILE, dense_size + 1), np.uint32)
    kept, worst = 0, 0
    limit = np.uint64(0xFFFF)
    for first in range(0, positions, TILE):
        last = min(first + TILE, positions)
        for p in range(first, last):
            sum_row, sum_col = 0, 0
            counts = classes[p]
            for event in range(indptr[p], indptr[p + 1]):
                pixel = indices[event]
                if pixel >= pixels:
                    return kept, worst, event
                entry = table[pixel]
                counts[entry & limit] += 1
                if with_disk:
                    sum_row += (entry >> np.uint64(16)) & limit
                    sum_col += (entry >> np.uint64(32)) & limit
                if dense_size:
                    bin_ = entry >> np.uint64(48)
                    tile[p - first, min(bin_, np.uint64(dense_size))] += 1
                if with_sums:
                    sums[pixel] += 1
            moments[p, 0], moments[p, 1] = sum_row, sum_col
        if dense_size:
            for b in range(dense_size):
                for p in range(first, last):
                    count = tile[p - first, b]
                    dense[b, p] = count
                    kept += count
                    worst = max(worst, count)
            tile[:] = 0
    return kept, worst, -1


@njit(nogil=True, cache=True)
def _sum_cpu(indptr, indices, region, sums):
    for p in range(indptr.size - 1):
        if region[p]:
            for event in range(indptr[p], indptr[p + 1]):
                pixel = indices[event]
                if pixel >= sums.size:
                    return event
                sums[pixel] += 1
    return -1


def _reduce_gpu(indptr, indices, plan, frame_sum, dense_dtype):
    positions = indptr.size - 1
    classes = device_zeros((positions, plan.classes), np.uint32)
    moments = device_zeros((positions, 2), np.int64)
    dense = device_zeros((max(plan.dense_size, 1), positions), np.uint32)
    sums = device_zeros(plan.table.size if frame_sum else 1, np.uint32)
    bad = device_zeros(1, np.int64)
    blocks = -(-positions // THREADS_PER_BLOCK)
    _pass_kernel[blocks, THREADS_PER_BLOCK](
        indptr, indices, to_device(plan.table), classes, moments, dense, sums, bad,
        plan.with_disk, frame_sum, plan.dense_size,
    )  # fmt: skip
    host = to_host(dense)[: plan.dense_size]
    return (
        to_host(classes), to_host(moments), host.astype(dense_dtype), to_host(sums),
        int(host.sum(dtype=np.int64)), int(host.max(initial=0)), int(to_host(bad)[0]) - 1,
    )  # fmt: skip


@cuda.jit
def _pass_kernel(
    indptr, indices, table, classes, moments, dense, sums, bad, with_disk, with_sums, dense_size
):
    # One thread a scan position: a scan has 10^5 and more, and no two write to the same counts.
    # Only the sum of frames needs atomics; integers add up to the same in any order.
    p = cuda.grid(1)
    if p >= indptr.size - 1:
        return
    sum_row, sum_col = 0, 0
    for event in range(indptr[p], indptr[p + 1]):
        pixel = indices[event]
        if pixel >= table.size:
            cuda.atomic.max(bad, 0, event + 1)
            return
        entry = table[pixel]
        classes[p, entry & np.uint64(0xFFFF)] += 1
        if with_disk:
            sum_row += (entry >> np.uint64(16)) & np.uint64(0xFFFF)
            sum_col += (entry >> np.uint64(32)) & np.uint64(0xFFFF)
        bin_ = entry >> np.uint64(48)
        if dense_size > 0 and bin_ != OUTSIDE:
            dense[bin_, p] += 1
        if with_sums:
            cuda.atomic.add(sums, pixel, 1)
    moments[p, 0] = sum_row
    moments[p, 1] = sum_col


@cuda.jit
def _sum_kernel(indptr, indices, region, sums, bad):
    p = cuda.grid(1)
    if p >= indptr.size - 1 or not region[p]:
        return
    for event in range(indptr[p], indptr[p + 1]):
        pixel = indices[event]
        if pixel >= sums.size:
            cuda.atomic.max(bad, 0, event + 1)
            return
        cuda.atomic.add(sums, pixel, 1)
