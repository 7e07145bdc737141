"""ePIE on a GPU: 50 rounds over 65,536 patterns of 32 x 32 pixels.

    python -m benchmarks.gpu.epie [--tiny]

A random weak object under a defocused probe, 1,000 electrons a pattern. Object and probe of a small
scan are compared with those of the host after 3 rounds.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import scipy.fft

from benchmarks.gpu import bench
from gpu_kernels.epie import epie
from gpu_kernels.epie_settings import Epie

SIDE, ROWS, ROUNDS = (16, 4, 1) if bench.tiny() else (32, 256, 50)
SMALL = 4 if bench.tiny() else 24
STEP_PX = 1.1
SETTINGS = Epie(iterations=ROUNDS)


def main() -> None:
    """Print the figure."""
    bench.figures(partial(iterations, bench.open_device()))


def iterations(device: bench.Device) -> None:
    """All rounds of a large scan; a small one is compared with the host."""
    rng = np.random.default_rng(0)
    counts, places, probe = recording(SMALL, rng)
    few = replace(SETTINGS, iterations=min(3, ROUNDS))
    exact = epie(counts, places, probe, few)
    (there,) = bench.moved_there(counts)
    found = epie(there, places, probe, few)
    error = bench.off(found.obj, exact.obj, 1e-3)
    repeats = bench.same_bits(lambda: epie(there, places, probe, few).obj)
    counts, places, probe = recording(ROWS, rng)
    (there,) = bench.moved_there(counts)
    took = bench.seconds(lambda: epie(there, places, probe, SETTINGS), repeats=1)
    # A round reads each pattern, and reads and writes at least its wave, twice for each transform.
    pixels = counts.size * ROUNDS
    transforms = 4 * 2 * 5 * pixels * np.log2(SIDE)
    bench.show(
        device, f"ePIE, {len(places)} patterns, {ROUNDS} rounds", took, "20 s", "none",
        pixels * (counts.itemsize + 4 * 2 * 8), transforms + 60 * pixels, error, repeats,
    )  # fmt: skip


def recording(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patterns, positions and probe of a simulated scan."""
    k = scipy.fft.fftfreq(SIDE, 1 / SIDE)
    far = k[:, None] ** 2 + k**2
    wave = np.where(far < (SIDE / 4) ** 2, np.exp(-0.08j * far), 0)
    probe = scipy.fft.fftshift(scipy.fft.ifft2(wave))
    probe *= np.sqrt(1000 / np.sum(np.abs(probe) ** 2))
    at = np.arange(rows) * STEP_PX
    places = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2)
    field = int(at[-1]) + 2 * SIDE
    rough = scipy.fft.fft2(rng.normal(size=(field, field)))
    q = scipy.fft.fftfreq(field)
    rough *= np.exp(-20 * (q[:, None] ** 2 + q**2))
    smooth = scipy.fft.ifft2(rough).real
    obj = np.exp(0.2j * smooth / smooth.std())
    corner = np.floor(places + 0.5).astype(int)
    patterns = np.empty((len(places), SIDE, SIDE), np.uint8)
    for n, (y, x) in enumerate(corner):
        exit_wave = probe * obj[y : y + SIDE, x : x + SIDE]
        mean = np.abs(scipy.fft.fft2(exit_wave, norm="ortho")) ** 2
        patterns[n] = np.minimum(rng.poisson(mean), 255)
    return patterns, places, probe


if __name__ == "__main__":
    main()
