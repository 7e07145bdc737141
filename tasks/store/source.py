"""The fingerprint of a recording: its SHA-256, taken once and remembered while the file stands."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.files import why_unreadable
from tasks.formats.linked import linked_files
from tasks.formats.raw_csr import array_files, is_raw_csr
from tasks.formats.sector_files import scan_files
from tasks.store.files import hash_file, hash_of, write_json


@dataclass(frozen=True)
class Source:
    """One recording as it was read."""

    path: str
    size: int
    """Bytes."""
    modified: int
    """Time of the last change [ns since 1970]."""
    sha256: str


State = tuple[int, int]
"""Size [bytes] and time of the last change [ns] of a recording."""


def state_of(path: Path) -> State:
    """Size and last change of a recording.

    Of a file and all that it links to, of all that a folder (Zarr) holds, or of a scan's files.

    Raises
    ------
    ValueError
        If it is a pipe or device, which would be waited for, or a bare folder.
    OSError
        If it is not there or may not be read.
    """
    stats = [os.stat(file) for file in _files(path)]
    return sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)


def fingerprint(path: Path, remembered: Path) -> Source:
    """Hash a recording, or recall its hash while its size and time of change are the same.

    Parameters
    ----------
    path : Path
        A file; or a folder (Zarr) or raw scan, whose files are hashed one by one.
    remembered : Path
        Where the last fingerprint was written, and this one will be.

    Returns
    -------
    Source
        What identifies the recording.

    Raises
    ------
    ValueError
        If there is nothing to hash: a pipe or device, which would be waited for, or a bare folder.
    OSError
        If it is not there or may not be read.
    """
    if (last := recalled(path, remembered)) is not None:
        return last
    before = state_of(path)
    return remember(path, before, hash_files(*files_of(path)), remembered)


def recalled(path: Path, remembered: Path) -> Source | None:
    """The last fingerprint, if the recording's size and time of change are those it had then."""
    state = state_of(path)
    try:
        last = Source(**json.loads(remembered.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return last if (last.path, last.size, last.modified) == (str(path), *state) else None


def remember(path: Path, state: State, sha256: str, remembered: Path) -> Source:
    """Write down the hash of a recording, whose state was this before it was hashed."""
    source = Source(str(path), *state, sha256)
    write_json(remembered, asdict(source))
    return source


def files_of(path: Path) -> tuple[list[str], str | None]:
    """All files of a recording, and the folder from which they are named; None for a single file.

    Raises
    ------
    ValueError, OSError
        As ``fingerprint``.
    """
    files = _files(path)
    folder = path if path.is_dir() else path.parent
    return [str(file) for file in files], None if files == [path] else str(folder)


def hash_files(files: list[str], folder: str | None) -> str:
    """SHA-256 of a recording's only file, or of the names and hashes of all its files."""
    if folder is None:
        return hash_file(Path(files[0]))
    return hash_of({os.path.relpath(file, folder): hash_file(Path(file)) for file in files})


def _files(path: Path) -> list[Path]:
    if (why := why_unreadable(path, folders=True)) is not None:
        raise (ValueError if os.path.exists(path) else FileNotFoundError)(f"{path}: {why}")
    if raw := scan_files(path):
        return raw
    if path.is_file() and is_raw_csr(str(path)):
        return [path, *array_files(path)]
    if path.is_file():
        return [path, *linked_files(path)]
    files = sorted(p for p in path.rglob("*") if p.is_file())
    if not files:
        raise ValueError(f"{path}: this is a folder, and no Zarr: it holds no file.")
    return files
