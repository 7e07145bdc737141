"""Figures of a report: images with their scale and colours, the mean pattern and the spectra."""

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
import xarray as xr

from tasks.report.circles import Circle, Optics, aperture_circles, detector_circles
from tasks.report.known import PHASES, Kind, kind_of, shown_values
from tasks.report.pictures import THIN, Picture, colour_ramp, data_uri, picture
from tasks.report.scales import (
    Grid,
    ScaleBar,
    grid_of,
    inverse_unit,
    length_label,
    number,
    plain_unit,
    scale_bar,
)
from tasks.report.vectors import colour_wheel, vector_picture

LARGE, SMALL = 1200, 640
"""Longest side of the picture of a phase, and of others [px]."""


@dataclass(frozen=True)
class Figure:
    """An image with everything that is needed to read it."""

    name: str
    title: str
    uri: str
    aspect: float
    """Width over height as drawn."""
    caption: str
    note: str
    bar: ScaleBar | None = None
    ramp: str = ""
    """Address of the colour table; empty where there is none."""
    low: str = ""
    high: str = ""
    circles: tuple[Circle, ...] = ()
    wheel: str = ""
    wheel_label: str = ""
    large: bool = False


def image_figure(results: xr.Dataset, name: str) -> Figure:
    """An image over the specimen, as one variable has it."""
    image = shown_values(results, name)
    kind, grid = kind_of(name, image), grid_of(image)
    limit = LARGE if kind.section == PHASES else SMALL
    drawn = picture(image.values, kind.colours, limit=limit)
    unit = _unit(image)
    figure = _figure(
        name, kind, drawn, grid, image.shape, unit, "Shown from the 0.5th to the 99.5th"
    )
    return replace(figure, large=kind.section == PHASES)


def deflection_figure(results: xr.Dataset, optics: Optics) -> Figure | None:
    """The centre of mass as a field of vectors, or None where a component is absent."""
    if not {"com_y", "com_x"} <= results.data_vars.keys():
        return None
    down, right = shown_values(results, "com_y"), shown_values(results, "com_x")
    if down.ndim != 2 or down.sizes != right.sizes or not down.size:
        return None
    drawn, mean = vector_picture(down.values, right.values, SMALL)
    unit = _unit(down)
    kind = Kind(
        "Centre of mass, as vectors",
        "",
        "Good: every atom or particle is ringed by all colours of the wheel, in the same order; "
        "one colour all over is a tilt, a wrong order a mirror.",
    )
    figure = _figure("com", kind, drawn, grid_of(down), down.shape, unit, "Full colour at the 97th")
    angles = f" ({optics.milliradian(drawn.high)})" if unit == "Å⁻¹" and optics.wavelength else ""
    rim = f"{number(drawn.high, 3)} {unit}{angles}"
    taken = f"Mean of {number(mean[0], 3)}, {number(mean[1], 3)} {unit} (y, x) taken away"
    return replace(
        figure,
        ramp="",
        wheel=data_uri(colour_wheel()),
        wheel_label=f"Colour: where the beam is deflected to; rim: {rim}",
        note=f"{taken} · {figure.note}",
    )


def pattern_figure(results: xr.Dataset, name: str, optics: Optics) -> Figure:
    """A pattern over the detector on a logarithmic scale, with the disk and the detectors' edges.

    The detectors' edges come from ``parameters`` of the virtual images (``inner`` and ``outer``).
    """
    image = results[name]
    image = image.transpose(*sorted(image.dims, key=str, reverse=True))
    drawn = picture(image.values, "gray", limit=SMALL, percentiles=(1, 99.9), log=True)
    title = "Mean diffraction pattern" if name == "pacbed" else image.attrs.get("long_name", name)
    kind = Kind(
        str(title),
        "",
        "Good: an even, sharply bounded disk that the solid circle follows all the way round; a "
        "gap on one side is a wrong centre, a double edge a drifting beam.",
    )
    unit = _unit(image)
    figure = _figure(
        name, kind, drawn, grid_of(image), image.shape, unit, "Logarithmic scale, 1st to 99.9th"
    )
    return replace(figure, circles=detector_circles(results, image.shape, optics))


