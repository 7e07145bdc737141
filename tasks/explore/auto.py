"""Auto: rotation, mirror and aberrations fitted to what is held, as a night would fit them."""

from dataclasses import dataclass
from math import degrees

import numpy as np

from models.geometry import Geometry
from tasks.calibration import blind
from tasks.explore.held import Held, Window
from tasks.explore.phases import Trial
from tasks.report.scales import number

SIDE = 512
"""Of a larger scan its middle is fitted: that is evidence enough."""


@dataclass(frozen=True)
class Fitted:
    """What was fitted, and what is to be thought of it."""

    trial: Trial
    words: str


def fit(held: Held, geometry: Geometry) -> Fitted:
    """Fit everything but the disk.

    Parameters
    ----------
    held : Held
        The counts.
    geometry : Geometry
        With the disk as it is.

    Returns
    -------
    Fitted

    Raises
    ------
    ValueError
        If the disk has too few pixels, or the scan too few frequencies.
    """
    part = Window.middle(held.window.shape, SIDE)
    unusable, electrons = part.of(held.unusable), part.of(held.com_electrons)
    seen = np.where((electrons > 0) & ~unusable, electrons, np.nan)
    sums = part.of(held.com_sums)
    found = blind.calibrate(
        held.counts[:, part.y0 : part.y1, part.x0 : part.x1], held.rows, held.cols, held.bin,
        geometry, (sums[..., 0] / seen, sums[..., 1] / seen), missing=unusable,
    )  # fmt: skip
    worst = [flag.text for flag in found.flags if flag.level != "ok"]
    words = (
        f"Fitted: rotation {number(degrees(found.geometry.rotation), 5)}°, "
        f"C10 {number(found.aberrations.C10)} Å, C12 {number(found.aberrations.C12)} Å; "
        f"{100 * found.explained:.0f} % of the signal explained."
    )
    return Fitted(Trial(found.geometry, found.aberrations), " ".join([words, *worst]))
