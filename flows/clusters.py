"""Where the units of work run: one Dask cluster for a whole night.

Dask runs what it is sent, so whoever reaches a scheduler runs programs. Clusters on this machine
listen on 127.0.0.1 alone; Slurm's nodes talk TLS with keys made for the night.
"""

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
import psutil
from distributed import Client, LocalCluster, Nanny, Security, Status, Worker

from flows.fork_server import fork_server_ended, start_fork_server
from flows.worker_options import WorkerOptions
from tasks.device import VARIABLE as DEVICE

CONNECT_WITHIN = 60
"""Seconds to wait for an existing scheduler before saying that it is not there."""
QUEUE_WITHIN = 3600
"""Seconds to wait for Slurm's first worker."""
LOOPBACK = "127.0.0.1"
QUIET: dict[str, Any] = {
    "distributed.comm.retry.count": 3,
    "distributed.logging.distributed": "critical",
    # Units without any worker fail after a while; by default they wait for ever.
    "distributed.scheduler.no-workers-timeout": "10 minutes",
}
RETURNING: dict[str, Any] = {
    # Workers that are lost come back, however long that takes a busy machine; after 15 seconds
    # their nannies would be closed for good.
    "distributed.deploy.lost-worker-timeout": "1 hour",
}
FORKED = RETURNING | {
    "distributed.worker.multiprocessing-method": "forkserver",
    # Workers would be asked 100 times a second what they are at, and every event loop look 50 times
    # a second whether it is late: more than half of what a cluster takes that does nothing.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
}
CONFIGURED = {"local": FORKED, "local-cuda": RETURNING}
"""Of kinds of cluster. A job that Slurm lost is not waited for, but replaced."""


class ClusterError(RuntimeError):
    """The cluster that the job names cannot be used."""


class SteadyNanny(Nanny):
    """Keeps a worker running, whoever is killed and when.

    Dask's own looks a few times a second whether a worker has come up. One that is killed before it
    looks leaves it waiting, and this waiting then takes for itself what the next worker says: that
    one is never seen to run, is not replaced when it dies, and closing the cluster waits for ever.
    """

    async def instantiate(self) -> Status:
        """Start a worker, with nothing left of the one before."""
        before: Any = getattr(self, "process", None)
        if before is not None and before.status == Status.stopped:
            self.process = None
        return await super().instantiate()


class ForkingNanny(SteadyNanny):
    """Keeps a worker running that is a fork of a process which has loaded what is needed."""

    async def _on_worker_exit(self, exitcode: int) -> None:
        await fork_server_ended()
        start_fork_server()  # Dask would start another, that loads nothing ahead
        await super()._on_worker_exit(exitcode)


class NightCluster:
    """The cluster of a night, opened anew where it was lost.

    Parameters
    ----------
    kind : str
        ``local``: one process a core. ``threads``: threads of this process. ``local-cuda``: one
        process a GPU. ``slurm``: jobs of the queue. ``tcp://…`` or ``tls://…``: a scheduler that
        is already there, which is left running.
    workers : WorkerOptions
        Number and size of the workers, where the cluster is opened here.
    shared : Path, optional
        Folder that Slurm's nodes see too, for the keys of the night.

    Raises
    ------
    ClusterError
        If it cannot be opened, no scheduler answers at the address, or it has no worker.
    """

    def __init__(
        self, kind: str, workers: WorkerOptions | None = None, shared: Path | None = None
    ) -> None:
        self._kind, self._workers, self._shared = kind, workers or WorkerOptions(), shared
        self._open = ExitStack()
        self._client: Client | None = None

    def __enter__(self) -> "NightCluster":
        # A failed unit is said once, by the night, and not by every scheduler and worker as well.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._open.enter_context(dask.config.set(QUIET))
        self.client()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def client(self) -> Client:
        """Give a client whose scheduler answers."""
        if self._client is not None and not _answers(self._client):
            self._open.close()
            self._open = ExitStack()
            self._open.enter_context(dask.config.set(QUIET))
            self._client = None
        if self._client is None:
            opened = cluster(self._kind, self._workers, self._shared)
            self._client = self._open.enter_context(opened)
        return self._client


@contextmanager
def cluster(
    kind: str, workers: WorkerOptions | None = None, shared: Path | None = None
) -> Iterator[Client]:
    """Open a cluster and close it afterwards; see ``NightCluster``."""
    workers = workers or WorkerOptions()
    if kind == "local":
        start_fork_server()
    if "://" in kind:
        with _existing(kind) as client:
            yield client
    else:
        with (
            dask.config.set(CONFIGURED.get(kind, {})),
            _opened(kind, workers, shared) as opened,
            Client(opened, set_as_default=False) as one,
        ):
            if kind == "slurm":
                _wait(one, QUEUE_WITHIN, "Slurm has started no worker; look at squeue and sinfo")
            yield one


def _answers(client: Client) -> bool:
    try:
        return client.status == "running" and bool(client.run_on_scheduler(_here))
    except Exception:  # whatever is wrong with it, another one is needed
        return False


def _here() -> bool:
    return True


def _opened(kind: str, workers: WorkerOptions, shared: Path | None) -> Any:
    """Cluster of a kind, to be closed by whoever asked."""
    return {"local-cuda": _cuda, "slurm": _slurm}.get(kind, _local)(kind, workers, shared)


