"""A phase at once, on a device: from counts, or from G that is kept while a lens is tuned.

What is asked for is the same each time but for counts or a few thousand numbers: transforms, sums
over the pixels, the phase's spectrum, and its transform. It is recorded once (``replay``).
"""

from typing import Any

import numpy as np
from numba import cuda

from gpu_kernels.backend import (
    Array,
    as_library,
    beside,
    cupy,
    cupyx,
    device_empty,
    device_zeros,
    to_device,
)
from gpu_kernels.fourier import half_plane, libraries, parts_of, plan_of
from gpu_kernels.replay import Replay
from gpu_kernels.ssb_geometry import SsbGeometry
from gpu_kernels.ssb_reduce import FIELDS
from gpu_kernels.ssb_reduce_gpu import packed, reduce_on_gpu

THREADS_PER_BLOCK = 128


class KeptPhase:
    """Phase from both single sidebands of G that lives on a device.

    Parameters
    ----------
    parts : (pixels, rows, columns, 2) float32 or int16
        Real and imaginary part of G(k, Q) of the disk's pixels, on the device.
    rows : (rows,) int64
        Which rows of the scan's transform these are.
    scan_shape, scan_step : (y, x)
        Positions; their distance [Å].
    scale : (groups, rows, columns) float32, optional
        Unit of integers, see ``ssb_reduce_gpu.reduce_on_gpu``; on the device.
    """

    def __init__(
        self,
        parts: Array,
        rows: np.ndarray,
        scan_shape: tuple[int, int],
        scan_step: tuple[float, float],
        scale: Array | None = None,
    ) -> None:
        self._parts, self._scale = parts, scale
        self._finish = _Finish(rows, scan_shape, parts.shape[2])
        self._numbers = _Numbers(parts.shape[0], rows, scan_shape, scan_step)
        self._replay = Replay(self._work)

    def __call__(
        self, k_y: np.ndarray, k_x: np.ndarray, geometry: SsbGeometry, disk_intensity: float
    ) -> Array:
        """Phase for a calibration.

        Parameters
        ----------
        k_y, k_x : (pixels,) float64
            As in ``ssb.ssb_partial``; pixels outside the aperture add nothing.
        geometry : SsbGeometry
            Aperture, rotation and aberrations, on the scan that is kept.
        disk_intensity : float
            Mean counts of a pixel inside the disk at one position [e].

        Returns
        -------
        (scan_y, scan_x) float64
            Phase [rad], on the device; overwritten by the next call.
        """
        self._numbers.take(k_y, k_x, geometry, disk_intensity)
        return self._replay(self._numbers.send)

    @property
    def spectrum(self) -> Array:
        """(scan_y, scan_x // 2 + 1) complex128: Φ(Q) over the number of positions, of the last."""
        return self._finish.spectrum

    def _work(self, queue: Any) -> Array:
        fields = self._finish.none()
        there = self._numbers.there
        reduce_on_gpu(self._parts, there[1:], fields, self._scale, False, queue)
        return self._finish(fields, there[:1], queue)


class CountedPhase:
    """Phase from both single sidebands of counts that are on a device, whatever they come to be.

    Parameters
    ----------
    counts : (pixels, scan_y, scan_x)
        Where the counts of the disk's pixels will lie, on the device.
    k_y, k_x : (pixels,) float64
        As in ``ssb.ssb_partial``.
    geometry : SsbGeometry
        Scan, aperture and aberrations.
    at_once : int
        Pixels that are transformed together: memory is 8 bytes for each of their counts.
    """

    def __init__(
        self,
        counts: Array,
        k_y: np.ndarray,
        k_x: np.ndarray,
        geometry: SsbGeometry,
        at_once: int = 64,
    ) -> None:
        rows, scan, step = np.arange(counts.shape[1]), geometry.scan_shape, geometry.scan_step
        self._finish = _Finish(rows, scan, geometry.columns)
        self._blocks: list[tuple[Array, _Numbers, Any]] = []
        for first in range(0, k_y.size, at_once):
            part = slice(first, first + at_once)
            numbers = _Numbers(k_y[part].size, rows, scan, step)
            numbers.take(k_y[part], k_x[part], geometry, 0.0)
            numbers.send()
            plan = plan_of(device_empty(counts[part].shape, np.float32), "R2C")
            self._blocks.append((counts[part], numbers, plan))
        self._electrons = device_zeros(1, np.float64)
        self._per_electron = 1 / (k_y.size * scan[0] * scan[1])
        self._replay = Replay(self._work)

    def __call__(self) -> Array:
        """Phase of the counts that are there.

        Returns
        -------
        (scan_y, scan_x) float64
            Phase [rad], on the device; overwritten by the next call.
        """
        return self._replay()

    def _work(self, queue: Any) -> Array:
        fields = self._finish.none()
        _none_kernel[1, 1, queue](self._electrons)
        for counts, numbers, plan in self._blocks:
            g = parts_of(half_plane(counts, queue=queue, plan=plan))[:, :, : fields.shape[2]]
            _level_kernel[1, 1, queue](g, self._per_electron, self._electrons)
            reduce_on_gpu(g, numbers.there[1:], fields, None, False, queue)
        return self._finish(fields, self._electrons, queue)


