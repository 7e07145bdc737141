"""The command line: ``phasemill run``, ``demo``, ``ingest``, ``simulate``, ``verify``, and so on.

Results go to standard output, everything for the eye to standard error. Exit codes: 0 all done,
1 some dataset failed or was left out (the others are complete), 2 the request itself was wrong,
128 + N stopped by signal N.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli_count import count
from flows.cli_export import AsJson, export, facts_table
from flows.cli_night import Request, console, mill, mill_arrivals, refuse, register
from flows.cli_probe import probe
from flows.cli_simulate import simulate
from flows.cli_train import train
from flows.settings import PlaceError, find_caches


class Told(typer.core.TyperGroup):
    """Commands that end with a sentence where the file system refuses what they were asked."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.filename is None:
                raise
            refuse(error)


app = typer.Typer(
    cls=Told,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Force = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="STEP",
        help="Redo this step and all that follow; can be given again.",
    ),
]
NoPrefect = Annotated[
    bool,
    typer.Option(
        "--no-prefect", help="Run without Prefect's record of the night; starts seconds sooner."
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="HH:MM",
        help="Begin no further dataset after this time of day; list the rest.",
    ),
]
Watch = Annotated[
    float | None,
    typer.Option(
        "--watch",
        min=1,
        metavar="SECONDS",
        help="Look every so many seconds for recordings that have become complete, and mill them; "
        "ends at --until or with a signal.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@app.callback(help="The overnight mill that turns 4D-STEM electron events into phase images.")
def start(context: typer.Context) -> None:
    """Before any command: make sure that compiled kernels find a place."""
    if context.invoked_subcommand != "doctor":  # which says where they would be
        try:
            find_caches()
        except PlaceError as error:
            refuse(error)


@app.command()
def run(
    job: Annotated[Path, typer.Argument(help="The job file (YAML).")],
    force: Force = None,
    until: Until = None,
    watch: Watch = None,
    no_prefect: NoPrefect = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Mill every dataset of a job. A finished one is left as it is, a half-finished one goes on.

    Comes out: index.html in the job's output, a row for each dataset; NAME/ with report.html,
    results.zarr, images/*.tif and *.png, and provenance.json. Prints the path of the page to open.

    Example: phasemill run night.yaml --until 07:00
    """
    from flows.deadline import Deadline
    from flows.job import JobError, read_job

    try:
        deadline = None if until is None else Deadline.at(until)
        checked = read_job(job, awaited=watch is not None)
    except JobError as error:
        refuse(error, as_json)
    except ValueError as error:
        refuse(f"--until: {error}", as_json)
    request = Request(force or [], not no_prefect, as_json, quiet, deadline)
    if watch is None:
        mill(checked, request)
    else:
        mill_arrivals(job, watch, request)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    no_prefect: NoPrefect = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Simulate a scan, mill it, and end with a report to open. Needs no data and no network.

    Comes out: demo/demo/report.html, and demo/truth.html with what was found beside the truth.

    Example: phasemill demo --output demo
    """
    from flows.demo import beside_truth, demo_job, truth_table

    def beside(night: dict[str, Any]) -> None:
        comparison, page = beside_truth(output)
        night["truth"] = comparison.as_json() | {"page": str(page)}
        if not as_json:
            console.print(truth_table(comparison))
            console.print(f"found beside the truth: {page}", markup=False, highlight=False)

    request = Request([], not no_prefect, as_json, quiet)
    mill(demo_job(output, console, quiet or as_json), request, beside)


app.command()(simulate)
app.command()(train)
app.command()(probe)


@app.command()
def ingest(
    path: Annotated[Path, typer.Argument(help="A recording, in any known format.")],
    output: Annotated[Path, typer.Option(help="Folder for the event store.")] = Path("stores"),
    array: Annotated[
        str | None, typer.Option(help="Which array, where a file has several.")
    ] = None,
    scan_shape: Annotated[
        tuple[int, int] | None, typer.Option(help="Scan rows and columns, if the file lacks them.")
    ] = None,
    detector_shape: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Detector rows and columns, if the file leaves them open."),
    ] = None,
    drop_flyback: Annotated[bool, typer.Option(help="Drop the flyback column.")] = False,
    drop_outside: Annotated[
        bool, typer.Option(help="Leave out events outside the detector, and count them.")
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(help="Counts from this value on are one electron.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Turn a recording into an event store, and say what is in it.

    Comes out: stores/NAME/events.zarr, which later commands read in place of the recording; and a
    table of its format, shapes, electrons and faults.

    Example: phasemill ingest scan147_electrons.h5 --drop-flyback
    """
    from flows.reprocess import ingest_file
    from tasks.ingest import ReaderOptions
    from tasks.memory import MemoryPlanError

    options = ReaderOptions(
        array=array, scan_shape=scan_shape, detector_shape=detector_shape,
        drop_flyback=drop_flyback, threshold=threshold,
        out_of_range="drop" if drop_outside else "error",
    )  # fmt: skip
    try:
        facts = ingest_file(path, output, options, console, quiet or as_json)
    except (ValueError, OSError, MemoryPlanError) as error:
        refuse(error, as_json)
    typer.echo(json.dumps(facts, indent=1, ensure_ascii=False) if as_json else facts["store"])
    if not as_json:
        console.print(facts_table(facts))


app.command()(count)


@app.command()
def deploy(
    job: Annotated[Path, typer.Argument(help="The job file, at the path that workers see.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the deployment.", show_default="the job's name")
    ] = None,
    pool: Annotated[str, typer.Option(help="Work pool whose workers run it.")] = "phasemill",
    cron: Annotated[
        str | None, typer.Option(help="When nights begin, for example '0 22 * * 1-5'.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="Time zone of the schedule.")] = "UTC",
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Register the night of a job with a Prefect server. Its address is PREFECT_API_URL.

    Comes out: a deployment that the workers of the pool run, by the clock with --cron. Prints its
    id, and the command that starts a worker.

    Example: phasemill deploy night.yaml --cron "0 22 * * *" --timezone Europe/Zurich --until 07:00
    """
    register(job, name or job.stem, pool, (cron, timezone, until), as_json)


@app.command()
def explore(
    store: Annotated[
        Path,
        typer.Argument(help="An event store, a dataset's results, a job, or a recording."),
    ],
    job: Annotated[Path | None, typer.Option(help="The job that has its dataset.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Which dataset of the job.")] = None,
    voltage_kv: Annotated[float | None, typer.Option(help="Accelerating voltage [kV].")] = None,
    semiangle_mrad: Annotated[float | None, typer.Option(help="Semi-angle [mrad].")] = None,
    scan_step_angstrom: Annotated[
        float | None, typer.Option(help="Distance of scan positions [Å].")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the store of a recording.")] = Path(
        "stores"
    ),
    port: Annotated[int, typer.Option(help="Port on this machine; 0 takes a free one.")] = 0,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of a proxy or tunnel that the browser comes from; can be given again.",
        ),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Tune a calibration in the browser, and see the phase at once.

    Comes out: a page on 127.0.0.1, whose address is printed; what was tuned goes to the job or
    beside the store when Save is pressed.

    Example: phasemill explore night.yaml --dataset scan147
    """
    from flows.explore.opening import ExploreError, numbers_of
    from flows.explore.serving import explore_here

    numbers = numbers_of(voltage_kv, semiangle_mrad, scan_step_angstrom)
    try:
        explore_here(
            store, numbers, job, dataset, output, port, origin or [], browser, as_json,
            None if quiet or as_json else console,
        )  # fmt: skip
    except ExploreError as error:
        refuse(error, as_json)


app.command()(export)


@app.command()
def verify(
    result: Annotated[Path, typer.Argument(help="A dataset's folder, an event store or a night.")],
    against: Annotated[
        Path | None, typer.Option(help="Another result that must have the same bytes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare every byte of a result with what was published.

    Comes out: a line for each result; exit code 1 where a byte differs, with the file's name.

    Example: phasemill verify reprocessed
    """
    from flows.verify import verify_result

    report = verify_result(result, against)
    if as_json:
        typer.echo(json.dumps(report, indent=1))
    for line in report["lines"]:
        console.print(line, markup=False, highlight=False)
    if report["status"] != "ok":
        raise typer.Exit(report["code"])


@app.command()
def doctor(
    output: Annotated[Path, typer.Option(help="Folder that results are to go to.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Find what keeps a mill from running here, and how to mend it.

    Comes out: a table of what was looked at, ok, warn or bad; exit code 1 where something is bad.

    Example: phasemill doctor --output /data/reprocessed
    """
    from flows.doctor.examine import as_rows, examine

    findings = examine(output)
    if as_json:
        typer.echo(json.dumps(as_rows(findings), indent=1, ensure_ascii=False))
    else:
        table = Table("check", "", "found", "how to mend it", box=None, pad_edge=False)
        colours = {"ok": "green", "warn": "yellow", "bad": "red"}
        for one in findings:
            colour = colours[one.level]
            table.add_row(
                one.check, f"[{colour}]{one.level}[/]", escape(one.found), escape(one.mend)
            )
        console.print(table)
    if any(one.level == "bad" for one in findings):
        raise typer.Exit(1)
