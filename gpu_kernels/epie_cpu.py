"""ePIE on one core: every pattern goes through its whole step inside the cache.

A step is three transforms, four with an update of the probe, of a window that stays in the nearest
cache; a batch of waves never exists as an array. Dask brings the parallelism, by tiles of the scan.
"""

import numpy as np
import scipy.fft
from numba import njit

from gpu_kernels.epie_window import (
    apply_change,
    conjugate_product,
    derivative,
    exit_wave,
    gather_object,
    gather_probe,
    ramp,
    replace_amplitude,
    shifted,
    solve_step,
    to_fourier,
    to_space,
)
from gpu_kernels.row_fft import row_order, side_as_type, side_of, turns, window_of


class CpuEngine:
    """Object, probe and patterns of one reconstruction, on one core of the host."""

    def __init__(
        self,
        patterns: np.ndarray,
        probe: np.ndarray,
        obj: np.ndarray,
        weight: np.ndarray | None,
        dtype: type = np.float32,
    ) -> None:
        """Copy object and probe; see ``epie.epie``. Double precision is for tests."""
        side = probe.shape[0]
        self._side = side_as_type(side)
        self._tables = turns(side, dtype), row_order(side)
        self._patterns, self._dtype = patterns, dtype
        used = np.ones((side, side)) if weight is None else weight
        self._weight: np.ndarray = used.astype(dtype)
        spectrum = scipy.fft.fft2(probe, norm="ortho") / side
        self._spectrum: np.ndarray = np.stack([spectrum.real, spectrum.imag]).astype(dtype)
        self._obj: np.ndarray = np.ascontiguousarray(np.stack([obj.T.real, obj.T.imag]), dtype)
        self._velocity, self._numerator = np.zeros_like(self._obj), np.zeros_like(self._obj)
        self._denominator = np.zeros_like(self._obj[0])

    def place(self, positions: np.ndarray) -> None:
        """Take the probe's places on the object, (positions, 2) float64 [px]."""
        self._corners, self._fractions = window_corners(
            positions, self._weight.shape[0], self._obj.shape[:0:-1]
        )

    def run(
        self, batches: np.ndarray, object_step: float, probe_step: float, momentum: float,
        part: float, floors: np.ndarray, doubt: float,
    ) -> float:  # fmt: skip
        """One round, see ``batches_cpu``; gives Σ (|wave| − √counts)²."""
        if probe_step:
            probe_step /= float((self._obj**2).sum(axis=0).max())
        return batches_cpu(
            self._patterns, self._corners, self._fractions, batches, self._weight, self._spectrum,
            self._obj, self._velocity, self._numerator, self._denominator, self._tables,
            self._side, object_step, float(probe_step), momentum, part, floors,
            float(doubt),
        )  # fmt: skip

    def state(self) -> tuple[np.ndarray, ...]:
        """Copies of what rounds change, for ``restore``."""
        return tuple(one.copy() for one in (self._obj, self._velocity, self._spectrum))

    def restore(self, state: tuple[np.ndarray, ...]) -> None:
        """Go back to an earlier state."""
        for one, was in zip((self._obj, self._velocity, self._spectrum), state, strict=True):
            one[:] = was

    def rest(self) -> None:
        """Forget the object's last changes."""
        self._velocity[:] = 0

    def position_steps(self, chosen: np.ndarray) -> np.ndarray:
        """(chosen, 2) float64: Gauss-Newton steps [px]."""
        steps = np.zeros((chosen.size, 2))
        position_steps_cpu(
            self._patterns, self._corners, self._fractions, chosen, self._weight, self._spectrum,
            self._obj, self._tables, self._side, steps,
        )  # fmt: skip
        return steps

    def mean_pattern(self, chosen: np.ndarray) -> np.ndarray:
        """(side, side) float64: mean of some patterns [e]."""
        total = np.zeros(self._patterns.shape[1:])
        for first in range(0, chosen.size, 1024):
            total += self._patterns[chosen[first : first + 1024]].sum(axis=0, dtype=np.float64)
        return total / chosen.size

    def obj(self) -> np.ndarray:
        """(rows, cols) complex: the object."""
        return (self._obj[0] + 1j * self._obj[1]).T.copy()

    def probe(self) -> np.ndarray:
        """(side, side) complex: the probe."""
        spectrum = (self._spectrum[0] + 1j * self._spectrum[1]) * self._weight.shape[0]
        return scipy.fft.ifft2(spectrum, norm="ortho")


