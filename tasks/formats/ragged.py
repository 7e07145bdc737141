"""Ragged rows of whole numbers in an HDF5 file, read into flat arrays at once.

Where the rows lie as HDF5 writes them by default, which stempy does, they are copied straight out
of the file's heap; else h5py reads them, in blocks, because it makes an object of every row.
"""

import os
import sys
from typing import NamedTuple

import h5py
import numpy as np

from gpu_kernels.codec_ragged import FAULTS, HEADER, gather_rows
from tasks.formats.hdf5 import DAMAGE, first_line, open_hdf5
from tasks.formats.recording import RecordingError

ROWS_AT_ONCE = 8192
"""Rows that h5py reads together: each becomes an object of some 160 bytes before it is flat."""
BYTES_AT_ONCE = 4 << 20
"""Data copied out of the heap at a time: they stay in the cache on the way."""
GAP = 1 << 20
"""Collections nearer to one another than this are read together [bytes]."""
ROOM_FOR_GAPS = 64 << 20
"""Bytes that may be read beside the rows; where they lie further apart, h5py reads them."""
ROW = np.dtype([("length", "<u4"), ("address", "<u8"), ("object", "<u4")])
"""How a row is stored: its length, its collection and the number of its object there."""


class Ragged(NamedTuple):
    """Where the ragged rows of a file are."""

    dataset: str
    rows: int
    dtype: np.dtype
    """Of their items."""
    offset: int | None
    """Byte of the file where the table of rows begins; None: only h5py can read them."""


def describe(path: str, file: h5py.File, name: str) -> Ragged:
    """Look at a ragged dataset, without reading its rows.

    Parameters
    ----------
    path : str
        For errors, and for the size of the file.
    file : h5py.File
        The open file.
    name : str
        The dataset.

    Returns
    -------
    Ragged
        Enough to read rows from the path.

    Raises
    ------
    RecordingError
        If it is not a list of ragged rows of whole numbers, or its table does not fit the file.
    """
    data = file.get(name)
    if not isinstance(data, h5py.Dataset) or data.ndim != 1:
        found = "not there" if data is None else f"a {type(data).__name__.lower()}"
        if isinstance(data, h5py.Dataset):
            found = f"of {data.ndim} dimensions"
        raise RecordingError(
            f"{path}: {name} is {found}; an electron-counted file has a one-dimensional dataset of "
            "ragged rows there."
        )
    kind = h5py.check_vlen_dtype(data.dtype)
    if not isinstance(kind, np.dtype) or kind.kind not in "ui":
        raise RecordingError(
            f"{path}: {name} holds {data.dtype if kind is None else kind}, expected ragged rows of "
            "whole numbers. Files of April 2019 with (x, y) pairs must be converted first."
        )
    offset, room = data.id.get_offset(), os.path.getsize(path)
    if (
        data.chunks is None
        and data.nbytes
        and (
            data.id.get_storage_size() != len(data) * ROW.itemsize
            or offset is None
            or offset + len(data) * ROW.itemsize > room
        )
    ):
        raise RecordingError(
            f"{path}: {name} says that it has {len(data)} rows, but their table is not in the file "
            f"of {room} bytes; writing it did not finish, or it is damaged."
        )
    plain = (
        sys.byteorder == "little"
        and data.chunks is None
        and not data.external
        and file.userblock_size == 0
        and file.id.get_create_plist().get_sizes() == (8, 8)
    )
    if not plain and not kind.isnative:  # h5py does not turn the bytes of ragged rows
        raise RecordingError(f"{path}: {name} holds {kind} in chunks; write it again as uint32.")
    return Ragged(name, len(data), kind, offset if plain else None)


