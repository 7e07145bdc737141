"""Recordings at an address (``https://``, ``s3://``, …), copied whole beside the event store.

Keys are never part of an address: fsspec takes them from the environment, as its stores document.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import fsspec

from tasks.formats.hdf5 import first_line
from tasks.redact import redacted
from tasks.store.files import write_json

REMOTE = re.compile(r"^[a-z][a-z0-9+]*://")


class FetchError(OSError):
    """An address that gives no recording."""


def is_remote(path: str) -> bool:
    """Tell an address from a path."""
    return REMOTE.match(path) is not None


def file_name(address: str) -> str:
    """Name of the file at an address."""
    return address.rstrip("/").rpartition("/")[2]


def fetch(address: str, folder: Path) -> Path:
    """Copy a file from its address, or find the copy that was made of the same.

    Parameters
    ----------
    address : str
        Of one file, as fsspec takes it.
    folder : Path
        For the copy, which keeps the file's name.

    Returns
    -------
    Path
        The copy: whole, because it gets its name when all its bytes are there.

    Raises
    ------
    FetchError
        If the address does not answer, holds no file, or ends before its end.
    """
    target, note = folder / file_name(address), folder / "fetched.json"
    aside = target.with_name(f"{target.name}.partial")
    try:
        store, path = fsspec.core.url_to_fs(address)
        store.invalidate_cache()
        told = _told(address, store.info(path))
        if target.is_file() and _noted(note) == told:
            return target
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_what_does_not_fit(address, folder, told["size"])
        note.unlink(missing_ok=True)
        store.get_file(path, str(aside))
        copied = aside.stat().st_size
    except FetchError:
        raise
    except ImportError as error:
        raise FetchError(f"{address}: {error}; install phasemill[s3].") from error
    except Exception as error:  # the errors of each store's own library
        # fsspec calls everything that HTTP brings a missing file; its cause says what it was.
        cause = error.__cause__ or error
        if isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) == 404:
            raise FetchError(f"{address}: there is no such file.") from error
        # Alone: where an address leads to a signed one, the store's own error quotes it.
        raise FetchError(redacted(f"{address}: cannot be read: {first_line(cause)}.")) from None
    if told["size"] is not None and copied != told["size"]:
        raise FetchError(f"{address}: {copied} of {told['size']} bytes came; try again.")
    aside.replace(target)
    write_json(note, told)
    return target


def _told(address: str, info: dict[str, Any]) -> dict[str, Any]:
    """What the store says of the file, by which a changed one is known."""
    if info.get("type") == "directory":
        raise FetchError(f"{address}: this is a folder; recordings at an address are single files.")
    size = info.get("size")
    state = next((info[k] for k in ("ETag", "etag", "LastModified", "mtime") if info.get(k)), None)
    return {"address": address, "size": None if size is None else int(size), "state": str(state)}


def _refuse_what_does_not_fit(address: str, folder: Path, size: int | None) -> None:
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if size is not None and size > free:
        raise FetchError(f"{address}: {size} bytes, and {folder} has {free} bytes free.")


def _noted(note: Path) -> Any:
    """What was told of the copy that is there."""
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
