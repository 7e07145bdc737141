"""What the explorer shows, as files: a figure of all pictures, and calibrated float TIFFs."""

import io
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from tasks.explore.colours import shown_range
from tasks.report.images import tiff_of
from tasks.report.scales import scale_bar

TITLES = {
    "main": "phase", "beside": "the other estimate", "dpc": "DPC", "spectrum": "spectrum, log |Φ|",
    "before": "trotters, as measured", "after": "trotters, corrected",
    "virtual0": "detector A", "virtual1": "detector B",
}  # fmt: skip
SCANS = ("main", "beside", "dpc", "virtual0", "virtual1")
"""Pictures over the scan, which have a scale bar."""


def figure_file(
    pictures: Mapping[str, np.ndarray], step: tuple[float, float], caption: str, kind: str
) -> bytes:
    """All pictures on one sheet.

    Parameters
    ----------
    pictures : mapping
        By the names of ``TITLES``: real values, or uint32 RGBA.
    step : (y, x)
        Distance of scan positions [Å].
    caption : str
        Under them.
    kind : str
        ``png`` or ``svg``.

    Returns
    -------
    bytes
        The file; nothing in it tells the time.
    """
    names = [name for name in TITLES if name in pictures]
    columns = 4
    rows = -(-len(names) // columns)
    sheet = Figure(figsize=(3.2 * columns, 3.4 * rows + 0.4), layout="constrained")
    for number, name in enumerate(names):
        axes = sheet.add_subplot(rows, columns, number + 1)
        _draw(axes, name, pictures[name], step)
    sheet.supxlabel(caption, fontsize="small")
    file = io.BytesIO()
    stamp = {"Date": None} if kind == "svg" else {}
    with mpl.rc_context({"svg.hashsalt": "phasemill", "svg.fonttype": "none"}):
        sheet.savefig(file, format=kind, dpi=150, metadata=stamp)
    return file.getvalue()


def tiff_file(
    name: str, image: np.ndarray, step: tuple[float, float], attributes: dict[str, Any]
) -> bytes:
    """One picture over the scan as a float32 TIFF that ImageJ opens in Å."""
    axes = {
        dim: (dim, np.arange(n) * s, {"units": "Å"})
        for dim, n, s in zip("yx", image.shape, step, strict=True)
    }
    units = "e" if name.startswith("virtual") else "rad"
    data = xr.DataArray(image, dims=("y", "x"), coords=axes, attrs={"units": units})
    return tiff_of(xr.Dataset({name: data}, attrs=attributes), name, data)


def _draw(axes: Any, name: str, image: np.ndarray, step: tuple[float, float]) -> None:
    axes.set_title(TITLES[name], fontsize="small")
    axes.set_xticks([])
    axes.set_yticks([])
    if image.dtype == np.uint32:
        axes.imshow(image.view(np.uint8).reshape(*image.shape, 4), interpolation="nearest")
        return
    low, high = shown_range(image)
    colours = "cividis" if name == "spectrum" else "gray"
    drawn = axes.imshow(
        image, cmap=colours, vmin=low, vmax=high, interpolation="nearest",
        aspect=step[0] / step[1] if name in SCANS else 1,
    )  # fmt: skip
    if name not in SCANS:
        return
    unit = "e" if name.startswith("virtual") else "rad"
    axes.figure.colorbar(drawn, ax=axes, shrink=0.8, label=unit)
    bar = scale_bar(image.shape[1] * step[1], "Å")
    axes.plot([0.05, 0.05 + bar.fraction], [0.05, 0.05], color="white", lw=4, solid_capstyle="butt",
              transform=axes.transAxes)  # fmt: skip
    axes.text(0.05, 0.07, bar.label, color="white", fontsize="small", transform=axes.transAxes)
