"""Dense: the events binned and cropped to a 4D array (y, x, ky, kx) that other programs read.

It is written in the same pass as the reductions, chunk by chunk, so that memory is bounded by a
chunk; electrons outside its window are counted, so that kept and dropped make up the whole.
"""

import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from gpu_kernels.pixel_plan import PixelPlan, plan_pixels, window_bins
from gpu_kernels.reduction import reduce_events
from tasks.store.events import EventStore, open_for_writing
from tasks.store.zarr_json import lay_out_array

CHUNK_BYTES = 1 << 25
"""Largest chunk before compression."""
BINS_AT_ONCE = 60_000
"""Bins that one look-up table holds; a larger window takes several."""
NAME = "export"
"""Of the array in the step's folder."""


class DenseError(ValueError):
    """A dense array that cannot be made."""


@dataclass(frozen=True)
class DenseSettings:
    """Which part of the detector, and how finely."""

    center: tuple[float, float]
    """(row, col) about which the window lies [px]."""
    bin: int
    """Detector pixels along a side of a binned one."""
    bins: tuple[int, int]
    """Binned pixels of the window, (rows, cols)."""
    dtype: str
    """Unsigned integer of the counts."""

    @property
    def size(self) -> int:
        """Binned pixels of the window."""
        return self.bins[0] * self.bins[1]


def check_size(settings: DenseSettings, scan_shape: tuple[int, int], folder: Path) -> None:
    """Refuse an array that the disk could not hold.

    Raises
    ------
    DenseError
        With its size before compression and the space that is free.
    """
    size = settings.size * scan_shape[0] * scan_shape[1] * np.dtype(settings.dtype).itemsize
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DenseError(
            f"dense: {scan_shape[0]} x {scan_shape[1]} x {settings.bins[0]} x {settings.bins[1]} "
            f"of {settings.dtype} is {size / 2**30:.1f} GiB before compression, and "
            f"{free / 2**30:.1f} GiB are free at {folder}; crop or bin more."
        )


def lay_out(folder: Path, recording: EventStore, settings: DenseSettings) -> None:
    """Create the array in a step's folder."""
    shape = (*recording.scan_shape, *settings.bins)
    lay_out_array(folder, NAME, shape, settings.dtype, chunks_of(recording, settings))


def chunks_of(recording: EventStore, settings: DenseSettings) -> tuple[int, int, int, int]:
    """Chunks that lie in one slab each, so that each is written whole by one unit."""
    cols, frame = recording.scan_shape[1], settings.size * np.dtype(settings.dtype).itemsize
    rows = whole_rows(recording, cols * frame)
    return rows, (cols if rows > 1 else max(1, min(cols, CHUNK_BYTES // frame))), *settings.bins


def whole_rows(recording: EventStore, row_bytes: int) -> int:
    """Scan rows of a chunk that divides a slab and has at most ``CHUNK_BYTES``, at least one."""
    fits = [n for n in range(1, recording.slab_rows + 1)
            if recording.slab_rows % n == 0 and n * row_bytes <= CHUNK_BYTES]  # fmt: skip
    return max(fits, default=1)


def write_slab(
    folder: Path,
    recording: EventStore,
    slab: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    settings: DenseSettings,
) -> tuple[list[Path], int, int]:
    """Write the chunks of one slab from its events.

    Parameters
    ----------
    folder : Path
        Of the dense array that was laid out.
    recording : EventStore
        Which the slab is of.
    slab : int
        Its number.
    indptr : (positions + 1,) int64
        Where each position's events begin.
    indices : (events,) unsigned
        Detector pixels.
    settings : DenseSettings
        Window, binning, type.

    Returns
    -------
    files : list of Path
        Of the chunks.
    kept, dropped : int
        Electrons inside and outside of the window.

    Raises
    ------
    DenseError
        If a count is too large for the type.
    """
    array = open_for_writing(folder, NAME)
    (first, last), width = recording.rows(slab), recording.scan_shape[1]
    rows, cols = array.chunks[:2]
    files, kept = [], 0
    for row in range(first, last, rows):
        for col in range(0, width, cols):
            shape = (min(rows, last - row), min(cols, width - col))
            begin = (row - first) * width + col
            at = slice(begin, begin + shape[0] * shape[1] + 1)
            offsets = indptr[at] - indptr[begin]
            events = indices[indptr[begin] : indptr[at.stop - 1]]
            counts, inside = counts_of(offsets, events, recording.detector_shape, settings)
            block = counts.reshape(*shape, *settings.bins)
            array[row : row + shape[0], col : col + shape[1]] = block
            files.append(folder / NAME / "c" / str(row // rows) / str(col // cols) / "0" / "0")
            kept += inside
    return files, kept, int(indices.size) - kept


def counts_of(
    indptr: np.ndarray, indices: np.ndarray, detector: tuple[int, int], settings: DenseSettings
) -> tuple[np.ndarray, int]:
    """Counts (positions, bins) of some positions, of the settings' type, and the electrons in them.

    Raises
    ------
    DenseError
        If a count is too large for the type.
    """
    counts = np.empty((indptr.size - 1, settings.size), settings.dtype)
    kept, first = 0, 0
    for plan in _plans(detector, settings):
        try:
            found = reduce_events(indptr, indices, plan, frame_sum=False, dense_dtype=counts.dtype)
        except OverflowError as error:
            raise DenseError(
                f"dense: {error} Give dense: {{dtype: uint32}}, or a smaller bin."
            ) from error
        assert found.dense is not None
        counts[:, first : first + plan.dense_size] = found.dense.T
        first += plan.dense_size
        kept += found.dense_kept
    return counts, kept


@lru_cache(maxsize=2)
def _plans(detector: tuple[int, int], settings: DenseSettings) -> tuple[PixelPlan, ...]:
    bins, _ = window_bins(detector, settings.center, settings.bin, settings.bins)
    plans = []
    for first in range(0, settings.size, BINS_AT_ONCE):
        size = min(BINS_AT_ONCE, settings.size - first)
        part = np.where((bins >= first) & (bins < first + size), bins - first, -1)
        plans.append(plan_pixels(detector, dense_bin=part, dense_size=size))
    return tuple(plans)


def bin_centres(
    settings: DenseSettings, detector: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the bins on the detector, (bins_y,) and (bins_x,) float64 [px]."""
    _, origin = window_bins(detector, settings.center, settings.bin, settings.bins)
    rows, cols = (
        first + settings.bin * (np.arange(n) + 0.5) - 0.5
        for first, n in zip(origin, settings.bins, strict=True)
    )
    return rows, cols
