"""Charts of a report: electrons per position and curves over one axis."""

import numpy as np
import xarray as xr

from tasks.report.charts import Chart, Series, curves, histogram
from tasks.report.known import shown_values
from tasks.report.scales import number, plain_unit

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
