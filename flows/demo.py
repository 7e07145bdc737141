"""The demo: a simulated scan of a known specimen, and the job that mills it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.job import Job, check_job
from flows.progress import step_lines
from tasks.demo_scan import Simulation, simulate


def demo_job(output: Path, console: Console, quiet: bool) -> Job:
    """Make the demo's recording where it is not there yet, and its job.

    The job gives what an operator knows (voltage, semi-angle, scan step) and leaves the rest to be
    fitted.
    """
    settings, path = Simulation(), output.resolve() / "demo_electrons.h5"
    if not path.exists():
        with step_lines(console, quiet):
            simulate(settings, path)
    return check_job(
        {
            "output": str(output.resolve()),
            "datasets": [
                {
                    "path": str(path),
                    "name": "demo",
                    "voltage_kv": settings.voltage_kv,
                    "semiangle_mrad": settings.semiangle_mrad,
                    "scan_step_angstrom": settings.scan_step,
                }
            ],
        },
        "demo",
        output.resolve(),
    )


def simulate_file(path: Path, *, scan: int, electrons: float, seed: int) -> dict[str, Any]:
    """Simulate a recording; 0 leaves a setting at its default."""
    chosen = Simulation()
    chosen = replace(
        chosen,
        scan=scan or chosen.scan,
        electrons=electrons or chosen.electrons,
        seed=seed or chosen.seed,
    )
    summary = simulate(chosen, path)
    return {"path": summary["path"], "events": summary["events"]}
