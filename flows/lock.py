"""The lock of a night's output: two nights never write to one folder."""

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.store import layout

LEAST_FREE_DISK = 1 << 30


class NightError(RuntimeError):
    """The night as a whole cannot start."""


@contextmanager
def locked_output(output: Path) -> Iterator[Path]:
    """Hold a night's output alone for as long as the block runs.

    The lock goes with the process that holds it, so a killed night leaves none behind.

    Raises
    ------
    NightError
        If the folder cannot be made or written, is nearly full, or another night holds it.
    """
    root = layout.work_root(output)
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / "lock").open("a+")
    except OSError as error:
        raise NightError(
            f"output {output} cannot be written ({error.strerror}); give another folder."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise NightError(
                f"another night is writing to {output}{_who(file.read())}; wait for it, or give "
                "another folder."
            ) from error
        if (free := shutil.disk_usage(output).free) < LEAST_FREE_DISK:
            raise NightError(
                f"output {output} has {free / 2**20:.0f} MiB free, at least "
                f"{LEAST_FREE_DISK / 2**20:.0f} MiB are needed; make room."
            )
        # For whoever is refused: who it is, and since when.
        file.truncate(0)
        file.write(
            json.dumps(
                {
                    "host": socket.gethostname(),
                    "process": os.getpid(),
                    "since": time.strftime("%Y-%m-%d %H:%M:%S"),
                }
            )
        )
        file.flush()
        yield output


def _who(text: str) -> str:
    try:
        holder = json.loads(text)
        return f" (process {holder['process']} on {holder['host']}, since {holder['since']})"
    except (ValueError, KeyError, TypeError):
        return ""
