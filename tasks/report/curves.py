"""Charts of a report: electrons per position, Fourier ring correlation and curves over one axis."""

import numpy as np
import xarray as xr

from tasks.report.charts import STYLES, Chart, Series, curves, histogram
from tasks.report.known import kind_of, shown_values
from tasks.report.scales import number, plain_unit

FRC_THRESHOLDS = (0.5, 0.143)
MOST_SAMPLES = 4_000_000


def electrons_chart(results: xr.Dataset) -> Chart | None:
    """Histogram of the electrons at each position, with what chance alone would give.

    None where the results do not hold them.
    """
    if "electrons" not in results or results["electrons"].size == 0:
        return None
    values = shown_values(results, "electrons").values
    values = values[np.isfinite(values)]
    if values.size == 0:
        return None
    values = values[:: max(1, -(-values.size // MOST_SAMPLES))].astype(np.float64)
    edges, counts = histogram(values)
    mean, spread = float(values.mean()), float(values.std())
    series, highest = [], float(counts.max())
    if mean > 0:
        x = np.linspace(edges[0], edges[-1], 300)
        bell = np.exp(-((x - mean) ** 2) / (2 * mean)) / np.sqrt(2 * np.pi * mean)
        bell *= values.size * (edges[1] - edges[0])
        series, highest = [Series("chance alone", x, bell, "guide")], max(highest, bell.max())
    chance = np.sqrt(mean)
    label = "electrons at a position [e]"
    return Chart(
        title="Electrons per position",
        svg=curves(
            series,
            label,
            "positions",
            x_range=(float(edges[0]), float(edges[-1])),
            y_range=(0.0, 1.08 * float(highest)),
            bars=(edges, counts),
            alt=f"Histogram of {label}: mean {number(mean)}, standard deviation {number(spread)}",
        ),
        legend=(("bars-key", "positions"), ("guide", "chance alone (Poisson)")),
        caption=(
            "Good: one hump, little wider than chance alone; a second hump or a tail to zero is "
            "lost data, a faded beam or thick specimen."
        ),
        note=f"Mean {number(mean)} e, standard deviation {number(spread, 3)} e; "
        f"chance alone gives {number(chance, 3)} e",
    )


def frc_chart(frc: xr.Dataset) -> Chart | None:
    """Fourier ring correlation of each image's two halves, with the thresholds.

    Parameters
    ----------
    frc : xarray.Dataset
        One variable an image over ``frequency`` [1/Å]; those whose names begin with
        ``threshold`` are drawn as thresholds. A variable's attribute ``resolution_angstrom``,
        a number or numbers by threshold, is named in the legend.

    Returns
    -------
    Chart or None
        None where there is no curve.
    """
    names = [str(n) for n, v in frc.data_vars.items() if v.dims == ("frequency",) and v.size > 1]
    images = [n for n in names if not n.startswith("threshold")]
    if not images:
        return None
    frequency = np.asarray(frc["frequency"].values, dtype=float)
    series = [
        Series(_frc_label(n, frc[n]), frequency, np.asarray(frc[n].values, float), f"s{i % STYLES}")
        for i, n in enumerate(images)
    ]
    limits = [
        Series(n.replace("_", " "), frequency, np.asarray(frc[n].values, float), "guide")
        for n in names
        if n.startswith("threshold")
    ]
    limits += [
        Series(f"threshold {t:g}", frequency[[0, -1]], np.full(2, t), "guide")
        for t in FRC_THRESHOLDS
    ]
    lowest = min(0.0, *(float(np.nanmin(s.y, initial=0.0)) for s in series))
    return Chart(
        title="Fourier ring correlation of the two halves of the events",
        svg=curves(
            [*limits, *series],
            "spatial frequency [1/Å]",
            "correlation",
            x_range=(0.0, float(frequency[-1])),
            y_range=(max(-1.0, lowest), 1.05),
            alt="Fourier ring correlation over spatial frequency: "
            + "; ".join(s.label for s in series),
        ),
        legend=(
            *((s.style, s.label) for s in series),
            ("guide", "thresholds " + ", ".join(f"{t:g}" for t in FRC_THRESHOLDS)
             + "".join(f", {s.label.removeprefix('threshold ')}" for s in limits[:-2])),
        ),
        caption=(
            "Good: near 1 at low frequencies and one clear fall; a curve that stays up to the end "
            "is limited by sampling, one that is low from the start by dose."
        ),
    )  # fmt: skip


def profile_chart(name: str, variable: xr.DataArray) -> Chart:
    """A variable over one axis, such as the mean intensity over the radius."""
    dim = str(variable.dims[0])
    has_axis = dim in variable.coords
    x = np.asarray(variable[dim].values if has_axis else np.arange(variable.size), dtype=float)
    unit = plain_unit(str(variable[dim].attrs.get("units", "px" if not has_axis else "")))
    y_unit = plain_unit(str(variable.attrs.get("units", "")))
    title = str(variable.attrs.get("long_name", name.replace("_", " ")))
    return Chart(
        title=title[:1].upper() + title[1:],
        svg=curves(
            [Series(title, x, np.asarray(variable.values, float), "s0")],
            f"{dim.replace('_', ' ')} [{unit}]" if unit else dim.replace("_", " "),
            f"[{y_unit}]" if y_unit else "value",
            alt=title,
        ),
        legend=(),
        caption="Good: smooth, with one fall at the edge of the disk where it runs over radius; "
        "single spikes are bad pixels.",
    )


def resolution_of(curve: xr.DataArray) -> float | None:
    """The resolution that goes with an FRC curve [Å]: the best-known threshold's, if it has any."""
    found = curve.attrs.get("resolution_angstrom")
    if isinstance(found, dict):
        numbers = {str(k): v for k, v in found.items() if isinstance(v, int | float)}
        found = next((numbers[k] for k in ("0.143", "0.5") if k in numbers), None) or next(
            iter(numbers.values()), None
        )
    return float(found) if isinstance(found, int | float) and np.isfinite(found) else None


def _frc_label(name: str, curve: xr.DataArray) -> str:
    title = kind_of(name, curve).title
    resolution = resolution_of(curve)
    return title if resolution is None else f"{title}: {number(resolution, 3)} Å"
