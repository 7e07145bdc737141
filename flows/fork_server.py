"""A process that has loaded what workers need, and of which they are forks.

To load it takes seconds of a core. So it is done once and not by each worker, and while the night's
own process loads what it needs itself. The server goes when its night goes, however that ends.
"""

import multiprocessing
import os
from multiprocessing import forkserver

LOADED = ["distributed", "tasks.ingest", "tasks.reduce", "tasks.calibrate", "tasks.ssb",
          "tasks.store.halves", "flows.cli"]  # fmt: skip
"""What is loaded ahead: the steps of every night, and the command that started this one, which each
worker would load again."""
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
