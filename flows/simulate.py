"""Simulate: settings from options in the units of a job, the recording, and a job for it."""

from collections.abc import Mapping
from dataclasses import replace
from math import radians
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from flows.progress import step_lines
from models.aberrations import NAMES, Aberrations
from tasks.files import why_unwritable
from tasks.simulate import simulate
from tasks.simulation import Simulation, SimulationError
from tasks.units import report


def simulate_file(
    path: Path, options: Mapping[str, Any], overwrite: bool, job: Path | None, console: Console,
    quiet: bool,
) -> dict[str, Any]:  # fmt: skip
    """Simulate a recording as the command line asks for.

    Parameters
    ----------
    path : Path
        The event file to write.
    options : mapping
        See ``settings_of``.
    overwrite : bool
        Replace a file that is there.
    job : Path, optional
        Also write a job that mills it.
    console, quiet
        Where to show progress, and whether to show none.

    Returns
    -------
    dict
        As ``simulate`` has it, with ``job`` where one was written.

    Raises
    ------
    ValueError
        If the settings cannot be simulated, or a file is in the way.
    """
    settings = settings_of(options)
    for what, one in (("the file", path), (f"the job {job}", job)):
        if one is not None and one.exists() and not overwrite:
            raise SimulationError(
                f"{what} is there already and was left as it is; give another name, or --overwrite"
            )
        if one is not None and (why := why_unwritable(one)) is not None:
            raise SimulationError(f"{what} cannot be written: {why}")
    with step_lines(console, quiet):
        summary = simulate(settings, path, lambda done, rows: report("simulate", done, rows))
    if job is not None:
        wanted = job_of(settings, path.resolve(), job.resolve().parent / "results")
        job.write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")
        summary["job"] = str(job)
    return summary


def settings_of(options: Mapping[str, Any]) -> Simulation:
    """Settings from options of the command line, in the units of a job.

    Parameters
    ----------
    options : mapping
        ``specimen``, ``scan_shape``, ``scan_step_angstrom``, ``voltage_kv``, ``semiangle_mrad``,
        ``electrons`` (a frame) or ``dose`` [e/Å²], ``aberration`` (texts NAME=VALUE in Å and rad;
        what is not named is zero), ``defocus_angstrom``, ``scan_rotation_deg``, ``flip``,
        ``detector_shape``, ``center_px``, ``semiangle_px``, ``missing_frames``, ``lost_sectors``,
        ``flyback``, ``seed``, ``pixel_points``. What is None or absent has the demonstration's
        value; disk and centre then keep their part of the detector. Others are ignored.

    Returns
    -------
    Simulation

    Raises
    ------
    SimulationError
        If they contradict each other or cannot be simulated.
    """
    given = {name: value for name, value in options.items() if value is not None}
    demo = Simulation()
    changes: dict[str, Any] = {
        name: given[name]
        for name in ("specimen", "scan_shape", "flip", "detector_shape", "lost_sectors", "flyback",
                     "seed", "electrons", "pixel_points")
        if name in given
    }  # fmt: skip
    for name, key, factor in (("energy", "voltage_kv", 1e3), ("semiangle", "semiangle_mrad", 1e-3)):
        if key in given:
            changes[name] = given[key] * factor
    if "scan_step_angstrom" in given:
        changes["scan_step"] = (given["scan_step_angstrom"],) * 2
    if "scan_rotation_deg" in given:
        changes["rotation"] = radians(given["scan_rotation_deg"])
    if "dose" in given:
        if "electrons" in given:
            raise SimulationError("give electrons a frame, or a dose in e/Å², not both")
        step = changes.get("scan_step", demo.scan_step)
        changes["electrons"] = given["dose"] * step[0] * step[1]
    if "missing_frames" in given:
        rows, cols = changes.get("scan_shape", demo.scan_shape)
        changes["missing_fraction"] = given["missing_frames"] / max(1, rows * cols)
    changes |= _disk(given, demo)
    if (lens := _lens(given)) is not None:
        changes["aberrations"] = lens
    return replace(demo, **changes)


def job_of(settings: Simulation, path: Path, output: Path, name: str = "") -> dict[str, Any]:
    """A job for a simulated recording, with what an operator would know of it."""
    rows, cols = settings.detector_shape
    step = settings.scan_step
    dataset: dict[str, Any] = {
        "path": str(path),
        **({"name": name} if name else {}),
        "voltage_kv": settings.energy / 1e3,
        "semiangle_mrad": round(settings.semiangle * 1e3, 9),
        "scan_step_angstrom": step[0] if step[0] == step[1] else list(step),
        # The file's two sizes cannot be told apart where they differ.
        **({} if rows == cols else {"detector_shape": [rows, cols]}),
        **({"drop_flyback": True} if settings.flyback else {}),
    }
    return {"output": str(output), "datasets": [dataset]}


def _disk(given: Mapping[str, Any], demo: Simulation) -> dict[str, Any]:
    shape = given.get("detector_shape", demo.detector_shape)
    part = [n / m for n, m in zip(shape, demo.detector_shape, strict=True)]
    center = tuple(c * p for c, p in zip(demo.center, part, strict=True))
    return {
        "center": given.get("center_px", center),
        "radius": given.get("semiangle_px", demo.radius * min(part)),
    }


def _lens(given: Mapping[str, Any]) -> Aberrations | None:
    texts, defocus = given.get("aberration") or (), given.get("defocus_angstrom")
    if not texts and defocus is None:
        return None
    values: dict[str, float] = {}
    for text in (part for whole in texts for part in whole.split(",")):
        name, _, number = text.partition("=")
        try:
            values[name.strip()] = float(number)
        except ValueError:
            raise SimulationError(
                f"aberration {text!r} is not NAME=VALUE, such as C10=-120 or phi12=0.3"
            ) from None
    if unknown := [name for name in values if name not in NAMES]:
        raise SimulationError(f"aberration {unknown[0]!r} is not one of {', '.join(NAMES)}")
    if defocus is not None:
        if "C10" in values:
            raise SimulationError("give C10 or the defocus, which is -C10, not both")
        values["C10"] = -defocus
    return Aberrations(**values)
