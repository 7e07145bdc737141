"""SSB on a GPU: counts to phase, new aberrations from G that is kept, and events to phase.

    python -m benchmarks.gpu.ssb [--tiny]

1024 x 1024 positions, a disk of radius 9 px in a window of 18 x 18. Everything is on the device
before the clock starts, and the phase is there when it stops. The reference is the host's form in
double precision.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.gpu import bench
from gpu_kernels.backend import Array, as_library, beside, to_host
from gpu_kernels.fourier import half_plane, libraries, parts_of
from gpu_kernels.kept_phase import CountedPhase, KeptPhase
from gpu_kernels.pixel_plan import plan_pixels
from gpu_kernels.reduction_gpu import Tables, reduce_on_device
from gpu_kernels.ssb import SsbSums, ssb_of_spectrum, ssb_partial
from gpu_kernels.ssb_finish import ssb_finish
from gpu_kernels.ssb_geometry import SsbGeometry

SCAN, RADIUS = ((6, 8), 2.2) if bench.tiny() else ((1024, 1024), 9.0)
STEP, SEMIANGLE, WAVELENGTH = 0.31, 0.025, 0.0417572
PER_PIXEL = 0.75
"""Electrons of a disk pixel at one position: 2e8 in all."""
AT_ONCE = (64,) if bench.tiny() else (16, 64, 128, 256)
"""Pixels that are transformed together: more fill the device, and all need no sums in memory."""
IN_A_ROW = 64
"""Pixels that are, from events."""
PAIR, SINGLE = 110, 55
"""Operations of a pair (k, Q) in the double overlap and in a single one: χ, sines and sums."""


def main() -> None:
    """Print the figures."""
    device = bench.open_device()
    scan = Recording()
    bench.figures(
        partial(counts_to_phase, device, scan),
        partial(new_aberrations, device, scan),
        partial(events_to_phase, device, scan),
    )


class Recording:
    """Counts of the disk's pixels, and the phase that the host finds in them."""

    def __init__(self) -> None:
        self.geometry, self.k_y, self.k_x = scene()
        rng = np.random.default_rng(0)
        self.counts = rng.poisson(PER_PIXEL, (self.k_y.size, *SCAN)).astype(np.uint8)
        self.mean = float(self.counts.mean())
        sums = ssb_partial(self.counts, self.k_y, self.k_x, self.geometry, np.float64)
        self.exact = ssb_finish(sums, self.mean, self.geometry).phase
        lit = int(np.count_nonzero(within(self.geometry)))
        self.kept_bytes = lit * self.k_y.size * 8
        self.transform = 2.5 * self.counts.size * np.log2(SCAN[0] * SCAN[1])
        self.pairs = pairs_of(self.geometry, self.k_y, self.k_x)


def counts_to_phase(device: bench.Device, scan: Recording) -> None:
    """Counts on the device to the phase there, in blocks of the best size."""
    (there,) = bench.moved_there(scan.counts)
    # Counts in; what is kept along rows out, in and out again; of it the frequencies below 2 k0 in.
    rows = scan.k_y.size * SCAN[0] * scan.geometry.columns * 8
    moved = scan.counts.nbytes + 3 * rows + scan.kept_bytes
    times, most, error, repeats = {}, 0, 0.0, ""
    for some in AT_ONCE:
        run, used = bench.taken(
            partial(CountedPhase, there, scan.k_y, scan.k_x, scan.geometry, some)
        )
        times[some], most = bench.seconds(run), max(most, used)
        error, repeats = max(error, bench.off(to_host(run()), scan.exact)), bench.same_bits(run)
    at_once = min(times, key=lambda some: times[some])
    bench.show(
        device, f"SSB, counts to phase, {at_once} pixels at a time", times[at_once],
        "3 ms, stretch 1.5 ms", "about 50 ms", moved, scan.transform + scan.pairs, error,
        f"{repeats}, at most {most / 1e9:.2f} GB beyond the counts; "
        + ", ".join(f"{1e3 * took:.2f} ms for {some}" for some, took in times.items()),
    )  # fmt: skip


def new_aberrations(device: bench.Device, scan: Recording) -> None:
    """G that is kept to the phase, as after a move of a slider."""
    (there,) = bench.moved_there(scan.counts)
    update = update_maker(held_parts(there, scan.geometry), scan)
    error = bench.off(to_host(update()), scan.exact)
    bench.show(
        device, "SSB, new aberrations from kept G", bench.seconds(update),
        "0.5 ms, stretch 0.25 ms", "none; about 1.6 ms by a peer's documentation",
        scan.kept_bytes, scan.pairs, error, bench.same_bits(update),
    )  # fmt: skip