def _local(kind: str, workers: WorkerOptions, _: Path | None) -> LocalCluster:
    cores = psutil.cpu_count(logical=True) or 1
    processes = kind == "local"
    count = workers.count or (cores if processes else 1)
    threads = workers.threads or (1 if processes else cores)
    if processes and count > 1 and os.environ.get(DEVICE) == "cuda":
        raise ClusterError(
            f"{DEVICE} is cuda, and 'cluster: local' starts {count} processes, each of which would "
            "take one GPU for its own; give the job 'cluster: local-cuda', or unset the variable."
        )
    # The process of which workers are forks has the environment that was there when it began.
    own = {"env": dict(os.environ)} if processes else {}
    return LocalCluster(
        n_workers=count,
        threads_per_worker=threads,
        worker_class=ForkingNanny if processes else Worker,
        memory_limit=_bytes(workers) or "auto",
        host=LOOPBACK,
        protocol="tcp://",
        dashboard_address=None,
        # Without an address of its own the scheduler takes port 8787, and complains where
        # a neighbour's has it.
        scheduler_kwargs={"dashboard_address": f"{LOOPBACK}:0"},
        silence_logs=50,
        **own,
    )


def _cuda(_: str, workers: WorkerOptions, __: Path | None) -> Any:
    from numba import cuda

    if importlib.util.find_spec("dask_cuda") is None:
        raise ClusterError("local-cuda needs dask-cuda; install phasemill[gpu].")
    if not cuda.is_available():
        raise ClusterError(
            "local-cuda found no CUDA device or driver; look at nvidia-smi, or give the job "
            "'cluster: local'."
        )
    if (count := workers.count) is not None and count > (there := len(cuda.gpus)):
        raise ClusterError(
            f"the job asks for {count} workers, one a GPU, and {there} "
            f"{'is' if there == 1 else 'are'} visible; give 'workers: {{count: {there}}}' or none."
        )
    from dask_cuda import LocalCUDACluster

    # Nannies read this when they are made, and give it to each worker that they start.
    with dask.config.set({f"distributed.nanny.environ.{DEVICE}": "cuda"}):
        return _cuda_workers(LocalCUDACluster, workers)


def _cuda_workers(make: Callable[..., Any], workers: WorkerOptions) -> Any:
    return make(
        # The first of those that this process may see: others may be somebody else's.
        n_workers=workers.count,
        worker_class=SteadyNanny,
        threads_per_worker=workers.threads or 1,
        memory_limit=_bytes(workers) or "auto",
        # What does not fit the device is moved to the host, what does not fit there to disk. Memory
        # is pooled by CuPy; a pool of RMM's would only keep half of the device from it.
        device_memory_limit=0.8,
        host=LOOPBACK,
        dashboard_address=f"{LOOPBACK}:0",
        silence_logs=50,
    )


def _slurm(_: str, workers: WorkerOptions, shared: Path | None) -> Any:
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ClusterError("slurm needs dask-jobqueue; install phasemill[slurm].") from error
    logs = None if shared is None else str(shared / "slurm-logs")
    extra: dict[str, Any] = {"worker_command": "dask_cuda.cli"} if workers.gpus else {}
    opened = SLURMCluster(
        queue=workers.partition,
        account=workers.account,
        walltime=workers.walltime,
        cores=workers.threads or 1,
        processes=1,
        memory=f"{workers.memory_gib or 16} GiB",
        job_extra_directives=[
            *([f"--gres=gpu:{workers.gpus}"] if workers.gpus else []),
            *workers.directives,
        ],
        job_script_prologue=[
            "export PYTHONSAFEPATH=1",
            *([f"export {DEVICE}=cuda"] if workers.gpus else []),
        ],
        job_name="phasemill",
        log_directory=logs,
        interface=workers.interface,
        protocol="tls://",
        security=Security.temporary(),
        shared_temp_directory=None if shared is None else str(shared),
        scheduler_options={"dashboard": False},
        silence_logs="critical",
        **extra,
    )
    # A fixed scale does not replace a job that the queue lost; a range of one size does.
    count = workers.count or 1
    opened.adapt(minimum_jobs=count, maximum_jobs=count)
    return opened


def _bytes(workers: WorkerOptions) -> int | None:
    return None if workers.memory_gib is None else int(workers.memory_gib * 2**30)


@contextmanager
def _existing(address: str) -> Iterator[Client]:
    try:
        # A client that finds out by itself cannot be closed any more, and keeps the process.
        keys = Security().get_connection_args("client").get("ssl_context")
    except OSError as error:
        raise ClusterError(f"keys for {address} cannot be read: {error}") from error
    if address.startswith("tls:") and keys is None:
        raise ClusterError(
            f"{address} talks TLS, and this process has no keys for it; set "
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__TLS__CLIENT__CERT and …__TLS__CLIENT__KEY."
        )
    try:
        client = Client(address, set_as_default=False, timeout=CONNECT_WITHIN)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address} within {CONNECT_WITHIN} s ({error}); start "
            "it, or give the job 'cluster: local'."
        ) from error
    with client:
        _wait(
            client,
            CONNECT_WITHIN,
            f"the Dask scheduler at {address} has no worker; start one with 'dask worker'",
        )
        yield client


def _wait(client: Client, seconds: float, otherwise: str) -> None:
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError as error:
        raise ClusterError(f"{otherwise} (waited {seconds:.0f} s).") from error
