"""Charts of a report: electrons per position and curves over one axis."""

import numpy as np
import xarray as xr

from tasks.report.charts import Chart, Series, curves, histogram
from tasks.report.known import shown_values
from tasks.report.scales import number, plain_unit

MOST_SAMPLES = 4_000_000
RESIDUAL = "epie_residual"
LENS = {"C10": "defocus", "C12": "twofold astigmatism", "C21": "coma", "C23": "threefold"}
"""Aberrations of the search for a probe, by the start of their coefficients' names."""


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


def residual_chart(results: xr.Dataset) -> Chart | None:
    """Residual of each round of iterative ptychography, beside that of counting noise alone.

    None where there are no two rounds to compare.
    """
    if RESIDUAL not in results or results[RESIDUAL].size < 2:
        return None
    values = np.asarray(results[RESIDUAL].values, float)
    rounds = np.arange(1.0, values.size + 1)
    noise = results[RESIDUAL].attrs.get("noise")
    series, legend = [], [("s0", "residual")]
    if isinstance(noise, float):
        series.append(Series("counting noise", rounds[[0, -1]], np.full(2, noise), "guide"))
        legend.append(("guide", "counting noise alone"))
    series.append(Series("residual", rounds, values, "s0"))
    level = np.concatenate([s.y for s in series])
    room = 0.08 * (level.max() - level.min()) or 1.0
    return Chart(
        title="Residual of each round",
        svg=curves(
            series,
            "round",
            "residual",
            x_range=(1.0, float(values.size)),
            y_range=(float(level.min() - room), float(level.max() + room)),
            alt=f"Residual over rounds: {number(values[0], 3)} to {number(values[-1], 3)}",
        ),
        legend=tuple(legend),
        caption=(
            "Good: falls in every round and levels off near counting noise; well above it, "
            "positions, probe or calibration are wrong, or the specimen is thick; far below it, "
            "free positions or a free probe follow the noise; rising, the steps are too large."
        ),
        note=f"Σ (√n − its expectation)² / Σ n over all counts n: "
        f"{number(values[-1], 3)} in the last round",
    )


def landscape_chart(results: xr.Dataset) -> Chart | None:
    """How the misfit of neighbouring patterns rises around the probe that was found.

    None where no probe was looked for.
    """
    if not {"probe_misfit", "probe_tried"} <= results.data_vars.keys():
        return None
    misfit, tried = (results[name].values for name in ("probe_misfit", "probe_tried"))
    names = [str(name) for name in results["probe_misfit"].attrs["aberrations"]]
    styles = {short: f"s{n}" for n, short in enumerate(LENS)}
    series = [
        Series(name, x, y, styles[name[:3]])
        for name, x, y in zip(names, tried, misfit, strict=True)
    ]
    least = float(misfit.min())
    return Chart(
        title="Around the probe that was found",
        svg=curves(
            series,
            "change at the aperture's edge [rad]",
            "misfit of pairs of patterns",
            alt=f"Misfit over changes of single aberrations; least {number(least, 3)}",
        ),
        legend=tuple((style, LENS[short]) for short, style in styles.items()),
        caption=(
            "Good: every curve has its least value in the middle and rises steeply on both sides; "
            "a flat one is an aberration that these patterns hardly tell, a lower value elsewhere "
            "a basin that was missed."
        ),
        note="One aberration changed at a time; of those with an azimuth, both components",
    )


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
