"""``phasemill simulate``: a recording of a known specimen, with the truth beside it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_export import AsJson, facts_table
from flows.cli_night import console, refuse


def simulate(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The event file to write (.h5).")],
    specimen: Annotated[
        str | None,
        typer.Option(help="mos2, hbn, graphene or gold, on a support film.", show_default="mos2"),
    ] = None,
    scan_shape: Annotated[
        tuple[int, int] | None, typer.Option(help="Scan rows and columns.", show_default="128 128")
    ] = None,
    scan_step_angstrom: Annotated[
        float | None, typer.Option(help="Distance of scan positions [Å].", show_default="0.25")
    ] = None,
    electrons: Annotated[
        float | None, typer.Option(help="Mean electrons of a frame.", show_default="2000")
    ] = None,
    dose: Annotated[
        float | None,
        typer.Option(help="Electrons on the specimen [e/Å²], in place of --electrons."),
    ] = None,
    voltage_kv: Annotated[
        float | None, typer.Option(help="Accelerating voltage [kV].", show_default="80")
    ] = None,
    semiangle_mrad: Annotated[
        float | None, typer.Option(help="Convergence semi-angle [mrad].", show_default="25")
    ] = None,
    aberration: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="In Å and rad (C10, C12, phi12, C21 …); can be given again, or with commas; "
            "those not named are then 0.",
            show_default="seven of a coarse alignment",
        ),
    ] = None,
    defocus_angstrom: Annotated[
        float | None,
        typer.Option(help="Defocus = -C10 [Å]; other aberrations as for --aberration."),
    ] = None,
    scan_rotation_deg: Annotated[
        float | None, typer.Option(help="Angle from detector to scan [°].", show_default="-9")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror the detector.")] = False,
    detector_shape: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Detector rows and columns.", show_default="128 128"),
    ] = None,
    center_px: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Disk centre, row and column.", show_default="62.3 65.2"),
    ] = None,
    semiangle_px: Annotated[
        float | None, typer.Option(help="Disk radius [px].", show_default="24")
    ] = None,
    pixel_points: Annotated[
        int | None,
        typer.Option(
            help="Points along a side of a pixel, over which it integrates.",
            show_default="1",
        ),
    ] = None,
    missing_frames: Annotated[
        int | None, typer.Option(help="Frames that are lost.", show_default="0.05 %")
    ] = None,
    lost_sectors: Annotated[
        int | None, typer.Option(help="Frames that lose a detector sector.", show_default="1")
    ] = None,
    flyback: Annotated[
        bool, typer.Option("--flyback", help="Add the column taken as the beam flies back.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Decides specimen, noise and faults.", show_default="1")
    ] = None,
    job: Annotated[
        Path | None, typer.Option(help="Also write a job that mills the recording.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.")
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Simulate a scan as electron events. The specimen is known, and the truth stands beside it.

    Comes out: PATH in stempy's format, the truth as …_truth.npz, and with --job a job for it.

    Example: phasemill simulate scan.h5 --specimen graphene --dose 20000 --defocus-angstrom 80
    """
    from flows.simulate import simulate_file

    try:
        summary = simulate_file(path, context.params, overwrite, job, console, quiet or as_json)
    except (ValueError, OSError) as error:
        named = isinstance(error, OSError) and error.filename is not None
        refuse(error if named else f"{path}: {error}", as_json)
    if as_json:
        typer.echo(json.dumps(summary, indent=1, ensure_ascii=False))
    else:
        console.print(facts_table(summary))
        typer.echo(summary["path"])
