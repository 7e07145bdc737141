"""Overnight: every dataset of a job, one after another, each failing alone."""

import fcntl
import shutil
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow
from rich.console import Console

from flows.clusters import ClusterError, cluster
from flows.dataset import Dataset
from flows.job import Job
from flows.progress import StepLines, step_lines
from flows.reprocess import ORDER, reprocess
from tasks.report.night import write_night
from tasks.store import layout

LEAST_FREE_DISK = 1 << 30


class NightError(RuntimeError):
    """The night as a whole cannot start."""


def run_night(
    job: Job, force: list[str], prefect: bool, console: Console, quiet: bool
) -> dict[str, Any]:
    """Run a job: open its cluster, mill every dataset, write the night's page.

    Parameters
    ----------
    job : Job
        A checked job.
    force : list of str
        Steps to redo in every dataset.
    prefect : bool
        Whether Prefect records the night.
    console : Console
        For progress.
    quiet : bool
        Show none.

    Returns
    -------
    dict
        ``datasets`` (a row each), ``index`` (path of the night's page) and ``seconds``.

    Raises
    ------
    NightError
        If the output cannot be written, another night writes to it, or there is no cluster.
    """
    if unknown := [name for name in force if name not in ORDER]:
        raise NightError(
            f"--force {unknown[0]}: there is no such step; steps are {', '.join(ORDER)}"
        )
    start = time.monotonic()
    with locked_output(Path(job.output)) as output, step_lines(console, quiet) as lines:
        try:
            with cluster(job.cluster) as client:
                night = overnight if prefect else overnight.fn
                rows = night(job, client.scheduler.address, force, lines)
        except ClusterError as error:
            raise NightError(f"cluster: {error}") from error
        index = write_night(output, rows)
    return {
        "datasets": rows,
        "index": str(index),
        "seconds": round(time.monotonic() - start, 1),
    }


@flow(name="overnight", validate_parameters=False, persist_result=False)
def overnight(
    job: Job, scheduler: str, force: list[str] | None = None, lines: StepLines | None = None
) -> list[dict[str, Any]]:
    """Mill every dataset of a job on one cluster.

    Returns
    -------
    list of dict
        A row for each dataset; one that failed has its reason.
    """
    rows = []
    for dataset in job.datasets:
        if lines is not None:
            lines.start(dataset.name if len(job.datasets) > 1 else "")
        rows.append(_one(dataset, job.output, scheduler, force or []))
    return rows


def _one(dataset: Dataset, output: str, scheduler: str, force: list[str]) -> dict[str, Any]:
    # As a plain call inside a plain night, as a sub-flow inside Prefect's.
    from prefect.context import FlowRunContext

    mill = reprocess if FlowRunContext.get() is not None else reprocess.fn
    start = time.monotonic()
    log = layout.error_log(Path(output), dataset.name)
    try:
        row = mill(dataset, output, scheduler, force)
    except Exception as error:
        # One dataset's failure, whatever it is, must not cost the night's others.
        _keep_traceback(log)
        return {
            "name": dataset.name,
            "status": "failed",
            "reason": _reason(error, dataset.path, log),
            "seconds": round(time.monotonic() - start, 1),
            "report": None,
            "flags": [],
        }
    log.unlink(missing_ok=True)  # of an earlier night
    return row


def _reason(error: Exception, recording: str, log: Path) -> str:
    """Why a dataset failed, in one sentence that names its recording."""
    reason = str(error)
    if not reason or not isinstance(error, ValueError | OSError | RuntimeError):
        reason = f"{type(error).__name__}: {error} (details in {log})"
    return reason if recording in reason else f"{recording}: {reason}"


def _keep_traceback(log: Path) -> None:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:  # a full or read-only disk is often the very reason
        return


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
        file = (root / "lock").open("a")
    except OSError as error:
        raise NightError(
            f"output {output} cannot be written ({error.strerror}); give another folder."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise NightError(
                f"another night is writing to {output}; wait for it, or give another folder."
            ) from error
        if (free := shutil.disk_usage(output).free) < LEAST_FREE_DISK:
            raise NightError(
                f"output {output} has {free / 2**20:.0f} MiB free, at least "
                f"{LEAST_FREE_DISK / 2**20:.0f} MiB are needed; make room."
            )
        yield output
