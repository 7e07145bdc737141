"""Writing electron-counted HDF5 as stempy does in its layout 3, whole or not at all.

``electron_events/frames``: a ragged row of uint32 ``row · width + col`` for each scan position,
contiguous, with attributes Nx, Ny (width, height of the detector);
``electron_events/scan_positions``: their numbers, with Nx, Ny of the scan; root attribute
``version`` = 3. A missing frame is an empty row. Times are left out: equal events, equal bytes.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tasks.store.files import make_sure_of_room

LAYOUT = 3
FRAMES_AT_ONCE = 1024
"""Rows written together; each is an object of 160 bytes until it is on disk."""
BYTES_OF_A_ROW, BYTES_BESIDE = 64, 2 << 20
"""What HDF5 takes for a row beside its events, at most, and for all that is not rows."""


def write_stempy_file(
    path: Path,
    slabs: Iterable[tuple[np.ndarray, np.ndarray]],
    scan_shape: tuple[int, int],
    detector_shape: tuple[int, int],
    metadata: Mapping[str, Any] | None = None,
) -> int:
    """Write the events of a scan as they come.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced at the end, in one step.
    slabs : iterable of (indptr, indices)
        Events of runs of scan positions, in order; ``indptr`` (positions + 1,) begins at 0,
        ``indices`` (events,) are ``row · width + col``.
    scan_shape : (rows, cols)
        Of the scan.
    detector_shape : (rows, cols)
        Of the detector. Readers of such files cannot tell which side is which where they differ,
        so a reader must then be told the shape.
    metadata : mapping, optional
        Attributes of the group ``metadata``; mappings in it become groups.

    Returns
    -------
    int
        Electrons written.

    Raises
    ------
    ValueError
        If an event lies outside the detector, or the slabs are not one scan; nothing is left then.
    OSError
        If the disk or the quota is full; it names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with h5py.File(aside, "w") as file:
            frames = _lay_out(file, scan_shape, detector_shape, metadata or {})
            done = events = 0
            for indptr, indices in slabs:
                _check(path, done, indptr, indices, frames.shape[0], detector_shape)
                # HDF5 does not survive a disk that fills while it writes such rows.
                rows = len(indptr) - 1 if done else frames.shape[0]
                due = 4 * len(indices) + BYTES_OF_A_ROW * rows + BYTES_BESIDE
                make_sure_of_room(path, due)
                _append(frames, done, indptr, indices)
                done += len(indptr) - 1
                events += len(indices)
            if done != frames.shape[0]:
                raise ValueError(
                    f"{path}: events of {done} positions for a scan of {scan_shape[0]} x "
                    f"{scan_shape[1]}; the file was not written"
                )
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return events


def _lay_out(
    file: h5py.File,
    scan_shape: tuple[int, int],
    detector_shape: tuple[int, int],
    metadata: Mapping[str, Any],
) -> h5py.Dataset:
    file.attrs["version"] = np.int64(LAYOUT)
    group = file.create_group("electron_events")
    positions = scan_shape[0] * scan_shape[1]
    frames = group.create_dataset("frames", (positions,), dtype=h5py.vlen_dtype(np.uint32))
    where = group.create_dataset("scan_positions", data=np.arange(positions, dtype=np.int64))
    for data, (rows, cols) in ((frames, detector_shape), (where, scan_shape)):
        data.attrs["Nx"], data.attrs["Ny"] = np.int64(cols), np.int64(rows)
    _describe(file.create_group("metadata"), metadata)
    return frames


def _describe(group: h5py.Group, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping):
            _describe(group.create_group(name), value)
        else:
            group.attrs[name] = value


def _check(
    path: Path,
    first: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    positions: int,
    detector_shape: tuple[int, int],
) -> None:
    count, pixels = len(indptr) - 1, detector_shape[0] * detector_shape[1]
    if first + count > positions or indptr[0] != 0 or indptr[-1] != len(indices):
        raise ValueError(
            f"{path}: events of positions {first} to {first + count - 1} do not fit: the scan has "
            f"{positions}, and their offsets run from {indptr[0]} to {indptr[-1]} for "
            f"{len(indices)} events"
        )
    if len(indices) and not 0 <= indices.min() <= indices.max() < pixels:
        raise ValueError(
            f"{path}: an event of positions {first} to {first + count - 1} has index "
            f"{indices.max()}, the detector ends at {pixels - 1}"
        )


def _append(frames: h5py.Dataset, first: int, indptr: np.ndarray, indices: np.ndarray) -> None:
    indices = np.asarray(indices, np.uint32)
    count = len(indptr) - 1
    for start in range(0, count, FRAMES_AT_ONCE):
        stop = min(start + FRAMES_AT_ONCE, count)
        rows = np.empty(stop - start, object)
        rows[:] = np.split(indices[indptr[start] : indptr[stop]], indptr[start + 1 : stop]
                           - indptr[start])  # fmt: skip
        # Past h5py's assignment, which takes rows of one event each for a row of numbers.
        here = frames.id.get_space()
        here.select_hyperslab((first + start,), (stop - start,))
        memory = h5py.h5s.create_simple((stop - start,))
        frames.id.write(memory, here, rows, h5py.h5t.py_create(frames.dtype))
