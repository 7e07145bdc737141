"""What the command line does with a night: run it, say how it went, and end with its code."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import typer

from flows.deadline import Deadline
from flows.progress import stderr_console
from flows.stop import StoppedError, stoppable
from tasks.files import in_words

console = stderr_console()


@dataclass(frozen=True)
class Request:
    """How a night is to run, beside what its job says."""

    force: list[str]
    """Steps to redo."""
    prefect: bool
    as_json: bool
    quiet: bool
    until: Deadline | None = None


def refuse(why: str | BaseException, as_json: bool = False) -> NoReturn:
    """Say why the request was wrong, and end with exit code 2."""
    message = why if isinstance(why, str) else in_words(why)
    if as_json:
        typer.echo(json.dumps({"error": message}))
    console.print(message, markup=False, highlight=False, style="red")
    raise typer.Exit(2)


def mill(
    job: Any, request: Request, beside: Callable[[dict[str, Any]], None] | None = None
) -> None:
    """Run a night and say how it went; ``beside`` adds to what a whole one prints."""
    run_night = _night_runner(request, job.cluster == "local")
    with _ending(request.as_json):
        night = run_night(
            job, request.force, request.prefect, console, request.quiet or request.as_json,
            request.until,
        )  # fmt: skip
    lost = any(row["status"] in ("failed", "skipped") for row in night["datasets"])
    if beside is not None and not lost:
        beside(night)
    if request.as_json:
        typer.echo(json.dumps(night, indent=1, ensure_ascii=False))
    else:
        for row in night["datasets"]:
            say(row)
        alone = night["datasets"][0]["report"] if len(night["datasets"]) == 1 else None
        typer.echo(alone or night["index"] or "")
    if lost:
        raise typer.Exit(1)


def mill_arrivals(path: Path, every: float, request: Request) -> None:
    """Mill recordings as they become complete, and say of each how it went."""
    run_night = _night_runner(request, False)
    from flows.job import JobError, read_job
    from flows.recordings import never_told
    from flows.watch import watch

    def night(job: Any, earlier: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows = run_night(
            job, request.force, request.prefect, console, request.quiet or request.as_json,
            request.until, earlier,
        )["datasets"]  # fmt: skip
        for row in rows:
            if request.as_json:
                typer.echo(json.dumps(row, ensure_ascii=False))
            else:
                say(row)
        return rows

    with _ending(request.as_json), stoppable():
        if faults := never_told(read_job(path, awaited=True)):
            raise JobError(str(path), faults)
        rows = watch(lambda: read_job(path, awaited=True), night, every, request.until)
    if any(row["status"] in ("failed", "skipped") for row in rows):
        raise typer.Exit(1)


def register(
    job: Path, name: str, pool: str, when: tuple[str | None, str, str | None], as_json: bool
) -> None:
    """Register a night with a Prefect server, and say where it stands."""
    _settings_of_prefect(False, as_json)
    from flows.deploy import DeployError, Schedule, deploy
    from flows.job import JobError

    cron, timezone, until = when
    try:
        if until is not None:
            Deadline.at(until)
            if cron is None:
                raise ValueError("--until needs a schedule; give --cron too")
        schedule = None if cron is None else Schedule(cron, timezone, until)
        made = deploy(job, name, pool, schedule)
    except (DeployError, JobError, ValueError) as error:
        refuse(error, as_json)
    if as_json:
        typer.echo(json.dumps(made, indent=1))
        return
    when_said = made["schedule"] or "when it is asked to"
    console.print(f"{made['deployment']} at {made['server']}: {when_said}", highlight=False)
    console.print(f"its worker: prefect worker start --pool {pool}", highlight=False)
    typer.echo(made["id"])


def say(row: dict[str, Any]) -> None:
    """One line for a person: what became of a dataset."""
    colour = {"failed": "red", "skipped": "yellow"}.get(row["status"], "green")
    said = {"ok": "done", "unchanged": "already finished, left as it is"}
    console.print(f"[{colour}]{row['status']:>9}[/] ", end="")
    console.print(
        f"{row['name']}: {said.get(row['status'], row['reason'])}", markup=False, highlight=False
    )


def _settings_of_prefect(recorded: bool, as_json: bool) -> None:
    """Set them, and say what becomes of the record; to be called before Prefect is imported."""
    from flows.settings import PlaceError, quiet_local_prefect

    try:
        said = quiet_local_prefect()
    except PlaceError as error:
        refuse(error, as_json)
    if said and recorded:
        console.print(said, markup=False, highlight=False, style="yellow")


def _night_runner(request: Request, processes: bool) -> Callable[..., dict[str, Any]]:
    """Load the mill, which takes seconds, while workers' processes and Prefect's server start."""
    from flows.fork_server import start_fork_server

    _settings_of_prefect(request.prefect, request.as_json)
    if processes:
        start_fork_server()
    if request.prefect:
        from flows.prefect_server import start_server_ahead

        start_server_ahead()
    from flows.overnight import run_night

    return run_night


@contextmanager
def _ending(as_json: bool) -> Iterator[None]:
    """End with the code for it when the night cannot start, or is stopped."""
    from flows.job import JobError
    from flows.lock import NightError

    try:
        yield
    except (NightError, JobError) as error:
        refuse(error, as_json)
    except (StoppedError, KeyboardInterrupt) as error:
        number = error.number if isinstance(error, StoppedError) else signal.SIGINT
        console.print(
            f"stopped by {signal.Signals(number).name}; what is published is whole. Run the job "
            "again to go on."
        )
        raise typer.Exit(128 + number) from None
