"""Regions of the scan whose frames are averaged: a grain for its PACBED, vacuum for the probe.

A vacuum region can be picked from what the reduction has already found: where nothing is in the
beam, fewest electrons leave the disk and its centre of mass moves by counting noise alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.masks import MaskFile

VACUUM = "vacuum"
"""Name of the region that the probe is measured in."""
TILES = 8
"""A picked region is a square of this part of the scan's shorter side."""
SMALLEST_TILE = 4
MARGIN = 5
"""Deviations by which the best region may still stray from counting noise."""


class RegionError(ValueError):
    """A region that does not lie on the scan, or has no frame."""


@dataclass(frozen=True)
class Region:
    """Some positions of the scan: a window of it, or those inside a mask."""

    name: str
    window: tuple[int, int, int, int] | None = None
    """First row, row after the last, first column, column after the last."""
    mask: MaskFile | None = None

    def inside(self, scan_shape: tuple[int, int]) -> np.ndarray:
        """Which positions belong to it, (rows, cols) bool.

        Raises
        ------
        RegionError
            If the window ends outside of the scan.
        MaskError
            If the mask is of another shape.
        """
        if self.mask is not None:
            return self.mask.read(scan_shape)
        assert self.window is not None
        y0, y1, x0, x1 = self.window
        if y1 > scan_shape[0] or x1 > scan_shape[1]:
            raise RegionError(
                f"region '{self.name}': its window ends at row {y1}, column {x1}; the scan has "
                f"{scan_shape[0]} x {scan_shape[1]} positions."
            )
        inside = np.zeros(scan_shape, bool)
        inside[y0:y1, x0:x1] = True
        return inside

    @property
    def parameters(self) -> dict[str, Any]:
        """What identifies the region, for identities and attributes."""
        if self.mask is not None:
            return {"name": self.name, "mask": self.mask.parameters}
        return {"name": self.name, "window": list(self.window or ())}


@dataclass(frozen=True)
class Picked:
    """A region that was picked for vacuum, and how far it is from being one."""

    region: Region
    deflection: float
    """Variance of the centre of mass over that of counting noise; 1 in vacuum."""
    scattered: float
    """Share of the electrons outside the disk."""
    scattered_elsewhere: float
    """The same over the whole scan."""
    plain: bool
    """Whether the deflection is counting noise alone."""


def pick_vacuum(
    electrons: np.ndarray,
    disk_electrons: np.ndarray,
    disk_sums: np.ndarray,
    radius: float,
    usable: np.ndarray,
) -> Picked:
    """Pick the square of the scan that is most like vacuum.

    Squares, half overlapping, are ranked by how many standard deviations the scatter of their
    centre of mass lies above that of an even disk of the same electrons (variance R²/4 of each
    coordinate, for one electron), together with the share of electrons outside the disk.

    Parameters
    ----------
    electrons : (rows, cols)
        Electrons of each position [e].
    disk_electrons : (rows, cols)
        Those inside the disk [e].
    disk_sums : (rows, cols, 2)
        Sums of their row and column [px e].
    radius : float
        Of the disk [px].
    usable : (rows, cols) bool
        Positions with whole frames.

    Returns
    -------
    Picked

    Raises
    ------
    RegionError
        If no square has enough whole frames.
    """
    rows, cols = electrons.shape
    side = max(SMALLEST_TILE, min(rows, cols) // TILES)
    step = max(1, side // 2)
    inside, total = disk_electrons.astype(np.float64), electrons.astype(np.float64)
    usable = usable & (inside > 0)
    best: tuple[float, Picked] | None = None
    overall = 1 - inside[usable].sum() / max(1.0, total[usable].sum())
    for y0 in range(0, max(1, rows - side + 1), step):
        for x0 in range(0, max(1, cols - side + 1), step):
            y1, x1 = min(y0 + side, rows), min(x0 + side, cols)
            at = usable[y0:y1, x0:x1]
            if at.sum() < max(2, 0.5 * at.size):
                continue
            n, d = total[y0:y1, x0:x1][at], inside[y0:y1, x0:x1][at]
            sums = disk_sums[y0:y1, x0:x1][at].astype(np.float64)
            com, mean = sums / d[:, None], sums.sum(axis=0) / d.sum()
            excess = float((((com - mean) ** 2).sum(axis=1) * d).sum())
            deflection = excess / (radius**2 / 2 * (d.size - 1))
            # Two coordinates at each position: the variance of the ratio is 1 / (positions − 1).
            noise = 1 / np.sqrt(d.size - 1)
            scattered = 1 - d.sum() / n.sum()
            spread = np.sqrt(max(overall, 1 / n.sum()) / n.sum())
            score = (deflection - 1) / noise + (scattered - overall) / spread
            if best is None or score < best[0]:
                window = Region(VACUUM, (y0, y1, x0, x1))
                plain = bool(deflection < 1 + MARGIN * noise)
                best = score, Picked(window, deflection, float(scattered), float(overall), plain)
    if best is None:
        raise RegionError(
            f"no square of {side} x {side} scan positions has whole frames at half of them; give "
            "the vacuum's window."
        )
    return best[1]
