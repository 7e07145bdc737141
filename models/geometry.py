"""How the detector's axes lie on the scan's, and where the bright-field disk is.

Q_scan = R(θ) k_detector on (row, column) with R = [[cos, −sin], [sin, cos]], after an optional
mirror, which is a transposition of the detector's axes.
"""

from dataclasses import dataclass
from math import cos, sin

import numpy as np

from models.electron import wavelength


@dataclass(frozen=True)
class Geometry:
    """Everything that turns pixels into Å and 1/Å."""

    energy: float
    """Beam energy [eV]."""
    semiangle: float
    """Convergence semi-angle [rad]."""
    scan_step: tuple[float, float]
    """Distance of scan positions along (y, x) [Å]."""
    center: tuple[float, float]
    """Centre of the bright-field disk on the detector, (row, col) [px]."""
    radius: float
    """Radius of the bright-field disk [px]."""
    rotation: float = 0.0
    """Angle θ from detector to scan [rad]."""
    flip: bool = False
    """Whether the detector's axes are transposed before the rotation."""

    @property
    def wavelength(self) -> float:
        """Electron wavelength [Å]."""
        return wavelength(self.energy)

    @property
    def aperture(self) -> float:
        """Radius of the aperture k0 = α/λ [1/Å]."""
        return self.semiangle / self.wavelength

    @property
    def pixel_wavevector(self) -> float:
        """Size of a detector pixel [1/Å]."""
        return self.aperture / self.radius

    def detector_to_scan(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn vectors (row, col) of the detector into the scan's axes (mirror, then rotation).

        Both are arrays of one shape, in any unit, which stays as it is.
        """
        if self.flip:
            rows, cols = cols, rows
        c, s = cos(self.rotation), sin(self.rotation)
        return c * rows - s * cols, s * rows + c * cols

    def scan_to_detector(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn vectors of the scan into the (mirrored) detector frame: the rotation undone.

        The mirror is not undone: aberrations and wave vectors live in the frame after it.
        """
        c, s = cos(self.rotation), sin(self.rotation)
        return c * rows + s * cols, -s * rows + c * cols

    def wavevectors(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Wave vectors (ky, kx) [1/Å] of detector pixels [px], in the frame after the mirror."""
        ky = (np.asarray(rows) - self.center[0]) * self.pixel_wavevector
        kx = (np.asarray(cols) - self.center[1]) * self.pixel_wavevector
        return (kx, ky) if self.flip else (ky, kx)
