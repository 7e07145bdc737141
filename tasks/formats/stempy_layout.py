"""Where the frames of a stempy file lie on its scan, in each of the layouts that stempy wrote.

Layout 1 (2019) has one ragged row a scan position, with the events of all its frames, so that
indices repeat there. Layout 2 (2022) has one row a frame, and ``scan_positions`` names the position
of each. Layout 3 (since 2022) has the same number of rows for every position, in their order, and
pads with empty ones; its ``scan_positions`` only counts. The root attribute ``version`` is missing
in layout 1 and in early files of layout 2.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import h5py
import numpy as np

from gpu_kernels.frames import regular_events
from tasks.formats.hdf5 import open_hdf5
from tasks.formats.ragged import Ragged, describe, read_ragged, row_lengths
from tasks.formats.recording import RecordingError, check_scan_shape, frames_missing

FRAMES, POSITIONS = "electron_events/frames", "electron_events/scan_positions"
SAMPLE_BLOCKS, SAMPLE_ROWS = 16, 32
"""Rows looked at, in so many places of the file, for indices that repeat."""
MOST_POSITIONS_PER_ROW = 64
"""A scan with more positions for each row of its file is no scan but damage."""


@dataclass(frozen=True)
class Layout:
    """Which rows of the file belong to which position, and which of them hold data."""

    version: int
    ragged: Ragged
    frame_size: tuple[int, int]
    """Attributes (Nx, Ny) of the frames."""
    scan_shape: tuple[int, int]
    """(rows, columns) in the file."""
    order: np.ndarray | None
    """Rows of the file by position; None: as they stand."""
    starts: np.ndarray
    """(positions + 1,): where in that order each position begins."""
    lengths: np.ndarray
    """(rows,): electrons in each row of the file."""
    missing: np.ndarray
    """(rows,) bool: it holds no data."""
    repeats: float
    """Part of the sampled events that repeat a pixel of their row."""
    notes: tuple[str, ...] = field(default=())

    def rows_of(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the file that belong to some positions, and how many to each."""
        counts = self.starts[positions + 1] - self.starts[positions]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1] if ends.size else 0) - np.repeat(ends - counts, counts)
        rows = np.repeat(self.starts[positions], counts) + within
        return (rows if self.order is None else self.order[rows]), counts

    def electrons(self) -> np.ndarray:
        """Electrons of each position of the scan, (rows, columns) int64."""
        lengths = self.lengths if self.order is None else self.lengths[self.order]
        before = np.concatenate([[0], np.cumsum(lengths)])
        return np.diff(before[self.starts]).reshape(self.scan_shape)


@lru_cache(maxsize=4)
def read_layout(
    path: str, state: tuple[int, int], scan_shape: tuple[int, int] | None = None
) -> Layout:
    """Read the layout of a file; a worker does so once for all its reads.

    Parameters
    ----------
    path : str
        The file.
    state : tuple
        Its size and time of change: another file gets another layout.
    scan_shape : (rows, columns), optional
        If the file does not say it.

    Returns
    -------
    Layout
        Checked: each row is in the file, and each position in the scan.

    Raises
    ------
    RecordingError
        If it is not one of stempy's layouts.
    """
    with open_hdf5(path) as file:
        ragged = describe(path, file, FRAMES)
        positions = file.get(POSITIONS)
        if not isinstance(positions, h5py.Dataset) or positions.ndim != 1:
            raise RecordingError(
                f"{path}: {POSITIONS} is not there or not a list; it holds the size of the scan."
            )
        if positions.dtype.kind not in "ui":
            raise RecordingError(f"{path}: {POSITIONS} holds {positions.dtype}, not whole numbers.")
        frame_size = _size(path, file[FRAMES], FRAMES)
        scan = _scan_shape(path, positions, scan_shape)
        _refuse_absurd_sizes(path, ragged.rows, len(positions), scan[0] * scan[1])
        at = positions[...].astype(np.int64)
        version = file.attrs.get("version")
    lengths = row_lengths(path, ragged)
    repeats = _repeats(path, ragged)
    number = _version(path, version, at, repeats)
    order, starts, notes = _placed(path, number, ragged.rows, at, scan[0] * scan[1])
    missing = frames_missing(lengths)
    return Layout(
        number, ragged, frame_size, scan, order, starts, lengths, missing, repeats, tuple(notes)
    )


def _size(path: str, data: h5py.Dataset, name: str) -> tuple[int, int]:
    """Attributes Nx and Ny of a dataset."""
    size = []
    for key in ("Nx", "Ny"):
        value = np.asarray(data.attrs.get(key, np.zeros(0)))
        if value.size != 1 or value.dtype.kind not in "ui":
            found = "none" if not value.size else repr(data.attrs[key])
            raise RecordingError(
                f"{path}: {name} needs a whole number {key} as attribute; found {found}."
            )
        size.append(int(value.reshape(-1)[0]))
    if min(size) < 1 or max(size) > 65_535:
        raise RecordingError(f"{path}: {name} has Nx, Ny = {size}, expected 1 to 65535.")
    return size[0], size[1]


