"""The job as a whole: where results go, what computes them, and the datasets."""

from pydantic import Field

from flows.dataset import Dataset
from flows.options import MIRROR, Options
from flows.worker_options import WorkerOptions


class Job(Options):
    """A night: where results go, what computes them, and the datasets."""

    output: str = Field(examples=["/data/reprocessed"])
    """Folder of the results, relative to the job file; made where it is not there."""
    mirror: str | None = Field(default=None, pattern=MIRROR, examples=["s3://nights/2026"])
    """Object store that each finished dataset is copied to as well, as fsspec takes it; its keys
    come from the environment. Needs `phasemill[s3]` for S3."""
    mirror_steps: bool = Field(default=False, examples=[True])
    """Copy event stores and finished steps to `mirror` too, and bring back what is missing here: a
    night goes on from them on another machine or an empty disk."""
    cluster: str = Field(
        default="local",
        pattern=r"^(local|local-cuda|threads|slurm|(tcp|tls)://.+)$",
        examples=["tcp://scheduler:8786"],
    )
    """What computes: `local` (a process for each core), `threads` (of one process), `local-cuda`
    (a process for each GPU), `slurm` (jobs of the queue), or the address of a Dask scheduler."""
    workers: WorkerOptions = Field(
        default=WorkerOptions(), examples=[{"count": 4, "memory_gib": 16}]
    )
    """How many and how large the workers are, where the night opens its own cluster."""
    tries: int = Field(default=2, ge=1, le=20, examples=[3])
    """How often a dataset is tried that failed for a reason that may pass: a lost scheduler,
    network or disk. Bad data are tried once."""
    retry_wait_s: float = Field(default=10, ge=0, le=3600, examples=[60])
    """Seconds before the second try; the wait doubles from try to try."""
    datasets: tuple[Dataset, ...] = Field(examples=[[{"path": "a.h5"}]])
    """The recordings, each with the keys of the next table."""