def scene() -> tuple[SsbGeometry, np.ndarray, np.ndarray]:
    """Scan and aberrations, and the wave vectors of the disk's pixels [1/Å]."""
    aperture = SEMIANGLE / WAVELENGTH
    across = np.arange(-np.ceil(RADIUS), np.ceil(RADIUS)) + 0.5
    k_y, k_x = (k.ravel() * aperture / RADIUS for k in np.meshgrid(across, across, indexing="ij"))
    inside = np.hypot(k_y, k_x) < aperture
    aberrations = np.array([60.0, 10, 17, 450, -780, 0, 0, 2e4, 0, 0, 0, 0])
    geometry = SsbGeometry(SCAN, (STEP, STEP), -0.24, aperture, WAVELENGTH, aberrations)
    return geometry, k_y[inside], k_x[inside]


def within(geometry: SsbGeometry) -> np.ndarray:
    """Frequencies of the half plane that any sideband reaches."""
    q_y, q_x = geometry.frequencies()
    return np.hypot(q_y[:, None], q_x) < 2 * geometry.aperture


def pairs_of(geometry: SsbGeometry, k_y: np.ndarray, k_x: np.ndarray) -> float:
    """Operations of all pairs (k, Q) in overlaps."""
    q_y, q_x = geometry.frequencies()
    k_y, k_x = geometry.on_scan(k_y, k_x)
    total = 0.0
    for y, x in zip(k_y, k_x, strict=True):
        minus, plus = (
            np.hypot(y + sign * q_y[:, None], x + sign * q_x) < geometry.aperture
            for sign in (-1, 1)
        )
        total += PAIR * np.count_nonzero(minus & plus) + SINGLE * np.count_nonzero(minus ^ plus)
    return total


def phase_of(
    counts: Array, k_y: np.ndarray, k_x: np.ndarray, geometry: SsbGeometry, at_once: int
) -> Array:
    """Phase of counts on the device, so many pixels at a time."""
    total = SsbSums.none(geometry, counts)
    for first in range(0, k_y.size, at_once):
        part = slice(first, first + at_once)
        spectrum = half_plane(counts[part])
        total = ssb_of_spectrum(spectrum, k_y[part], k_x[part], geometry, into=total)
    intensity = total.electrons / k_y.size / (SCAN[0] * SCAN[1])
    return ssb_finish(total, intensity, geometry).phase


def held_parts(counts: Array, geometry: SsbGeometry) -> Array:
    """G of all pixels within 2 k0 along x, (pixels, rows, columns, 2) float32."""
    parts = [
        as_library(parts_of(half_plane(counts[first : first + 32]))[:, :, : geometry.columns])
        for first in range(0, counts.shape[0], 32)
    ]
    xp, _ = libraries(parts[0])
    return beside(xp.ascontiguousarray(xp.concatenate(parts)), counts)


def update_maker(parts: Array, scan: Recording) -> Callable[[], Array]:
    """Phase alone, from G that is kept."""
    geometry, rows = scan.geometry, np.arange(SCAN[0])
    kept = KeptPhase(parts, rows, geometry.scan_shape, geometry.scan_step)
    return lambda: kept(scan.k_y, scan.k_x, geometry, scan.mean)


def events_to_phase(device: bench.Device, scan: Recording) -> None:
    """The same from the electrons of the disk, in the order in which a store holds them."""
    side, pixels = int(2 * np.ceil(RADIUS)), scan.k_y.size
    flat = np.ascontiguousarray(scan.counts.reshape(pixels, -1).T)
    indptr = np.concatenate([[0], np.cumsum(flat.sum(axis=1, dtype=np.int64))])
    aperture = scan.geometry.aperture / RADIUS
    row, col = (np.round(k / aperture - 0.5 + side / 2) for k in (scan.k_y, scan.k_x))
    at = (row * side + col).astype(np.uint16)
    indices = np.concatenate([
        np.repeat(np.broadcast_to(at, part.shape).ravel(), part.ravel())
        for part in np.array_split(flat, max(1, flat.shape[0] // 65_536))
    ])  # fmt: skip
    bins = np.full(side * side, -1)
    bins[at] = np.arange(at.size)
    plan = plan_pixels((side, side), dense_bin=bins.reshape(side, side), dense_size=at.size)
    tables = Tables.of(plan)
    there = bench.moved_there(indptr, indices)

    def run() -> Array:
        found = reduce_on_device(*there, plan, tables, frame_sum=False)
        dense = found.dense[:pixels].reshape(pixels, *SCAN)
        return phase_of(dense, scan.k_y, scan.k_x, scan.geometry, IN_A_ROW)

    error = bench.off(to_host(run()), scan.exact)
    moved = indices.nbytes + (4 + 8 + 12) * scan.counts.size
    bench.show(
        device, f"events to SSB phase, {indices.size:.2g} events", bench.seconds(run), "60 ms",
        "none", moved, scan.transform, error, bench.same_bits(run),
    )  # fmt: skip


if __name__ == "__main__":
    main()
