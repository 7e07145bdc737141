"""The command ``phasemill export``, and what all commands share: ``--json`` and tables of facts."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from flows.cli_night import console, refuse

AsJson = Annotated[bool, typer.Option("--json", help="Print machine-readable results.")]


def export(
    source: Annotated[
        Path, typer.Argument(help="A dataset's folder; for events, an event store too.")
    ],
    target: Annotated[
        Path,
        typer.Argument(
            help="What to write; its suffix says as what: .zspy and .hspy (hyperspy), .ome.zarr, "
            ".ome.tif, .emd (py4DSTEM), .nxs (NeXus), .h5 (stempy's events), .eer (events)."
        ),
    ],
    take: Annotated[
        str | None,
        typer.Option(
            help="An image's name, images, dense or events.",
            show_default="all images, the best one or the events, as the format holds",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write images, patterns or events for other programs.

    Comes out: TARGET, whole or not at all, with axes in Å; a table of what it holds.

    Example: phasemill export reprocessed/scan147 scan147.emd --take dense
    """
    from tasks.export.export import ExportError
    from tasks.export.export import export as write

    try:
        facts = write(source, target, take, overwrite)
    except (ExportError, OSError) as error:
        refuse(error, as_json)
    typer.echo(json.dumps(facts, indent=1, ensure_ascii=False) if as_json else facts["path"])
    if not as_json:
        console.print(facts_table(facts))


def facts_table(facts: dict[str, Any]) -> Table:
    """Facts as a table of names and values."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in facts.items():
        many = isinstance(value, list)
        lines = "\n".join(value) if many and all(isinstance(v, str) for v in value) else str(value)
        table.add_row(name, lines)
    return table
