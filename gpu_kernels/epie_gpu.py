"""ePIE on a CUDA device: CuPy transforms whole batches, kernels do what lies between.

No sum uses atomics: an object's pixel fetches what each pattern of a batch sends it, in the order
of the batch, so that a result repeats to the bit. Batches too large for the device's memory pass in
parts. Without CuPy, in the simulator, the transforms are SciPy's on the host.
"""

from math import pi, sqrt

import numpy as np
import scipy.fft
from numba import cuda

from gpu_kernels.backend import Array, cupy, device_zeros, to_device, to_host
from gpu_kernels.counted_root import counted_root_gpu, root_gain_gpu
from gpu_kernels.epie_cpu import window_corners

THREADS_PER_BLOCK = 128
WAVES_AT_ONCE = 1 << 25
"""Pixels of all waves that exist at a time: 256 MiB for each of four such arrays."""


class GpuEngine:
    """Object, probe and patterns of one reconstruction, on the device."""

    def __init__(
        self, patterns: Array, probe: np.ndarray, obj: np.ndarray, weight: np.ndarray | None
    ) -> None:
        """Copy object and probe; see ``epie.epie``."""
        side = probe.shape[0]
        self._side, self._shape, self._patterns = side, obj.shape, patterns
        self._weight = to_device(np.ones((side, side), np.float32) if weight is None else weight)
        self._spectrum = to_device(scipy.fft.fft2(probe, norm="ortho").astype(np.complex64))
        self._obj = to_device(obj.astype(np.complex64))
        self._velocity = device_zeros(obj.shape, np.complex64)

    def place(self, positions: np.ndarray) -> None:
        """Take the probe's places on the object, (positions, 2) float64 [px]."""
        corners, fractions = window_corners(positions, self._side, self._shape)
        self._corners, self._fractions = corners.astype(np.int64), fractions

    def run(
        self,
        batches: np.ndarray,
        object_step: float,
        probe_step: float,
        momentum: float,
        part: float,
        floors: np.ndarray,
        doubt: float,
    ) -> float:
        """One round; see ``epie_cpu.batches_cpu``."""
        if probe_step:
            probe_step /= float((np.abs(to_host(self._obj)) ** 2).max())
        self._doubt, total = np.float32(doubt), 0.0
        for batch, floor in zip(batches, floors, strict=True):
            batch = batch[batch >= 0]
            # Sorted by row, the patterns that reach a pixel are one stretch of the batch.
            batch = batch[np.argsort(self._corners[batch, 0], kind="stable")]
            total += self._batch(batch, object_step, probe_step, momentum, part, float(floor))
        return total

    def _batch(self, batch, object_step, probe_step, momentum, part, floor) -> float:
        numerator = device_zeros(self._shape, np.complex64)
        denominator = device_zeros(self._shape, np.float32)
        change = device_zeros((self._side, self._side), np.complex64)
        total, most = 0.0, max(1, WAVES_AT_ONCE // self._side**2)
        for first in range(0, batch.size, most):
            chosen = batch[first : first + most]
            waves = _Waves(self, chosen)
            total += waves.replace()
            waves.gather(numerator, denominator)
            if probe_step:
                waves.gather_probe(change)
        _launch(
            _apply_kernel, self._obj.shape[0] * self._obj.shape[1],
            self._obj, self._velocity, numerator, denominator, object_step, momentum, part, floor,
        )  # fmt: skip
        if probe_step:
            _launch(_add_kernel, self._side**2, self._spectrum, change, probe_step / batch.size)
        return total

    def position_steps(self, chosen: np.ndarray) -> np.ndarray:
        """(chosen, 2) float64: Gauss-Newton steps [px]."""
        most = max(1, WAVES_AT_ONCE // self._side**2)
        parts = [
            _Waves(self, chosen[first : first + most]).position_steps()
            for first in range(0, chosen.size, most)
        ]
        return np.concatenate(parts)

    def mean_pattern(self, chosen: np.ndarray) -> np.ndarray:
        """(side, side) float64: mean of some patterns [e]."""
        total = device_zeros((self._side, self._side), np.float64)
        _launch(_mean_kernel, self._side**2, self._patterns, to_device(chosen), total)
        return to_host(total)

    def obj(self) -> np.ndarray:
        """(rows, cols) complex64: the object."""
        return to_host(self._obj).copy()

    def probe(self) -> np.ndarray:
        """(side, side) complex64: the probe."""
        return scipy.fft.ifft2(to_host(self._spectrum), norm="ortho").astype(np.complex64)


class _Waves:
    """Probes, exit waves and their transforms of some patterns, (patterns, side, side)."""

    def __init__(self, engine: GpuEngine, chosen: np.ndarray) -> None:
        self.engine, self.chosen = engine, to_device(chosen)
        self.corners = to_device(engine._corners[chosen])
        self.rows = engine._corners[chosen, 0]
        self.fractions = to_device(engine._fractions[chosen])
        self.shape = (chosen.size, engine._side, engine._side)
        self.size = int(np.prod(self.shape))
        self.probes = self._probes(-1)
        self.waves = _transform(self._exit(self.probes))

    def _probes(self, axis: int) -> Array:
        probes = device_zeros(self.shape, np.complex64)
        _launch(_shift_kernel, self.size, self.engine._spectrum, self.fractions, axis, probes)
        return _transform(probes, inverse=True)

    def _exit(self, probes: Array) -> Array:
        waves = device_zeros(self.shape, np.complex64)
        _launch(_exit_kernel, self.size, probes, self.engine._obj, self.corners, waves)
        return waves

    def replace(self) -> float:
        """Turn the waves into what puts them right, in real space; gives the squared residual."""
        engine = self.engine
        columns = device_zeros(self.shape[:2], np.float64)
        _launch(
            _replace_kernel, self.shape[0] * self.shape[1],
            self.waves, engine._patterns, self.chosen, engine._weight, engine._doubt, columns,
        )  # fmt: skip
        self.waves = _transform(self.waves, inverse=True)
        return float(to_host(columns).sum())

    def gather(self, numerator: Array, denominator: Array) -> None:
        """Add what the patterns say of the object."""
        reach = np.arange(numerator.shape[0])
        first = np.searchsorted(self.rows, reach - self.shape[1] + 1, side="left")
        last = np.searchsorted(self.rows, reach, side="right")
        _launch(
            _gather_kernel, numerator.shape[0] * numerator.shape[1],
            self.probes, self.waves, self.corners, to_device(first), to_device(last),
            numerator, denominator,
        )  # fmt: skip

    def gather_probe(self, change: Array) -> None:
        """Add what the patterns say of the probe's transform."""
        _launch(_conjugate_kernel, self.size, self.waves, self.engine._obj, self.corners)
        waves = _transform(self.waves)
        _launch(_gather_probe_kernel, self.shape[1] ** 2, waves, self.fractions, change)

    def position_steps(self) -> np.ndarray:
        """(patterns, 2) float64: Gauss-Newton steps [px]."""
        moved = [_transform(self._exit(self._probes(axis))) for axis in (0, 1)]
        sums = device_zeros((*self.shape[:2], 5), np.float64)
        _launch(
            _step_kernel, self.shape[0] * self.shape[1],
            self.waves, *moved, self.engine._patterns, self.chosen, self.engine._weight, sums,
        )  # fmt: skip
        yy, yx, xx, y, x = to_host(sums).sum(axis=1).T
        ridge = 1e-3 * (yy + xx) + 1e-20
        yy, xx = yy + ridge, xx + ridge
        return np.stack([xx * y - yx * x, yy * x - yx * y], axis=1) / (yy * xx - yx**2)[:, None]


def _launch(kernel, threads: int, *arguments) -> None:
    kernel[max(1, -(-threads // THREADS_PER_BLOCK)), THREADS_PER_BLOCK](*arguments)


def _transform(waves: Array, inverse: bool = False) -> Array:
    """Orthonormal transform of each wave."""
    if cupy is not None and isinstance(waves, cupy.ndarray):
        transform = cupy.fft.ifft2 if inverse else cupy.fft.fft2
        return transform(waves, norm="ortho")
    on_host = scipy.fft.ifft2 if inverse else scipy.fft.fft2
    return to_device(on_host(to_host(waves), norm="ortho").astype(np.complex64))


@cuda.jit(device=True)
def _turn(k, fraction, side):
    # −2π k f / side with k from −side / 2.
    frequency = k - side if 2 * k >= side else k
    return -2 * pi * frequency * fraction / side


@cuda.jit
def _shift_kernel(spectrum, fractions, axis, out):
    at = cuda.grid(1)
    side = spectrum.shape[0]
    if at < out.size:
        p, k, j = at // side**2, at // side % side, at % side
        angle = _turn(k, fractions[p, 0], side) + _turn(j, fractions[p, 1], side)
        value = spectrum[k, j] * complex(np.cos(angle), np.sin(angle))
        if axis >= 0:  # the derivative by the position; the highest frequency has no sign
            along = k if axis == 0 else j
            value *= complex(0.0, 0.0 if 2 * along == side else _turn(along, 1.0, side))
        out[p, k, j] = value


@cuda.jit
def _exit_kernel(probes, obj, corners, out):
    at = cuda.grid(1)
    side = probes.shape[1]
    if at < probes.size:
        p, i, j = at // side**2, at // side % side, at % side
        out[p, i, j] = probes[p, i, j] * obj[corners[p, 0] + i, corners[p, 1] + j]


@cuda.jit
def _replace_kernel(waves, patterns, chosen, weight, doubt, columns):
    # One thread a column: neighbours read neighbours, and each sums its own residual.
    at = cuda.grid(1)
    side = waves.shape[1]
    if at < columns.size:
        p, j = at // side, at % side
        total = 0.0
        for k in range(side):
            wave = waves[p, k, j]
            model = np.float32(wave.real * wave.real + wave.imag * wave.imag)
            root, slope, variance = counted_root_gpu(model)
            rest = (sqrt(np.float32(patterns[chosen[p], k, j])) - root) * weight[k, j]
            total += rest * rest
            waves[p, k, j] = wave * (root_gain_gpu(slope, variance, doubt) * rest)
        columns[p, j] = total


@cuda.jit
def _gather_kernel(probes, waves, corners, first, last, numerator, denominator):
    # One thread a pixel of the object; the batch is sorted by its windows' first row.
    at = cuda.grid(1)
    side, width = probes.shape[1], numerator.shape[1]
    if at < numerator.size:
        y, x = at // width, at % width
        up, down = numerator[y, x], denominator[y, x]
        for p in range(first[y], last[y]):
            j = x - corners[p, 1]
            if 0 <= j < side:
                probe = probes[p, y - corners[p, 0], j]
                up += probe.conjugate() * waves[p, y - corners[p, 0], j]
                down += np.float32(probe.real * probe.real + probe.imag * probe.imag)
        numerator[y, x], denominator[y, x] = up, down


@cuda.jit
def _apply_kernel(obj, velocity, numerator, denominator, step, momentum, part, floor):
    at = cuda.grid(1)
    width = obj.shape[1]
    if at < obj.size:
        y, x = at // width, at % width
        if denominator[y, x] > 0:  # what no window of the batch covers stays as it is
            scale = step / (part * denominator[y, x] + floor)
            change = momentum * velocity[y, x] + scale * numerator[y, x]
            velocity[y, x] = change
            obj[y, x] += change


@cuda.jit
def _conjugate_kernel(waves, obj, corners):
    at = cuda.grid(1)
    side = waves.shape[1]
    if at < waves.size:
        p, i, j = at // side**2, at // side % side, at % side
        waves[p, i, j] *= obj[corners[p, 0] + i, corners[p, 1] + j].conjugate()


@cuda.jit
def _gather_probe_kernel(waves, fractions, change):
    at = cuda.grid(1)
    side = waves.shape[1]
    if at < side * side:
        k, j = at // side, at % side
        total = change[k, j]
        for p in range(waves.shape[0]):
            angle = _turn(k, fractions[p, 0], side) + _turn(j, fractions[p, 1], side)
            total += waves[p, k, j] * complex(np.cos(angle), -np.sin(angle))
        change[k, j] = total


@cuda.jit
def _add_kernel(total, change, factor):
    at = cuda.grid(1)
    side = total.shape[1]
    if at < total.size:
        total[at // side, at % side] += factor * change[at // side, at % side]


@cuda.jit
def _mean_kernel(patterns, chosen, mean):
    at = cuda.grid(1)
    side = mean.shape[0]
    if at < mean.size:
        k, j = at // side, at % side
        total = 0.0
        for c in range(chosen.size):
            total += patterns[chosen[c], k, j]
        mean[k, j] = total / chosen.size


@cuda.jit
def _step_kernel(waves, moved_y, moved_x, patterns, chosen, weight, sums):
    # Sums of one column of one pattern: squares of the slopes, their products with the residual.
    at = cuda.grid(1)
    side = waves.shape[1]
    if at < waves.shape[0] * side:
        p, j = at // side, at % side
        yy = yx = xx = y = x = 0.0
        for k in range(side):
            wave, down, right = waves[p, k, j], moved_y[p, k, j], moved_x[p, k, j]
            root, slope, _ = counted_root_gpu(wave.real * wave.real + wave.imag * wave.imag)
            along = 2 * slope * weight[k, j]
            slope_y = (wave.real * down.real + wave.imag * down.imag) * along
            slope_x = (wave.real * right.real + wave.imag * right.imag) * along
            rest = sqrt(np.float64(patterns[chosen[p], k, j])) - root
            yy, yx, xx = yy + slope_y**2, yx + slope_y * slope_x, xx + slope_x**2
            y, x = y + slope_y * rest, x + slope_x * rest
        sums[p, j, 0], sums[p, j, 1], sums[p, j, 2] = yy, yx, xx
        sums[p, j, 3], sums[p, j, 4] = y, x
