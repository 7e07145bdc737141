"""Virtual detectors of what is held: any annulus about the disk, at once."""

from math import ceil

import numpy as np

from gpu_kernels.pixel_plan import radii
from gpu_kernels.weighted_sum import weighted_sum
from models.geometry import Geometry
from tasks.explore.held import Held


def annulus_image(held: Held, geometry: Geometry, inner: float, outer: float) -> np.ndarray:
    """Electrons on an annulus about the disk's centre.

    A coarse bin that the edge cuts counts by the share of its pixels that lie inside.

    Parameters
    ----------
    held : Held
        With the whole detector in coarse bins.
    geometry : Geometry
        Centre, radius and semi-angle.
    inner, outer : float
        Of the annulus [rad].

    Returns
    -------
    (scan_y, scan_x) float32
        [e]; NaN where there is no whole frame.
    """
    per_rad = geometry.radius / geometry.semiangle
    away = radii(held.detector_shape, geometry.center)
    inside = (away >= inner * per_rad) & (away < outer * per_rad)
    image = weighted_sum(held.coarse, _shares(inside, held.coarse_bin)).reshape(held.window.shape)
    return np.where(held.unusable, np.nan, image).astype(np.float32)


def widest_angle(held: Held, geometry: Geometry) -> float:
    """Angle of the detector's farthest corner [rad]."""
    away = radii(held.detector_shape, geometry.center)
    return float(away.max()) * geometry.semiangle / geometry.radius


def _shares(inside: np.ndarray, bin: int) -> np.ndarray:
    """Share of each coarse bin that is inside; pixels beyond the detector's edge do not count."""
    shape = [ceil(n / bin) for n in inside.shape]
    full = np.zeros((shape[0] * bin, shape[1] * bin, 2), np.float32)
    full[: inside.shape[0], : inside.shape[1], 0] = inside
    full[: inside.shape[0], : inside.shape[1], 1] = 1
    sums = full.reshape(shape[0], bin, shape[1], bin, 2).sum(axis=(1, 3))
    return (sums[..., 0] / sums[..., 1]).astype(np.float32).ravel()
