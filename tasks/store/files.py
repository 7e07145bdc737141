"""Files of a result: their names and hashes, and small ones written whole."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from tasks.store import layout


def hash_of(value: Any) -> str:
    """SHA-256 of a JSON value in its canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_names(folder: Path) -> list[str]:
    """Names inside a folder of all files that count as its data, in a fixed order."""
    root, found = os.fspath(folder), list[str]()
    for at, folders, files in os.walk(root):
        files = [name for name in files if os.path.isfile(os.path.join(at, name))]
        if at == root:
            folders[:] = [name for name in folders if name != layout.RECORDS]
            found += [name for name in files if name != layout.MANIFEST]
        else:
            inside = at[len(root) + 1 :]
            found += [f"{inside}/{name}" for name in files]
    return sorted(found, key=lambda name: name.split("/"))


def make_sure_of_room(path: Path, size: int) -> None:
    """Find out now whether some bytes more fit beside a file, for a writer that crashes otherwise.

    Parameters
    ----------
    path : Path
        Of the file, for its folder and for the error.
    size : int
        Bytes that are to come.

    Raises
    ------
    OSError
        Of the system, with the file's name: no space, or no quota.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.room.partial")
    try:
        with aside.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(size, 1))
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), os.fspath(path)) from None
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, value: Any, lasting: bool = True, indent: int | None = 1) -> None:
    """Write JSON whole or not at all, and make it last through a power cut.

    What programs alone read goes without an indent, which Python takes ten times as long for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with aside.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False))
        if lasting:
            file.flush()
            os.fsync(file.fileno())
    aside.replace(path)
