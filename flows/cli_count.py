"""``phasemill count``: electrons of raw camera frames, as an event store or a counted file."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from flows.cli_export import AsJson, facts_table
from flows.cli_night import console, refuse


def count(
    context: typer.Context,
    path: Annotated[
        Path,
        typer.Argument(help="Folder with the raw sector files of a scan, or one of its files."),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the event store.")] = Path("stores"),
    h5: Annotated[
        Path | None, typer.Option(help="Also write an electron-counted file, as stempy does.")
    ] = None,
    layout: Annotated[
        int | None, typer.Option(help="Sectors are rows (5) or columns (4).", show_default="5")
    ] = None,
    dark: Annotated[
        Path | None, typer.Option(help="Raw values without electrons (.npy), subtracted.")
    ] = None,
    gain: Annotated[
        Path | None, typer.Option(help="Response of each pixel (.npy), divided out.")
    ] = None,
    background_sigmas: Annotated[
        float | None,
        typer.Option(help="Electrons are so many σ of the noise above it.", show_default="5"),
    ] = None,
    xray_sigmas: Annotated[
        float | None,
        typer.Option(help="X-rays are so many σ of all above the mean.", show_default="175"),
    ] = None,
    shoulders: Annotated[
        bool | None,
        typer.Option(
            help="Also take second electrons without a gap to a first.", show_default="shoulders"
        ),
    ] = None,
    background_threshold: Annotated[
        float | None, typer.Option(help="Known threshold of a pixel, in place of the fitted ones.")
    ] = None,
    xray_threshold: Annotated[float | None, typer.Option(help="Known threshold of X-rays.")] = None,
    samples: Annotated[
        int | None, typer.Option(help="Frames to take thresholds from.", show_default="64")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides which frames these are.", show_default="0")
    ] = None,
    drop_flyback: Annotated[bool, typer.Option(help="Drop the flyback column.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Count the electrons of a raw scan of the 4D Camera.

    A count that was interrupted goes on. A job can also name the raw folder itself.

    Comes out: OUTPUT/NAME/events.zarr, an event store that explore and export take, and with --h5
    the electrons in a file, as stempy writes it. Prints the path of the store and what is in it.

    Example: phasemill count raw/scan147 --dark dark.npy --h5 scan147.h5
    """
    from flows.chosen import chosen_counting
    from flows.options import CountingOptions
    from flows.reprocess import ingest_file
    from tasks.array_files import ArrayFileError
    from tasks.export.export import ExportError, export
    from tasks.files import why_unwritable
    from tasks.formats.recording import RecordingError
    from tasks.formats.sector_files import scan_files, scan_name
    from tasks.ingest import ReaderOptions
    from tasks.memory import MemoryPlanError

    told: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in context.params.items()
        if name in CountingOptions.model_fields and value is not None
    }
    try:
        options = CountingOptions(**told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        refuse(f"{'.'.join(map(str, first['loc'])) or 'options'}: {first['msg']}", as_json)
    if h5 is not None:
        why = why_unwritable(h5)
        if h5.exists() and not overwrite:
            why = "is there already; --overwrite replaces it."
        elif h5.suffix != ".h5":
            why = "needs the suffix .h5."
        if why is not None:
            refuse(f"{h5}: {why}", as_json)
    try:
        if not path.exists() or not scan_files(path):
            raise RecordingError(
                f"{path}: there are no raw sector files (…module0….data); events that are counted "
                "need no count, 'phasemill ingest' reads them."
            )
        reader = ReaderOptions(drop_flyback=drop_flyback, counting=chosen_counting(options))
        facts = ingest_file(path, output, reader, console, quiet or as_json, scan_name(path))
        if h5 is not None:
            facts["h5"] = export(Path(facts["store"]), h5, overwrite=overwrite)["path"]
    except (RecordingError, ArrayFileError, ExportError, MemoryPlanError, OSError) as error:
        refuse(error, as_json)
    typer.echo(json.dumps(facts, indent=1, ensure_ascii=False) if as_json else facts["store"])
    if not as_json:
        console.print(facts_table(facts))