def window_corners(
    positions: np.ndarray, side: int, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """First pixel of each window, kept inside the object, and what is left of its position.

    Returns
    -------
    corners : (positions, 2) uint32
        (y, x) [px].
    fractions : (positions, 2) float64
        Mostly −½ to ½ [px].
    """
    corners = np.floor(positions + 0.5) - side // 2
    corners = np.clip(corners, 0, np.array(shape) - side)
    return corners.astype(np.uint32), positions - side // 2 - corners


@njit(nogil=True, cache=True)
def batches_cpu(
    patterns, corners, fractions, batches, weight, spectrum, obj, velocity, numerator, denominator,
    tables, side, object_step, probe_step, momentum, part, floors, doubt,
):  # fmt: skip
    """Go through batches of positions, and update object and probe after each.

    Parameters
    ----------
    patterns : (positions, side, side) uint8, uint16 or float32
        Counts, zero frequency first.
    corners : (positions, 2) uint32
        (y, x) of the window's first pixel on the object.
    fractions : (positions, 2) float64
        What is left of the position, a part of a pixel.
    batches : (batches, size) int64
        Positions of each; −1 fills up the last.
    weight : (side, side) float32
        1 where the detector measures, 0 where the wave is left alone.
    spectrum : (2, side, side) float32
        Orthonormal Fourier transform of the probe, over ``side``; updated.
    obj, velocity : (2, X, Y) float32
        Object, transposed, and what momentum keeps of its last changes; updated.
    numerator, denominator : (2, X, Y), (X, Y) float32
        Scratch of a batch.
    tables : (turn, order)
        From ``row_fft``.
    side : Side
        Of the window.
    object_step, probe_step, momentum : float
        See ``epie.Epie``; the probe's step is for each position, over the brightest |object|².
    part, floors : float, (batches,) float64
        The object's change is over ``part`` · Σ|probe|² + floor.
    doubt : float
        See ``counted_root.root_gain``.

    Returns
    -------
    float
        Σ (|wave| − √counts)² over all patterns.
    """
    n, kind = side_of(side), spectrum.dtype
    turn, order = tables
    probe, wave, spare = window_of(side, kind), window_of(side, kind), window_of(side, kind)
    ramps, residuals = np.empty((4, n), kind), np.zeros(n)
    change = np.zeros_like(spectrum)
    for b in range(batches.shape[0]):
        low_y, high_y, low_x, high_x = _box(corners, batches[b], n)
        numerator[:, low_x:high_x, low_y:high_y] = 0
        denominator[low_x:high_x, low_y:high_y] = 0
        change[:] = 0
        size = 0
        for p in batches[b]:
            if p < 0:
                break
            size += 1
            y, x = corners[p]
            ramp(fractions[p, 0], ramps, 0)
            ramp(fractions[p, 1], ramps, 2)
            shifted(spectrum, ramps, order, spare, side)
            to_space(spare, probe, turn, order, side)
            exit_wave(probe, obj, x, y, wave, side)
            to_fourier(wave, spare, turn, order, side)
            replace_amplitude(spare, patterns[p], weight, doubt, order, residuals, side)
            to_space(spare, wave, turn, order, side)
            gather_object(probe, wave, x, y, numerator, denominator, side)
            if probe_step > 0:
                conjugate_product(obj, x, y, wave, side)
                to_fourier(wave, spare, turn, order, side)
                gather_probe(spare, ramps, order, change, side)
        box = low_y, high_y, low_x, high_x
        apply_change(
            obj, velocity, numerator, denominator, box, object_step, momentum, part, floors[b]
        )
        if probe_step > 0 and size > 0:
            spectrum += kind.type(probe_step / (size * n * n)) * change
    return residuals.sum()


@njit(nogil=True, cache=True)
def position_steps_cpu(
    patterns, corners, fractions, chosen, weight, spectrum, obj, tables, side, steps
):  # fmt: skip
    """Gauss-Newton step of each position towards its pattern.

    The wave F[O · P(r − s)] moves with the position s by F[O · F⁻¹(−2πi k/n · F(P) ramp)], which
    changes its amplitude by the part that is in phase with it.

    Parameters
    ----------
    patterns, corners, fractions, weight, spectrum, obj, tables, side
        As in ``batches_cpu``; object and probe stay as they are.
    chosen : (chosen,) int64
        Which positions.
    steps : (chosen, 2) float64
        (y, x) [px]; filled.
    """
    n, kind = side_of(side), spectrum.dtype
    turn, order = tables
    probe, wave, seen = window_of(side, kind), window_of(side, kind), window_of(side, kind)
    moved = window_of(side, kind), window_of(side, kind)
    ramps = np.empty((4, n), kind)
    for c in range(chosen.size):
        p = chosen[c]
        y, x = corners[p]
        ramp(fractions[p, 0], ramps, 0)
        ramp(fractions[p, 1], ramps, 2)
        shifted(spectrum, ramps, order, wave, side)
        to_space(wave, probe, turn, order, side)
        exit_wave(probe, obj, x, y, wave, side)
        to_fourier(wave, seen, turn, order, side)
        for axis in range(2):
            shifted(spectrum, ramps, order, moved[axis], side)
            derivative(moved[axis], order, axis, side)
            to_space(moved[axis], probe, turn, order, side)
            exit_wave(probe, obj, x, y, wave, side)
            to_fourier(wave, moved[axis], turn, order, side)
        solve_step(seen, moved[0], moved[1], patterns[p], weight, order, side, steps[c])


@njit(nogil=True, cache=True)
def _box(corners, batch, n):
    low_y = low_x = np.int64(1 << 40)
    high_y = high_x = np.int64(0)
    for p in batch:
        if p < 0:
            break
        y, x = np.int64(corners[p, 0]), np.int64(corners[p, 1])
        low_y, low_x = min(low_y, y), min(low_x, x)
        high_y, high_x = max(high_y, y + n), max(high_x, x + n)
    return low_y, high_y, low_x, high_x
