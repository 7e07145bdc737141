"""The equations of ``stitch``: patches that lie on a spline, and the spline that fits them best."""

from typing import NamedTuple

import numpy as np
import scipy.fft

from gpu_kernels.backend import Array, on_gpu
from gpu_kernels.spline import mean_blur, spline_taps, spline_values
from gpu_kernels.stitch_cpu import SPARE, CpuPatches
from gpu_kernels.stitch_gpu import GpuPatches

SMOOTHNESS = 1e-4
"""Weight of the squared slope beside that of the patches: it settles what no patch sees. A patch's
own slope has the weight of its second moment, above 1 px², so that long waves keep their height."""
UNSEEN = 1e-3
"""Pixels of less than this part of the largest weight are not part of the image."""
WELL_COVERED = 0.8
"""Weight, relative to the mean, from which on patches are nearly evenly strewn."""
LEAST_COVERED = 0.003
"""Less than this counts as this in the preconditioner."""
OWN = 0.3
"""Where there is less, a coefficient is seen by itself: its own equation's part of the weight."""


class Stitched(NamedTuple):
    """An image from patches, and how far they agree, on the host."""

    image: np.ndarray
    """(rows, cols) float32: with a weighted mean of 0, and with ramps no weighted slope; NaN where
    no patch reaches."""
    weight: np.ndarray
    """(rows, cols) float32: sum of the weights of all patches that see a pixel."""
    disagreement: np.ndarray
    """(rows, cols) float32: root of the weighted mean square by which patches miss the image."""
    factors: np.ndarray
    """(patches, 1 or 3) float64: offset of each patch, patch less image, and its slope along y and
    x a pixel, about the patch's weighted centre."""
    rounds: int
    """Of conjugate gradients."""


