"""The numbers that single-sideband ptychography needs to know of scan, aperture and lens."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, cos, sin

import numpy as np

from gpu_kernels.chi import chi_polynomial, turned_aberrations
from gpu_kernels.fourier import scan_frequencies
from gpu_kernels.ssb_reduce import NOISE_FROM


@dataclass(frozen=True)
class SsbGeometry:
    """Numbers that an SSB reduction needs, in Å and rad."""

    scan_shape: tuple[int, int]
    scan_step: tuple[float, float]
    """Along (y, x) [Å]."""
    rotation: float
    """Detector to scan [rad]."""
    aperture: float
    """k0 [1/Å]."""
    wavelength: float
    """[Å]."""
    aberrations: np.ndarray
    """(12,) Cartesian Krivanek coefficients [Å], see ``chi_polynomial``."""

    @property
    def columns(self) -> int:
        """Frequencies along x up to 2 k0 and one beyond: further out there is no sideband."""
        half = self.scan_shape[1] // 2 + 1
        return min(half, ceil(2 * self.aperture * self.scan_shape[1] * self.scan_step[1]) + 2)

    def frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies of the sums, (scan_y,) and of those kept along x (columns,) float64 [1/Å]."""
        q_y, q_x = scan_frequencies(self.scan_shape, self.scan_step)
        return q_y, q_x[: self.columns]

    @cached_property
    def noise_frequencies(self) -> int:
        """How many of them lie where there is nothing but noise.

        Counted once: for a large scan it takes milliseconds, as long as a device takes for all of
        SSB, and it is asked for with every block of pixels.
        """
        q_y, q_x = self.frequencies()
        return int(np.count_nonzero(np.hypot(q_y[:, None], q_x) > NOISE_FROM * self.aperture))

    def on_scan(self, k_y: np.ndarray, k_x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn wave vectors of the detector, arrays of one shape, to the scan's axes [1/Å]."""
        c, s = cos(self.rotation), sin(self.rotation)
        return c * k_y - s * k_x, s * k_y + c * k_x

    def chi(self) -> np.ndarray:
        """(12,) float64: χ/2π as a polynomial on the scan's axes, see ``chi_polynomial``."""
        turned = turned_aberrations(self.aberrations, self.rotation)
        return chi_polynomial(turned, self.wavelength)
