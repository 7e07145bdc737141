"""Nightly: what a schedule starts on a Prefect server, a job file in and artifacts out."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from rich.console import Console

from flows.deadline import Deadline
from flows.job import read_job
from flows.overnight import run_night


class NightFailure(RuntimeError):  # noqa: N818  (the state that Prefect shows is a failure)
    """Some datasets of a night failed or were left out; the others are complete."""


@flow(name="nightly", persist_result=False)
def nightly(job: str, until: str | None = None, force: list[str] | None = None) -> None:
    """Run a job file as one night, and leave its summary with the Prefect server.

    Parameters
    ----------
    job : str
        Path of the job file, on the machine of the worker.
    until : str, optional
        ``HH:MM``, local time: no dataset begins after it.
    force : list of str, optional
        Steps to redo.

    Raises
    ------
    NightFailure
        At the end, if any dataset failed or was left out, so that automations see it.
    """
    deadline = None if until is None else Deadline.at(until)
    night = run_night(read_job(job), force or [], True, Console(quiet=True), True, deadline)
    rows = night["datasets"]
    create_table_artifact(key="night", table=[_shown(row) for row in rows], description=job)
    if night["index"] is not None:
        create_markdown_artifact(key="night-page", markdown=_page(Path(night["index"]), rows))
    if lost := [row for row in rows if row["status"] in ("failed", "skipped")]:
        raise NightFailure(f"{len(lost)} of {len(rows)} datasets: {_first(lost)}")


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    flags = [flag for flag in row["flags"] if flag["level"] != "ok"]
    return {
        "dataset": row["name"],
        "status": row["status"],
        "seconds": row.get("seconds"),
        "look at": "; ".join(flag["flag"] for flag in flags),
        "reason": row.get("reason", ""),
    }


def _page(index: Path, rows: list[dict[str, Any]]) -> str:
    done = sum(row["status"] in ("ok", "unchanged") for row in rows)
    lines = [f"{done} of {len(rows)} datasets are complete.", "", f"[{index}]({index.as_uri()})"]
    return "\n".join(lines)


def _first(lost: list[dict[str, Any]]) -> str:
    return "; ".join(f"{row['name']} {row['status']}, {row['reason']}" for row in lost[:5])
