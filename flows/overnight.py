"""Overnight: every dataset of a job, one after another, each failing alone."""

import errno
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from distributed import Client
from distributed.comm import CommClosedError
from prefect import flow
from rich.console import Console

from flows.clusters import ClusterError, NightCluster
from flows.dataset import Dataset
from flows.deadline import Deadline
from flows.job import Job
from flows.lock import NightError, locked_output
from flows.progress import StepLines, step_lines
from flows.reprocess import ORDER, redone, reprocess
from flows.step import is_lost_record, recorded, unrecorded
from flows.stop import stoppable
from tasks.files import in_words
from tasks.mirror import mirror
from tasks.redact import redacted
from tasks.report.night import write_night
from tasks.step_copies import StepCopies
from tasks.store import layout
from tasks.units import LostSchedulerError

LASTING = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOTDIR}
"""Errors of the file system that another try does not mend."""
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""Errors of the disk that is written to: recordings are only read."""
LONGEST_WAIT = 300.0
"""Seconds before another try, at most."""


def run_night(
    job: Job,
    force: list[str],
    prefect: bool,
    console: Console,
    quiet: bool,
    until: Deadline | None = None,
    earlier: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Run a job: open its cluster, mill every dataset, write the night's page.

    Parameters
    ----------
    job : Job
        A checked job.
    force : list of str
        Steps to redo in every dataset, with all that follow.
    prefect : bool
        Whether Prefect records the night.
    console : Console
        For progress.
    quiet : bool
        Show none.
    until : Deadline, optional
        After it, no further dataset begins.
    earlier : sequence of dict
        Rows of datasets that were milled before, for the same page.

    Returns
    -------
    dict
        ``datasets`` (a row each), ``index`` (path of the night's page, or None) and ``seconds``.

    Raises
    ------
    NightError
        If the output cannot be written, another night writes to it, or there is no cluster.
    StoppedError
        If SIGTERM came; everything that is published is whole.
    """
    if unknown := [name for name in force if name not in ORDER]:
        raise NightError(
            f"--force {unknown[0]}: there is no such step; steps are {', '.join(ORDER)}"
        )
    start = time.monotonic()
    with (
        stoppable(),
        locked_output(Path(job.output)) as output,
        step_lines(console, quiet) as lines,
    ):
        try:
            with NightCluster(job.cluster, job.workers, layout.work_root(output)) as cluster:
                rows = _rows(job, cluster.client, force, until, lines, prefect, console)
        except ClusterError as error:
            raise NightError(f"cluster: {error}") from error
        index = _write_page(output, [*earlier, *rows], console)
    return {
        "datasets": rows,
        "index": index,
        "seconds": round(time.monotonic() - start, 1),
    }


def _rows(
    job: Job,
    client: Callable[[], Client],
    force: list[str],
    until: Deadline | None,
    lines: StepLines | None,
    prefect: bool,
    console: Console,
) -> list[dict[str, Any]]:
    """Rows of all datasets, with Prefect's record of them or, where its server is lost, without."""
    rows: list[dict[str, Any]] = []
    if prefect:
        try:
            return overnight(job, client, force, until, lines, rows.append)
        except Exception as error:
            if not is_lost_record(error):
                raise
            console.print(
                "Prefect's server does not answer any more; the night goes on without its record",
                style="yellow",
            )
    done = {row["name"] for row in rows}
    left = tuple(dataset for dataset in job.datasets if dataset.name not in done)
    with unrecorded():
        left_job = job.model_copy(update={"datasets": left})
        return rows + overnight.fn(left_job, client, force, until, lines)


def _write_page(output: Path, rows: list[dict[str, Any]], console: Console) -> str | None:
    """Write the night's page, where there is room for it: the rows must reach the user anyhow."""
    try:
        return str(write_night(output, rows, datetime.now().astimezone()))
    except OSError as error:
        why = in_words(error)
        console.print(f"{output}: the night's page cannot be written: {why}", markup=False)
        return None


