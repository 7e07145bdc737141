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
    device_zeros,
    to_device,
)
from gpu_kernels.counts_transform import CountsTransform
from gpu_kernels.fourier import libraries, plan_of
from gpu_kernels.replay import Replay
from gpu_kernels.ssb_geometry import SsbGeometry
from gpu_kernels.ssb_reduce import FIELDS
from gpu_kernels.ssb_reduce_gpu import packed, reduce_on_gpu, spectrum_on_gpu
from gpu_kernels.ssb_reduce_kernel import HEAD

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
        self._finish = _Finish(rows, scan_shape)
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
        self._replay.wait()  # what is changed now is read by the last call
        self._numbers.take(k_y, k_x, geometry, disk_intensity)
        return self._replay()

    @property
    def spectrum(self) -> Array:
        """(scan_y, scan_x // 2 + 1) complex128: Φ(Q) over the number of positions, of the last."""
        return self._finish.spectrum

    def _work(self, queue: Any) -> Array:
        self._numbers.send()
        finish = self._finish
        spectrum_on_gpu(
            self._parts, self._numbers.there, self._parts.shape[2], finish.rows, finish.share,
            finish.spectrum, self._scale, queue,
        )  # fmt: skip
        return finish.image()


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
        self._finish, self._columns = _Finish(rows, scan), geometry.columns
        self._blocks: list[tuple[Array, _Numbers, CountsTransform]] = []
        transforms: dict[int, CountsTransform] = {}
        for first in range(0, k_y.size, at_once):
            part = slice(first, first + at_once)
            numbers = _Numbers(k_y[part].size, rows, scan, step)
            numbers.take(k_y[part], k_x[part], geometry, 0.0)
            numbers.send()
            block = counts[part]
            if block.shape[0] not in transforms:
                transforms[block.shape[0]] = CountsTransform(block, geometry.columns)
            self._blocks.append((block, numbers, transforms[block.shape[0]]))
        self._electrons = device_zeros(1, np.float64)
        self._per_electron = 1 / (k_y.size * scan[0] * scan[1])
        alone = len(self._blocks) == 1
        if not alone:
            self._fields = device_zeros((FIELDS, scan[0], geometry.columns), np.float64)
        self._replay = Replay(self._at_once if alone else self._in_turn)

    def __call__(self) -> Array:
        """Phase of the counts that are there.

        Returns
        -------
        (scan_y, scan_x) float64
            Phase [rad], on the device; overwritten by the next call.
        """
        return self._replay()

    def _at_once(self, queue: Any) -> Array:
        ((counts, numbers, transform),) = self._blocks
        g = self._transformed(counts, transform, numbers.there, queue)
        finish = self._finish
        spectrum_on_gpu(
            g, numbers.there, self._columns, finish.rows, finish.share, finish.spectrum, None,
            queue, transform.rows_first,
        )  # fmt: skip
        return finish.image()

    def _in_turn(self, queue: Any) -> Array:
        if cupy is None:
            self._fields = device_zeros(self._fields.shape, np.float64)
        else:
            self._fields.fill(0)
        kept = 0.0  # of what the last call left there
        for counts, numbers, transform in self._blocks:
            g = self._transformed(counts, transform, self._electrons, queue, kept)
            kept = 1.0
            reduce_on_gpu(g, numbers.there, self._fields, None, False, queue, transform.rows_first)
        return self._finish(self._fields, self._electrons, queue)

    def _transformed(
        self,
        counts: Array,
        transform: CountsTransform,
        electrons: Array,
        queue: Any,
        kept: float = 0.0,
    ) -> Array:
        """G of a block, whose mean level is added to so much of a number on the device."""
        g = transform(counts, queue)
        mean = g[0] if transform.rows_first else g[:, 0]
        _level_kernel[1, 1, queue](mean, self._per_electron, kept, electrons)
        return g


class _Numbers:
    """What a calibration is to the kernels, in one place of the device."""

    def __init__(
        self,
        pixels: int,
        rows: np.ndarray,
        scan_shape: tuple[int, int],
        scan_step: tuple[float, float],
    ) -> None:
        q_y, none = np.fft.fftfreq(scan_shape[0], scan_step[0])[rows], np.zeros(pixels)
        # An aperture of no size has no sideband: without a calibration all is empty.
        blank = packed(none, none, q_y, 1 / (scan_shape[1] * scan_step[1]), 0.0, np.zeros(12))
        self.there, self._here, self._pixels = to_device(blank), blank, pixels
        if cupy is not None:
            self._here = cupyx.empty_pinned(blank.shape, np.float64)
            self._here[:] = blank

    def take(
        self, k_y: np.ndarray, k_x: np.ndarray, geometry: SsbGeometry, disk_intensity: float
    ) -> None:
        """Take a calibration; see ``KeptPhase.__call__``."""
        here, last = self._here, HEAD + self._pixels
        here[0], here[2], here[3:HEAD] = disk_intensity, geometry.aperture, geometry.chi()
        here[HEAD:last], here[last : last + self._pixels] = geometry.on_scan(k_y, k_x)

    def send(self) -> None:
        """Copy it to the device, on CuPy's current stream: what lies here is still to be there."""
        if cupy is None:
            self.there = to_device(self._here)
            return
        # Not by the array's own method, which refuses to be recorded, whatever memory it is given.
        runtime = cupy.cuda.runtime
        runtime.memcpyAsync(
            self.there.data.ptr, self._here.ctypes.data, self._here.nbytes,
            runtime.memcpyHostToDevice, cupy.cuda.get_current_stream().ptr,
        )  # fmt: skip


class _Finish:
    """From sums to the phase, in memory of its own."""

    def __init__(self, rows: np.ndarray, scan_shape: tuple[int, int]) -> None:
        self._scan, self.share = scan_shape, 1 / (scan_shape[0] * scan_shape[1])
        """What a spectrum is multiplied by, since the transform leaves it out."""
        self.spectrum = device_zeros((scan_shape[0], scan_shape[1] // 2 + 1), np.complex128)
        self.rows = to_device(rows.astype(np.int64))
        self._plan = plan_of(self.spectrum, "C2R", scan_shape)

    def __call__(self, fields: Array, intensity: Array, queue: Any) -> Array:
        """(scan_y, scan_x) float64 [rad]; the intensity is a number on the device."""
        blocks = -(-fields[0].size // THREADS_PER_BLOCK)
        _spectrum_kernel[blocks, THREADS_PER_BLOCK, queue](
            fields, intensity, self.rows, self.share, self.spectrum
        )
        return self.image()

    def image(self) -> Array:
        """(scan_y, scan_x) float64 [rad]: the transform of the spectrum."""
        there = as_library(self.spectrum)
        _, fft = libraries(there)
        return beside(
            fft.irfft2(there, s=self._scan, norm="forward", plan=self._plan), self.spectrum
        )


@cuda.jit
def _level_kernel(g, share, kept, level):
    # One thread adds up a few hundred numbers: electrons of each pixel, as a mean of all.
    total = 0.0
    for pixel in range(g.shape[0]):
        total += g[pixel, 0, 0]
    level[0] = kept * level[0] + total * share


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
