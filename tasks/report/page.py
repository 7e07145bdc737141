"""The report of one dataset: a single HTML file that opens anywhere, also without a network."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import xarray as xr
from markupsafe import Markup

from tasks.report.circles import Optics
from tasks.report.known import image_names, in_order
from tasks.report.resolution import resolution_label, resolution_table, stated_curve
from tasks.report.scales import grid_of, length_label, number, rounded
from tasks.report.sections import missing_line, sections_of
from tasks.report.tables import (
    calibration_rows,
    dose_rows,
    flags_of,
    timing_rows,
    verdict,
    worst_level,
    yaml_of,
)
from tasks.store import layout

TEMPLATES = Path(__file__).parent / "templates"


class ReportError(RuntimeError):
    """What a report is made from is not there or cannot be read."""


def write_report(folder: Path) -> Path:
    """Write the report of a dataset beside its results.

    Parameters
    ----------
    folder : Path
        Holds ``results.zarr`` and ``provenance.json``.

    Returns
    -------
    Path
        ``report.html`` in the folder.

    Raises
    ------
    ReportError
        If one of the two is absent or cannot be read.
    """
    results, frc = open_results(folder)
    page = environment().get_template("report.html.j2").render(
        report_content(results, frc, _read_provenance(folder / layout.PROVENANCE))
    )  # fmt: skip
    path = folder / layout.REPORT
    path.write_text(page, encoding="utf-8")
    return path


def open_results(folder: Path) -> tuple[xr.Dataset, xr.Dataset | None]:
    """Open the results of a dataset, and its FRC curves if it has them.

    Raises
    ------
    ReportError
        If there are no results.
    """
    path = folder / layout.RESULTS
    if not (path / "zarr.json").is_file():
        raise ReportError(
            f"{path}: there are no results here; run the job, its last step writes them."
        )
    frc = _open(path, "frc") if (path / "frc" / "zarr.json").is_file() else None
    return _open(path, None), frc


def report_content(
    results: xr.Dataset, frc: xr.Dataset | None, provenance: dict[str, Any]
) -> dict[str, Any]:
    """Everything that the page shows, ready to be laid out.

    Parameters
    ----------
    results : xarray.Dataset
        Any part of it may be absent.
    frc : xarray.Dataset or None
        The group ``frc``.
    provenance : dict
        As in ``provenance.json``.
    """
    calibration, dose = (_mapping(results.attrs.get(key)) for key in ("calibration", "dose"))
    flags = flags_of(results.attrs.get("quality"))
    steps = [s for s in provenance.get("steps") or [] if isinstance(s, dict)]
    title = str(results.attrs.get("title") or "Unnamed dataset")
    names = image_names(results)
    return {
        "title": title,
        "level": worst_level(flags),
        "judged": bool(flags),
        "verdict": verdict(flags),
        "flags": flags,
        "notes": [str(note) for note in _sequence(results.attrs.get("notes"))],
        "facts": key_facts(results, dose, frc),
        "sections": sections_of(results, frc, Optics.of(calibration)),
        "missing": missing_line(results, dose),
        "calibration": calibration_rows(calibration),
        "dose": dose_rows(dose),
        "resolution": resolution_table(frc),
        "timings": timing_rows(steps, dose),
        "provenance": provenance,
        "packages": sorted(_mapping(provenance.get("packages")).items()),
        "steps": steps,
        "input": _mapping(provenance.get("input")),
        "job": yaml_of(provenance.get("job") or {}),
        "parameters": yaml_of({s.get("name", ""): s.get("parameters") or {} for s in steps}),
        "seeds": yaml_of(provenance["seeds"]) if provenance.get("seeds") else "",
        "example": next(iter(names), "pacbed"),
        "results_name": layout.RESULTS,
    }


def key_facts(
    results: xr.Dataset, dose: dict[str, Any], frc: xr.Dataset | None
) -> list[tuple[str, str]]:
    """The few numbers that a reader wants first, as (name, value with unit)."""
    facts = []
    if {"y", "x"} <= results.sizes.keys():
        shape = results.sizes["y"], results.sizes["x"]
        facts.append(("Scan", f"{number(shape[0])} × {number(shape[1])}"))
        grid = grid_of(xr.DataArray(np.zeros(shape), dims=("y", "x"), coords=_axes(results)))
        if grid.unit != "px":
            sides = [
                length_label(float(f"{n * s:.3g}"), grid.unit)
                for n, s in zip(shape, grid.step, strict=True)
            ]
            units = {side.split(" ")[-1] for side in sides}
            tall = sides[0].split(" ")[0] if len(units) == 1 else sides[0]
            facts.append(("Field of view", f"{tall} × {sides[1]}"))
    for key, name, unit in (
        ("electrons_per_frame_mean", "Electrons per frame", "e"),
        ("electrons_per_angstrom2", "Dose", "e/Å²"),
    ):
        if isinstance(dose.get(key), int | float):
            facts.append((name, f"{rounded(dose[key])} {unit}"))
    if frc is not None and (stated := stated_curve(frc)) is not None:
        facts.append(("Resolution (FRC)", resolution_label(frc[stated], spread=False)))
    return facts


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The templates; whatever they print is escaped unless this package made it as HTML."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    templates.globals["style"] = Markup(style)  # noqa: S704  (our own)
    templates.filters["svg"] = Markup
    templates.filters["number"] = number
    return templates


def _open(path: Path, group: str | None) -> xr.Dataset:
    # Variables come in the order in which the file system lists them, which is no order at all.
    found = xr.open_zarr(path, group=group, chunks=None, consolidated=False)
    return found[in_order(found.data_vars)]


def _read_provenance(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(
            f"{path}: cannot be read ({error}); it is written with the results, run the job again."
        ) from error
    if not isinstance(found, dict):
        raise ReportError(f"{path}: holds a {type(found).__name__}, expected a mapping.")
    return found


def _axes(results: xr.Dataset) -> dict[str, xr.DataArray]:
    return {dim: results.coords[dim] for dim in ("y", "x") if dim in results.coords}


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _sequence(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, list | tuple | np.ndarray) else []
