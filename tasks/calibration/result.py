"""What a calibration gives: values with origin and uncertainty, and what to think of them."""

from dataclasses import dataclass, field
from math import degrees
from typing import Any, Literal

import numpy as np

from gpu_kernels.rotation_fit import RotationFit
from gpu_kernels.subaperture import ShiftFit
from models.aberrations import ORDERS, Aberrations
from models.geometry import Geometry

Origin = Literal["given", "fitted", "default"]
Level = Literal["ok", "warn", "bad"]


@dataclass(frozen=True)
class Parameter:
    """One calibrated quantity."""

    value: Any
    origin: Origin
    """``given`` by the job, ``fitted`` to the data, or left at its ``default``."""
    uncertainty: Any = None
    """Standard deviation, in the unit of the value; None where there is none."""
    unit: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "value": self.value,
            "origin": self.origin,
            "uncertainty": self.uncertainty,
            "unit": self.unit,
        }


@dataclass(frozen=True)
class Flag:
    """One statement about the quality of a calibration."""

    flag: str
    level: Level
    text: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"flag": self.flag, "level": self.level, "text": self.text}


@dataclass(frozen=True)
class Polarity:
    """What decides between θ and θ + 180°."""

    by: Literal["rotation", "aberrations", "skewness"]
    """A given value, or the skewness of the phase: specimens advance the electron's phase."""
    skewness: float
    """Of the phase image at the chosen sign, its spectrum flattened."""
    confidence: float
    """The skewness in standard deviations of images with the same spectrum and random phases."""


@dataclass(frozen=True)
class Calibration:
    """Rotation, mirror and aberrations."""

    geometry: Geometry
    """With rotation and mirror filled in."""
    aberrations: Aberrations
    rotation: Parameter
    """[rad]"""
    flip: Parameter
    coefficients: dict[str, Parameter]
    """Å and rad, by Krivanek name; all twelve."""
    polarity: Polarity
    explained: float
    """Share of the energy beyond noise that the calibration explains, 0 to 1."""
    misfit: float
    """What is left unexplained over Poisson noise; 1 is perfect."""
    by_com: RotationFit | None = None
    """What the centre of mass says of rotation and mirror."""
    by_shifts: ShiftFit | None = None
    """What the shifts of partial images say."""
    flags: list[Flag] = field(default_factory=list)

    def as_attributes(self) -> dict[str, Any]:
        """``scan_rotation_deg``, ``flip`` and ``aberrations`` for the results' attributes."""
        sigma = self.rotation.uncertainty
        rotation = Parameter(
            degrees(self.rotation.value),
            self.rotation.origin,
            None if sigma is None else degrees(sigma),
            "°",
        )
        return {
            "scan_rotation_deg": rotation.as_dict(),
            "flip": self.flip.as_dict(),
            "aberrations": {name: one.as_dict() for name, one in self.coefficients.items()},
        }


def coefficient_parameters(
    cartesian: np.ndarray, covariance: np.ndarray, origins: dict[str, Origin]
) -> dict[str, Parameter]:
    """Krivanek coefficients with uncertainties from Cartesian ones.

    Parameters
    ----------
    cartesian : (12,) float64
        In the order of ``models.aberrations.CARTESIAN`` [Å].
    covariance : (12, 12) float64
        Of them [Å²].
    origins : dict
        Of each coefficient, by its name (``C12``, not ``C12a``).

    Returns
    -------
    dict
        ``C10`` … ``C34`` [Å] and ``phi12`` … ``phi34`` [rad].
    """
    out: dict[str, Parameter] = {}
    aberrations = Aberrations.from_cartesian(cartesian)
    at = 0
    for name, (_, m) in ORDERS.items():
        width = 2 if m else 1
        part, own = cartesian[at : at + width], covariance[at : at + width, at : at + width]
        at += width
        value, origin = getattr(aberrations, name), origins[name]
        if not m:
            sigma = float(np.sqrt(own[0, 0])) if origin == "fitted" else None
            out[name] = Parameter(value, origin, sigma, "Å")
            continue
        size, turn = None, None
        if origin == "fitted":
            along = part / value if value > 0 else np.array([1.0, 0.0])
            across = np.array([-along[1], along[0]])
            size = float(np.sqrt(along @ own @ along))
            turn = float(np.sqrt(across @ own @ across) / (m * value)) if value > 0 else None
        out[name] = Parameter(value, origin, size, "Å")
        out["phi" + name[1:]] = Parameter(
            getattr(aberrations, "phi" + name[1:]), origin, turn, "rad"
        )
    return out
