"""What every recording offers, whatever file it comes from: its events, by rows of the scan."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from gpu_kernels.frames import drop_outside, merge_frames, regular_events

IMPOSSIBLE = 1e-6
"""A frame without electrons is missing where an empty one has less than this chance."""


class RecordingError(ValueError):
    """A recording that cannot be read: says which file, where, what was found and expected."""


class EventBlock(NamedTuple):
    """The electrons of some rows of the scan."""

    indptr: np.ndarray
    """(positions + 1,) int64."""
    indices: np.ndarray
    """(events,) uint32: row · cols + col, sorted within a position."""
    frames_present: np.ndarray
    """(positions,) uint16: frames that hold data; 0 is a missing position, not zero electrons."""


class Recording(ABC):
    """One scan in a file. Small enough to travel to a worker, which opens the file anew."""

    path: str
    format: str
    scan_shape: tuple[int, int]
    detector_shape: tuple[int, int]
    frames_total: int
    metadata: dict[str, Any]
    notes: list[str]
    """What the reader noticed and the report should say."""
    flyback_suspected: bool = False
    events_per_position_estimate: float

    @abstractmethod
    def read_rows(self, first: int, last: int) -> EventBlock:
        """Read scan rows ``first`` to ``last - 1``.

        Raises
        ------
        RecordingError
            If the data are not what the file promises.
        """

    @property
    def pixels(self) -> int:
        """Pixels of the detector."""
        return self.detector_shape[0] * self.detector_shape[1]


def frame_is_missing(lengths: np.ndarray, typical: float) -> np.ndarray:
    """Tell frames that hold no data from frames that no electron happened to hit.

    Parameters
    ----------
    lengths : (frames,)
        Electrons of each frame.
    typical : float
        Electrons of a dim frame of this recording.

    Returns
    -------
    (frames,) bool
        True where a frame is empty although that had a chance below ``IMPOSSIBLE``.
    """
    return (lengths == 0) & (np.exp(-typical) < IMPOSSIBLE)


def block_of_frames(
    path: str,
    frame_numbers: np.ndarray,
    frame_indptr: np.ndarray,
    indices: np.ndarray,
    frames_per_position: np.ndarray,
    detector_shape: tuple[int, int],
    typical: float,
    out_of_range: str,
) -> EventBlock:
    """Check frames, put those of a position together, and count the frames that hold data.

    Parameters
    ----------
    path : str
        For errors.
    frame_numbers : (frames,)
        Number of each frame in the file, for errors.
    frame_indptr, indices
        The frames' events, in the order of their positions.
    frames_per_position : (positions,)
        Frames of each position.
    detector_shape : (rows, cols)
        Of the detector.
    typical : float
        Electrons of a dim frame, see ``frame_is_missing``.
    out_of_range : str
        ``error`` or ``drop`` events outside the detector.

    Returns
    -------
    EventBlock
        Of the positions.

    Raises
    ------
    RecordingError
        If an event lies outside the detector and is not to be dropped.
    """
    pixels = detector_shape[0] * detector_shape[1]
    missing = frame_is_missing(np.diff(frame_indptr), typical)
    if out_of_range == "drop":
        frame_indptr, indices, _ = drop_outside(frame_indptr, indices, pixels)
    indptr = merge_frames(frame_indptr, frames_per_position)
    indices, _, bad = regular_events(indptr, indices, pixels)
    if bad >= 0:
        position = int(np.searchsorted(indptr, bad, side="right")) - 1
        before = int(frames_per_position[:position].sum())
        frames = frame_numbers[before : before + int(frames_per_position[position])]
        raise RecordingError(
            f"{path}: frame {', '.join(str(int(f)) for f in frames)} has index "
            f"{int(indices[bad])}, the detector of {detector_shape[0]} x {detector_shape[1]} ends "
            f"at {pixels - 1}. The file is damaged or of another detector; 'out_of_range: drop' "
            "counts and leaves out such events."
        )
    ends = np.concatenate([[0], np.cumsum(frames_per_position)])
    held = np.concatenate([[0], np.cumsum(~missing, dtype=np.int64)])
    return EventBlock(indptr, indices, np.diff(held[ends]).astype(np.uint16))
