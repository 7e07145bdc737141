"""LiberTEM's ``raw_csr``: a small TOML file beside three raw arrays of a sparse matrix.

Row ``n`` of the matrix is the frame of scan position ``n``: its pixels ``row · cols + col`` stand
in ``indices`` from ``indptr[n]`` to ``indptr[n + 1]``, and how often each was hit in ``data``.
LiberTEM does not look whether these lie within the files and the frame; here they must.
"""

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpu_kernels.frames import count_outside, drop_outside, regular_events
from tasks.formats.hdf5 import first_line
from tasks.formats.recording import (
    MOST_EVENTS,
    EventBlock,
    Recording,
    RecordingError,
    check_scan_shape,
    file_state,
    frames_missing,
    times,
)

ARRAYS = ("indptr", "indices", "data")
LARGEST_COUNT = 1 << 16


class Parts(NamedTuple):
    """The three arrays in their files."""

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray


class RawCsrRecording(Recording):
    """A scan in ``raw_csr`` files.

    Parameters
    ----------
    path : str
        The TOML file.
    scan_shape : (rows, columns), optional
        Where the file has a list of frames; else it must agree.
    detector_shape : (rows, columns), optional
        Must agree.
    drop_flyback : bool
        Leave out the last column of the scan.
    out_of_range : str
        ``error``, or ``drop``: leave out events outside the detector.
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
        self.format, self.out_of_range = "raw_csr (LiberTEM)", out_of_range
        told = _description(path)
        self._files, offset = _files(path, told), told["raw_csr"].get("sync_offset", 0)
        if offset:
            raise RecordingError(f"{path}: sync_offset is {offset}; only whole scans are read.")
        self._states = tuple(file_state(file) for file, _ in self._files)
        found = _shape(path, told, "nav_shape")
        rows, cols = _scan(path, found, scan_shape)
        self.detector_shape = _shape(path, told, "sig_shape")  # type: ignore[assignment]
        if len(self.detector_shape) != 2:
            raise RecordingError(f"{path}: sig_shape {told['params']['sig_shape']} is no image.")
        if detector_shape is not None:
            check_scan_shape(path, detector_shape, self.detector_shape)
        lengths = self._checked_lengths(rows * cols)
        self._stored_cols, self.frames_total = cols, lengths.size
        if drop_flyback and cols < 2:
            raise RecordingError(f"{path}: the scan is {cols} wide; no column can be dropped.")
        self.scan_shape = (rows, cols - 1 if drop_flyback else cols)
        if drop_flyback:
            self.notes.append("the last column of the scan was dropped because the job says so")
        self._missing = frames_missing(lengths)
        if self._missing.any():
            self.notes.append(
                f"{int(self._missing.sum())} frames without any electron are taken as missing, "
                "because the frames around them make an empty one less likely than 1e-6 (Poisson)"
            )
        self.events_per_position_estimate = float(lengths.mean())

    @property
    def _parts(self) -> Parts:
        return _mapped(self._files, self._states)

    def _checked_lengths(self, positions: int) -> np.ndarray:
        """Stored pixels of each frame; all lie within the files."""
        parts = self._parts
        if parts.indptr.size != positions + 1:
            raise RecordingError(
                f"{self._files[0][0]}: {parts.indptr.size} offsets for a scan of {positions} "
                f"positions; {positions + 1} are needed. The file is cut short or of another scan."
            )
        if parts.indices.size != parts.data.size:
            raise RecordingError(
                f"{self._files[1][0]}: {parts.indices.size} pixels, but {parts.data.size} counts "
                f"in {self._files[2][0]}; one of the two is cut short."
            )
        offsets = np.asarray(parts.indptr)
        falls = np.flatnonzero(offsets[1:] < offsets[:-1])
        if falls.size:
            n = int(falls[0])
            raise RecordingError(
                f"{self._files[0][0]}: offset {n + 1} is {offsets[n + 1]}, below the one before, "
                f"{offsets[n]}; the file is damaged."
            )
        if offsets[0] < 0 or offsets[-1] > parts.indices.size:
            raise RecordingError(
                f"{self._files[0][0]}: offsets from {offsets[0]} to {offsets[-1]}, but "
                f"{parts.indices.size} pixels in {self._files[1][0]}; one of the two is cut short."
            )
        return np.diff(offsets.astype(np.int64))

    def _read(self, first: int, last: int) -> EventBlock:
        if tuple(file_state(file) for file, _ in self._files) != self._states:
            raise RecordingError(f"{self.path}: its arrays have changed since they were opened.")
        cols, stored = self.scan_shape[1], self._stored_cols
        offsets = np.asarray(self._parts.indptr[first * stored : last * stored + 1], np.int64)
        begin, end = (int(offsets[0]), int(offsets[-1])) if offsets.size else (0, 0)
        indices = np.array(self._parts.indices[begin:end])
        counts = np.array(self._parts.data[begin:end])
        indptr, indices = self._events(offsets - begin, indices, counts, first * stored)
        here = ~self._missing[first * stored : last * stored]
        if cols != stored:
            kept = np.tile(np.arange(stored) < cols, last - first)
            lengths = np.diff(indptr)
            indices = indices[np.repeat(kept, lengths)]
            indptr = np.concatenate([[0], np.cumsum(lengths[kept])])
            here = here[kept]
        return EventBlock(indptr, regular_events(indptr, indices), here.astype(np.uint16))

    def _events(
        self, indptr: np.ndarray, indices: np.ndarray, counts: np.ndarray, frame: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Events of stored pixels: one for each count, all on the detector."""
        bad = ~((counts >= 0) & (counts == np.rint(counts)) & (counts <= LARGEST_COUNT))
        if bad.any():
            at = int(np.argmax(bad))
            n = frame + int(np.searchsorted(indptr, at, side="right")) - 1
            raise RecordingError(
                f"{self._files[2][0]}: frame {n} has {counts[at]} in pixel {indices[at]}; that is "
                "no count of electrons."
            )
        counts = counts.astype(np.int64)
        if int(counts.sum()) > MOST_EVENTS:
            raise RecordingError(f"{self._files[2][0]}: more than {MOST_EVENTS} counts at once.")
        before = np.concatenate([[0], np.cumsum(counts)])
        indptr, indices = before[indptr], np.repeat(indices, counts)
        outside = count_outside(indptr, indices, self.pixels)
        if outside.any() and self.out_of_range == "error":
            n = int(np.flatnonzero(outside)[0])
            events = indices[indptr[n] : indptr[n + 1]]
            worst = events[(events < 0) | (events >= self.pixels)][0]
            raise RecordingError(
                f"{self._files[1][0]}: frame {frame + n} has pixel {worst}, outside the detector "
                f"of {times(self.detector_shape)}, whose last is {self.pixels - 1}; "
                "'out_of_range: drop' in the job leaves such events out."
            )
        if outside.any():
            indptr, indices, _ = drop_outside(indptr, indices, self.pixels)
        return indptr, indices.astype(np.uint32)


