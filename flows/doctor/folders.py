"""Folders: the output, the disk below it, the kernels' cache, and what is remembered."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np

from flows.doctor.finding import Finding
from flows.settings import can_write, kernel_caches, state_folder

ENOUGH_DISK = 20 << 30
ENOUGH_INODES = 100_000


def output_folder(standing: Path) -> Iterator[Finding]:
    """Write, lock and rename as a night does, in a folder that is deleted again."""
    try:
        with tempfile.TemporaryDirectory(dir=standing) as folder:
            _published(Path(folder))
            try:
                with h5py.File(Path(folder) / "probe.h5", "w") as file:
                    file["x"] = np.arange(3)
            except OSError as error:
                yield Finding(
                    "file locks",
                    "bad",
                    f"{standing}: HDF5: {error}",
                    "export HDF5_USE_FILE_LOCKING=FALSE where the file system has no locks, or "
                    "mount it with them",
                )
            else:
                yield Finding("file locks", "ok", f"HDF5 can lock files in {standing}")
    except OSError as error:
        yield Finding(
            "output",
            "bad",
            f"{standing} cannot be written ({error.strerror or error})",
            "give this user the right to write there, mend what the error names, or choose "
            "another `output` in the job",
        )
    else:
        yield Finding("output", "ok", f"{standing} can be written, and folders renamed")


def disk(standing: Path) -> Iterator[Finding]:
    """Room for results: bytes, and the files that a file system can still make."""
    free, system = shutil.disk_usage(standing).free, os.statvfs(standing)
    if system.f_files and system.f_favail < ENOUGH_INODES:
        yield Finding(
            "disk",
            "warn",
            f"{system.f_favail} more files can be made at {standing}",
            "delete small files, or choose another file system: a dataset has some hundred files",
        )
        return
    enough = free >= ENOUGH_DISK
    yield Finding(
        "disk",
        "ok" if enough else "warn",
        f"{free / 2**30:.0f} GiB free at {standing}",
        ""
        if enough
        else "make room: a 1024 × 1024 scan with 2,000 electrons a frame needs about 4 GB for its "
        "events",
    )


def kernel_cache() -> Iterator[Finding]:
    """A folder where compiled kernels are kept from one run to the next."""
    folders = kernel_caches()
    for folder in folders:
        if can_write(folder):
            yield Finding("kernel cache", "ok", f"compiled kernels are kept in {folder}")
            return
    yield Finding(
        "kernel cache",
        "warn",
        f"{' and '.join(map(str, folders))} cannot be written: each run compiles its kernels anew, "
        "which takes a minute",
        "export NUMBA_CACHE_DIR=<a folder of your own>",
    )


def state() -> Iterator[Finding]:
    """The folder of what is remembered, where Prefect keeps its database."""
    home = os.environ.get("PREFECT_HOME")
    folder = Path(home) if home else state_folder()
    try:
        standing = next(p for p in [folder, *folder.absolute().parents] if os.path.exists(p))
        with (
            tempfile.TemporaryDirectory(dir=standing) as place,
            closing(sqlite3.connect(Path(place) / "probe.db", timeout=1)) as database,
        ):
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE x (y)")
            database.commit()
    except OSError as error:
        yield Finding(
            "state folder",
            "bad" if home else "warn",
            f"{folder} cannot be written ({error.strerror or error})"
            + ("" if home else ": Prefect's record of a night goes with its run"),
            "set XDG_STATE_HOME (or PREFECT_HOME, if that is set) to a folder of your own",
        )
    except sqlite3.Error as error:
        yield Finding(
            "state folder",
            "bad",
            f"{folder} holds no database: {error}",
            "network file systems often have no locks for SQLite: set XDG_STATE_HOME to a local "
            "folder, or run with --no-prefect",
        )
    else:
        yield Finding("state folder", "ok", f"{folder} can be written and holds a database")


def _published(folder: Path) -> None:
    """Write a folder aside, flush it and rename it into place, as results are."""
    aside = folder / "aside"
    aside.mkdir()
    with (aside / "x").open("wb") as file:
        file.write(b"x")
        file.flush()
        os.fsync(file.fileno())
    aside.rename(folder / "place")
    if not (folder / "place" / "x").is_file():
        raise OSError("a renamed folder is not there")