def _scan_shape(path: str, positions: h5py.Dataset, told: Any) -> tuple[int, int]:
    if told is not None and "Nx" not in positions.attrs and "Ny" not in positions.attrs:
        return tuple(told)
    width, height = _size(path, positions, POSITIONS)
    check_scan_shape(path, told, (height, width))
    return height, width


def _refuse_absurd_sizes(path: str, rows: int, entries: int, count: int) -> None:
    if not rows:
        raise RecordingError(f"{path}: {FRAMES} has no rows: the file holds no frame.")
    if entries > max(rows, count) or count > MOST_POSITIONS_PER_ROW * rows:
        raise RecordingError(
            f"{path}: a scan of {count} positions, {entries} entries in {POSITIONS} and {rows} "
            "frames do not belong together; the file is damaged."
        )


def _version(path: str, version: Any, at: np.ndarray, repeats: float) -> int:
    if version is None:
        several = at.size and np.unique(at).size < at.size
        return 1 if repeats > 0 and not several else 2
    number = np.asarray(version)
    if number.size != 1 or number.dtype.kind not in "ui" or int(number.flat[0]) not in (1, 2, 3):
        raise RecordingError(
            f"{path}: its version is {version!r}; known are the layouts 1, 2 and 3 of "
            "electron-counted files."
        )
    return int(number.flat[0])


def _placed(
    path: str, version: int, rows: int, at: np.ndarray, count: int
) -> tuple[np.ndarray | None, np.ndarray, list[str]]:
    """Order of the rows by position, where each position begins, and what there is to say."""
    if version == 3:
        each, rest = divmod(rows, count)
        if rest or not each:
            raise RecordingError(
                f"{path}: {rows} frames for a scan of {count} positions; layout 3 has a whole "
                "number of frames for each. The file is cut short or of another scan."
            )
        if not np.array_equal(at, np.arange(count)):
            raise RecordingError(
                f"{path}: {POSITIONS} is not 0 to {count - 1} in order, as layout 3 promises, so "
                "its frames cannot be placed on the scan with certainty. Write it as layout 2."
            )
        notes = [f"{each} frames at each position"] if each > 1 else []
        return None, np.arange(count + 1) * each, notes
    if at.size != rows:
        raise RecordingError(
            f"{path}: {at.size} entries in {POSITIONS} for {rows} frames; layout {version} has one "
            "for each. The file is cut short or damaged."
        )
    outside = np.flatnonzero((at < 0) | (at >= count))
    if outside.size:
        first = int(outside[0])
        raise RecordingError(
            f"{path}: {POSITIONS}: {outside.size} entries are not on the scan of positions 0 to "
            f"{count - 1}; the first is {int(at[first])}, of frame {first}."
        )
    order = np.argsort(at, kind="stable")
    starts = np.searchsorted(at[order], np.arange(count + 1))
    sorted_already = bool((np.diff(at) >= 0).all())
    return None if sorted_already else order, starts, _position_notes(version, at, count)


def _position_notes(version: int, at: np.ndarray, count: int) -> list[str]:
    held = np.bincount(at, minlength=count)
    notes = []
    if version == 1:
        notes.append(
            "layout 1: how many frames each position has was not recorded; a frame, or a sector of "
            "one, that is missing among others at its position cannot be told"
        )
    if held.max(initial=0) > 1:
        notes.append(f"up to {held.max()} frames at a position, as scan_positions says")
    if (held == 0).any():
        first = ", ".join(map(str, np.flatnonzero(held == 0)[:8]))
        notes.append(
            f"{int((held == 0).sum())} positions are missing in scan_positions, the first: {first}"
        )
    if (np.diff(at) < 0).any():
        notes.append("frames are not in the order of the scan; scan_positions put them in order")
    return notes


def _repeats(path: str, ragged: Ragged) -> float:
    """Part of the events, in rows from all over the file, that repeat a pixel of their row."""
    begins = np.linspace(0, max(0, ragged.rows - SAMPLE_ROWS), SAMPLE_BLOCKS).astype(np.int64)
    rows = np.unique(begins[:, None] + np.arange(min(SAMPLE_ROWS, ragged.rows)))
    indptr, events = read_ragged(path, ragged, rows)
    repeated = np.diff(regular_events(indptr, events)) == 0
    between_rows = indptr[1:-1][(indptr[1:-1] > 0) & (indptr[1:-1] < events.size)] - 1
    repeated[between_rows] = False
    return int(repeated.sum()) / max(1, events.size)
