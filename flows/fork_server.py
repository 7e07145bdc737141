"""A process that has loaded what workers need, and of which they are forks.

To load it takes seconds of a core. So it is done once and not by each worker, and while the night's
own process loads what it needs itself. The server goes when its night goes, however that ends.
"""

import asyncio
import multiprocessing
import os
from contextlib import suppress
from multiprocessing import forkserver

import psutil

LOADED = ["distributed", "tasks.ingest", "tasks.reduce", "tasks.calibrate", "tasks.ssb",
          "tasks.store.halves", "tasks.results", "flows.cli", "flows.fork_child"]  # fmt: skip
"""What is loaded ahead: the steps of every night, and the command that started this one, which each
worker would load again, and what has forks die with this process."""
AT_START = {
    # As Dask has it for workers that it starts itself; libraries read it when they are loaded.
    # But for MALLOC_TRIM_THRESHOLD_: memory that is given back after every array has to be cleared
    # again for the next, which takes a tenth of a dataset's time.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # No folder in which the night happens to be started may shadow a module.
    "PYTHONSAFEPATH": "1",
}

LOOK_AFTER = 0.01
"""Seconds between looks whether it has ended."""


def start_fork_server() -> None:
    """Start it, where it does not run yet, and do not wait for it."""
    before = dict(os.environ)
    multiprocessing.get_context("forkserver").set_forkserver_preload(LOADED)
    os.environ.update(AT_START)
    try:
        forkserver.ensure_running()
    finally:
        for name in AT_START:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


async def fork_server_ended() -> None:
    """Wait while it is ending, which nobody has to wait for unless it was killed.

    It has closed its files then, from which others learn that it has ended. But it still counts as
    running: whoever asks it for a worker is refused, and its forks are not ended yet.
    """
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    with suppress(psutil.Error):
        server = psutil.Process(pid) if pid else None
        while server and server.status() != psutil.STATUS_ZOMBIE and server.num_fds() == 0:
            await asyncio.sleep(LOOK_AFTER)
