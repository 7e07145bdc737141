"""Electron-counted HDF5 of the 4D Camera, as stempy has written it in its layouts 1, 2 and 3.

``electron_events/frames`` holds one ragged row a frame (layout 1: a scan position) of indices
``row · width + col``; ``electron_events/scan_positions`` names the position of each row in layouts
1 and 2, and counts the positions in layout 3. Attributes Nx, Ny of both are (width, height).
"""

from typing import Any

import h5py
import numpy as np

from tasks.formats.hdf5 import open_hdf5
from tasks.formats.recording import EventBlock, Recording, RecordingError, block_of_frames

FRAMES, POSITIONS = "electron_events/frames", "electron_events/scan_positions"
ROWS_AT_ONCE = 8192
"""Ragged rows read together: each becomes an object of 160 bytes before it is flat."""
SAMPLE_BLOCKS, SAMPLE_ROWS = 16, 128
FLYBACK_RATIO = 1.4
"""A last column this much brighter or dimmer than the others is a flyback column."""


class StempyRecording(Recording):
    """An electron-counted HDF5 file."""

    def __init__(
        self,
        path: str,
        *,
        detector_shape: tuple[int, int] | None = None,
        drop_flyback: bool = False,
        out_of_range: str = "error",
    ) -> None:
        self.path, self.out_of_range = path, out_of_range
        with open_hdf5(path) as file:
            frames, positions = self._datasets(file)
            self.frames_total = len(frames)
            self.detector_shape = detector_shape or self._square(frames)
            cols, rows = self._size(positions, POSITIONS)
            self._file_cols = cols
            self.layout = self._layout(file, frames)
            self.format = f"stempy HDF5, layout {self.layout}"
            self._order, self._starts = self._frames_of_positions(frames, positions, rows * cols)
            sample = self._sample(frames)
            self.metadata = _attributes(file.get("metadata"))
            self._look_for_flyback(frames, rows, cols, drop_flyback)
        filled = sample[sample > 0]
        self._typical = float(np.percentile(filled, 5)) if filled.size else 0.0
        per_position = self.frames_total / max(1, rows * cols)
        self.events_per_position_estimate = (
            float(sample.mean() if sample.size else 0) * per_position
        )
        self.drop_flyback = drop_flyback
        self.scan_shape = (rows, cols - 1 if drop_flyback else cols)

    def read_rows(self, first: int, last: int) -> EventBlock:
        """Read scan rows, a block of ragged rows at a time."""
        cols, file_cols = self.scan_shape[1], self._file_cols
        at = np.arange(first, last)[:, None] * file_cols + np.arange(cols)
        at = at.ravel()
        per_position = self._starts[at + 1] - self._starts[at]
        numbers = self._numbers(at, per_position)
        with open_hdf5(self.path) as file:
            frames, _ = self._datasets(file)
            indptr, indices = _read_frames(self.path, frames, numbers)
        return block_of_frames(
            self.path,
            numbers,
            indptr,
            indices,
            per_position,
            self.detector_shape,
            self._typical,
            self.out_of_range,
        )

    def _numbers(self, at: np.ndarray, per_position: np.ndarray) -> np.ndarray:
        """Numbers in the file of the frames of some positions, position by position."""
        ends = np.cumsum(per_position)
        within = np.arange(ends[-1] if ends.size else 0) - np.repeat(
            ends - per_position, per_position
        )
        places = np.repeat(self._starts[at], per_position) + within
        return places if self._order is None else self._order[places]

    def _datasets(self, file: h5py.File) -> tuple[h5py.Dataset, h5py.Dataset]:
        found = []
        for name in (FRAMES, POSITIONS):
            data = file.get(name)
            if not isinstance(data, h5py.Dataset) or data.ndim != 1:
                raise RecordingError(
                    f"{self.path}: {name} is {'not there' if data is None else 'not a list'}; an "
                    "electron-counted file needs a one-dimensional dataset there."
                )
            found.append(data)
        kind = h5py.check_vlen_dtype(found[0].dtype)
        if kind is None or np.dtype(kind).kind not in "ui":
            raise RecordingError(
                f"{self.path}: {FRAMES} holds {found[0].dtype if kind is None else kind}, expected "
                "ragged rows of integers. Files of April 2019 with (x, y) pairs must be converted."
            )
        return found[0], found[1]

    def _size(self, data: h5py.Dataset, name: str) -> tuple[int, int]:
        size = []
        for key in ("Nx", "Ny"):
            value = data.attrs.get(key)
            if value is None or not np.issubdtype(np.asarray(value).dtype, np.integer):
                raise RecordingError(f"{self.path}: {name} has no whole number {key} ({value!r}).")
            size.append(int(np.asarray(value).reshape(-1)[0]))
        if min(size) < 1 or max(size) > 65_535:
            raise RecordingError(f"{self.path}: {name} has Nx, Ny = {size}, expected 1 to 65535.")
        return size[0], size[1]

    def _square(self, frames: h5py.Dataset) -> tuple[int, int]:
        width, height = self._size(frames, FRAMES)
        if width != height:
            raise RecordingError(
                f"{self.path}: {FRAMES} says Nx, Ny = {width}, {height}; such files have been "
                "written with both meanings. Give detector_shape: [rows, columns] in the job."
            )
        return height, width

    def _layout(self, file: h5py.File, frames: h5py.Dataset) -> int:
        version = file.attrs.get("version")
        if version is None:
            # Layout 1 puts all frames of a position into one row, so that indices repeat there.
            rows = frames[: min(len(frames), SAMPLE_ROWS)]
            return 1 if any(np.unique(row).size < len(row) for row in rows) else 2
        if int(version) not in (1, 2, 3):
            raise RecordingError(f"{self.path}: layout {version}, known are 1, 2 and 3.")
        return int(version)

    def _frames_of_positions(
        self, frames: h5py.Dataset, positions: h5py.Dataset, count: int
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Order of the frames by position (None: as they stand), and where each position begins."""
        if positions.dtype.kind not in "ui":
            raise RecordingError(f"{self.path}: {POSITIONS} holds {positions.dtype}, not integers.")
        if len(positions) > max(len(frames), count) or count > 64 * max(1, len(frames)):
            raise RecordingError(
                f"{self.path}: a scan of {count} positions with {len(positions)} entries in "
                f"{POSITIONS} for {len(frames)} frames; the file is damaged."
            )
        at = positions[...].astype(np.int64)
        if self.layout == 3:
            per_position, rest = divmod(len(frames), count)
            if rest or not per_position:
                raise RecordingError(
                    f"{self.path}: {len(frames)} frames for a scan of {count} positions; layout 3 "
                    "has a whole number of frames for each. The file is cut short or damaged."
                )
            if not np.array_equal(at, np.arange(count)):
                raise RecordingError(
                    f"{self.path}: {POSITIONS} is not 0 to {count - 1} in order, which layout 3 "
                    "promises; its frames cannot be placed on the scan."
                )
            self.notes = [f"{per_position} frames at each position"] if per_position > 1 else []
            return None, np.arange(count + 1) * per_position
        if len(at) != len(frames):
            raise RecordingError(
                f"{self.path}: {len(at)} entries in {POSITIONS} for {len(frames)} frames; layout "
                f"{self.layout} has one for each."
            )
        if at.size and (at.min() < 0 or at.max() >= count):
            worst = int(np.flatnonzero((at < 0) | (at >= count))[0])
            raise RecordingError(
                f"{self.path}: frame {worst} is at scan position {int(at[worst])}, the scan has 0 "
                f"to {count - 1}."
            )
        order = np.argsort(at, kind="stable")
        starts = np.searchsorted(at[order], np.arange(count + 1))
        self.notes = self._notes_on_positions(at, count)
        return (None if np.array_equal(order, np.arange(len(at))) else order), starts

    def _notes_on_positions(self, at: np.ndarray, count: int) -> list[str]:
        held = np.bincount(at, minlength=count)
        notes = []
        if self.layout == 1:
            notes.append("layout 1: events of several frames may share a position uncounted")
        if held.max(initial=0) > 1:
            notes.append(f"up to {held.max()} frames at a position")
        if (held == 0).any():
            notes.append(f"{int((held == 0).sum())} positions have no frame in the file")
        if (np.diff(at) < 0).any():
            notes.append("frames are not in the order of the scan; they were put in order")
        return notes

    def _sample(self, frames: h5py.Dataset) -> np.ndarray:
        """Electrons of frames taken from all over the file."""
        starts = np.linspace(0, max(0, len(frames) - SAMPLE_ROWS), SAMPLE_BLOCKS).astype(int)
        numbers = np.unique(starts[:, None] + np.arange(min(SAMPLE_ROWS, len(frames))))
        return np.diff(_read_frames(self.path, frames, numbers)[0])

    def _look_for_flyback(self, frames: h5py.Dataset, rows: int, cols: int, drop: bool) -> None:
        if drop and cols < 2:
            raise RecordingError(f"{self.path}: no column can be dropped of a scan {cols} wide.")
        if cols != rows + 1:
            if drop:
                self.notes.append("the last column was dropped because the job says so")
            return
        some = np.unique(np.linspace(0, rows - 1, min(rows, 64)).astype(int))
        means = []
        for col in (cols - 1, cols // 2, cols // 4):
            at = some * cols + col
            per_position = self._starts[at + 1] - self._starts[at]
            lengths = np.diff(_read_frames(self.path, frames, self._numbers(at, per_position))[0])
            means.append(lengths.mean() if lengths.size else 0.0)
        usual = max(np.mean(means[1:]), 1e-9)
        self.flyback_suspected = not 1 / FLYBACK_RATIO < means[0] / usual < FLYBACK_RATIO
        if self.flyback_suspected:
            what = "was dropped" if drop else "is kept; 'drop_flyback: true' drops it"
            self.notes.append(
                f"the scan is {rows} x {cols} and its last column has {means[0] / usual:.1f} times "
                f"the electrons of the others: a flyback column, which {what}"
            )


def _read_frames(
    path: str, frames: h5py.Dataset, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Events of some frames, in the order in which they are asked for."""
    lengths: list[np.ndarray] = []
    parts: list[np.ndarray] = []
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    for run in np.split(numbers, breaks) if numbers.size else []:
        for first in range(int(run[0]), int(run[-1]) + 1, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, int(run[-1]) + 1)
            try:
                rows = frames[first:last]
            except (OSError, RuntimeError, ValueError, MemoryError) as error:
                raise RecordingError(
                    f"{path}: frames {first} to {last - 1} cannot be read ({error}); the file is "
                    "cut short or damaged."
                ) from error
            lengths.append(np.fromiter(map(len, rows), np.int64, len(rows)))
            parts.extend(rows)
    indptr = np.concatenate([[0], np.cumsum(np.concatenate([[0], *lengths])[1:])]).astype(np.int64)
    indices = np.concatenate(parts) if parts else np.zeros(0, np.uint32)
    if indices.dtype.kind == "i" and indices.size and indices.min() < 0:
        event = int(np.flatnonzero(indices < 0)[0])
        frame = int(numbers[np.searchsorted(indptr, event, side="right") - 1])
        raise RecordingError(f"{path}: frame {frame} has the negative index {int(indices[event])}.")
    if indices.dtype.itemsize > 4:
        indices = np.minimum(indices, 0xFFFFFFFF)  # stays outside every detector, and is named
    return indptr, indices.astype(np.uint32, copy=False)


def _attributes(group: Any, prefix: str = "") -> dict[str, Any]:
    """All attributes of a group and of those inside it, flat and as JSON values."""
    if not isinstance(group, h5py.Group):
        return {}
    flat: dict[str, Any] = {}
    for name, value in group.attrs.items():
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        flat[prefix + name] = (
            value.tolist() if isinstance(value, np.generic | np.ndarray) else value
        )
    for name, child in group.items():
        flat |= _attributes(child, f"{prefix}{name}/")
    return {
        k: v if isinstance(v, str | int | float | bool | list) else str(v) for k, v in flat.items()
    }
