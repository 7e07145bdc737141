"""Where the units of work run: one Dask cluster for a whole night."""

from collections.abc import Iterator
from contextlib import contextmanager

import dask
import psutil
from distributed import Client, LocalCluster

CONNECT_WITHIN = 60
"""Seconds to wait for an existing scheduler before saying that it is not there."""


class ClusterError(RuntimeError):
    """The cluster that the job names cannot be used."""


@contextmanager
def cluster(kind: str) -> Iterator[Client]:
    """Open the cluster that a job names and close it afterwards.

    Parameters
    ----------
    kind : str
        ``local``: one process a core. ``threads``: threads of this process. ``tcp://…`` or
        ``tls://…``: a scheduler that is already there, which is left running.

    Yields
    ------
    distributed.Client
        Connected, with at least one worker.

    Raises
    ------
    ClusterError
        If no scheduler answers at the address, or it has no worker.
    """
    # Everything stays on this machine: Dask's protocol runs what it is sent.
    with dask.config.set(
        {"distributed.comm.retry.count": 3, "distributed.logging.distributed": "error"}
    ):
        if "://" in kind:
            with _existing(kind) as client:
                yield client
            return
        cores = psutil.cpu_count(logical=True) or 1
        processes = kind == "local"
        with (
            LocalCluster(
                n_workers=cores if processes else 1,
                threads_per_worker=1 if processes else cores,
                processes=processes,
                host="127.0.0.1",
                protocol="tcp://",
                dashboard_address=None,
                # Without an address of its own the scheduler takes port 8787, and complains where
                # a neighbour's has it.
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                silence_logs=50,
            ) as local,
            Client(local, set_as_default=False) as client,
        ):
            yield client


@contextmanager
def _existing(address: str) -> Iterator[Client]:
    try:
        client = Client(address, set_as_default=False, timeout=CONNECT_WITHIN)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address} within {CONNECT_WITHIN} s ({error}); start "
            "it, or give the job 'cluster: local'."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_WITHIN)
        except TimeoutError as error:
            raise ClusterError(
                f"the Dask scheduler at {address} has had no worker for {CONNECT_WITHIN} s; start "
                "one with 'dask worker'."
            ) from error
        yield client