class _Numbers:
    """What a calibration is to the kernels, in one place of the device: intensity, and the rest."""

    def __init__(
        self,
        pixels: int,
        rows: np.ndarray,
        scan_shape: tuple[int, int],
        scan_step: tuple[float, float],
    ) -> None:
        self._q_y = np.fft.fftfreq(scan_shape[0], scan_step[0])[rows]
        self._step_x = 1 / (scan_shape[1] * scan_step[1])
        none = np.zeros(pixels)
        # An aperture of no size has no sideband: without a calibration all is empty.
        blank = np.append(0.0, packed(none, none, self._q_y, 1.0, 0.0, np.zeros(12)))
        self.there, self._here = to_device(blank), blank
        self._sent: Any = None
        if cupy is not None:
            self._here = cupyx.empty_pinned(blank.shape, np.float64)

    def take(
        self, k_y: np.ndarray, k_x: np.ndarray, geometry: SsbGeometry, disk_intensity: float
    ) -> None:
        """Take a calibration; see ``KeptPhase.__call__``."""
        k_y, k_x = geometry.on_scan(k_y, k_x)
        if self._sent is not None:
            self._sent.synchronize()  # what lies here is on its way no more
        self._here[0] = disk_intensity
        self._here[1:] = packed(
            k_y, k_x, self._q_y, self._step_x, geometry.aperture, geometry.chi()
        )

    def send(self) -> None:
        """Copy it to the device."""
        if cupy is None:
            self.there = to_device(self._here)
            return
        stream = cupy.cuda.get_current_stream()
        self.there.set(self._here, stream=stream)
        self._sent = stream.record()


class _Finish:
    """From sums to the phase, in memory of its own."""

    def __init__(self, rows: np.ndarray, scan_shape: tuple[int, int], columns: int) -> None:
        self._scan, self._fields = (
            scan_shape,
            device_zeros((FIELDS, rows.size, columns), np.float64),
        )
        self.spectrum = device_zeros((scan_shape[0], scan_shape[1] // 2 + 1), np.complex128)
        self._rows = to_device(rows.astype(np.int64))
        self._plan = plan_of(self.spectrum, "C2R", scan_shape)

    def none(self) -> Array:
        """(10, rows, columns) float64: sums of no pixel."""
        if cupy is None:
            self._fields = device_zeros(self._fields.shape, np.float64)
        else:
            self._fields.fill(0)
        return self._fields

    def __call__(self, fields: Array, intensity: Array, queue: Any) -> Array:
        """(scan_y, scan_x) float64 [rad]; the intensity is a number on the device."""
        blocks = -(-fields[0].size // THREADS_PER_BLOCK)
        _spectrum_kernel[blocks, THREADS_PER_BLOCK, queue](
            fields, intensity, self._rows, 1 / (self._scan[0] * self._scan[1]), self.spectrum
        )
        there = as_library(self.spectrum)
        _, fft = libraries(there)
        return beside(
            fft.irfft2(there, s=self._scan, norm="forward", plan=self._plan), self.spectrum
        )


@cuda.jit
def _none_kernel(number):
    number[0] = 0.0


@cuda.jit
def _level_kernel(g, share, level):
    # One thread adds up a few hundred numbers: electrons of each pixel, as a mean of all.
    total = 0.0
    for pixel in range(g.shape[0]):
        total += g[pixel, 0, 0, 0]
    level[0] += total * share


@cuda.jit
def _spectrum_kernel(fields, intensity, rows, share, spectrum):
    # (right − left) / (i · intensity · pixels), over the positions, which the transform leaves out.
    at = cuda.grid(1)
    columns = fields.shape[2]
    if at < fields.shape[1] * columns:
        row, col = at // columns, at % columns
        pixels = fields[6, row, col] + fields[7, row, col]
        re, im = 0.0, 0.0
        if pixels > 0:
            factor = share / (intensity[0] * pixels)
            re = (fields[0, row, col] - fields[2, row, col]) * factor
            im = (fields[1, row, col] - fields[3, row, col]) * factor
        spectrum[rows[row], col] = complex(im, -re)
