"""``phasemill probe``: find the probe of each dataset of a job from its patterns, and list it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from flows.cli_export import AsJson
from flows.cli_night import Request, console, mill, refuse

COLUMNS = ("C10", "C12", "C21", "C23", "C30", "C32", "C34")


def probe(
    job: Annotated[Path, typer.Argument(help="The job file (YAML).")],
    no_prefect: Annotated[
        bool, typer.Option("--no-prefect", help="Run without Prefect's record of the night.")
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Mill a job with probes found from the patterns. Each of them is listed.

    Every step of the job that needs the probe takes the one that was found, unless the job gives
    the aberrations.

    Comes out: what run makes, with found_probe in results.zarr; and a table of the aberrations.

    Example: phasemill probe night.yaml
    """
    from flows.job import JobError, read_job

    try:
        checked = read_job(job)
    except JobError as error:
        refuse(error, as_json)
    datasets = tuple(
        one.model_copy(update={"steps": tuple(dict.fromkeys((*one.steps, "probe")))})
        for one in checked.datasets
    )

    def listed(night: dict[str, Any]) -> None:
        for row in night["datasets"]:
            row["probe"] = _found(Path(row["folder"]))
        if not as_json:
            console.print(_table(night["datasets"]))

    request = Request([], not no_prefect, as_json, quiet)
    mill(checked.model_copy(update={"datasets": datasets}), request, listed)


def _found(folder: Path) -> dict[str, Any]:
    """Summary of the step, as the provenance has it."""
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    step = next(one for one in provenance["steps"] if one["name"] == "probe")
    return dict(step["summary"])


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("dataset", *(f"{name} [Å]" for name in COLUMNS), "free wavefront")
    for row in rows:
        found = row["probe"]["aberrations"]
        sizes = (f"{found[name]:.4g}" if name in found else "-" for name in COLUMNS)
        table.add_row(row["name"], *sizes, "yes" if row["probe"]["free_wavefront"] else "no")
    return table