class Layout:
    """Where the patches' pixels of weight lie on a spline that all of them fit on."""

    def __init__(self, positions, whole, box, size, shape, origin) -> None:
        first = positions + [box[axis].start - whole[axis] // 2 for axis in (0, 1)]
        corners = np.floor(first).astype(np.int64) - 1
        self.low = corners.min(axis=0)
        self.corners = corners - self.low
        self.taps = spline_taps(first - np.floor(first))
        self.whole: tuple[int, int] = whole
        self.size: tuple[int, int] = size
        rows, cols = self.corners.max(axis=0) + np.add(size, SPARE)
        self.shape = int(rows), int(cols)
        self.image_shape, self._origin = shape, origin

    def on_image(self, values: np.ndarray, outside: float) -> np.ndarray:
        """(rows, cols) float32 of the image from those of the spline's grid."""
        out = np.full(self.image_shape, outside, np.float32)
        low = self.low - self._origin
        first = np.maximum(low, 0)
        last = np.minimum(low + values.shape, self.image_shape)
        if (last > first).all():
            here, there = (
                tuple(slice(a - o, b - o) for a, b, o in zip(first, last, origin, strict=True))
                for origin in ((0, 0), low)
            )
            out[here] = values[there]
        return out


def sampled_on(
    like: Array, layout: Layout, weights: np.ndarray, basis: np.ndarray, threads: int = 1
) -> CpuPatches | GpuPatches:
    """The geometry of patches, worked on where an array lives."""
    make = GpuPatches if on_gpu(like) else CpuPatches
    return make(layout.corners, layout.taps, weights, basis, layout.shape, threads)


class Equations:
    """AᵀWQA c = AᵀWQ b: right side, solution, and what it leaves."""

    def __init__(self, layout: Layout, weights, ramps, threads, like: Array) -> None:
        self._layout, self._ramps = layout, ramps
        self._basis, self._scale = orthonormal_basis(weights, ramps)
        self._patches = sampled_on(like, layout, weights, self._basis, threads)
        self._coverage = self._patches.coverage()
        self._right = np.zeros(layout.shape)
        self._left_over = np.zeros(layout.shape)
        self._factors = np.zeros((len(layout.corners), self._basis.shape[1]))
        self._threads = threads
        self._strength = self._coverage.sum() / self._coverage.size
        self._inverse = self._inverse_symbol(weights)
        relative = self._coverage / self._strength
        self._even = 1 / np.sqrt(np.maximum(relative, WELL_COVERED))
        own = OWN * self._strength * np.maximum(relative, LEAST_COVERED)
        self._edge = np.where(relative < WELL_COVERED, 1 / own, 0)

    def add(self, patches: Array, chosen: np.ndarray) -> None:
        """Add patches to the right side."""
        self._right += self._patches.spread(patches, chosen)

    def add_sum(self, values: np.ndarray, corner: tuple[int, int]) -> None:
        """Add a sum of patches, whose first coefficient lies at a place of the image."""
        first = np.subtract(corner, self._layout.low)
        last = first + values.shape
        if (first < 0).any() or (last > self._layout.shape).any():
            raise ValueError(
                f"a sum of patches of {values.shape[0]} x {values.shape[1]} coefficients from "
                f"{tuple(corner)} reaches beyond the positions, whose first is "
                f"{tuple(self._layout.low.tolist())} of {self._layout.shape}"
            )
        self._right[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] += values

    def solve(self, tolerance: float, most_rounds: int) -> int:
        """Conjugate gradients from zero; gives the rounds that it took."""
        found, rest = np.zeros(self._layout.shape), self._right.copy()
        better = self._preconditioned(rest)
        direction, size = better, float(np.vdot(rest, better))
        first, rounds = size, 0
        while rounds < most_rounds and size > tolerance**2 * first:
            rounds += 1
            moved = self._normal(direction)
            step = size / float(np.vdot(direction, moved))
            found += step * direction
            rest -= step * moved
            better = self._preconditioned(rest)
            size, before = float(np.vdot(rest, better)), size
            direction = better + size / before * direction
        self._found = self._levelled(found)
        return rounds

    def judge(self, patches: Array, chosen: np.ndarray) -> None:
        """See how far patches are from the image."""
        rest, factors = self._patches.judge(self._found, patches, chosen)
        self._left_over += rest
        self._factors[chosen] = np.einsum("nk,nkl->nl", factors, self._scale_of(chosen))

    def result(self, rounds: int) -> Stitched:
        """Image and maps."""
        weight = self._coverage
        seen = weight > UNSEEN * weight.max()
        image = np.where(seen, spline_values(self._found), np.nan)
        rest = np.maximum(self._left_over, 0) / np.where(seen, weight, np.inf)
        on_image = self._layout.on_image
        return Stitched(
            on_image(image, np.nan),
            on_image(np.where(seen, weight, 0), 0),
            on_image(np.where(seen, np.sqrt(rest), np.nan), np.nan),
            self._factors,
            rounds,
        )

    def _scale_of(self, chosen: np.ndarray) -> np.ndarray:
        return self._scale[chosen if len(self._scale) > 1 else np.zeros(chosen.size, int)]

    def _normal(self, coefficients: np.ndarray) -> np.ndarray:
        out = self._patches.normal(coefficients)
        stiff = SMOOTHNESS * self._strength
        for axis in (0, 1):
            slope = stiff * np.diff(coefficients, axis=axis)
            edge = [(0, 0), (0, 0)]
            edge[axis] = (1, 1)
            out -= np.diff(np.pad(slope, edge), axis=axis)
        return out

    def _preconditioned(self, rest: np.ndarray) -> np.ndarray:
        # Inside as a convolution, plus what lies at the edge coefficient by coefficient: without
        # the second part, conjugate gradients take a hundred rounds instead of fifteen.
        workers = self._threads
        spectrum = scipy.fft.dctn(self._even * rest, norm="ortho", workers=workers)
        spectrum *= self._inverse
        inside = self._even * scipy.fft.idctn(spectrum, norm="ortho", workers=workers)
        return inside + self._edge * rest

    def _inverse_symbol(self, weights: np.ndarray) -> np.ndarray:
        """One over the equations of evenly strewn patches, for each cosine."""
        rows, cols = self._layout.shape
        mean, bases = weights[:16], self._basis[:16]
        total = np.zeros((rows, cols))
        for w, basis in zip(mean, bases, strict=True):
            hidden = sum(_power(w * u, rows, cols) for u in basis)
            total += np.maximum(w.sum() - hidden, 0) / w.sum()
        q_y = np.pi * np.arange(rows) / rows
        q_x = np.pi * np.arange(cols) / cols
        symbol = total / len(mean) * mean_blur(q_y)[:, None] * mean_blur(q_x)
        slope = 4 * np.sin(q_y / 2)[:, None] ** 2 + 4 * np.sin(q_x / 2) ** 2
        symbol += SMOOTHNESS * slope
        symbol[0, 0] = np.inf
        return 1 / (self._strength * symbol)

    def _levelled(self, coefficients: np.ndarray) -> np.ndarray:
        """Without what offsets hide of the whole image: its mean, and with ramps its slope."""
        y, x = (np.linspace(-1, 1, n) for n in coefficients.shape)
        terms = [np.ones(coefficients.shape)]
        if self._ramps:
            terms += [np.broadcast_to(y[:, None], coefficients.shape),
                      np.broadcast_to(x, coefficients.shape)]  # fmt: skip
        root = np.sqrt(self._coverage)
        matrix = np.stack([(root * term).ravel() for term in terms], axis=1)
        factors = np.linalg.lstsq(matrix, (root * spline_values(coefficients)).ravel())[0]
        return coefficients - sum(f * term for f, term in zip(factors, terms, strict=True))


def orthonormal_basis(weights: np.ndarray, ramps: bool) -> tuple[np.ndarray, np.ndarray]:
    """What a patch may be off by: functions u with Σ w u_k u_l = δ_kl.

    Parameters
    ----------
    weights : (1 or patches, height, width) float64
        Of each pixel.
    ramps : bool
        Planes, instead of constants.

    Returns
    -------
    basis : (1 or patches, terms, height, width) float64
        A constant, and slopes along y and x.
    scale : (1 or patches, terms, terms) float64
        Factors of the basis times this are those of 1, y − ȳ and x − x̄, the distance from the
        weighted centre [px].
    """
    height, width = weights.shape[1:]
    total = weights.sum(axis=(1, 2))
    y, x = np.arange(height)[:, None], np.arange(width)
    plain = [np.ones(weights.shape)]
    if ramps:
        for line in (y, x):
            centre = (weights * line).sum(axis=(1, 2)) / total
            plain.append(np.broadcast_to(line, weights.shape) - centre[:, None, None])
    functions = np.stack(plain, axis=1)
    gram = np.einsum("nij,nkij,nlij->nkl", weights, functions, functions, optimize=True)
    scale = np.linalg.inv(np.linalg.cholesky(gram))
    return np.einsum("nkl,nlij->nkij", scale, functions), scale


def _power(values: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """(rows, cols) |Σ v e^(iq·r)|² at the cosines' frequencies, the mean over both signs of one."""
    q = [np.pi * np.arange(n) / n for n in (rows, cols)]
    wave_y, wave_x = (
        np.exp(1j * np.outer(f, np.arange(n))) for f, n in zip(q, values.shape, strict=True)
    )
    there, back = wave_y @ values @ wave_x.T, wave_y.conj() @ values @ wave_x.T
    return (np.abs(there) ** 2 + np.abs(back) ** 2) / 2
