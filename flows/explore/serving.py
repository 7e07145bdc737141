"""``phasemill explore``: open a recording, serve it, and wait until somebody ends it."""

import json
import signal
import webbrowser
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from flows.explore.explorer import Explorer
from flows.explore.latest import work
from flows.explore.opening import ExploreError, open_target
from flows.explore.server import serve

END_WITHIN = 60.0
"""Seconds to wait for what is computed when the process is interrupted."""


def explore_here(
    path: Path,
    numbers: dict[str, Any],
    job: Path | None,
    dataset: str | None,
    output: Path,
    port: int,
    origins: list[str],
    browser: bool,
    as_json: bool,
    console: Console | None,
) -> None:
    """Serve a recording until the process is interrupted.

    Parameters
    ----------
    path, numbers, job, dataset, output
        See ``opening.open_target``.
    port, origins
        See ``server.serve``.
    browser : bool
        Open the address.
    as_json : bool
        Print the address as JSON.
    console : rich.console.Console, optional
        For words to a person.

    Raises
    ------
    ExploreError
        If it cannot be opened or served.
    """
    opened = open_target(path, numbers, job, dataset, output, console)
    try:
        explorer = Explorer(opened)
        server, address = serve(explorer, port, origins=origins)
    except (ValueError, OSError, MemoryError) as error:
        raise ExploreError(str(error) or f"{path}: there is too little memory") from error
    typer.echo(json.dumps({"address": address, "port": server.port}) if as_json else address)
    if console is not None:
        console.print("Open this address; Ctrl-C ends it. Only who has the address gets in.")
    if browser:
        webbrowser.open(address)
    loop = server.io_loop
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: loop.add_callback_from_signal(loop.stop))
    loop.start()
    server.stop()
    work.finish(END_WITHIN)


def explore(path: str | Path, **numbers: Any) -> Explorer:
    """Open a recording for a notebook: ``bokeh.io.show(explore(...))`` shows it in a cell.

    Parameters
    ----------
    path : path
        See ``opening.open_target``.
    **numbers
        ``voltage_kv``, ``semiangle_mrad``, ``scan_step_angstrom``, where nothing else says them;
        ``job`` and ``dataset``.

    Returns
    -------
    Explorer
        A Bokeh application.
    """
    job, dataset = numbers.pop("job", None), numbers.pop("dataset", None)
    return Explorer(open_target(Path(path), numbers, None if job is None else Path(job), dataset))
