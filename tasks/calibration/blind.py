"""Calibrate a microscope from nothing but the scan itself.

Image shifts of parts of the disk and the curl of its centre of mass give starting values and a
second opinion; the energy that a calibration explains gives the values; the sign of the phase
decides between θ and θ + 180°. What the job gives is never changed, and is compared with the data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import pi
from typing import Any

import numpy as np

from gpu_kernels.rotation_fit import RotationFit, fit_rotation
from gpu_kernels.subaperture import ShiftFit, fit_shifts
from models.aberrations import CARTESIAN, ORDERS, Aberrations
from models.geometry import Geometry
from tasks.calibration.evidence import NAMES, Evidence, frequency_band, gather_evidence
from tasks.calibration.polarity import skewness_of_phase
from tasks.calibration.quality import quality_flags
from tasks.calibration.result import (
    Calibration,
    Origin,
    Parameter,
    Polarity,
    coefficient_parameters,
)
from tasks.calibration.search import Optimum, search

SEED = 20
"""Of the random phases that say how much skewness is chance."""


@dataclass(frozen=True)
class Known:
    """What the job gives, in the search's terms."""

    fixed: dict[str, float]
    """By the names of a trial [rad, Å]."""
    flip: bool | None
    coefficients: frozenset[str]
    """Krivanek names that are given (``C12`` with its azimuth)."""

    @property
    def signed(self) -> bool:
        """Whether something given tells θ from θ + 180°."""
        return any(value for value in self.fixed.values()) or "rotation" in self.fixed

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Known":
        """Read ``rotation`` [rad], ``flip`` and Krivanek names [Å, rad]; None is not given.

        Raises
        ------
        ValueError
            If a name is unknown, or an azimuth is given without its coefficient.
        """
        values = {name: value for name, value in given.items() if value is not None}
        azimuths = {"phi" + name[1:]: name for name, (_, m) in ORDERS.items() if m}
        unknown = values.keys() - ORDERS.keys() - azimuths.keys() - {"rotation", "flip"}
        if unknown:
            raise ValueError(
                f"calibration cannot be given {', '.join(sorted(unknown))}; it knows rotation, "
                f"flip, {', '.join([*ORDERS, *azimuths])}"
            )
        for azimuth, name in azimuths.items():
            if azimuth in values and name not in values:
                raise ValueError(f"{azimuth} is given without {name}: give both, or neither")
        numbers = {name: float(v) for name, v in values.items() if name not in ("rotation", "flip")}
        cartesian = dict(zip(CARTESIAN, Aberrations(**numbers).cartesian(), strict=True))
        own = [name for name in ORDERS if name in values]
        fixed = {part: float(cartesian[part]) for part in CARTESIAN if part[:3] in own}
        if "rotation" in values:
            fixed["rotation"] = float(values["rotation"])
        flip = values.get("flip")
        return cls(fixed, None if flip is None else bool(flip), frozenset(own))


def calibrate(
    dense: Any,
    rows: np.ndarray,
    cols: np.ndarray,
    bin_size: float,
    geometry: Geometry,
    com: tuple[np.ndarray, np.ndarray] | None = None,
    given: Mapping[str, Any] | None = None,
    missing: np.ndarray | None = None,
) -> Calibration:
    """Find rotation, mirror and aberrations.

    Parameters
    ----------
    dense : (pixels, scan_y, scan_x)
        Counts of the binned detector pixels in and around the bright-field disk; anything that
        gives NumPy arrays for slices of its first axis. It is read twice, some pixels at a time.
    rows, cols : (pixels,) float64
        Their centres on the detector [px].
    bin_size : float
        Detector pixels along a side of one of them.
    geometry : Geometry
        Energy, semi-angle, scan step, centre and radius; its rotation and mirror are not used.
    com : (row, col) pair of (scan_y, scan_x), optional
        Centre of mass of the disk in any unit, NaN where missing: a second opinion.
    given : mapping, optional
        What is known: ``rotation`` [rad], ``flip``, and Krivanek names [Å, rad]. A coefficient
        without its azimuth has the azimuth 0. What is absent or None is fitted.
    missing : (scan_y, scan_x) bool, optional
        Positions without data, or with part of their data.

    Returns
    -------
    Calibration
        With the origin and uncertainty of every value, and flags.

    Raises
    ------
    ValueError
        If the window has too few pixels in the disk or the scan too few frequencies.
    """
    known = Known.of(given or {})
    evidence, patches, window = gather_evidence(dense, rows, cols, bin_size, geometry, missing)
    shape = (int(dense.shape[1]), int(dense.shape[2]))
    shifts = fit_shifts(patches, window, geometry.scan_step, geometry.wavelength)
    by_com = _curl(com, geometry, shape, missing, known)
    flips = (False, True) if known.flip is None else (known.flip,)
    best = search(evidence, known.fixed, flips, _hints(shifts))
    chosen, polarity = _decide_sign(evidence, best, known)
    return _result(evidence, geometry, known, chosen, polarity, by_com, shifts)


