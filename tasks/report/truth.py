"""A page for newcomers: what was found in a simulated recording, beside the truth."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import xarray as xr

from models.electron import wavelength
from tasks.report.figures import Figure, image_figure
from tasks.report.known import in_order
from tasks.report.page import environment, open_results
from tasks.report.scales import number, with_uncertainty
from tasks.store import layout
from tasks.truth import Comparison

TRUTH = "true_phase"


def write_truth_page(folder: Path, truth: Path, found: Comparison, path: Path) -> Path:
    """Write the page.

    Parameters
    ----------
    folder : Path
        Of the dataset: holds ``results.zarr`` and ``report.html``.
    truth : Path
        What ``simulate`` wrote beside the recording.
    found : Comparison
        Of the two.
    path : Path
        The HTML file.

    Returns
    -------
    Path
        The same.
    """
    results, _ = open_results(folder)
    with np.load(truth, allow_pickle=False) as known:
        phase = known["phase"]
        band = 2 * float(known["semiangle"]) / wavelength(float(known["energy"]))
    page = environment().get_template("truth.html.j2").render(
        title=str(results.attrs["title"]),
        report=quote(os.path.relpath(folder / layout.REPORT, path.parent)),
        finest=number(1 / band, 2),
        figures=_figures(results, phase, found),
        rows=quantity_rows(found),
        wavefront=wavefront_line(found),
    )  # fmt: skip
    path.write_text(page, encoding="utf-8")
    return path


def quantity_rows(found: Comparison) -> list[dict[str, str]]:
    """Rows (name, truth, found, unit) as people read them."""
    return [
        {
            "name": quantity.name,
            "truth": number(quantity.truth),
            "found": with_uncertainty(quantity.fitted, quantity.uncertainty)
            if quantity.fitted is not None
            else "not fitted",
            "unit": quantity.unit,
        }
        for quantity in found.quantities
    ]


def wavefront_line(found: Comparison) -> str:
    """A sentence on the aberrations as a whole."""
    line = (
        f"After the correction {number(found.wavefront, 2)} rad of the aberrations are left, root "
        "mean square over the aperture; below 0.3 rad an image hardly changes."
    )
    if any(quantity.fitted is None for quantity in found.quantities):
        line += " Lower orders make up for what was not fitted, so they may differ from the truth."
    return line


def _figures(results: xr.Dataset, phase: np.ndarray, found: Comparison) -> list[Figure]:
    known: dict[str, Any] = {"units": "rad", "long_name": "phase of the specimen, the truth"}
    truth = xr.Dataset({TRUTH: (("y", "x"), phase, known)}, coords={
        axis: results.coords[axis] for axis in ("y", "x")})  # fmt: skip
    first = replace(
        image_figure(truth, TRUTH),
        caption="What the specimen really is: bright spots are atoms, brighter ones heavier.",
    )
    figures = [first]
    alike = {image.name: image for image in found.images}
    for name in in_order(alike):
        match = alike[name]
        caption = (
            f"Correlation with the truth: {number(match.correlation, 3)}, of 1; its phases are "
            f"{number(match.scale, 2)} times the true ones."
        )
        if name == "dpc_phase":
            caption += " DPC takes no aberrations away: it shows the specimen through the probe."
        figures.append(replace(image_figure(results, name), caption=caption))
    return figures
