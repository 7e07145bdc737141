"""A recording with its scan binned: the events of neighbouring positions are summed into one."""

import numpy as np

from gpu_kernels.frames import merge_frames, regular_events
from gpu_kernels.sectors import lost_sectors, sector_counts
from tasks.formats.recording import EventBlock, Recording, RecordingError, times


class BinnedRecording(Recording):
    """Another recording, with squares of its scan positions summed.

    Parameters
    ----------
    recording : Recording
        What is read.
    scan_bin : int
        Positions along a side of a square, at least 2. Rows and columns at the far edges that do
        not fill a square are left out, and the notes say so.

    Raises
    ------
    RecordingError
        If a square is larger than the scan.
    """

    def __init__(self, recording: Recording, scan_bin: int) -> None:
        self._recording, self._bin = recording, scan_bin
        self._opened(recording.path)
        self.format, self.metadata = recording.format, recording.metadata
        self.detector_shape, self.frames_total = recording.detector_shape, recording.frames_total
        self.flyback_suspected = recording.flyback_suspected
        rows, cols = recording.scan_shape
        self.scan_shape = rows // scan_bin, cols // scan_bin
        if min(self.scan_shape) < 1:
            raise RecordingError(
                f"{recording.path}: scan_bin {scan_bin} is larger than the scan of "
                f"{times(recording.scan_shape)} positions."
            )
        self.events_per_position_estimate = recording.events_per_position_estimate * scan_bin**2
        self.notes = [*recording.notes, f"{scan_bin} x {scan_bin} scan positions are summed to one"]
        self.positions_left_out = (
            rows * cols - self.scan_shape[0] * self.scan_shape[1] * scan_bin**2
        )
        if self.positions_left_out:
            self.notes.append(
                f"{self.positions_left_out} scan positions at the far edges, {rows % scan_bin} rows"
                f" and {cols % scan_bin} columns, do not fill a bin and are left out"
            )

    def _read(self, first: int, last: int) -> EventBlock:
        side, (_, cols) = self._bin, self._recording.scan_shape
        block = self._recording.read_rows(first * side, last * side)
        at = np.arange((last - first) * side * cols).reshape(last - first, side, cols)
        squares = at[:, :, : self.scan_shape[1] * side].reshape(
            last - first, side, self.scan_shape[1], side
        )
        # The positions of a square follow one another, and then are one.
        order = squares.transpose(0, 2, 1, 3).reshape(-1, side * side)
        indptr, indices = _gathered(block.indptr, block.indices, order.ravel())
        indptr = merge_frames(indptr, np.full(len(order), side * side))
        present = block.frames_present[order].sum(axis=1, dtype=np.int64)
        sectors = sector_counts(block.indptr, block.indices, self.detector_shape)
        lost = lost_sectors(sectors, block.frames_present, (len(sectors), 1))
        if block.sectors_lost is not None:
            lost |= block.sectors_lost
        return EventBlock(
            indptr,
            regular_events(indptr, indices),
            np.minimum(present, 65_535).astype(np.uint16),
            np.bitwise_or.reduce(lost[order], axis=1),
        )


def binned(recording: Recording, scan_bin: int) -> Recording:
    """The recording itself where nothing is to be binned."""
    return recording if scan_bin == 1 else BinnedRecording(recording, scan_bin)


def _gathered(
    indptr: np.ndarray, indices: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Events of some positions, in the order in which these are named."""
    lengths = np.diff(indptr)[order]
    ends = np.cumsum(lengths)
    shift = np.repeat(indptr[order] - (ends - lengths), lengths)
    return np.concatenate([[0], ends]), indices[np.arange(shift.size) + shift]
