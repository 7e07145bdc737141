"""Raw frames of the 4D Camera: four sectors a frame, each in records of files of its own.

A file ``…module<N>….data`` holds records of one sector: a header of 16 bytes (scan and frame number
as u4; scan width and height, column and row of the scan position as u2) and 82,944 values (u2). In
layout 5 a sector is 144 rows of the frame, in layout 4 it is 144 columns. The frames of a scan are
spread over many files, and any sector of any frame may have been lost.
"""

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tasks.formats.recording import RecordingError, file_state, times

SECTORS, BAND, SIDE = 4, 144, 576
FIELDS: list[tuple[Any, ...]] = [
    ("scan", "<u4"), ("frame", "<u4"), ("size", "<u2", 2), ("at", "<u2", 2),
]  # fmt: skip
HEAD = np.dtype(FIELDS)
RECORD = np.dtype([*FIELDS, ("data", "<u2", BAND * SIDE)])
NAME = re.compile(r"^(?P<scan>.*)module(?P<sector>\d+).*\.data$")
LOST = -1


@dataclass(frozen=True)
class ScanMap:
    """Where each sector of each frame of a scan lies."""

    files: tuple[str, ...]
    scan_number: int
    scan_shape: tuple[int, int]
    """(rows, columns)."""
    starts: np.ndarray
    """(positions + 1,): where in the list of frames each position begins."""
    file: np.ndarray
    """(frames, 4) int16: number of the file; -1: the sector was lost."""
    record: np.ndarray
    """(frames, 4) int32: number of the record in it."""

    @property
    def lost(self) -> np.ndarray:
        """(frames,) uint8: sectors that are in no file, as bits."""
        return ((self.file == LOST) << np.arange(SECTORS)).sum(axis=1).astype(np.uint8)


def scan_files(path: str | Path) -> list[Path]:
    """All files of the scan that a folder, or one of its files, stands for; else none.

    Parameters
    ----------
    path : path
        A folder with the files of one scan, or any one file of a scan.

    Raises
    ------
    RecordingError
        If the folder holds files of several scans.
    """
    path = Path(path)
    folder, named = (path, None) if path.is_dir() else (path.parent, NAME.match(path.name))
    if not path.is_dir() and named is None:
        return []
    scans: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if (found := NAME.match(file.name)) and file.is_file():
            scans.setdefault(found["scan"], []).append(file)
    if named is not None:
        return scans.get(named["scan"], [])
    if len(scans) > 1:
        shown = ", ".join(f"{files[0].name} …" for files in list(scans.values())[:4])
        raise RecordingError(
            f"{path}: the folder holds raw files of {len(scans)} scans ({shown}); give one file of "
            "the scan that is meant."
        )
    return next(iter(scans.values()), [])


def scan_name(path: Path) -> str:
    """What a scan's results are called: its folder, or what its files' names begin with."""
    named = None if path.is_dir() else NAME.match(path.name)
    return path.resolve().name if named is None else named["scan"].rstrip("_") or path.stem


def state_of_scan(files: list[Path]) -> tuple[int, int]:
    """Bytes of all files, and the last change of any [ns]."""
    states = [file_state(str(file)) for file in files]
    return sum(size for size, _ in states), max(changed for _, changed in states)


