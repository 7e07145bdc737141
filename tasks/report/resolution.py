"""Resolution in a report: curves of the Fourier ring correlation, and what they say in a table."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from tasks.report.charts import STYLES, Chart, Series, curves
from tasks.report.known import BEST, PHASES, kind_of
from tasks.report.scales import number

CONSTANT = ("0.5", "0.143")
"""Thresholds that are the same in every ring."""
COLUMNS = (("0.143", "0.143"), ("half_bit", "half-bit"), ("0.5", "0.5"))
"""Thresholds of the table: key and heading."""
SNR_FLOOR = 1e-2
"""Least signal-to-noise ratio that is drawn; below it noise decides whether there is any."""


@dataclass(frozen=True)
class ResolutionTable:
    """What the curves say of each image."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """(image, resolution at each threshold)."""
    notes: tuple[str, ...]


def frc_charts(frc: xr.Dataset) -> list[Chart]:
    """Fourier ring correlation of each image's two halves, and the signal over the noise.

    Parameters
    ----------
    frc : xarray.Dataset
        Curves of the results, as ``tasks.frc.read_curves`` describes them.

    Returns
    -------
    list of Chart
        Phases, other images, and the spectral signal-to-noise ratio; empty where there is no curve.
    """
    names = curve_names(frc)
    phases = [name for name in names if kind_of(name, frc[name]).section == PHASES]
    others = [name for name in names if name not in phases]
    ratios = [n for n in phases or names if f"{n}_snr" in frc]
    made = [_frc_chart(frc, phases, "phases"), _frc_chart(frc, others, "other images")]
    return [chart for chart in (*made, _snr_chart(frc, ratios)) if chart is not None]


def resolution_table(frc: xr.Dataset | None) -> ResolutionTable | None:
    """Resolution of each image by threshold, None where nothing was measured."""
    names = curve_names(frc)
    if frc is None or not names:
        return None
    rows = tuple(
        (kind_of(n, frc[n]).title, tuple(resolution_label(frc[n], key) for key, _ in COLUMNS))
        for n in names
    )
    notes = []
    cells = [cell for _, row in rows for cell in row]
    if any("–" in cell for cell in cells):
        notes.append(
            "In brackets: where the curve would cross if it lay higher or lower by its standard "
            "deviation, which is what counting noise leaves open of the number."
        )
    if any("≤" in cell for cell in cells):
        notes.append(
            "≤: the curve is above the threshold in its last ring, so the image resolves this much "
            "or more; the scan step or the aperture ends it, and not the noise."
        )
    if any("gaps" in cell for cell in cells):
        notes.append(
            "With gaps: some rings below that frequency hold no signal, as between the reflections "
            "of a lattice."
        )
    return ResolutionTable(tuple(heading for _, heading in COLUMNS), rows, tuple(notes))


def resolution_label(curve: xr.DataArray, threshold: str | None = None, spread: bool = True) -> str:
    """Resolution at a threshold, or at the one that the job chose, as people read it.

    Parameters
    ----------
    curve : DataArray
        With the attributes of ``tasks.frc.read_curves``.
    threshold : str, optional
        Its key.
    spread : bool
        Also say what counting noise leaves open.
    """
    threshold = str(threshold or curve.attrs.get("threshold", "0.143"))
    length = _mapping(curve.attrs.get("resolutions_angstrom")).get(threshold)
    if not isinstance(length, int | float) or not np.isfinite(length):
        return "—"
    limited = _mapping(curve.attrs.get("at_limit")).get(threshold)
    gaps = _mapping(curve.attrs.get("gaps")).get(threshold)
    ends = _mapping(curve.attrs.get("spread_angstrom")).get(threshold) if spread else None
    bound = "≤ " if limited else ""
    return (
        f"{bound}{number(float(length), 3)} Å{_spread_label(ends)}{', with gaps' if gaps else ''}"
    )


def stated_curve(frc: xr.Dataset | None) -> str | None:
    """Name of the image whose resolution stands for a dataset, None where there is none.

    The one that stands for it in everything else, so that no image is chosen for its number.
    """
    names = curve_names(frc)
    return next((name for name in (*BEST, *names) if name in names), None)


def resolution_of(frc: xr.Dataset | None) -> float | None:
    """Resolution that stands for a dataset [Å], None where there is none."""
    name = stated_curve(frc)
    found = None if frc is None or name is None else frc[name].attrs.get("resolution_angstrom")
    return float(found) if isinstance(found, int | float) and np.isfinite(found) else None


def at_limit(frc: xr.Dataset | None) -> bool:
    """Whether the image that stands for a dataset resolves that much **or more**."""
    name = stated_curve(frc)
    if frc is None or name is None:
        return False
    threshold = str(frc[name].attrs.get("threshold", "0.143"))
    return bool(_mapping(frc[name].attrs.get("at_limit")).get(threshold))


def curve_names(frc: xr.Dataset | None) -> list[str]:
    """Images that have a curve."""
    if frc is None:
        return []
    return [
        str(name)
        for name, v in frc.data_vars.items()
        if v.attrs.get("kind") == "frc" and v.ndim == 1 and v.size > 2
    ]


def _frc_chart(frc: xr.Dataset, names: list[str], which: str) -> Chart | None:
    if not names:
        return None
    series = [_series(frc, name, i, frc[name].values) for i, name in enumerate(names)]
    last = max(float(s.x[-1]) for s in series)
    guides = [Series(t, np.array([0.0, last]), np.full(2, float(t)), "guide") for t in CONSTANT]
    grids = {frc[name].dims for name in names}
    guides += [
        Series("half-bit", *_over(frc, str(name)), "guide")
        for name, v in frc.data_vars.items()
        if v.attrs.get("kind") == "threshold" and v.dims in grids
    ]
    lowest = min((float(np.nanmin(s.y)) for s in series if np.isfinite(s.y).any()), default=0.0)
    return Chart(
        title=f"Fourier ring correlation of the two halves of the electrons, {which}",
        svg=curves(
            [*guides, *series],
            "spatial frequency [1/Å]",
            "correlation",
            x_range=(0.0, last),
            y_range=(max(-1.0, min(0.0, lowest)), 1.05),
            alt="Fourier ring correlation over spatial frequency: "
            + "; ".join(s.label for s in series),
        ),
        legend=(
            *((s.style, s.label) for s in series),
            ("guide", "thresholds " + ", ".join(dict.fromkeys(g.label for g in guides))),
        ),
        caption=(
            "Good: near 1 at low frequencies and one clear fall; a curve that stays up to the end "
            "is limited by sampling, one that is low from the start by dose."
        ),
        note=_ring_note(frc[names[0]]),
    )


def _snr_chart(frc: xr.Dataset, names: list[str]) -> Chart | None:
    if not names:
        return None
    series = []
    for i, name in enumerate(names):
        ratio = np.asarray(frc[f"{name}_snr"].values, float)
        seen = np.isfinite(ratio) & (ratio >= SNR_FLOOR)
        series.append(_series(frc, name, i, np.log10(np.where(seen, ratio, np.nan))))
    last = max(float(s.x[-1]) for s in series)
    even = Series("as much noise as signal", np.array([0.0, last]), np.zeros(2), "guide")
    highest = max((float(np.nanmax(s.y)) for s in series if np.isfinite(s.y).any()), default=1.0)
    return Chart(
        title="Signal over noise in the images from all electrons",
        svg=curves(
            [even, *series],
            "spatial frequency [1/Å]",
            "log₁₀ of power over power",
            x_range=(0.0, last),
            y_range=(np.log10(SNR_FLOOR), max(1.0, highest * 1.05)),
            alt="Spectral signal-to-noise ratio over spatial frequency",
        ),
        legend=(*((s.style, kind_of(n, frc[n]).title) for n, s in zip(names, series, strict=True)),
                ("guide", even.label)),
        caption="Good: above 0 as far as detail is wanted; ten times the electrons lift a curve "
        "by 1.",
    )  # fmt: skip


def _ring_note(curve: xr.DataArray) -> str:
    along = {str(name).split("_")[0]: axis for name, axis in curve.coords.items()}
    if not {"pixels", "sigma"} <= along.keys():
        return ""
    pixels, sigma = (np.asarray(along[name].values)[1:] for name in ("pixels", "sigma"))
    return (
        f"{pixels.size} rings of {number(int(pixels.min()))} to {number(int(pixels.max()))} "
        f"frequencies; noise alone would spread by {number(float(sigma.max()), 2)} to "
        f"{number(float(sigma.min()), 2)} (1σ)"
    )


def _series(frc: xr.Dataset, name: str, place: int, values: Any) -> Series:
    x, y = _over(frc, name)[0], np.asarray(values, float)
    label = f"{kind_of(name, frc[name]).title}: {resolution_label(frc[name])}"
    return Series(label, x, y[1:], f"s{place % STYLES}")


def _over(frc: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and values of a curve without its first ring, which holds the mean alone."""
    curve = frc[name]
    return (
        np.asarray(curve[curve.dims[0]].values, float)[1:],
        np.asarray(curve.values, float)[1:],
    )


def _spread_label(spread: Any) -> str:
    """What counting noise leaves open, in brackets; nothing where it is not known or no width."""
    if not isinstance(spread, list | tuple) or len(spread) != 2:
        return ""
    ends = [number(float(end), 3) if isinstance(end, int | float) else "∞" for end in spread]
    return f" ({ends[0]}–{ends[1]})" if ends[0] != ends[1] else ""


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
