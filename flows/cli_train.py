"""``phasemill train``: a network for one probe, or for all."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_night import console, refuse


def train(
    path: Annotated[Path, typer.Argument(help="The network to write (.safetensors).")],
    probe: Annotated[
        Path | None,
        typer.Option(
            help="A measured complex probe (.npy), real space, centred.", show_default="all probes"
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="compact, unet, dense or ridge.", show_default="compact"),
    ] = None,
    electrons: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Least and greatest electrons of a pattern.", show_default="300 100000"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of training.", show_default="1500")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="As many steps as this time allows.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="A network (.safetensors) to begin with.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(min=1e-8, help="The greatest; less from a good start.", show_default="0.003"),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many validations in vain.", show_default="8"),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="A folder or Zarr array of pictures to learn from besides.")
    ] = None,
    photographs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LIBRARY",
            help="A library whose photographs are learnt from: scikit-image, matplotlib (public "
            "domain) or scikit-learn (CC BY); can be given again.",
            show_default="scikit-image",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides all.", show_default="0")] = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="The recipe of Chang et al.: SGD, dropout, batch 16.")
    ] = False,
    half: Annotated[
        bool, typer.Option("--half", help="Convolutions in bfloat16, where that is faster.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="cpu")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print machine-readable results.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Train a network on simulated patterns. Run again, an interrupted training goes on.

    Comes out: PATH with its card, which a job takes as cnn: {network: PATH}; and PATH.html with
    the curves.

    Example: phasemill train mine.safetensors --probe probe.npy --electrons 20000 40000 --minutes 10
    """  # fmt: skip
    from flows.train import train_file

    settings = {
        "network": network or ("unet" if paper else None),
        "doses": electrons,
        "steps": steps,
        "minutes": minutes,
        "start": None if start is None else str(start),
        "learning_rate": learning_rate,
        "patience": patience,
        "images": None if images is None else str(images),
        "photographs": tuple(photographs) if photographs else None,
        "seed": seed,
        "paper": paper,
        "half": half,
        "device": device,
    }
    try:
        card = train_file(path, settings, probe, console, quiet or as_json)
    except (ValueError, OSError) as error:
        named = isinstance(error, OSError) and error.filename is not None
        refuse(error if named else f"{path}: {error}", as_json)
    if not card["page"]:  # another of several processes writes and speaks
        return
    if as_json:
        typer.echo(json.dumps(card, indent=1, ensure_ascii=False))
    else:
        typer.echo(card["network"])
        console.print(f"curves: {card['page']}", markup=False, highlight=False)