@lru_cache(maxsize=2)
def read_map(path: str, state: tuple[int, int]) -> ScanMap:
    """Read the headers of all records of a scan; a worker does so once for all its reads.

    Parameters
    ----------
    path : str
        As for ``scan_files``.
    state : tuple
        Of its files: changed files get another map.

    Raises
    ------
    RecordingError
        If a file is cut short, or its headers contradict each other or the scan.
    """
    files = scan_files(path)
    heads = [_heads(file) for file in files]
    one = next((head[0] for head in heads if head.size), None)
    if one is None:
        raise RecordingError(f"{path}: its {len(files)} raw files hold no record.")
    width, height = (int(n) for n in one["size"])
    if not width or not height:
        raise RecordingError(f"{files[0]}: the header says a scan of {height} x {width} positions.")
    for file, head in zip(files, heads, strict=True):
        _check(file, head, one)
    counts = [head.size for head in heads]
    every = np.concatenate(heads)
    position = every["at"][:, 1].astype(np.int64) * width + every["at"][:, 0]
    sector = np.repeat([_sector(file) for file in files], counts)
    number = np.repeat(np.arange(len(files)), counts)
    record = np.concatenate([np.arange(count) for count in counts])
    order = np.lexsort((sector, every["frame"], position))
    position, frame, sector = position[order], every["frame"][order], sector[order]
    fresh = np.ones(order.size, bool)
    fresh[1:] = (np.diff(position) != 0) | (np.diff(frame.astype(np.int64)) != 0)
    at = np.cumsum(fresh) - 1
    twice = np.flatnonzero(~fresh[1:] & (np.diff(sector) == 0))
    if twice.size:
        n, again = order[twice[0]], order[twice[0] + 1]
        raise RecordingError(
            f"{files[number[again]]}: record {record[again]} is sector {sector[twice[0]]} of frame "
            f"{every['frame'][again]}, which {files[number[n]].name} holds in record {record[n]}; "
            "one of the two is a copy."
        )
    place = np.full((2, int(at[-1]) + 1, SECTORS), LOST, np.int32)
    place[0, at, sector], place[1, at, sector] = number[order], record[order]
    starts = np.searchsorted(position[fresh], np.arange(width * height + 1))
    return ScanMap(
        tuple(map(str, files)), int(one["scan"]), (height, width), starts,
        place[0].astype(np.int16), place[1],
    )  # fmt: skip


def _sector(file: Path) -> int:
    found = NAME.match(file.name)
    assert found is not None
    number = int(found["sector"])
    if number >= SECTORS:
        raise RecordingError(f"{file}: module {number} in its name; a camera has modules 0 to 3.")
    return number


def _heads(file: Path) -> np.ndarray:
    """Headers of a file's records, without reading what lies between them."""
    size = file.stat().st_size
    if size % RECORD.itemsize:
        raise RecordingError(
            f"{file}: {size} bytes are no whole number of records of {RECORD.itemsize} bytes; the "
            "file is cut short, still being written, or no raw file of layout 4 or 5."
        )
    heads = np.empty(size // RECORD.itemsize, HEAD)
    if heads.size:
        records = np.memmap(file, RECORD, "r")
        records._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]  # no read-ahead
        for name in HEAD.names or ():
            heads[name] = records[name]
    return heads


def _check(file: Path, head: np.ndarray, one: Any) -> None:
    _sector(file)
    for name, what in (("scan", "scan number"), ("size", "scan of (width, height)")):
        differs = head[name] != one[name]
        differs = differs.any(axis=1) if differs.ndim == 2 else differs
        if differs.any():
            n = int(np.argmax(differs))
            raise RecordingError(
                f"{file}: record {n} has the {what} {head[name][n]!s}, other files have "
                f"{one[name]!s}; the files are of several scans, or damaged."
            )
    outside = (head["at"] >= one["size"]).any(axis=1)
    if outside.any():
        n = int(np.argmax(outside))
        col, row = head["at"][n]
        raise RecordingError(
            f"{file}: record {n} is of scan position ({row}, {col}), outside the scan of "
            f"{times(one['size'][::-1])}; the file is damaged."
        )


@contextmanager
def frame_reader(scan: ScanMap, layout: int) -> Iterator[Any]:
    """Give a function that reads some frames of a scan into an array.

    It is called with the numbers of the frames and a (frames, 576, 576) uint16 array; what a lost
    sector leaves out becomes 0. It raises a ``RecordingError`` where a file ends in a record.
    """
    opened: dict[int, int] = {}
    with ExitStack() as closing:

        def file(number: int) -> int:
            if number not in opened:
                opened[number] = os.open(scan.files[number], os.O_RDONLY)
                closing.callback(os.close, opened[number])
            return opened[number]

        def read(frames: np.ndarray, out: np.ndarray) -> None:
            across = np.empty((SIDE, BAND), "<u2")
            for frame, target in zip(frames, out, strict=True):
                for sector in range(SECTORS):
                    band = slice(sector * BAND, (sector + 1) * BAND)
                    part = target[band] if layout == 5 else target[:, band]
                    number = int(scan.file[frame, sector])
                    if number == LOST:
                        part[:] = 0
                        continue
                    at = int(scan.record[frame, sector]) * RECORD.itemsize + HEAD.itemsize
                    buffer = part if layout == 5 else across
                    if os.preadv(file(number), [buffer.reshape(-1).data.cast("B")], at) != (
                        buffer.nbytes
                    ):
                        raise RecordingError(f"{scan.files[number]}: the file ends in a record.")
                    if layout == 4:
                        part[:] = across

        yield read
