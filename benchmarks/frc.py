"""Fourier ring correlation beside the ``frc`` package: the same numbers, and how long each takes.

    .venv/bin/python benchmarks/frc.py [.venv-peers-frc/bin/python]

The package bins by the integer part of a frequency's radius where this project centres its rings on
whole pixels; for the comparison our sums are taken over its rings. Its powers are single precision.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from gpu_kernels.frc import fourier_ring_correlation
from gpu_kernels.rings import ring_sums, rings_of

SIZES = (256, 512, 1024)
RUNS = 5
PEER = """
import sys, time
import numpy as np, frc
first, second = np.load(sys.argv[1])
times = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter(); curve = frc.two_frc(first, second)
    times.append(time.perf_counter() - start)
np.save(sys.argv[1] + ".curve.npy", curve); print(sorted(times)[len(times) // 2])
"""


def images(size: int) -> np.ndarray:
    """Two noisy images of one object, (2, size, size) float64."""
    rng = np.random.default_rng(size)
    return rng.normal(size=(size, size)) + rng.normal(size=(2, size, size))


def over_floored_rings(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """FRC over the package's rings, with our sums."""
    size = first.shape[0]
    q_y, q_x = np.fft.fftfreq(size) * size, np.fft.rfftfreq(size) * size
    index = np.floor(np.hypot(q_y[:, None], q_x) + 1e-9).astype(np.int32)
    count = size // 2
    index[index >= count] = -1
    rings = replace(
        rings_of((size, size), (1.0, 1.0), half_plane=True),
        frequency=np.arange(count) / size,
        index=index,
    )
    common, one, two, _ = ring_sums(np.fft.rfft2(first), np.fft.rfft2(second), rings, size)
    return common / np.sqrt(one * two)


def median_time(pair: np.ndarray) -> float:
    """Seconds of one curve, the median of some."""
    fourier_ring_correlation(*pair)
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        fourier_ring_correlation(*pair)
        times.append(time.perf_counter() - start)
    return sorted(times)[RUNS // 2]


def main(peer: str | None) -> None:
    """Print a row a size."""
    for size in SIZES:
        pair, ours = images(size), median_time(images(size))
        line = f"{size:5d} px: {1e3 * ours:7.1f} ms, window and planes included"
        if peer is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "pair.npy"
                np.save(path, pair)
                command = [peer, "-c", PEER, str(path), str(RUNS)]
                told = subprocess.run(command, check=True, capture_output=True, text=True)
                theirs, curve = float(told.stdout), np.load(f"{path}.curve.npy")
            apart = np.abs(over_floored_rings(*pair) - curve).max()
            line += f"; frc package {1e3 * theirs:7.1f} ms, greatest difference {apart:.1e}"
        print(line)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