def row_lengths(path: str, ragged: Ragged) -> np.ndarray:
    """Items of every row.

    Returns
    -------
    (rows,) int64
        Read from the table of rows alone where that is possible.
    """
    if ragged.offset is not None:
        return _table(path, ragged, 0, ragged.rows)["length"].astype(np.int64)
    blocks = [
        np.diff(_read_by_h5py(path, ragged, np.arange(at, min(at + ROWS_AT_ONCE, ragged.rows)))[0])
        for at in range(0, ragged.rows, ROWS_AT_ONCE)
    ]
    return np.concatenate([np.zeros(0, np.int64), *blocks])


def read_ragged(path: str, ragged: Ragged, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read rows into one flat array.

    Parameters
    ----------
    path : str
        The file.
    ragged : Ragged
        From ``describe``.
    numbers : (n,) int
        Rows, in the order in which they are wanted.

    Returns
    -------
    indptr : (n + 1,) int64
        Where each row begins.
    items : (items,)
        Of the stored type, in this machine's order of bytes.

    Raises
    ------
    RecordingError
        If a row cannot be read; it is named.
    """
    if ragged.offset is None or not numbers.size:
        return _read_by_h5py(path, ragged, numbers)
    first = int(numbers.min())
    table = _table(path, ragged, first, int(numbers.max()) + 1)[numbers - first]
    sizes = table["length"].astype(np.int64) * ragged.dtype.itemsize
    starts = np.concatenate([[0], np.cumsum(sizes)])
    _refuse_more_than_the_file(path, int(starts[-1]), numbers)
    flat, begin, heap = np.empty(int(starts[-1]), np.uint8), 0, np.empty(0, np.uint8)
    while begin < numbers.size:
        end = int(np.searchsorted(starts, starts[begin] + BYTES_AT_ONCE, side="right")) - 1
        end = min(max(end, begin + 1), numbers.size)
        cut, into = slice(begin, end), flat[starts[begin] : starts[end]]
        heap = _copy_rows(path, ragged, table[cut], sizes[cut], numbers[cut], into, heap)
        begin = end
    return starts // ragged.dtype.itemsize, _native(flat.view(ragged.dtype))


def _native(items: np.ndarray) -> np.ndarray:
    return items.astype(items.dtype.newbyteorder("="), copy=False)


def _copy_rows(
    path: str,
    ragged: Ragged,
    table: np.ndarray,
    sizes: np.ndarray,
    numbers: np.ndarray,
    into: np.ndarray,
    room: np.ndarray,
) -> np.ndarray:
    """Fill in the bytes of the rows of one batch; gives room for the heap of the next."""
    addresses = table["address"].astype(np.int64)
    _refuse_shared_objects(path, table, sizes > 0, numbers)
    runs = _runs(path, addresses, sizes > 0, numbers)
    if sum(end - first for first, end in runs) > ROOM_FOR_GAPS + 8 * int(sizes.sum()):
        into[:] = _read_by_h5py(path, ragged, numbers)[1].view(np.uint8)
        return room
    heap, places = _heap(path, runs, np.where(sizes > 0, addresses, -1), room)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    row, fault = gather_rows(heap, places, table["object"].astype(np.int64), starts, into)
    if row >= 0:
        raise RecordingError(_damaged(path, int(numbers[row]), FAULTS[fault]))
    return heap if heap.size > room.size else room


def _refuse_shared_objects(
    path: str, table: np.ndarray, filled: np.ndarray, numbers: np.ndarray
) -> None:
    """Refuse two rows that say that they are the same object: one of the two is lost."""
    address, number = table["address"][filled], table["object"][filled]
    if not ((address[1:] == address[:-1]) & (number[1:] <= number[:-1])).any():
        return  # as rows lie that were written one after the other
    _, first, at = np.unique(table[filled], return_index=True, return_inverse=True)
    rows = numbers[filled]
    if (other := rows != rows[first][at]).any():
        row = int(rows[np.argmax(other)])
        raise RecordingError(_damaged(path, row, "another frame is said to be the same object"))


def _runs(
    path: str, addresses: np.ndarray, filled: np.ndarray, numbers: np.ndarray
) -> list[tuple[int, int]]:
    """Stretches of the file, first byte and end, that hold the collections of some rows."""
    room = os.path.getsize(path)
    outside = filled & ((addresses < 0) | (addresses > room - HEADER))
    if outside.any():
        raise RecordingError(_damaged(path, int(numbers[np.argmax(outside)]), FAULTS[2]))
    known = np.unique(addresses[filled])
    if not known.size:
        return []
    breaks = np.flatnonzero(np.diff(known) > GAP) + 1
    runs = []
    for first, last in zip(known[np.r_[0, breaks]], known[np.r_[breaks - 1, -1]], strict=True):
        header = _read_bytes(path, [(int(last), int(last) + HEADER)])
        size = int(header[8:].view("<u8")[0])
        runs.append((int(first), min(int(last) + size, room)))
    return runs


def _heap(
    path: str, runs: list[tuple[int, int]], addresses: np.ndarray, room: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of some stretches, and where in them the addresses are (-1 stays -1)."""
    heap = _read_bytes(path, runs, room)
    if not runs:
        return heap, addresses
    firsts, ends = np.array(runs).T
    before = np.concatenate([[0], np.cumsum(ends - firsts)])
    run = np.maximum(np.searchsorted(firsts, addresses, side="right") - 1, 0)
    return heap, np.where(addresses < 0, -1, addresses - firsts[run] + before[run])


def _table(path: str, ragged: Ragged, first: int, last: int) -> np.ndarray:
    """Rows ``first`` to ``last - 1`` of the table."""
    begin = (ragged.offset or 0) + first * ROW.itemsize
    return _read_bytes(path, [(begin, begin + (last - first) * ROW.itemsize)]).view(ROW)


def _read_bytes(
    path: str, stretches: list[tuple[int, int]], room: np.ndarray | None = None
) -> np.ndarray:
    """Stretches of a file, one after the other, in the room that is given if they fit there.

    Fresh memory costs the kernel as much to clear as to copy the file into.
    """
    size, done = sum(end - first for first, end in stretches), 0
    data = np.empty(size, np.uint8) if room is None or room.size < size else room[:size]
    with open(path, "rb", buffering=0) as file:
        for first, end in stretches:
            while first < end:  # one call reads 2 GiB at most
                got = os.preadv(file.fileno(), [data[done:].data[: end - first]], first)
                if not got:
                    raise RecordingError(
                        f"{path}: the file ends at byte {first}, where {end - first} more are "
                        "expected; it became shorter while it was read, or is damaged."
                    )
                first, done = first + got, done + got
    return data


def _read_by_h5py(path: str, ragged: Ragged, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lengths: list[np.ndarray] = [np.zeros(1, np.int64)]
    parts: list[np.ndarray] = [np.zeros(0, ragged.dtype)]
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    with open_hdf5(path) as file:
        data = file[ragged.dataset]
        for run in np.split(numbers, breaks) if numbers.size else []:
            for first in range(int(run[0]), int(run[-1]) + 1, ROWS_AT_ONCE):
                last = min(first + ROWS_AT_ONCE, int(run[-1]) + 1)
                try:
                    rows = data[first:last]
                except DAMAGE as error:
                    raise RecordingError(
                        f"{path}: frames {first} to {last - 1} cannot be read "
                        f"({first_line(error)}); the file is cut short or damaged."
                    ) from error
                lengths.append(np.fromiter(map(len, rows), np.int64, len(rows)))
                parts.append(np.concatenate(rows))
    return np.cumsum(np.concatenate(lengths)), np.concatenate(parts)


def _refuse_more_than_the_file(path: str, size: int, numbers: np.ndarray) -> None:
    room = os.path.getsize(path)
    if size > room:
        raise RecordingError(
            f"{path}: frames {int(numbers.min())} to {int(numbers.max())} say that they hold "
            f"{size} bytes of events, the whole file has {room}; the file is damaged."
        )


def _damaged(path: str, frame: int, why: str) -> str:
    return f"{path}: frame {frame} cannot be read: {why}. The file is cut short or damaged."
