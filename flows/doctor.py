"""The doctor: looks for what most often keeps a mill from running, and says how to mend it."""

import importlib.util
import os
import platform
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
from numba import cuda

from flows.settings import state_folder

ENOUGH_DISK = 20 << 30
ENOUGH_SHARED_MEMORY = 1 << 30
ENOUGH_MEMORY_PER_CORE = 1 << 30


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    level: str
    """``ok``, ``warn`` (works, but not well) or ``bad`` (will not work)."""
    found: str
    mend: str = ""


def examine(output: Path) -> list[Finding]:
    """Look at this machine and at the folder that results are to go to.

    Parameters
    ----------
    output : Path
        A folder, or one that could be made.

    Returns
    -------
    list of Finding
        One for each check.
    """
    return [
        finding
        for check in (_python, _clock, _memory, _shared_memory, _gpu, _localhost)
        for finding in check()
    ] + [finding for check in (_folder, _state) for finding in check(output)]


def as_rows(findings: list[Finding]) -> list[dict[str, Any]]:
    """Findings as JSON values."""
    return [asdict(finding) for finding in findings]


def _python() -> Iterator[Finding]:
    wanted = {"dask": "2026.7.1", "distributed": "2026.7.1", "prefect": "3.8.8", "numba": "0.68.1"}
    wrong = [f"{n} {version(n)} (tested: {v})" for n, v in wanted.items() if version(n) != v]
    yield Finding(
        "versions",
        "warn" if wrong else "ok",
        "; ".join(wrong) or f"Python {platform.python_version()}, packages as tested",
        "install with the project's constraints file" if wrong else "",
    )


def _clock() -> Iterator[Finding]:
    # A clock before the newest of our own files makes times of change and schedules meaningless.
    newest, now = Path(__file__).stat().st_mtime, time.time()
    level = "ok" if now >= newest else "warn"
    yield Finding(
        "clock",
        level,
        time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now)),
        "" if level == "ok" else "the clock is behind this installation; set it (NTP)",
    )


def _memory() -> Iterator[Finding]:
    memory, cores = psutil.virtual_memory().available, psutil.cpu_count() or 1
    level = "ok" if memory >= cores * ENOUGH_MEMORY_PER_CORE else "warn"
    yield Finding(
        "memory",
        level,
        f"{memory / 2**30:.1f} GiB free for {cores} cores",
        "" if level == "ok" else "close other programs, or use fewer workers",
    )


def _shared_memory() -> Iterator[Finding]:
    path = Path("/dev/shm")  # noqa: S108  (the system's own, which is only looked at)
    if not path.is_dir():
        return
    free = shutil.disk_usage(path).free
    level = "ok" if free >= ENOUGH_SHARED_MEMORY else "warn"
    yield Finding(
        "shared memory",
        level,
        f"{free / 2**30:.1f} GiB in {path}",
        "" if level == "ok" else "give the container more, for example --shm-size=2g",
    )


def _gpu() -> Iterator[Finding]:
    has_driver, has_cupy = cuda.is_available(), importlib.util.find_spec("cupy") is not None
    if has_driver and not has_cupy:
        yield Finding("GPU", "warn", "a CUDA device, but no CuPy", "install phasemill[gpu]")
    elif has_cupy and not has_driver:
        yield Finding("GPU", "warn", "CuPy, but no CUDA device or driver", "look at nvidia-smi")
    else:
        yield Finding("GPU", "ok", "one is used" if has_driver else "none; the CPU forms are used")


def _localhost() -> Iterator[Finding]:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
        yield Finding("localhost", "ok", "ports can be opened on 127.0.0.1")
    except OSError as error:
        yield Finding("localhost", "bad", str(error), "allow connections on the loopback device")


def _folder(output: Path) -> Iterator[Finding]:
    standing = next(p for p in [output, *output.absolute().parents] if p.exists())
    try:
        with (
            tempfile.TemporaryDirectory(dir=standing) as folder,
            h5py.File(Path(folder) / "probe.h5", "w") as file,
        ):
            file["x"] = np.arange(3)
        yield Finding("output", "ok", f"{standing} can be written; HDF5 can lock files there")
    except OSError as error:
        yield Finding(
            "output",
            "bad",
            f"{standing}: {error}",
            "mend the permissions, or set HDF5_USE_FILE_LOCKING=FALSE where locks are not there",
        )
    free = shutil.disk_usage(standing).free
    level = "ok" if free >= ENOUGH_DISK else "warn"
    yield Finding(
        "disk",
        level,
        f"{free / 2**30:.0f} GiB free at {standing}",
        "" if level == "ok" else "a 1024 × 1024 scan needs about 4 GB for its events",
    )


def _state(_: Path) -> Iterator[Finding]:
    folder = state_folder()
    standing = next(p for p in [folder, *folder.parents] if p.exists())
    writable = os.access(standing, os.W_OK)
    yield Finding(
        "state folder",
        "ok" if writable else "bad",
        f"{folder} {'can' if writable else 'cannot'} be written",
        "" if writable else "set XDG_STATE_HOME to a folder of your own",
    )
