"""Patches against a spline on a CUDA device.

No sum uses atomics: a coefficient fetches what each patch around it sends, and the patches, sorted
by the corner of their windows, are one stretch for each row of corners; so results repeat to the
bit. Many patches pass in parts, so that memory is bounded.
"""

import numpy as np
from numba import cuda

from gpu_kernels.backend import Array, device_zeros, to_device, to_host
from gpu_kernels.stitch_cpu import SPARE, TAPS

THREADS_PER_BLOCK = 128
PIXELS_AT_ONCE = 1 << 26
"""Pixels of all patches that exist at a time: 256 MiB."""


class GpuPatches:
    """The twin of ``stitch_cpu.CpuPatches``; sums come back to the host, which is small work."""

    def __init__(
        self,
        corners: np.ndarray,
        taps: np.ndarray,
        weights: np.ndarray,
        basis: np.ndarray,
        shape: tuple[int, int],
        threads: int,
    ) -> None:
        """See ``CpuPatches``; a device has its own idea of ``threads``."""
        self._corners, self._shape = corners, shape
        self._size = weights.shape[1:]
        self._taps = to_device(taps.astype(np.float32))
        self._corners_there = to_device(corners.astype(np.int64))
        self._weights = to_device(weights.astype(np.float32))
        self._basis = to_device(basis.astype(np.float32))
        self._terms = basis.shape[1]

    def normal(self, coefficients: np.ndarray) -> np.ndarray:
        """See ``CpuPatches.normal``."""
        spline = to_device(coefficients.astype(np.float32))

        def fill(part: np.ndarray, there: Array, lines: Array) -> None:
            self._sample(there, spline, lines)
            self._free(there, lines, self._terms)

        return self._sum(np.arange(len(self._corners)), fill)

    def coverage(self) -> np.ndarray:
        """See ``CpuPatches.coverage``."""

        def fill(part: np.ndarray, there: Array, lines: Array) -> None:
            _launch(_one_kernel, lines.size, lines)
            self._free(there, lines, 0)

        return self._sum(np.arange(len(self._corners)), fill)

    def spread(self, patches: Array, chosen: np.ndarray) -> np.ndarray:
        """See ``CpuPatches.spread``."""
        whose = _whose(len(self._corners), chosen)

        def fill(part: np.ndarray, there: Array, lines: Array) -> None:
            _launch(_take_kernel, lines.size, patches, to_device(whose[part]), lines)
            self._free(there, lines, self._terms)

        return self._sum(chosen, fill)

    def judge(
        self, coefficients: np.ndarray, patches: Array, chosen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``CpuPatches.judge``."""
        whose = _whose(len(self._corners), chosen)
        spline = to_device(coefficients.astype(np.float32))
        factors = np.zeros((chosen.size, self._terms))

        def fill(part: np.ndarray, there: Array, lines: Array) -> None:
            self._sample(there, spline, lines)
            found = device_zeros((part.size, self._terms), np.float32)
            _launch(
                _judge_kernel, part.size,
                there, patches, to_device(whose[part]), self._weights, self._basis, lines, found,
            )  # fmt: skip
            factors[whose[part]] = to_host(found)

        return self._sum(chosen, fill), factors

    def _sample(self, there: Array, spline: Array, lines: Array) -> None:
        _launch(_sample_kernel, lines.size, there, self._corners_there, self._taps, spline, lines)

    def _free(self, there: Array, lines: Array, terms: int) -> None:
        patches = lines.shape[0]
        _launch(_free_kernel, patches, there, self._weights, self._basis, terms, lines)

    def _sum(self, chosen: np.ndarray, fill) -> np.ndarray:
        """Add up what the patches send, some at a time."""
        out = device_zeros(self._shape, np.float32)
        corners, columns = self._corners[chosen], self._shape[1]
        place = corners[:, 0] * columns + corners[:, 1]
        order = np.argsort(place, kind="stable")
        most = max(1, PIXELS_AT_ONCE // int(np.prod(self._size)))
        total = np.zeros(self._shape)
        for first in range(0, chosen.size, most):
            part, places = chosen[order[first : first + most]], place[order[first : first + most]]
            there = to_device(part)
            lines = device_zeros((part.size, *self._size), np.float32)
            fill(part, there, lines)
            cells = np.searchsorted(places, np.arange(self._shape[0] * columns + 1))
            out = device_zeros(self._shape, np.float32)
            _launch(
                _put_kernel, self._shape[0] * columns,
                there, self._corners_there, self._taps, to_device(cells), lines, out,
            )  # fmt: skip
            total += to_host(out)
        return total


def _whose(positions: int, chosen: np.ndarray) -> np.ndarray:
    whose = np.zeros(positions, np.int64)
    whose[chosen] = np.arange(chosen.size)
    return whose


def _launch(kernel, threads: int, *arguments) -> None:
    kernel[max(1, -(-threads // THREADS_PER_BLOCK)), THREADS_PER_BLOCK](*arguments)


@cuda.jit
def _one_kernel(lines):
    at = cuda.grid(1)
    height, width = lines.shape[1], lines.shape[2]
    if at < lines.size:
        lines[at // (height * width), at // width % height, at % width] = 1.0


@cuda.jit
def _take_kernel(patches, whose, lines):
    at = cuda.grid(1)
    height, width = lines.shape[1], lines.shape[2]
    if at < lines.size:
        p, i, j = at // (height * width), at // width % height, at % width
        lines[p, i, j] = patches[whose[p], i, j]


@cuda.jit
def _sample_kernel(chosen, corners, taps, spline, lines):
    # One thread a pixel: neighbours read neighbouring coefficients, sixteen each, from the cache.
    at = cuda.grid(1)
    height, width = lines.shape[1], lines.shape[2]
    if at < lines.size:
        n, i, j = at // (height * width), at // width % height, at % width
        p = chosen[n]
        y, x = corners[p, 0] + i, corners[p, 1] + j
        total = np.float32(0)
        for a in range(TAPS):
            row = np.float32(0)
            for b in range(TAPS):
                row += taps[p, 1, b] * spline[y + a, x + b]
            total += taps[p, 0, a] * row
        lines[n, i, j] = total


@cuda.jit
def _free_kernel(chosen, weights, basis, terms, lines):
    # One thread a patch: its sums need no other's.
    n = cuda.grid(1)
    if n < lines.shape[0]:
        which = chosen[n] if weights.shape[0] > 1 else 0
        height, width = lines.shape[1], lines.shape[2]
        for k in range(terms):
            # One after another is the same as together: the basis is orthonormal.
            factor = 0.0
            for i in range(height):
                for j in range(width):
                    factor += weights[which, i, j] * basis[which, k, i, j] * lines[n, i, j]
            for i in range(height):
                for j in range(width):
                    lines[n, i, j] -= factor * basis[which, k, i, j]
        for i in range(height):
            for j in range(width):
                lines[n, i, j] *= weights[which, i, j]


@cuda.jit
def _judge_kernel(chosen, patches, whose, weights, basis, lines, factors):
    n = cuda.grid(1)
    if n < lines.shape[0]:
        which = chosen[n] if weights.shape[0] > 1 else 0
        height, width = lines.shape[1], lines.shape[2]
        for i in range(height):
            for j in range(width):
                lines[n, i, j] = patches[whose[n], i, j] - lines[n, i, j]
        for k in range(basis.shape[1]):
            factor = 0.0
            for i in range(height):
                for j in range(width):
                    factor += weights[which, i, j] * basis[which, k, i, j] * lines[n, i, j]
            factors[n, k] = factor
            for i in range(height):
                for j in range(width):
                    lines[n, i, j] -= factor * basis[which, k, i, j]
        for i in range(height):
            for j in range(width):
                lines[n, i, j] *= weights[which, i, j] * lines[n, i, j]


@cuda.jit
def _put_kernel(chosen, corners, taps, cells, lines, out):
    # One thread a coefficient. Corners from y − reach to y send to it: those of a row of corners
    # are one stretch of the patches, which are sorted so.
    at = cuda.grid(1)
    columns = out.shape[1]
    height, width = lines.shape[1], lines.shape[2]
    if at < out.size:
        y, x = at // columns, at % columns
        left = max(x - width - SPARE + 1, 0)
        total = np.float32(0)
        for row in range(max(y - height - SPARE + 1, 0), y + 1):
            for n in range(cells[row * columns + left], cells[row * columns + x + 1]):
                p = chosen[n]
                i, j = y - corners[p, 0], x - corners[p, 1]
                for a in range(max(0, i - height + 1), min(TAPS, i + 1)):
                    line = np.float32(0)
                    for b in range(max(0, j - width + 1), min(TAPS, j + 1)):
                        line += taps[p, 1, b] * lines[n, i - a, j - b]
                    total += taps[p, 0, a] * line
        out[y, x] = total
