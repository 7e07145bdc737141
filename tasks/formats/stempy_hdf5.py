"""Electron-counted HDF5 of the 4D Camera, as stempy has written it in its layouts 1, 2 and 3.

Rows of ``electron_events/frames`` hold the linear indices ``row · width + col`` of the electrons.
Attributes Nx, Ny of the scan are (width, height); those of the frames have been written with both
meanings, so that a detector that is not square is refused unless its shape is given.
"""

from typing import Any

import numpy as np

from gpu_kernels.frames import (
    are_regular,
    count_outside,
    drop_outside,
    merge_frames,
    regular_events,
)
from gpu_kernels.sectors import lost_sectors, sector_counts
from tasks.formats.hdf5 import attributes, open_hdf5
from tasks.formats.ragged import read_ragged
from tasks.formats.recording import EventBlock, Recording, RecordingError, times
from tasks.formats.stempy_layout import FRAMES, Layout, read_layout

OUTLIER = 0.15
"""A last column this much brighter or dimmer than the others may be a flyback column."""
SCATTER = 6
"""And it must differ by so many times the scatter of the columns."""
EVENTS_AT_ONCE = 8_000_000
"""Events held while those outside the detector are counted."""


class StempyRecording(Recording):
    """An electron-counted HDF5 file.

    Parameters
    ----------
    path : str
        The file.
    scan_shape : (rows, columns), optional
        For a file that lost it; else it must agree.
    detector_shape : (rows, columns), optional
        For a detector that is not square; else it must agree.
    drop_flyback : bool
        Leave out the last column of the scan.
    out_of_range : str
        ``error``, or ``drop``: leave out events outside the detector, and count them.
    """

    def __init__(
        self,
        path: str,
        *,
        scan_shape: tuple[int, int] | None = None,
        detector_shape: tuple[int, int] | None = None,
        drop_flyback: bool = False,
        out_of_range: str = "error",
    ) -> None:
        self._opened(path)
        self.out_of_range = out_of_range
        self._told = None if scan_shape is None else (int(scan_shape[0]), int(scan_shape[1]))
        layout = self._layout
        self.detector_shape = _detector_shape(path, layout.frame_size, detector_shape)
        self.format = f"electron-counted HDF5 (stempy), layout {layout.version}"
        self.frames_total = layout.ragged.rows
        with open_hdf5(path) as file:
            self.metadata = attributes(file.get("metadata"))
            self.metadata |= {f"user/{k}": v for k, v in attributes(file.get("user")).items()}
        self.notes = list(layout.notes)
        self._check_width_of_indices(layout)
        self._note_empty_frames(layout)
        rows, cols = layout.scan_shape
        self.drop_flyback = drop_flyback
        self.scan_shape = (rows, cols - 1 if drop_flyback else cols)
        self._look_for_flyback(layout.electrons())
        self.events_per_position_estimate = float(layout.lengths.sum()) / (rows * cols)
        if out_of_range == "drop":
            self._count_dropped()

    @property
    def _layout(self) -> Layout:
        return read_layout(self.path, self._state, self._told)

    def _read(self, first: int, last: int) -> EventBlock:
        layout, (_, cols) = self._layout, self.scan_shape
        # By position in the file, so that a dropped column is the right one in every layout.
        at = (np.arange(first, last)[:, None] * layout.scan_shape[1] + np.arange(cols)).ravel()
        numbers, counts = layout.rows_of(at)
        indptr, indices = read_ragged(self.path, layout.ragged, numbers)
        several = bool(counts.max(initial=0) > 1)
        if not (regular := are_regular(indptr, indices, self.pixels)):
            indptr, indices = self._on_detector(numbers, indptr, indices)
        indices = indices.astype(np.uint32, copy=False)
        here = ~layout.missing[numbers]
        held = np.concatenate([[0], np.cumsum(here, dtype=np.int64)])
        present = np.diff(held[np.concatenate([[0], np.cumsum(counts)])])
        lost = None
        if several:
            lost = lost_in_any(sector_counts(indptr, indices, self.detector_shape), here, counts)
        indptr = merge_frames(indptr, counts)
        if several or not regular:
            indices = regular_events(indptr, indices)
        return EventBlock(indptr, indices, np.minimum(present, 65_535).astype(np.uint16), lost)

    def _on_detector(
        self, numbers: np.ndarray, indptr: np.ndarray, indices: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Refuse or leave out events outside the detector."""
        negative = indices.dtype.kind == "i" and indices.min(initial=0) < 0
        if not negative and int(indices.max(initial=0)) < self.pixels:
            return indptr, indices
        if self.out_of_range == "drop":
            return drop_outside(indptr, indices, self.pixels)[:2]
        outside = count_outside(indptr, indices, self.pixels)
        bad = np.flatnonzero(outside)
        frame = int(bad[0])
        events = indices[indptr[frame] : indptr[frame + 1]]
        worst = int(events[(events < 0) | (events >= self.pixels)][0])
        more = "…" if bad.size > 8 else ""
        raise RecordingError(
            f"{self.path}: {int(outside.sum())} events lie outside the detector of "
            f"{times(self.detector_shape)}, whose last index is {self.pixels - 1}; frame "
            f"{int(numbers[frame])} has {worst}. Frames: "
            f"{', '.join(str(int(n)) for n in numbers[bad[:8]])}{more}. The file is damaged or of "
            "another detector; 'out_of_range: drop' in the job leaves such events out."
        )

    def _count_dropped(self) -> None:
        """Read the scan once to say how many events will be left out: none goes silently."""
        step = max(1, int(EVENTS_AT_ONCE // max(1.0, self.events_per_position_estimate)))
        dropped, layout = 0, self._layout
        for begin in range(0, self.frames_total, step):
            numbers = np.arange(begin, min(begin + step, self.frames_total))
            indptr, indices = read_ragged(self.path, layout.ragged, numbers)
            dropped += int(count_outside(indptr, indices, self.pixels).sum())
        self.metadata["events_outside_detector"] = dropped
        if dropped:
            self.notes.append(
                f"{dropped} events outside the detector of {times(self.detector_shape)} are left "
                "out, because the job says so"
            )

    def _check_width_of_indices(self, layout: Layout) -> None:
        kind = layout.ragged.dtype
        if kind.itemsize < 4 and self.pixels > np.iinfo(kind).max + 1:
            raise RecordingError(
                f"{self.path}: {FRAMES} holds {kind}, which ends at {np.iinfo(kind).max}, but the "
                f"detector of {times(self.detector_shape)} needs indices to {self.pixels - 1}: "
                "they were cut when the file was written. Write it again with uint32."
            )
        if kind != np.uint32:
            self.notes.append(f"indices are stored as {kind}")
        if layout.repeats and layout.version > 1:
            self.notes.append(
                f"{100 * layout.repeats:.2g} % of the events repeat a pixel of their frame; they "
                "are counted as electrons"
            )

    def _note_empty_frames(self, layout: Layout) -> None:
        empty, missing = int((layout.lengths == 0).sum()), int(layout.missing.sum())
        if missing:
            self.notes.append(
                f"{missing} frames without any electron are taken as missing, because the frames "
                "around them make an empty one less likely than 1e-6 (Poisson); the file cannot "
                "tell a missing frame from one that no electron hit"
            )
        if empty > missing:
            self.notes.append(f"{empty - missing} frames hold no electron, which their dose allows")

    def _look_for_flyback(self, electrons: np.ndarray) -> None:
        rows, cols = electrons.shape
        if self.drop_flyback and cols < 2:
            raise RecordingError(f"{self.path}: the scan is {cols} wide; no column can be dropped.")
        what = "was dropped" if self.drop_flyback else "is kept; 'drop_flyback: true' drops it"
        if cols == rows + 1 and cols > 2:
            columns = np.median(electrons, axis=0)
            usual = max(float(np.median(columns[:-1])), 1e-9)
            scatter = 1.4826 * float(np.median(np.abs(columns[:-1] - usual)))
            excess = abs(float(columns[-1]) - usual)
            self.flyback_suspected = excess > max(OUTLIER * usual, SCATTER * scatter)
            if self.flyback_suspected:
                self.notes.append(
                    f"the scan is {rows} x {cols} and its last column has "
                    f"{columns[-1] / usual:.2g} times the electrons of the others: a flyback "
                    f"column, which {what}"
                )
                return
        if self.drop_flyback:
            self.notes.append("the last column of the scan was dropped because the job says so")


def lost_in_any(
    sectors: np.ndarray, present: np.ndarray, frames_per_position: np.ndarray
) -> np.ndarray:
    """Sectors that any of a position's frames lost, (positions,) uint8 as bits.

    In the sum of several frames a sector that one of them lost is dim, not empty, and no longer to
    be told from a specimen that scatters elsewhere.
    """
    by_frame = lost_sectors(sectors, present, (len(sectors), 1))
    lost = np.zeros(len(frames_per_position), np.uint8)
    position = np.repeat(np.arange(len(frames_per_position)), frames_per_position)
    np.bitwise_or.at(lost, position, by_frame)
    return lost


def _detector_shape(path: str, size: tuple[int, int], told: Any) -> tuple[int, int]:
    """(rows, columns) of the detector from its attributes (Nx, Ny), or as told."""
    if told is not None:
        if sorted(told) != sorted(size):
            raise RecordingError(
                f"{path}: {FRAMES} says Nx, Ny = {size[0]}, {size[1]}; detector_shape says "
                f"{times(told)}. One of the two is of another detector."
            )
        return int(told[0]), int(told[1])
    if size[0] != size[1]:
        raise RecordingError(
            f"{path}: {FRAMES} says Nx, Ny = {size[0]}, {size[1]}. Files of detectors that are not "
            "square have been written with both meanings of the two; give detector_shape: [rows, "
            "columns] in the job."
        )
    return size[1], size[0]
