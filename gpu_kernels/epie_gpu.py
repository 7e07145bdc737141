"""ePIE on a CUDA device: CuPy transforms whole batches, kernels do what lies between.

No sum uses atomics: an object's pixel fetches what each pattern of a batch sends it, in the order
of the batch, so that a result repeats to the bit. Batches too large for the device's memory pass in
parts. Without CuPy, in the simulator, the transforms are SciPy's on the host.
"""

import numpy as np
import scipy.fft

from gpu_kernels.backend import Array, as_library, cupy, device_zeros, to_device, to_host
from gpu_kernels.epie_cpu import window_corners
from gpu_kernels.epie_gpu_kernels import (
    add_kernel,
    add_up_kernel,
    apply_kernel,
    conjugate_kernel,
    exit_kernel,
    gather_kernel,
    gather_probe_kernel,
    ramp_kernel,
    replace_kernel,
    shift_kernel,
    step_kernel,
    total_kernel,
)

THREADS_PER_BLOCK = 128
WAVES_AT_ONCE = 1 << 25
"""Pixels of all waves that exist at a time: 256 MiB for each such array."""
WAVE_ARRAYS = 8
"""Such arrays at a time, at most: probes, waves, both along both axes, two of a transform's own."""
PATTERNS_A_SUM = 256
"""Patterns that one thread adds up, at most; their sums are added up afterwards, in their order."""


def epie_scratch(patterns: np.ndarray) -> int:
    """Bytes of a device that ePIE takes beside (patterns, side, side) counts, at most."""
    return WAVE_ARRAYS * np.dtype(np.complex64).itemsize * min(patterns.size, WAVES_AT_ONCE)


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
            apply_kernel, self._obj.shape[0] * self._obj.shape[1],
            self._obj, self._velocity, numerator, denominator, object_step, momentum, part, floor,
        )  # fmt: skip
        if probe_step:
            _launch(add_kernel, self._side**2, self._spectrum, change, probe_step / batch.size)
        return total

    def state(self) -> tuple[Array, ...]:
        """Copies of what rounds change, for ``restore``."""
        return tuple(_copy(one) for one in (self._obj, self._velocity, self._spectrum))

    def restore(self, state: tuple[Array, ...]) -> None:
        """Go back to an earlier state."""
        self._obj, self._velocity, self._spectrum = (_copy(one) for one in state)

    def rest(self) -> None:
        """Forget the object's last changes."""
        self._velocity = device_zeros(self._shape, np.complex64)

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
        sums = device_zeros((_stretches(chosen.size), self._side, self._side), np.float64)
        _launch(total_kernel, sums.size, self._patterns, to_device(chosen), sums)
        return to_host(sums).sum(axis=0) / chosen.size

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
        self.shape = (chosen.size, engine._side, engine._side)
        self.ramps = device_zeros((chosen.size, 2, engine._side), np.complex64)
        _launch(ramp_kernel, self.ramps.size, to_device(engine._fractions[chosen]), self.ramps)
        self.size = int(np.prod(self.shape))
        self.probes = self._probes(-1)
        self.waves = _transform(self._exit(self.probes))

    def _probes(self, axis: int) -> Array:
        probes = device_zeros(self.shape, np.complex64)
        _launch(shift_kernel, self.size, self.engine._spectrum, self.ramps, axis, probes)
        return _transform(probes, inverse=True)

    def _exit(self, probes: Array) -> Array:
        waves = device_zeros(self.shape, np.complex64)
        _launch(exit_kernel, self.size, probes, self.engine._obj, self.corners, waves)
        return waves

    def replace(self) -> float:
        """Turn the waves into what puts them right, in real space; gives the squared residual."""
        engine = self.engine
        columns = device_zeros(self.shape[:2], np.float64)
        _launch(
            replace_kernel, self.shape[0] * self.shape[1],
            self.waves, engine._patterns, self.chosen, engine._weight, engine._doubt, columns,
        )  # fmt: skip
        self.waves = _transform(self.waves, inverse=True)
        return float(as_library(columns).sum())

    def gather(self, numerator: Array, denominator: Array) -> None:
        """Add what the patterns say of the object."""
        reach = np.arange(numerator.shape[0])
        first = np.searchsorted(self.rows, reach - self.shape[1] + 1, side="left")
        last = np.searchsorted(self.rows, reach, side="right")
        _launch(
            gather_kernel, numerator.shape[0] * numerator.shape[1],
            self.probes, self.waves, self.corners, to_device(first), to_device(last),
            numerator, denominator,
        )  # fmt: skip

    def gather_probe(self, change: Array) -> None:
        """Add what the patterns say of the probe's transform."""
        _launch(conjugate_kernel, self.size, self.waves, self.engine._obj, self.corners)
        waves = _transform(self.waves)
        sums = device_zeros((_stretches(self.shape[0]), *self.shape[1:]), np.complex64)
        _launch(gather_probe_kernel, sums.size, waves, self.ramps, sums)
        _launch(add_up_kernel, self.shape[1] ** 2, sums, change)

    def position_steps(self) -> np.ndarray:
        """(patterns, 2) float64: Gauss-Newton steps [px]."""
        moved = [_transform(self._exit(self._probes(axis))) for axis in (0, 1)]
        sums = device_zeros((*self.shape[:2], 5), np.float64)
        _launch(
            step_kernel, self.shape[0] * self.shape[1],
            self.waves, *moved, self.engine._patterns, self.chosen, self.engine._weight, sums,
        )  # fmt: skip
        yy, yx, xx, y, x = to_host(sums).sum(axis=1).T
        ridge = 1e-3 * (yy + xx) + 1e-20
        yy, xx = yy + ridge, xx + ridge
        return np.stack([xx * y - yx * x, yy * x - yx * y], axis=1) / (yy * xx - yx**2)[:, None]


def _stretches(patterns: int) -> int:
    return -(-patterns // PATTERNS_A_SUM)


def _launch(kernel, threads: int, *arguments) -> None:
    kernel[max(1, -(-threads // THREADS_PER_BLOCK)), THREADS_PER_BLOCK](*arguments)


def _copy(array: Array) -> Array:
    if cupy is not None and isinstance(array, cupy.ndarray):
        return array.copy()
    return to_device(to_host(array))


def _transform(waves: Array, inverse: bool = False) -> Array:
    """Orthonormal transform of each wave."""
    if cupy is not None and isinstance(waves, cupy.ndarray):
        transform = cupy.fft.ifft2 if inverse else cupy.fft.fft2
        return transform(waves, norm="ortho")
    on_host = scipy.fft.ifft2 if inverse else scipy.fft.fft2
    return to_device(on_host(to_host(waves), norm="ortho").astype(np.complex64))