def _curl(
    com: tuple[np.ndarray, np.ndarray] | None,
    geometry: Geometry,
    shape: tuple[int, int],
    missing: np.ndarray | None,
    known: Known,
) -> RotationFit | None:
    if com is None:
        return None
    lowest, _ = frequency_band(shape, geometry.scan_step, geometry.aperture)
    highest = min(1.2 * geometry.aperture, 0.25 / max(geometry.scan_step))
    return fit_rotation(*com, geometry.scan_step, (lowest, highest), missing, known.flip)


def _hints(shifts: ShiftFit) -> Sequence[tuple[bool, np.ndarray]]:
    if not shifts.reliable:
        return ()
    trial = np.zeros(len(NAMES))
    trial[:4] = shifts.rotation, shifts.C10, shifts.C12a, shifts.C12b
    return ((shifts.flip, trial),)


def _decide_sign(evidence: Evidence, best: Optimum, known: Known) -> tuple[Optimum, Polarity]:
    """Turn to (θ + 180°, −χ) if the phase is negative and nothing given forbids it."""
    rng = np.random.default_rng(SEED)
    skewness, confidence = skewness_of_phase(evidence, best.trial, best.flip, rng)
    if known.signed:
        by = "rotation" if "rotation" in known.fixed else "aberrations"
        return best, Polarity(by, skewness, confidence)  # type: ignore[arg-type]
    if skewness < 0:
        turned = np.concatenate([[best.trial[0] + pi], -best.trial[1:]])
        best = replace(best, trial=turned)
    return best, Polarity("skewness", abs(skewness), abs(confidence))


def _result(
    evidence: Evidence,
    geometry: Geometry,
    known: Known,
    best: Optimum,
    polarity: Polarity,
    by_com: RotationFit | None,
    shifts: ShiftFit,
) -> Calibration:
    origins: dict[str, Origin] = {}
    for name in ORDERS:
        fitted = any(part[:3] == name for part in best.free)
        origins[name] = "given" if name in known.coefficients else "fitted" if fitted else "default"
    rotation = known.fixed.get("rotation", (best.trial[0] + pi) % (2 * pi) - pi)
    sigma = float(np.sqrt(best.covariance[0, 0])) if "rotation" in best.free else None
    calibration = Calibration(
        geometry=replace(geometry, rotation=float(rotation), flip=best.flip),
        aberrations=Aberrations.from_cartesian(best.trial[1:]),
        rotation=Parameter(
            float(rotation), "given" if "rotation" in known.fixed else "fitted", sigma, "rad"
        ),
        flip=Parameter(best.flip, "given" if known.flip is not None else "fitted"),
        coefficients=coefficient_parameters(best.trial[1:], best.covariance[1:, 1:], origins),
        polarity=polarity,
        explained=best.signal_share,
        misfit=best.misfit,
        by_com=by_com,
        by_shifts=shifts,
    )
    flags = quality_flags(calibration, best, evidence.depth_of_focus)
    return replace(calibration, flags=flags)
