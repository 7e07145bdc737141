"""Patches against a spline on the host: sampled, freed of offsets, and spread back, one by one.

Within a patch every pixel has the same fraction, so that a cubic B-spline is four taps along each
axis for all of it. A patch lies as one flat line with three spare columns to a row: each tap is
then a long loop over neighbours, which fills the processor's vectors, and the spare columns, whose
weight is zero, are never seen.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from gpu_kernels.row_fft import FAST

TAPS = 4
SPARE = TAPS - 1
"""Columns by which a window of coefficients is wider than its patch."""
LANES = 16
"""Partial sums of a dot product, which the compiler may not reorder by itself."""
BANDS = 16
"""Stretches of positions with sums of their own: fixed, so that no result depends on threads."""


class CpuPatches:
    """The patches' geometry: where each lies on the spline, and what every pixel weighs."""

    def __init__(
        self,
        corners: np.ndarray,
        taps: np.ndarray,
        weights: np.ndarray,
        basis: np.ndarray,
        shape: tuple[int, int],
        threads: int,
        dtype: type = np.float32,
    ) -> None:
        """Lay out the patches.

        Parameters
        ----------
        corners : (patches, 2) int64
            (y, x) of the first coefficient that each patch's first pixel is sampled from.
        taps : (patches, 2, 4)
            Of all pixels of a patch, along y and x.
        weights : (1 or patches, height, width)
            Of a patch's pixels.
        basis : (1 or patches, terms, height, width)
            Orthonormal with these weights: what a patch may be off by.
        shape : (rows, cols)
            Of the coefficients.
        threads : int
            Bands of patches that are computed together.
        dtype : float32 or float64
            Double precision is for tests.
        """
        self._corners = corners
        self._taps: np.ndarray = taps.astype(dtype)
        self._size, self._shape, self._threads, self._dtype = (
            weights.shape[1:],
            shape,
            threads,
            dtype,
        )
        self._weights, self._basis = _flat(weights, dtype), _flat(basis, dtype)
        self._freed = self._weights[:, None] * self._basis

    def normal(self, coefficients: np.ndarray) -> np.ndarray:
        """(rows, cols) float64: AᵀWQA of coefficients."""
        spline: np.ndarray = np.ascontiguousarray(coefficients, self._dtype)
        return self._sum(normal_cpu, np.arange(len(self._corners)), spline)

    def coverage(self) -> np.ndarray:
        """(rows, cols) float64: AᵀW of ones."""
        ones = np.ones((1, *self._size), self._dtype)
        whose = np.zeros(len(self._corners), np.int64)
        none = self._freed[:, :0]
        return self._sum(spread_cpu, np.arange(len(self._corners)), ones, whose, freed=none)

    def spread(self, patches: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """(rows, cols) float64: AᵀWQ of some patches, those of the chosen positions."""
        whose = np.empty(len(self._corners), np.int64)
        whose[chosen] = np.arange(chosen.size)
        return self._sum(spread_cpu, chosen, np.ascontiguousarray(patches, self._dtype), whose)

    def judge(
        self, coefficients: np.ndarray, patches: np.ndarray, chosen: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Squared rest of some patches, spread like them, and what each is off by.

        Returns
        -------
        rest : (rows, cols) float64
            AᵀW of the squared difference that offsets do not explain.
        factors : (chosen, terms) float64
            Of the basis, patch less image.
        """
        whose = np.empty(len(self._corners), np.int64)
        whose[chosen] = np.arange(chosen.size)
        spline: np.ndarray = np.ascontiguousarray(coefficients, self._dtype)
        factors = np.zeros((chosen.size, self._basis.shape[1]))
        patches = np.ascontiguousarray(patches, self._dtype)
        rest = self._sum(judge_cpu, chosen, spline, patches, whose, self._basis, factors)
        return rest, factors

    def _sum(
        self, kernel: Callable, chosen: np.ndarray, *arguments, freed: np.ndarray | None = None
    ) -> np.ndarray:
        """Add up what a kernel spreads, a band of positions at a time."""
        freed = self._freed if freed is None else freed
        total = np.zeros(self._shape)
        order = chosen[np.argsort(self._corners[chosen, 0], kind="stable")]
        bands = [band for band in np.array_split(order, BANDS) if band.size]
        rows = self._size[0] + SPARE

        def one(band: np.ndarray) -> tuple[int, np.ndarray]:
            low = int(self._corners[band[0], 0])
            height = int(self._corners[band[-1], 0]) + rows - low
            out = np.zeros((height, self._shape[1]), self._dtype)
            kernel(
                band, self._corners, self._taps, self._weights, freed, self._size, low, out,
                *arguments,
            )  # fmt: skip
            return low, out

        for low, out in _over(one, bands, self._threads):
            total[low : low + len(out)] += out
        return total


def _over(one: Callable, bands: Sequence[np.ndarray], threads: int):
    if threads <= 1:
        yield from map(one, bands)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(one, bands)


def _flat(values: np.ndarray, dtype: type) -> np.ndarray:
    """(…, length): rows with spare columns one after another, up to a whole number of lanes."""
    wide = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, SPARE)])
    flat = wide.reshape(*values.shape[:-2], -1)
    tail = -flat.shape[-1] % LANES
    return np.ascontiguousarray(np.pad(flat, [(0, 0)] * (flat.ndim - 1) + [(0, tail)]), dtype)


@njit(nogil=True, cache=True, fastmath=FAST)
def normal_cpu(chosen, corners, taps, weights, freed, size, low, out, spline):
    """Spread the weighted, freed samples of a spline.

    Parameters
    ----------
    chosen : (some,) int64
        Positions.
    corners : (positions, 2) int64
        (y, x) of the first coefficient of each window.
    taps : (positions, 2, 4) float32
        Along y and x.
    weights : (1 or positions, length) float32
        Of a patch's pixels, flat.
    freed : (1 or positions, terms, length) float32
        Weights times an orthonormal basis of what a patch may be off by.
    size : (height, width)
        Of a patch.
    low, out : int, (rows, cols) float32
        First row of the band, and its sums.
    spline : (rows, cols) float32
        Coefficients.
    """
    seen, mid, rest, back = _buffers(size, weights)
    length, before = weights.shape[1], SPARE * (size[1] + SPARE)
    for p in chosen:
        which = p if weights.shape[0] > 1 else 0
        _sample(spline, corners[p], taps[p], size, seen, mid, rest)
        inner = rest[before : before + length]
        _free(inner, weights[which], freed[which])
        _put(rest, taps[p], corners[p], size, low, back, mid, out)


@njit(nogil=True, cache=True, fastmath=FAST)
def spread_cpu(chosen, corners, taps, weights, freed, size, low, out, patches, whose):
    """Spread weighted, freed patches; ``whose`` says which patch belongs to a position."""
    _, mid, rest, back = _buffers(size, weights)
    length, before = weights.shape[1], SPARE * (size[1] + SPARE)
    for p in chosen:
        which = p if weights.shape[0] > 1 else 0
        inner = rest[before : before + length]
        _take(patches[whose[p]], size, inner)
        _free(inner, weights[which], freed[which])
        _put(rest, taps[p], corners[p], size, low, back, mid, out)


@njit(nogil=True, cache=True, fastmath=FAST)
def judge_cpu(
    chosen, corners, taps, weights, freed, size, low, out, spline, patches, whose, basis, factors
):  # fmt: skip
    """Spread the weighted square of what spline and basis leave of patches; fill the factors."""
    seen, mid, rest, back = _buffers(size, weights)
    length, before = weights.shape[1], SPARE * (size[1] + SPARE)
    taken = np.zeros(length, out.dtype)
    for p in chosen:
        which = p if weights.shape[0] > 1 else 0
        _sample(spline, corners[p], taps[p], size, seen, mid, rest)
        inner = rest[before : before + length]
        _take(patches[whose[p]], size, taken)
        for n in range(length):
            inner[n] = taken[n] - inner[n]
        for k in range(freed.shape[1]):
            factor = _dot(freed[which, k], inner)
            factors[whose[p], k] = factor
            for n in range(length):
                inner[n] -= factor * basis[which, k, n]
        for n in range(length):
            inner[n] *= weights[which, n] * inner[n]
        _put(rest, taps[p], corners[p], size, low, back, mid, out)


@njit(nogil=True, cache=True)
def _buffers(size, weights):
    # One line of a window, with what taps reach before and behind it.
    pitch, kind = size[1] + SPARE, weights.dtype
    whole = (size[0] + SPARE) * pitch
    return (
        np.zeros(whole + SPARE, kind),
        np.zeros(whole + LANES + SPARE, kind),
        np.zeros(whole + SPARE * pitch + LANES, kind),
        np.zeros(whole + SPARE, kind),
    )


@njit(nogil=True, cache=True, fastmath=FAST)
def _sample(spline, corner, taps, size, seen, mid, rest):
    """Values of the spline at a patch's pixels, from ``SPARE`` rows on in ``rest``."""
    pitch = size[1] + SPARE
    whole, inside, before = (size[0] + SPARE) * pitch, size[0] * pitch, SPARE * pitch
    y, x = corner[0], corner[1]
    for i in range(size[0] + SPARE):
        seen[i * pitch : (i + 1) * pitch] = spline[y + i, x : x + pitch]
    a, b, c, d = taps[1, 0], taps[1, 1], taps[1, 2], taps[1, 3]
    for n in range(whole):
        mid[n] = a * seen[n] + b * seen[n + 1] + c * seen[n + 2] + d * seen[n + 3]
    a, b, c, d = taps[0, 0], taps[0, 1], taps[0, 2], taps[0, 3]
    one, two, three = mid[pitch:], mid[2 * pitch :], mid[3 * pitch :]
    out = rest[before:]
    for n in range(inside):
        out[n] = a * mid[n] + b * one[n] + c * two[n] + d * three[n]


@njit(nogil=True, cache=True, fastmath=FAST)
def _take(patch, size, line):
    """Lay a patch out flat."""
    pitch = size[1] + SPARE
    for i in range(size[0]):
        line[i * pitch : i * pitch + size[1]] = patch[i]


@njit(nogil=True, cache=True, fastmath=FAST)
def _free(line, weights, freed):
    """Weigh a line, and take out what the basis explains of it: w v − Σ w u ⟨w u, v⟩."""
    if freed.shape[0] == 1:
        factor = _dot(freed[0], line)
        for n in range(line.size):
            line[n] = weights[n] * line[n] - factor * freed[0, n]
        return
    factors = np.empty(freed.shape[0], line.dtype)
    for k in range(freed.shape[0]):
        factors[k] = _dot(freed[k], line)
    for n in range(line.size):
        line[n] *= weights[n]
    for k in range(freed.shape[0]):
        for n in range(line.size):
            line[n] -= factors[k] * freed[k, n]


@njit(nogil=True, cache=True, fastmath=FAST)
def _dot(one, other):
    sums = np.zeros(LANES, one.dtype)
    for n in range(0, one.size, LANES):
        for lane in range(LANES):
            sums[lane] += one[n + lane] * other[n + lane]
    return sums.sum()


@njit(nogil=True, cache=True, fastmath=FAST)
def _put(rest, taps, corner, size, low, back, mid, out):
    """Add a weighted line to the coefficients that it was sampled from."""
    pitch = size[1] + SPARE
    whole = (size[0] + SPARE) * pitch
    a, b, c, d = taps[0, 0], taps[0, 1], taps[0, 2], taps[0, 3]
    one, two, three = rest[2 * pitch :], rest[pitch:], rest
    here, line = rest[3 * pitch :], mid[SPARE:]
    mid[:SPARE] = 0
    for n in range(whole):
        line[n] = a * here[n] + b * one[n] + c * two[n] + d * three[n]
    a, b, c, d = taps[1, 0], taps[1, 1], taps[1, 2], taps[1, 3]
    for n in range(whole):
        back[n] = a * mid[n + 3] + b * mid[n + 2] + c * mid[n + 1] + d * mid[n]
    y, x = corner[0] - low, corner[1]
    for i in range(size[0] + SPARE):
        row, at = out[y + i], i * pitch
        for j in range(pitch):
            row[x + j] += back[at + j]
