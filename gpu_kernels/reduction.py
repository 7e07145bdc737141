"""Reductions of electron events in one pass: images, moments, rings, dense bins, sums of frames.

The cost grows with the electrons, not with the detector's pixels. Everything is an exact integer,
so the order of summation does not matter and every form gives the same numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from gpu_kernels.backend import Array, on_gpu, to_host
from gpu_kernels.pixel_plan import PixelPlan
from gpu_kernels.reduction_cpu import largest, reduce_cpu
from gpu_kernels.reduction_gpu import reduce_gpu, sum_gpu


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
    form = reduce_gpu if on_gpu(indices) else reduce_cpu
    found = form(indptr, indices, plan, frame_sum, np.dtype(dense_dtype))
    if found.bad >= 0:
        _raise_out_of_range(to_host(indptr), to_host(indices), found.bad, plan.detector_shape)
    limit = np.iinfo(dense_dtype).max
    if found.worst > limit:
        raise OverflowError(
            f"a dense bin counts {found.worst} electrons at one position, {np.dtype(dense_dtype)} "
            f"holds {limit}; use a wider type or smaller bins."
        )
    return Reductions(
        electrons=np.diff(to_host(indptr)).astype(np.uint32),
        virtual=found.virtual if plan.with_masks else None,
        com_electrons=found.moments[:, 0].astype(np.uint32) if plan.with_disk else None,
        com_sums=found.moments[:, 1:] if plan.with_disk else None,
        radial=found.radial if plan.ring_count else None,
        frame_sum=found.frame_sum.reshape(plan.detector_shape) if frame_sum else None,
        dense=found.dense if plan.dense_size else None,
        dense_kept=int(indices.size - found.dropped) if plan.dense_size else 0,
        dense_dropped=found.dropped,
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
        sums, found = sum_gpu(indptr, indices, chosen, pixels)
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


@njit(nogil=True, cache=True)
def _sum_cpu(indptr, indices, region, sums):
    for p in range(indptr.size - 1):
        if region[p]:
            events = indices[indptr[p] : indptr[p + 1]]
            if largest(events) >= sums.size:
                return indptr[p] + np.argmax(events >= sums.size)
            for event in range(events.size):
                sums[events[event]] += np.uint32(1)
    return -1
