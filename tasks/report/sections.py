"""Which figures stand where in a report: the results sorted into sections."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from tasks.report.charts import Chart
from tasks.report.circles import Optics
from tasks.report.curves import (
    RESIDUAL,
    electrons_chart,
    landscape_chart,
    profile_chart,
    residual_chart,
)
from tasks.report.figures import (
    Figure,
    deflection_figure,
    image_figure,
    pattern_figure,
    spectrum_figure,
)
from tasks.report.known import (
    DEFLECTION,
    FRAMES,
    ITERATIVE,
    OTHER,
    PHASES,
    VIRTUAL,
    image_names,
    kind_of,
)
from tasks.report.resolution import frc_charts
from tasks.report.scales import number

SPECTRA, DIFFRACTION = "Spectra and resolution", "Diffraction"
ORDER = (PHASES, SPECTRA, ITERATIVE, DIFFRACTION, VIRTUAL, DEFLECTION, OTHER, FRAMES)
"""Sections in the order of the page."""


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    figures: tuple[Figure, ...]
    charts: tuple[Chart, ...]

    @property
    def counts_electrons(self) -> bool:
        """Whether the numbers of electrons and frames belong here."""
        return self.title == FRAMES

    @property
    def states_resolution(self) -> bool:
        """Whether the table of the resolutions belongs here."""
        return self.title == SPECTRA


def sections_of(results: xr.Dataset, frc: xr.Dataset | None, optics: Optics) -> list[Section]:
    """All figures of a report, in sections.

    Parameters
    ----------
    results : xarray.Dataset
        Any part of it may be absent.
    frc : xarray.Dataset or None
        The group ``frc``.
    optics : Optics
        For circles and angles.

    Returns
    -------
    list of Section
        Those that have something to show, and always the one of the electrons.
    """
    shown = [name for name in image_names(results) if not _same_count_everywhere(results[name])]
    figures: dict[str, list[Figure | None]] = {title: [] for title in ORDER}
    figures[DEFLECTION].append(deflection_figure(results, optics))
    for name in shown:
        section = kind_of(name, results[name]).section
        figures[section].append(image_figure(results, name))
        if section == PHASES:
            figures[SPECTRA].append(spectrum_figure(results, name, optics))
    for name in _numeric(results, 2):
        if set(results[name].dims) == {"ky", "kx"}:
            figures[DIFFRACTION].append(pattern_figure(results, name, optics))
    charts: dict[str, list[Chart | None]] = {
        SPECTRA: [*frc_charts(frc)] if frc is not None else [],
        ITERATIVE: [residual_chart(results), landscape_chart(results)],
        DIFFRACTION: [
            profile_chart(name, results[name]) for name in _numeric(results, 1) if name != RESIDUAL
        ],
        FRAMES: [electrons_chart(results)],
    }
    sections = [
        Section(
            title,
            tuple(f for f in figures[title] if f is not None),
            tuple(c for c in charts.get(title, []) if c is not None),
        )
        for title in ORDER
    ]
    return [s for s in sections if s.figures or s.charts or s.counts_electrons]


def missing_line(results: xr.Dataset, dose: dict[str, object]) -> str:
    """Sentences on the frames that are there, that are missing and that lost a part."""
    missing, partial = dose.get("frames_missing"), dose.get("frames_partial")
    parts = []
    if "frames_present" in results and results["frames_present"].size:
        frames = results["frames_present"].values
        count = int(frames.flat[0])
        if count > 0 and np.all(frames == count):
            parts.append(f"Every position has {count} frame{'s' if count > 1 else ''}.")
    if missing:
        parts.append(_counted(missing, "position has no frame", "positions have no frame"))
    if partial:
        lost = "lost a part of the detector"
        parts.append(_counted(partial, f"frame {lost}", f"frames {lost}"))
    elif partial == 0:
        parts.append("No frame lost a part of the detector.")
    return " ".join(parts)


def _counted(count: object, one: str, many: str) -> str:
    return f"{number(count)} {one if count == 1 else many}."


def _numeric(results: xr.Dataset, dimensions: int) -> Iterable[str]:
    return (
        str(name)
        for name, variable in results.data_vars.items()
        if variable.ndim == dimensions
        and variable.size >= (2 if dimensions == 1 else 1)  # one point is no curve
        and variable.dtype.kind in "fiu"
    )


def _same_count_everywhere(image: xr.DataArray) -> bool:
    # A map of "one frame everywhere" is a sentence, not a figure.
    return image.dtype.kind in "iub" and bool(np.all(image.values == image.values.flat[0]))