def spectrum_figure(results: xr.Dataset, name: str, optics: Optics) -> Figure | None:
    """Power spectrum of a phase on a logarithmic scale, with the aperture and twice it.

    None for images too small or too empty to have one.
    """
    image = results[name].transpose(*sorted(results[name].dims, key=str, reverse=True))
    grid, kind = grid_of(image), kind_of(name, image)
    usable = np.isfinite(image.values)
    if min(image.shape) < 8 or not usable.any():
        return None
    power = _log_power(image.values, usable)
    shape = image.shape
    step = tuple(1 / (n * s) for n, s in zip(shape, grid.step, strict=True))
    unit = f"1/{grid.unit}"
    drawn = picture(power, "cividis", limit=SMALL, percentiles=(5, 99.95))
    circles, beyond = aperture_circles(
        shape, (step[0], step[1]), optics if grid.unit == "Å" else Optics()
    )
    spectral = Kind(
        f"Spectrum: {kind.title[0].lower()}{kind.title[1:]}",
        "",
        "Good: spots or a bright region inside the circle of 2α and an even floor outside; a cross "
        "along the axes is scan noise, dark rings are uncorrected aberrations.",
        "cividis",
    )
    figure = _figure(name, spectral, drawn, Grid((step[0], step[1]), unit), shape, "", "")
    note = " · ".join(part for part in ("Logarithm of the power, Hann window", beyond) if part)
    return replace(figure, note=note, low="weak", high="strong", circles=circles)


def _figure(
    name: str,
    kind: Kind,
    drawn: Picture,
    grid: Grid,
    shape: tuple[int, ...],
    unit: str,
    shown: str,
) -> Figure:
    # ``shown`` says what part of the values the colours span, before "percentile".
    extent = shape[0] * grid.step[0], shape[1] * grid.step[1]
    true = extent[1] / extent[0]
    aspect = min(max(true, 1 / THIN), THIN)
    stretched = abs(aspect / true - 1) > 1e-6
    return Figure(
        name=name,
        title=kind.title,
        uri=drawn.uri,
        aspect=aspect,
        caption=kind.caption,
        note=" · ".join(_facts(drawn, grid, shape, unit, stretched, shown)),
        bar=None if stretched else scale_bar(extent[1], grid.unit, 0.28),
        ramp=data_uri(colour_ramp(kind.colours)),
        low=number(drawn.low, 3),
        high=f"{number(drawn.high, 3)} {unit}".strip(),
    )


def _unit(image: xr.DataArray) -> str:
    unit = inverse_unit(plain_unit(str(image.attrs.get("units", ""))))
    return "" if unit == "1" else unit


def _facts(
    drawn: Picture, grid: Grid, shape: tuple[int, ...], unit: str, stretched: bool, shown: str
) -> list[str]:
    facts = []
    if drawn.missing == shape[0] * shape[1]:
        facts.append("Odd: there is no value anywhere")
    elif drawn.least == drawn.greatest:
        facts.append(f"Odd: every pixel has the same value, {number(drawn.low)} {unit}".rstrip())
    elif shown:
        full = f"{number(drawn.least, 3)} to {number(drawn.greatest, 3)} {unit}".rstrip()
        if (drawn.low, drawn.high) == (drawn.least, drawn.greatest):
            facts.append(f"Shown from the least to the greatest value, {full}")
        else:
            facts.append(f"{shown} percentile; all values {full}")
    if 0 < drawn.missing < shape[0] * shape[1]:
        share = 100 * drawn.missing / (shape[0] * shape[1])
        facts.append(f"hatched: {number(drawn.missing)} without value ({number(share, 2)} %)")
    same = abs(grid.step[0] / grid.step[1] - 1) < 1e-6
    pixel = number(grid.step[0]) if same else f"{number(grid.step[0])} × {number(grid.step[1])}"
    size = f"{number(shape[0])} × {number(shape[1])} px"
    facts.append(size if grid.unit == "px" else f"{size} of {pixel} {inverse_unit(grid.unit)}")
    if drawn.binned > 1:
        facts.append(f"averaged {drawn.binned} × {drawn.binned} for display")
    if stretched:
        long = length_label(shape[0] * grid.step[0], grid.unit)
        wide = length_label(shape[1] * grid.step[1], grid.unit)
        facts.append(f"stretched for display: {long} high, {wide} wide")
    return facts


def _log_power(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    filled = np.where(usable, values, 0.0)
    filled = np.where(usable, filled - filled[usable].mean(), 0.0)
    rows, cols = (np.hanning(n + 2)[1:-1] for n in values.shape)
    power = np.abs(scipy.fft.fftshift(scipy.fft.fft2(filled * rows[:, None] * cols))) ** 2
    floor = np.finfo(np.float64).tiny
    greatest = float(power.max())
    if greatest <= floor:
        return np.zeros(values.shape)
    return np.log10(np.maximum(power, greatest * 1e-12))