def is_raw_csr(path: str) -> bool:
    """Tell whether a file is the TOML file of such a scan."""
    if Path(path).suffix.lower() != ".toml":
        return False
    return str(_description(path)["params"].get("filetype", "")).lower() == "raw_csr"


def array_files(path: str | Path) -> list[Path]:
    """The arrays that a TOML file names."""
    return [Path(file) for file, _ in _files(str(path), _description(str(path)))]


def _description(path: str) -> dict[str, Any]:
    try:
        told = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be read as TOML: {first_line(error)}.") from error
    if not isinstance(told.get("params"), dict) or not isinstance(told.get("raw_csr", {}), dict):
        raise RecordingError(f"{path}: a raw_csr file has the tables [params] and [raw_csr].")
    return told | {"raw_csr": told.get("raw_csr", {})}


def _files(path: str, told: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """File and type of each array; the files stand beside the TOML file, or below it."""
    found, folder = [], Path(path).resolve().parent
    for name in ARRAYS:
        file, kind = (told["raw_csr"].get(f"{name}_{what}") for what in ("file", "dtype"))
        if not isinstance(file, str) or not isinstance(kind, str):
            raise RecordingError(f"{path}: [raw_csr] needs {name}_file and {name}_dtype.")
        full = (folder / file).resolve()
        if not full.is_relative_to(folder):
            raise RecordingError(f"{path}: {name}_file {file!r} leaves the folder of this file.")
        try:
            dtype = np.dtype(kind)
        except (TypeError, ValueError, SyntaxError) as error:
            raise RecordingError(f"{path}: {name}_dtype {kind!r} is no type.") from error
        if dtype.kind not in ("uif" if name == "data" else "ui"):
            raise RecordingError(f"{path}: {name}_dtype {kind!r} holds no whole numbers.")
        found.append((str(full), dtype.str))
    return tuple(found)


def _shape(path: str, told: dict[str, Any], key: str) -> tuple[int, ...]:
    shape = told["params"].get(key)
    good = isinstance(shape, list) and 1 <= len(shape) <= 2
    if not good or not all(isinstance(n, int) and 0 < n < 1 << 24 for n in shape):
        raise RecordingError(f"{path}: {key} is {shape!r}; one or two sizes are needed.")
    return tuple(shape)


def _scan(path: str, found: tuple[int, ...], told: tuple[int, int] | None) -> tuple[int, int]:
    if len(found) == 2:
        check_scan_shape(path, told, (found[0], found[1]))
        return found[0], found[1]
    if told is None or told[0] * told[1] != found[0]:
        raise RecordingError(
            f"{path}: {found[0]} frames in a row; scan_shape must say how they lie on the scan, "
            f"and says {'nothing' if told is None else times(told)}."
        )
    return told


@lru_cache(maxsize=4)
def _mapped(files: tuple[tuple[str, str], ...], states: tuple[tuple[int, int], ...]) -> Parts:
    """The arrays as memory maps; a file without any entry cannot be mapped."""
    parts = []
    for (file, kind), (size, _) in zip(files, states, strict=True):
        if size % np.dtype(kind).itemsize:
            raise RecordingError(f"{file}: {size} bytes are no whole number of {kind} values.")
        parts.append(np.memmap(file, kind, "r") if size else np.zeros(0, kind))
    return Parts(*parts)
