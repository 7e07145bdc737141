"""Reductions of electron events on a CUDA device, one thread a scan position."""

from typing import Any, NamedTuple

import numpy as np
from numba import cuda, int64, uint64

from gpu_kernels.backend import Array, as_library, device_zeros, to_device, to_host
from gpu_kernels.pixel_plan import PixelPlan
from gpu_kernels.reduction_cpu import Sums, spread

THREADS_PER_BLOCK = 128
SHIFT = 48
"""Bits that are dropped of pixel · (⌊2^48 / columns⌋ + 1) to find the row, which is exact where
rows · columns² < 2^48. A division would take a device some hundred instructions an electron."""


class Tables(NamedTuple):
    """Look-up tables of a detector on the device."""

    label: Array
    disk: Array
    dense_bin: Array

    @classmethod
    def of(cls, plan: PixelPlan) -> "Tables":
        """Copy those of a plan."""
        return cls(*map(to_device, (plan.label, plan.disk, plan.dense_bin)))


class OnDevice(NamedTuple):
    """What one pass leaves on the device."""

    classes: Array
    """(positions, classes) uint32 [e]."""
    moments: Array
    """(positions, 3) int64: electrons in the disk, their sums of row and column."""
    dense: Array
    """(bins + 1, positions) uint32: counts, and last those outside the window [e]."""
    sums: Array
    """(pixels,) uint32: the sum of frames [e]."""
    bad: Array
    """(1,) int64: events from the first outside the detector to the last of all, or 0."""


def reduce_on_device(
    indptr: Array, indices: Array, plan: PixelPlan, tables: Tables, frame_sum: bool
) -> OnDevice:
    """One pass over events that are on the device; ``Tables`` are those of the plan."""
    positions = indptr.size - 1
    with_classes = plan.with_masks or plan.ring_count > 0
    classes = device_zeros((positions, plan.classes if with_classes else 1), np.uint32)
    moments = device_zeros((positions, 3), np.int64)
    dense = device_zeros((plan.dense_size + 1, positions), np.uint32)
    sums = device_zeros(plan.label.size if frame_sum else 1, np.uint32)
    bad = device_zeros(1, np.int64)
    blocks, cols = -(-positions // THREADS_PER_BLOCK), plan.detector_shape[1]
    _pass_kernel[blocks, THREADS_PER_BLOCK](
        indptr, indices, cols, np.uint64((1 << SHIFT) // cols + 1), *tables,
        classes, moments, dense, sums, bad,
        with_classes, plan.with_disk, plan.dense_size > 0, frame_sum,
    )  # fmt: skip
    return OnDevice(classes, moments, dense, sums, bad)


def reduce_gpu(
    indptr: Array, indices: Array, plan: PixelPlan, frame_sum: bool, dense_dtype: Any
) -> Sums:
    """GPU form of ``reduce_events``; what it returns is on the host."""
    found = reduce_on_device(indptr, indices, plan, Tables.of(plan), frame_sum)
    with_classes = plan.with_masks or plan.ring_count > 0
    virtual, radial = spread(to_host(found.classes), plan) if with_classes else (_NONE, _NONE)
    # Judged and narrowed where they are: the counts are most of what comes back.
    dense = as_library(found.dense)
    counts, outside = dense[: plan.dense_size], dense[plan.dense_size]
    worst = int(counts.max()) if counts.size else 0
    return Sums(
        virtual, radial, to_host(found.moments), to_host(counts.astype(dense_dtype)),
        to_host(found.sums), int(outside.sum(dtype=np.int64)), worst,
        _first(found.bad, indices),
    )  # fmt: skip


_NONE = np.zeros((0, 0), np.uint32)


def sum_gpu(
    indptr: Array, indices: Array, chosen: np.ndarray, pixels: int
) -> tuple[np.ndarray, int]:
    """GPU form of ``sum_frames``: the sums, and the first event outside the detector or -1."""
    sums, bad = device_zeros(pixels, np.uint32), device_zeros(1, np.int64)
    blocks = -(-(indptr.size - 1) // THREADS_PER_BLOCK)
    _sum_kernel[blocks, THREADS_PER_BLOCK](indptr, indices, to_device(chosen), sums, bad)
    return to_host(sums), _first(bad, indices)


def _first(bad: Array, indices: Array) -> int:
    """The first event outside the detector, or -1."""
    found = int(to_host(bad)[0])
    return int(indices.size) - found if found else -1


@cuda.jit
def _pass_kernel(
    indptr, indices, cols, reciprocal, label, disk, dense_bin, classes, moments, dense, sums, bad,
    with_classes, with_disk, with_dense, with_sums,
):  # fmt: skip
    # One thread a scan position: a scan has 10^5 and more, and no two write to the same counts.
    # Only the sum of frames needs atomics; integers add up to the same in any order.
    p = cuda.grid(1)
    if p >= indptr.size - 1:
        return
    electrons, sum_row, sum_col = 0, 0, 0
    for event in range(indptr[p], indptr[p + 1]):
        pixel = indices[event]
        if pixel >= label.size:
            cuda.atomic.max(bad, 0, indices.size - event)
            return
        if with_classes:
            classes[p, label[pixel]] += 1
        if with_disk and disk[pixel]:
            electrons += 1
            row = int64((uint64(pixel) * reciprocal) >> uint64(SHIFT))
            sum_row += row
            sum_col += pixel - row * cols
        if with_dense:
            dense[dense_bin[pixel], p] += 1
        if with_sums:
            cuda.atomic.add(sums, pixel, 1)
    moments[p, 0] = electrons
    moments[p, 1] = sum_row
    moments[p, 2] = sum_col


@cuda.jit
def _sum_kernel(indptr, indices, region, sums, bad):
    p = cuda.grid(1)
    if p >= indptr.size - 1 or not region[p]:
        return
    for event in range(indptr[p], indptr[p + 1]):
        pixel = indices[event]
        if pixel >= sums.size:
            cuda.atomic.max(bad, 0, indices.size - event)
            return
        cuda.atomic.add(sums, pixel, 1)
