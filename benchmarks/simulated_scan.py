"""A scan of a phase object computed from the definition, pixel by pixel of the detector.

The wave at a detector pixel k, as the probe moves, is F⁻¹[T(Q) A(k − Q)]: the multiplication of a
specimen's spectrum by the shifted aperture. It holds for any k, off every grid, so that rotation
and sub-pixel centres cost no interpolation. Nothing here is shared with the code that it tests.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft

from models.aberrations import Aberrations, phase_shift
from models.geometry import Geometry


@dataclass(frozen=True)
class Scan:
    """Counts of the pixels around the disk, and what made them."""

    dense: np.ndarray
    """(pixels, scan_y, scan_x): electrons, or their expectation where there is no dose."""
    rows: np.ndarray
    cols: np.ndarray
    """(pixels,): centres on the detector [px]."""
    geometry: Geometry
    aberrations: Aberrations
    phase: np.ndarray
    """(scan_y, scan_x): the object [rad]."""

    def counted(self, dose: float, seed: int = 0) -> "Scan":
        """The same scan with Poisson electrons at a dose [e/Å²] in the bright-field disk."""
        step_y, step_x = self.geometry.scan_step
        counts = np.random.default_rng(seed).poisson(self.dense * dose * step_y * step_x)
        dense = counts.astype(np.uint16)
        return Scan(dense, self.rows, self.cols, self.geometry, self.aberrations, self.phase)

    @property
    def com(self) -> tuple[np.ndarray, np.ndarray]:
        """(row, col) of the disk's centre of mass, relative to the disk's centre [px]."""
        row, col = self.rows - self.geometry.center[0], self.cols - self.geometry.center[1]
        disk = np.hypot(row, col) < self.geometry.radius
        counts = self.dense[disk].astype(np.float64)
        total = counts.sum(axis=0)
        total[total == 0] = np.nan
        return (
            np.tensordot(row[disk], counts, 1) / total,
            np.tensordot(col[disk], counts, 1) / total,
        )


def mos2_phase(shape: tuple[int, int], step: float, peak: float = 0.9, seed: int = 1) -> np.ndarray:
    """A MoS2 monolayer with vacancies, turned against the scan [rad]."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape) * step
    extent = max(shape) * step
    atoms: list[tuple[float, float, float]] = []
    turn = np.deg2rad(7.0)
    for i in range(-40, 40):
        for j in range(-40, 40):
            for fy, fx, weight in ((0.0, 0.0, 1.0), (0.0, 1.824, 0.72)):
                u, v = 3.16 * (i + 0.5 * j) + fy, 2.737 * j + fx
                py = u * np.cos(turn) - v * np.sin(turn) + extent / 2
                px = u * np.sin(turn) + v * np.cos(turn) + extent / 2
                if -2 < py < extent + 2 and -2 < px < extent + 2 and rng.random() > 0.04:
                    atoms.append((py, px, weight))
    phase = np.zeros(shape)
    for py, px, weight in atoms:
        near_y, near_x = np.abs(y[:, 0] - py) < 3, np.abs(x[0] - px) < 3
        box = np.ix_(near_y, near_x)
        square = (y[box] - py) ** 2 + (x[box] - px) ** 2
        phase[box] += weight * (0.6 * np.exp(-square / 0.16) + 0.4 * np.exp(-square / 0.6))
    return phase * peak / phase.max()


def simulate(
    phase: np.ndarray,
    scan_shape: tuple[int, int],
    geometry: Geometry,
    aberrations: Aberrations,
    sub_pixels: int = 3,
) -> Scan:
    """Scan a phase object.

    Parameters
    ----------
    phase : (rows, cols)
        On the grid of the scan, periodic; larger than the scan, so that the scan is not [rad].
    scan_shape : (scan_y, scan_x)
        The part that is scanned.
    geometry : Geometry
        Where the disk is, rotation and mirror.
    aberrations : Aberrations
        Of the probe.
    sub_pixels : int
        A detector pixel is the mean of so many by so many points.

    Returns
    -------
    Scan
        Expected electrons for one electron per position in the disk.
    """
    reach = int(np.ceil(geometry.radius + 1.5))
    at = np.arange(-reach, reach + 1)
    rows, cols = np.meshgrid(round(geometry.center[0]) + at, round(geometry.center[1]) + at,
                             indexing="ij")  # fmt: skip
    rows, cols = rows.ravel(), cols.ravel()
    from_center = np.hypot(rows - geometry.center[0], cols - geometry.center[1])
    near = from_center < geometry.radius + 1.5
    rows, cols = rows[near], cols[near]
    q_y = scipy.fft.fftfreq(phase.shape[0], geometry.scan_step[0])[:, None]
    q_x = scipy.fft.fftfreq(phase.shape[1], geometry.scan_step[1])[None]
    q_row, q_col = geometry.scan_to_detector(q_y, q_x)
    wave = scipy.fft.fft2(np.exp(1j * phase))
    offsets = (np.arange(sub_pixels) + 0.5) / sub_pixels - 0.5
    dense = np.zeros((rows.size, *scan_shape))
    for pixel in range(rows.size):
        for d_row in offsets:
            for d_col in offsets:
                k_y, k_x = geometry.wavevectors(rows[pixel] + d_row, cols[pixel] + d_col)
                a = _aperture(k_y - q_row, k_x - q_col, geometry, aberrations)
                scattered = scipy.fft.ifft2(wave * a)[: scan_shape[0], : scan_shape[1]]
                dense[pixel] += np.abs(scattered) ** 2
    dense /= sub_pixels**2 * np.pi * geometry.radius**2
    crop = phase[: scan_shape[0], : scan_shape[1]]
    return Scan(dense, rows, cols, geometry, aberrations, crop)


def _aperture(k_y, k_x, geometry, aberrations):
    inside = np.hypot(k_y, k_x) < geometry.aperture
    chi = phase_shift(k_y[inside], k_x[inside], geometry.wavelength, aberrations)
    out = np.zeros(k_y.shape, np.complex128)
    out[inside] = np.exp(-1j * chi)
    return out