@flow(name="overnight", validate_parameters=False, persist_result=False)
def overnight(
    job: Job,
    client: Callable[[], Client],
    force: list[str],
    until: Deadline | None = None,
    lines: StepLines | None = None,
    keep: Callable[[dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Mill every dataset of a job on one cluster, those of the highest priority first.

    Parameters
    ----------
    job : Job
        A checked job.
    client : callable
        Gives a Dask client whose scheduler answers.
    force : list of str
        Steps to redo in every dataset.
    until : Deadline, optional
        After it, no further dataset begins.
    lines : StepLines, optional
        Is told which dataset is at hand.
    keep : callable, optional
        Is given each row as soon as its dataset is done.

    Returns
    -------
    list of dict
        A row for each dataset; one that failed or was left out has its reason.
    """
    rows = []
    for dataset in sorted(job.datasets, key=lambda dataset: -dataset.priority):
        if until is not None and until.passed:
            reason = f"not begun before {until.label}; the next run takes it up"
            rows.append(_row(dataset, "skipped", reason, 0.0))
        else:
            if lines is not None:
                lines.start(dataset.name if len(job.datasets) > 1 else "")
            rows.append(_one(dataset, job, client, force, until))
        if keep is not None:
            keep(rows[-1])
    return rows


def _one(
    dataset: Dataset,
    job: Job,
    client: Callable[[], Client],
    force: list[str],
    until: Deadline | None,
) -> dict[str, Any]:
    """Row of a dataset, after as many tries as the job allows."""
    # As a plain call inside a plain night, as a sub-flow inside Prefect's.
    mill = reprocess if recorded() else reprocess.fn
    start = time.monotonic()
    log = layout.error_log(Path(job.output), dataset.name)
    for attempt in range(1, job.tries + 1):
        try:
            copies = None
            if job.mirror is not None and job.mirror_steps:
                copies = StepCopies.of(Path(job.output), dataset.name, job.mirror)
                copies.bring_back(step for step in ORDER[:-1] if step not in redone(force))
            row = mill(dataset, job.output, client(), force, copies)
            if job.mirror is not None:
                mirror(Path(job.output) / dataset.name, job.mirror)
        except Exception as error:
            if recorded() and is_lost_record(error):
                raise
            # One dataset's failure, whatever it is, must not cost the night's others.
            _keep_traceback(log)
            late = until is not None and until.passed
            if attempt < job.tries and may_pass(error) and not late:
                time.sleep(min(job.retry_wait_s * 2 ** (attempt - 1), LONGEST_WAIT))
                continue
            reason = _reason(error, dataset.path, log, job.output)
            if attempt > 1:
                reason += f" ({attempt} tries)"
            return _row(dataset, "failed", reason, time.monotonic() - start)
        log.unlink(missing_ok=True)  # of an earlier night
        return row | {"tries": attempt}
    raise AssertionError("a job has one try at least")


def may_pass(error: Exception) -> bool:
    """Whether another try may succeed: the network, a scheduler or a disk, and not the data."""
    if isinstance(error, LostSchedulerError | ClusterError | CommClosedError | TimeoutError):
        return True
    return isinstance(error, OSError) and not (
        isinstance(error, FileNotFoundError) or error.errno in LASTING
    )


def _row(dataset: Dataset, status: str, reason: str, seconds: float) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "status": status,
        "reason": reason,
        "seconds": round(seconds, 1),
        "report": None,
        "flags": [],
    }


def _reason(error: Exception, recording: str, log: Path, output: str) -> str:
    """Why a dataset failed, in one sentence that names its recording."""
    reason = in_words(error)
    if isinstance(error, OSError) and error.errno in NO_ROOM and output not in reason:
        reason = f"the disk of the output {output}: {reason}"
    if not reason or not isinstance(error, ValueError | OSError | RuntimeError):
        reason = f"{type(error).__name__}: {error} (details in {log})"
    return redacted(reason if recording in reason else f"{recording}: {reason}")


def _keep_traceback(log: Path) -> None:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(redacted(traceback.format_exc()), encoding="utf-8")
    except OSError:  # a full or read-only disk is often the very reason
        return
