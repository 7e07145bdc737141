"""What a pixelated detector sees: |F[P(r − R) · O]|² for every probe position R.

All of it happens in the detector's frame after its mirror, where wave vectors and aberrations
live; positions of the scan are turned into it, and so is the specimen. A is sampled at the very
wave vectors of the detector's pixels, so a disk whose centre lies between pixels costs nothing.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import fft

from models.aberrations import Aberrations
from models.geometry import Geometry
from models.phase_object import PhaseObject
from models.probe import aperture_function

DISKS_ACROSS = 2.5
"""The grid holds diffraction to at least so many aperture radii, so that what is scattered further
folds back onto little."""


class Canvas(NamedTuple):
    """A specimen on the simulation's grid."""

    transmission: np.ndarray
    """(y, x) complex: repeats at its borders, where a position comes that close to one."""
    origin: tuple[float, float]
    """Place of its first point in the detector's frame [Å]."""


@dataclass(frozen=True)
class ForwardModel:
    """A microscope with a pixelated detector."""

    geometry: Geometry
    aberrations: Aberrations
    detector_shape: tuple[int, int]
    """(rows, cols) as the detector's frames have them, before the mirror."""
    edge: float = 1.0
    """Width of the edge of the bright-field disk [px]; 0 is a hard edge."""
    dtype: type = np.complex64
    """complex64 is good to 1e-6 of the brightest pixel and twice as fast as complex128."""
    pixel_points: int = 1
    """Points along each side of a detector pixel, over which its intensity is the mean: a real
    pixel integrates over its area. 1 takes the pixel for a point in its middle."""

    @cached_property
    def grid_shape(self) -> tuple[int, int]:
        """Pixels of the grid: the detector, made symmetric about the disk and wide enough."""
        needed = 2.0 * DISKS_ACROSS * self.geometry.radius
        shape = []
        for size, middle in zip(self._shape, self._center, strict=True):
            half = max(round(middle), size - round(middle), int(np.ceil(needed / 2)))
            shape.append(fft.next_fast_len(2 * half))
        return shape[0], shape[1]

    @cached_property
    def sampling(self) -> tuple[float, float]:
        """Pixel of the grid on the specimen, (y, x) of the detector's frame [Å]."""
        dk = self.geometry.pixel_wavevector
        return 1 / (self.grid_shape[0] * dk), 1 / (self.grid_shape[1] * dk)

    def positions(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Places of scan positions in the detector's frame.

        Parameters
        ----------
        rows, cols : (n,) array
            Row and column of the scan; fractions are places in between.

        Returns
        -------
        (n, 2) float64
            (y, x) [Å]; scan position (0, 0) is (0, 0).
        """
        step = self.geometry.scan_step
        y, x = self.geometry.scan_to_detector(
            np.multiply(rows, step[0]), np.multiply(cols, step[1])
        )
        return np.stack([y, x], axis=1)

    def canvas(self, specimen: PhaseObject, scan_shape: tuple[int, int]) -> Canvas:
        """Draw a specimen as far as the probe reaches from any position of a scan.

        Parameters
        ----------
        specimen : PhaseObject
            In the scan's frame.
        scan_shape : (rows, cols)
            Of the scan.

        Returns
        -------
        Canvas
            Its transmission e^(iφ).
        """
        last = np.array(scan_shape) - 1
        corners = self.positions(np.array([0, 0, 1, 1]) * last[0], np.array([0, 1, 0, 1]) * last[1])
        reach = (np.array(self.grid_shape) // 2 + 2) * self.sampling
        low, high = corners.min(axis=0) - reach, corners.max(axis=0) + reach
        rows, cols = (np.ceil((high - low) / self.sampling) + 1).astype(int)
        origin = float(low[0]), float(low[1])
        # Specimen coordinates are R(θ) times those of the detector's frame.
        phase = specimen.phase((rows, cols), self.sampling, origin, self.geometry.rotation)
        return Canvas(np.exp(1j * phase).astype(self.dtype), origin)

    def patterns(self, canvas: Canvas, positions: np.ndarray) -> np.ndarray:
        """Intensity on the detector, exact for probe positions between the grid's points.

        Parameters
        ----------
        canvas : Canvas
            The specimen.
        positions : (n, 2) float64
            (y, x) in the detector's frame [Å].

        Returns
        -------
        (n, rows, cols) float32 or float64
            Part of the beam that hits each pixel: sums to 1, less what misses the detector.
        """
        at = (np.asarray(positions, float) - canvas.origin) / self.sampling
        whole = np.floor(at + 0.5).astype(int)
        patterns = self._at_point(canvas, whole, at - whole, 0)
        for point in range(1, self.pixel_points**2):
            patterns += self._at_point(canvas, whole, at - whole, point)
        if self.pixel_points > 1:
            patterns /= self.pixel_points**2
        return patterns.transpose(0, 2, 1) if self.geometry.flip else patterns

    def _at_point(
        self, canvas: Canvas, whole: np.ndarray, shifts: np.ndarray, point: int
    ) -> np.ndarray:
        """Intensity at one point of each pixel, before the mirror."""
        waves = self._probes(shifts, point)
        rows, cols = (
            (whole[:, axis, None] - n // 2 + np.arange(n)) % canvas.transmission.shape[axis]
            for axis, n in enumerate(self.grid_shape)
        )
        for wave, row, col in zip(waves, rows, cols, strict=True):
            if row[0] < row[-1] and col[0] < col[-1]:
                wave *= canvas.transmission[row[0] : row[-1] + 1, col[0] : col[-1] + 1]
            else:
                wave *= canvas.transmission[row[:, None], col]
        waves = fft.fft2(waves, overwrite_x=True)
        seen = waves[:, self._window[0], self._window[1]]
        return seen.real**2 + seen.imag**2

    def _probes(self, shifts: np.ndarray, point: int) -> np.ndarray:
        """(n, y, x) probes on the middle of the grid plus a part of a pixel each.

        The shift is a phase ramp in the aperture. Only its rows and columns are transformed first
        along y, then all along x: a third of the work of two whole transforms.
        """
        inside, pixels = self._apertures[point]
        size = self.grid_shape
        ramps = [
            np.exp(-2j * np.pi * np.outer(shifts[:, axis] + size[axis] // 2,
                                          pixels[axis]) / size[axis])
            for axis in (0, 1)
        ]  # fmt: skip
        waves: np.ndarray = np.zeros((len(shifts), size[0], pixels[1].size), self.dtype)
        waves[:, pixels[0]] = (inside * ramps[0][:, :, None]) * ramps[1][:, None, :]
        padded: np.ndarray = np.zeros((len(shifts), *size), self.dtype)
        padded[:, :, pixels[1]] = fft.ifft(waves, axis=1, overwrite_x=True)
        return fft.ifft(padded, axis=2, overwrite_x=True)

    @cached_property
    def _apertures(self) -> list[tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]]:
        """A at each point of the pixels: see ``_aperture``."""
        at = (np.arange(self.pixel_points) + 0.5) / self.pixel_points - 0.5
        return [self._aperture((float(y), float(x))) for y in at for x in at]

    def _aperture(
        self, point: tuple[float, float]
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """A with Σ|A|² = 1 on its rows and columns of the grid, and which these are.

        The point is (y, x) from the middle of the pixels [px].
        """
        along = [
            (np.arange(n) - window.start - middle + off) * self.geometry.pixel_wavevector
            for n, window, middle, off in zip(
                self.grid_shape, self._window, self._center, point, strict=True
            )
        ]
        g = self.geometry
        whole = aperture_function(
            along[0][:, None], along[1], g.energy, g.semiangle, self.aberrations,
            self.edge * g.pixel_wavevector,
        )  # fmt: skip
        whole /= np.sqrt(np.sum(np.abs(whole) ** 2))
        rows, cols = (np.flatnonzero(whole.any(axis=axis)) for axis in (1, 0))
        return whole[np.ix_(rows, cols)], (rows, cols)

    @cached_property
    def _window(self) -> tuple[slice, slice]:
        """Where the detector's pixels are on the grid, whose pixel n // 2 is next to the centre."""
        starts = [
            n // 2 - round(middle) for n, middle in zip(self.grid_shape, self._center, strict=True)
        ]
        rows, cols = (
            slice(start, start + size) for start, size in zip(starts, self._shape, strict=True)
        )
        return rows, cols

    @property
    def _shape(self) -> tuple[int, int]:
        return self.detector_shape[::-1] if self.geometry.flip else self.detector_shape

    @property
    def _center(self) -> tuple[float, float]:
        center = self.geometry.center
        return center[::-1] if self.geometry.flip else center
