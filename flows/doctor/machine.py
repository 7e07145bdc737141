"""The machine itself: its clock, its memory, and how many files a program may open."""

import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from flows.doctor.finding import Finding

ENOUGH_MEMORY_PER_CORE = 1 << 30
ENOUGH_SHARED_MEMORY = 1 << 30
ENOUGH_FILES = 1024
"""A worker holds a file and a socket for each neighbour; PostgreSQL and Prefect add theirs."""
CLOCKS_AGREE_S = 60


def clock(output: Path) -> Iterator[Finding]:
    """Whether time runs on from what is installed, and as on the machine that holds the output."""
    now, newest = time.time(), Path(__file__).stat().st_mtime
    shown = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now))
    if now < newest:
        yield Finding(
            "clock", "warn", f"{shown}, before this installation was made", "set it (NTP)"
        )
        return
    try:
        with tempfile.NamedTemporaryFile(dir=output) as file:
            ahead = Path(file.name).stat().st_mtime - time.time()
    except OSError:
        ahead = 0.0  # said by the check of the output
    if abs(ahead) > CLOCKS_AGREE_S:
        yield Finding(
            "clock",
            "warn",
            f"{shown}; the file server of {output} is {abs(ahead):.0f} s "
            f"{'ahead' if ahead > 0 else 'behind'}",
            "set both by NTP: --watch tells a complete recording by its time of change",
        )
    else:
        yield Finding("clock", "ok", shown)


def memory() -> Iterator[Finding]:
    """Memory for a worker on each core, the limit of a container taken into account."""
    from distributed.system import MEMORY_LIMIT

    free, cores = min(psutil.virtual_memory().available, MEMORY_LIMIT), psutil.cpu_count() or 1
    enough = free >= cores * ENOUGH_MEMORY_PER_CORE
    yield Finding(
        "memory",
        "ok" if enough else "warn",
        f"{free / 2**30:.1f} GiB free for {cores} cores",
        ""
        if enough
        else "close other programs, or use fewer workers: `workers: {count: 2}` in the job",
    )


def shared_memory(path: Path = Path("/dev/shm")) -> Iterator[Finding]:  # noqa: S108  (looked at only)
    """Room in the shared memory, of which containers get 64 MiB by default."""
    if not path.is_dir():
        return
    free = shutil.disk_usage(path).free
    enough = free >= ENOUGH_SHARED_MEMORY
    yield Finding(
        "shared memory",
        "ok" if enough else "warn",
        f"{free / 2**30:.1f} GiB free in {path}",
        ""
        if enough
        else "training with several processes needs more: delete what lies there, "
        "or give the container --shm-size=2g",
    )


def open_files() -> Iterator[Finding]:
    """How many files and sockets a process may hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft == resource.RLIM_INFINITY or soft >= ENOUGH_FILES
    yield Finding(
        "open files",
        "ok" if enough else "warn",
        f"at most {soft} for a process",
        "" if enough else f"ulimit -n {ENOUGH_FILES}, or LimitNOFILE in the systemd unit "
        f"(the system allows {hard})",
    )  # fmt: skip
