"""What the workers of a night's cluster are: numbers of the machine, not of the microscope."""

from typing import Annotated

from pydantic import Field

from flows.options import Options

Directive = Annotated[str, Field(pattern=r"^--?[A-Za-z][^\n]*$")]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9._,+-]+$")]


class WorkerOptions(Options):
    """Workers of the cluster that a night opens for itself."""

    count: int | None = Field(default=None, ge=1, le=10_000, examples=[8])
    """Workers; for `slurm` also Slurm jobs. Absent: one a core (`local`), one a GPU
    (`local-cuda`), one (`slurm`)."""
    threads: int | None = Field(default=None, ge=1, le=256, examples=[4])
    """Threads of a worker, and its cores in Slurm; absent: 1."""
    memory_gib: float | None = Field(default=None, ge=0.25, le=100_000, examples=[32])
    """Memory of a worker [GiB]; a worker that needs more is started anew. Absent: its part of the
    machine (`local`, `local-cuda`), 16 (`slurm`)."""
    gpus: int = Field(default=0, ge=0, le=1, examples=[1])
    """GPUs of a Slurm job, which has one worker: one or none. For more GPUs give `count`."""
    partition: Word | None = Field(default=None, examples=["gpu"])
    """Slurm's partition."""
    account: Word | None = Field(default=None, examples=["em-facility"])
    """Slurm's account."""
    walltime: str = Field(
        default="12:00:00", pattern=r"^(\d+-)?\d{1,2}:\d{2}:\d{2}$", examples=["08:00:00"]
    )
    """Longest run of a Slurm job, hours:minutes:seconds."""
    directives: tuple[Directive, ...] = Field(default=(), examples=[["--qos=night"]])
    """Further `#SBATCH` lines."""
    interface: Word | None = Field(default=None, examples=["ib0"])
    """Network interface over which Slurm's nodes reach this machine; absent: that of its name."""
