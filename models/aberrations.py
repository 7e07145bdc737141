"""Aberrations of the probe-forming lens, as Krivanek's coefficients.

χ(k) = (2π/λ) Σ C_nm θ^(n+1)/(n+1) cos(m(φ − φ_nm)) with θ = λ|k| and φ = atan2(k_y, k_x); the
aperture function is A = |A| e^(−iχ). ``defocus = -C10``. Krivanek, Dellby and Lupini,
Ultramicroscopy 78 (1999) 1–11; same names and signs as abTEM, py4DSTEM and quantem.
Angles are measured in the detector's frame (y = row, down; x = column, right), after the mirror
if there is one, because the coefficients belong to the microscope and not to the scan.
"""

from dataclasses import asdict, dataclass, fields
from math import atan2, cos, hypot, sin

import numpy as np

ORDERS = {"C10": (1, 0), "C12": (1, 2), "C21": (2, 1), "C23": (2, 3), "C30": (3, 0),
          "C32": (3, 2), "C34": (3, 4)}  # fmt: skip
"""Radial order n and azimuthal symmetry m of each coefficient."""

CARTESIAN = ("C10", "C12a", "C12b", "C21a", "C21b", "C23a", "C23b", "C30",
             "C32a", "C32b", "C34a", "C34b")  # fmt: skip
"""Order of the Cartesian vector: C_a = C cos(mφ_nm), C_b = C sin(mφ_nm)."""


@dataclass(frozen=True)
class Aberrations:
    """Coefficients in Å, azimuths in rad; all default to none."""

    C10: float = 0.0
    C12: float = 0.0
    phi12: float = 0.0
    C21: float = 0.0
    phi21: float = 0.0
    C23: float = 0.0
    phi23: float = 0.0
    C30: float = 0.0
    C32: float = 0.0
    phi32: float = 0.0
    C34: float = 0.0
    phi34: float = 0.0

    @property
    def defocus(self) -> float:
        """Defocus [Å], ``-C10``."""
        return -self.C10

    @classmethod
    def from_cartesian(cls, vector: np.ndarray) -> "Aberrations":
        """Make from the Cartesian vector, (12,) [Å]; a shorter one leaves the rest at zero.

        Raises
        ------
        ValueError
            If it is longer.
        """
        if len(vector) > len(CARTESIAN):
            raise ValueError(
                f"a vector of {len(vector)} numbers, expected at most {len(CARTESIAN)}: "
                + ", ".join(CARTESIAN)
            )
        parts = dict(zip(CARTESIAN, [float(v) for v in vector], strict=False))
        values: dict[str, float] = {}
        for name, (_, m) in ORDERS.items():
            if m == 0:
                values[name] = parts.get(name, 0.0)
                continue
            a, b = parts.get(name + "a", 0.0), parts.get(name + "b", 0.0)
            values[name] = hypot(a, b)
            values["phi" + name[1:]] = atan2(b, a) / m if values[name] else 0.0
        return cls(**values)

    def cartesian(self) -> np.ndarray:
        """(12,) float64: the coefficients in the order of ``CARTESIAN`` [Å]."""
        vector: list[float] = []
        for name, (_, m) in ORDERS.items():
            size = getattr(self, name)
            if m == 0:
                vector.append(size)
                continue
            angle = m * getattr(self, "phi" + name[1:])
            vector += [size * cos(angle), size * sin(angle)]
        return np.array(vector)

    def nonzero(self) -> dict[str, float]:
        """Coefficients that are not zero, by name [Å, rad]."""
        return {name: value for name, value in asdict(self).items() if value}


NAMES = tuple(field.name for field in fields(Aberrations))
"""Names of all coefficients and azimuths, in order."""


def phase_shift(
    ky: np.ndarray, kx: np.ndarray, wavelength: float, aberrations: Aberrations
) -> np.ndarray:
    """Aberration phase χ at wave vectors of the detector frame.

    Parameters
    ----------
    ky, kx : array
        Wave vectors [1/Å], broadcast against each other.
    wavelength : float
        Electron wavelength [Å].
    aberrations : Aberrations
        Coefficients [Å, rad].

    Returns
    -------
    array of float64
        χ [rad].
    """
    theta, phi = wavelength * np.hypot(ky, kx), np.arctan2(ky, kx)
    chi = np.zeros(np.broadcast(ky, kx).shape)
    for name, (n, m) in ORDERS.items():
        size = getattr(aberrations, name)
        if size:
            azimuth = getattr(aberrations, "phi" + name[1:]) if m else 0.0
            chi += size * theta ** (n + 1) / (n + 1) * np.cos(m * (phi - azimuth))
    return 2 * np.pi / wavelength * chi
