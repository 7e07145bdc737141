"""What every recording offers, whatever file it comes from: its events, by rows of the scan."""

import os
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

IMPOSSIBLE = 1e-6
"""A frame without electrons is missing where an empty one has less than this chance."""
STRETCH = 128
"""Neighbouring frames whose mean says how many electrons a frame among them should have."""
MOST_EVENTS = 1 << 28
"""Events that one read may return: 1 GiB of indices."""


class RecordingError(ValueError):
    """A recording that cannot be read: says which file, where, what was found and expected."""


class EventBlock(NamedTuple):
    """The electrons of some rows of the scan."""

    indptr: np.ndarray
    """(positions + 1,) int64: where each position's events begin."""
    indices: np.ndarray
    """(events,) uint32: row · cols + col, sorted within a position."""
    frames_present: np.ndarray
    """(positions,) uint16: frames that hold data; 0 is a missing position, not zero electrons."""
    sectors_lost: np.ndarray | None = None
    """(positions,) uint8: detector sectors that one of several frames lost, as bits; only frames
    that are summed to a position need to be looked at before they are."""


class Recording(ABC):
    """One scan in a file. Small enough to travel to a worker, which opens the file anew."""

    path: str
    format: str
    """Of what kind the file is, in words."""
    scan_shape: tuple[int, int]
    """(rows, columns) of the scan as it is read, without a dropped flyback column."""
    detector_shape: tuple[int, int]
    """(rows, columns)."""
    frames_total: int
    """Frames in the file."""
    metadata: dict[str, Any]
    """What the file says of the experiment, flat, in values that JSON knows."""
    notes: list[str]
    """What the reader noticed and the report should say."""
    flyback_suspected: bool = False
    events_per_position_estimate: float

    def read_rows(self, first: int, last: int) -> EventBlock:
        """Read scan rows ``first`` to ``last - 1``, in memory bounded by what they hold.

        Parameters
        ----------
        first, last : int
            0 ≤ first ≤ last ≤ rows of the scan.

        Returns
        -------
        EventBlock
            Their events, sorted within each position; all lie on the detector.

        Raises
        ------
        RecordingError
            If the rows are not in the scan, or the data are not what the file promises.
        """
        rows = self.scan_shape[0]
        if not 0 <= first <= last <= rows:
            raise RecordingError(
                f"{self.path}: scan rows {first} to {last - 1} were asked for; the scan has "
                f"rows 0 to {rows - 1}."
            )
        if file_state(self.path) != self._state:
            raise RecordingError(
                f"{self.path}: the file has changed since it was opened, so it is still being "
                "written or copied. Wait until it is complete, and start again."
            )
        return self._read(int(first), int(last))

    @abstractmethod
    def _read(self, first: int, last: int) -> EventBlock:
        """Do what ``read_rows`` says; the rows are in the scan."""

    def _opened(self, path: str) -> None:
        """Remember which file this is a recording of, as it is now."""
        self.path, self.metadata, self.notes = path, {}, []
        self._state = file_state(path)

    @property
    def pixels(self) -> int:
        """Pixels of the detector."""
        return self.detector_shape[0] * self.detector_shape[1]


def file_state(path: str) -> tuple[int, int]:
    """Size [bytes] and time of change [ns] of a file; of a folder only that it is there.

    Raises
    ------
    RecordingError
        If there is nothing, or it may not be looked at.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}.") from error
    return (0, 0) if os.path.isdir(path) else (found.st_size, found.st_mtime_ns)


def frames_missing(lengths: np.ndarray) -> np.ndarray:
    """Tell frames that hold no data from frames that no electron happened to hit.

    A file may not say which of the two an empty frame is. The electrons of the frames around it
    do: where they make an empty frame less likely than ``IMPOSSIBLE``, it is missing.

    Parameters
    ----------
    lengths : (frames,) int
        Electrons of each frame, in the order of acquisition.

    Returns
    -------
    (frames,) bool
        True where a frame is empty although Poisson's law all but excludes it.
    """
    empty = lengths == 0
    if not empty.any() or empty.all():
        return empty
    begins = np.arange(0, lengths.size, STRETCH)
    filled = np.add.reduceat(~empty, begins, dtype=np.int64)
    dose = np.add.reduceat(lengths, begins, dtype=np.float64) / np.maximum(filled, 1)
    # In a long gap no neighbour tells: the whole recording does.
    dose[filled == 0] = np.median(dose[filled > 0])
    return empty & (np.exp(-dose)[np.arange(lengths.size) // STRETCH] < IMPOSSIBLE)


def check_scan_shape(path: str, told: Any, found: tuple[int, int]) -> None:
    """Refuse a scan shape that the file contradicts; None is no contradiction.

    Raises
    ------
    RecordingError
        With both shapes.
    """
    if told is not None and tuple(told) != tuple(found):
        raise RecordingError(
            f"{path}: the file has a scan of {times(found)} positions, scan_shape says "
            f"{times(told)}. Leave scan_shape out, or check that this is the file you mean."
        )


def check_frame_count(path: str, frames: int, scan_shape: Any) -> tuple[int, int]:
    """Rows and columns of a scan whose shape the file does not hold, checked against its frames.

    Raises
    ------
    RecordingError
        If no shape is given, or it is of another number of positions.
    """
    if scan_shape is None:
        raise RecordingError(
            f"{path}: {frames} frames, and the file does not say how they lie on the scan; give "
            "scan_shape: [rows, columns] in the job."
        )
    rows, cols = (int(n) for n in scan_shape)
    if min(rows, cols) < 1 or rows * cols != frames:
        raise RecordingError(
            f"{path}: {frames} frames do not make a scan of {rows} x {cols} = {rows * cols} "
            "positions; correct scan_shape, or complete the file."
        )
    return rows, cols


def times(shape: Any) -> str:
    """A shape in words."""
    return " x ".join(str(int(n)) for n in shape)
