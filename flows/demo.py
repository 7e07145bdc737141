"""The demo: a simulated scan of a known specimen, the job that mills it, and the truth beside."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from flows.job import Job, check_job
from flows.progress import step_lines
from flows.simulate import job_of
from tasks.report.truth import quantity_rows, wavefront_line, write_truth_page
from tasks.simulate import simulate, truth_path
from tasks.simulation import Simulation, from_json
from tasks.truth import Comparison, compare
from tasks.units import report

RECORDING = "demo_electrons.h5"
TRUTH_PAGE = "truth.html"


class Beside(NamedTuple):
    """What was found in the demo's recording, beside the truth."""

    comparison: Comparison
    page: Path
    """For the browser."""


def demo_job(
    output: Path, console: Console, quiet: bool, settings: Simulation | None = None
) -> Job:
    """Make the demo's recording where it is not there yet, and its job.

    The job gives what an operator knows (voltage, semi-angle, scan step) and leaves the rest to be
    fitted.
    """
    settings, path = settings or Simulation(), output.resolve() / RECORDING
    if not _made_from(settings, path):
        with step_lines(console, quiet):
            simulate(settings, path, lambda done, rows: report("simulate", done, rows))
    return check_job(job_of(settings, path, output.resolve(), "demo"), "demo", output.resolve())


def beside_truth(output: Path) -> Beside:
    """Compare what the demo found with the truth, and write a page of it."""
    folder, truth = output.resolve() / "demo", truth_path(output.resolve() / RECORDING)
    comparison = compare(folder, truth)
    page = write_truth_page(folder, truth, comparison, output.resolve() / TRUTH_PAGE)
    return Beside(comparison, page)


def truth_table(found: Comparison) -> Table:
    """What was found beside the truth, for the console."""
    table = Table("", "truth", "found", "", box=None, pad_edge=False)
    for row in quantity_rows(found):
        table.add_row(row["name"], row["truth"], row["found"], row["unit"])
    for image in found.images:
        table.add_row(image.name, "1", f"{image.correlation:.3f}", "correlation with the specimen")
    table.caption, table.caption_justify = wavefront_line(found), "left"
    return table


def _made_from(settings: Simulation, path: Path) -> bool:
    """Whether a recording and its truth are there, from these settings."""
    truth = truth_path(path)
    if not (path.exists() and truth.exists()):
        return False
    with np.load(truth, allow_pickle=False) as known:
        try:
            return from_json(json.loads(str(known["settings"]))) == settings
        except (KeyError, TypeError, ValueError):  # of another version
            return False
