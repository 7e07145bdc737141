"""The report of one dataset: a single HTML file that opens anywhere, also without a network."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import xarray as xr
from markupsafe import Markup

from tasks.report.charts import Chart
from tasks.report.curves import electrons_chart, frc_chart, profile_chart, resolution_of
from tasks.report.figures import (
    Figure,
    Optics,
    deflection_figure,
    image_figure,
    pattern_figure,
    spectrum_figure,
)
from tasks.report.known import DEFLECTION, FRAMES, PHASES, SECTIONS, image_names, kind_of
from tasks.report.scales import grid_of, length_label, number, rounded
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

SPECTRA = "Spectra and resolution"
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
    results = xr.open_zarr(path, chunks=None, consolidated=False)
    if not (path / "frc" / "zarr.json").is_file():
        return results, None
    return results, xr.open_zarr(path, group="frc", chunks=None, consolidated=False)


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
    optics = Optics.of(calibration)
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
        "sections": _sections(results, frc, optics),
        "missing": _missing_line(results, dose),
        "calibration": calibration_rows(calibration),
        "dose": dose_rows(dose),
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
    if (finest := best_resolution(frc)) is not None:
        facts.append(("Resolution (FRC)", f"{number(finest, 3)} Å"))
    return facts


def best_resolution(frc: xr.Dataset | None) -> float | None:
    """The finest resolution that any image's FRC curve states [Å]."""
    found = [resolution_of(curve) for curve in frc.data_vars.values()] if frc is not None else []
    return min((value for value in found if value is not None), default=None)


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
    templates.globals["style"] = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    templates.filters["svg"] = Markup
    templates.filters["number"] = number
    return templates


def _sections(results: xr.Dataset, frc: xr.Dataset | None, optics: Optics) -> list[dict[str, Any]]:
    names = image_names(results)
    by_section: dict[str, list[Figure]] = {section: [] for section in SECTIONS}
    for name in names:
        image = results[name]
        constant_count = image.dtype.kind in "iub" and np.all(image.values == image.values.flat[0])
        if not constant_count:  # a map of "one frame everywhere" is a sentence, not a figure
            by_section[kind_of(name, image).section].append(image_figure(results, name))
    if (vectors := deflection_figure(results, optics)) is not None:
        by_section[DEFLECTION].insert(0, vectors)
    phases = [n for n in names if kind_of(n, results[n]).section == PHASES]
    spectra = [spectrum_figure(results, name, optics) for name in phases]
    patterns = [
        pattern_figure(results, str(name), optics)
        for name, v in results.data_vars.items()
        if set(v.dims) == {"ky", "kx"} and v.size and v.dtype.kind in "fiub"
    ]
    profiles = [
        profile_chart(str(name), v)
        for name, v in results.data_vars.items()
        if v.ndim == 1 and v.size > 1 and v.dtype.kind in "fiu"
    ]
    charts: dict[str, list[Chart | None]] = {
        SPECTRA: [frc_chart(frc) if frc is not None else None],
        "Diffraction": list(profiles),
        FRAMES: [electrons_chart(results)],
    }
    figures: dict[str, list[Figure | None]] = {
        PHASES: list(by_section[PHASES]),
        SPECTRA: list(spectra),
        "Diffraction": list(patterns),
    }
    figures |= {s: list(by_section[s]) for s in SECTIONS if s != PHASES}
    sections = [
        {
            "title": title,
            "figures": [f for f in shown if f is not None],
            "charts": [c for c in charts.get(title, []) if c is not None],
        }
        for title, shown in figures.items()
    ]
    return [s for s in sections if s["figures"] or s["charts"] or s["title"] == FRAMES]


def _missing_line(results: xr.Dataset, dose: dict[str, Any]) -> str:
    missing, partial = dose.get("frames_missing"), dose.get("frames_partial")
    parts = []
    if "frames_present" in results and results["frames_present"].size:
        frames = results["frames_present"].values
        if np.all(frames == frames.flat[0]) and frames.flat[0] > 0:
            count = int(frames.flat[0])
            parts.append(f"Every position has {count} frame{'s' if count > 1 else ''}.")
    if missing:
        parts.append(f"{number(missing)} positions have no frame.")
    if partial:
        parts.append(f"{number(partial)} frames lost a part of the detector.")
    elif partial == 0:
        parts.append("No frame lost a part of the detector.")
    return " ".join(parts)


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
