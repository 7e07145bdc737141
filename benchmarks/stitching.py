"""Stitching beside the paper's relaxation, on true patches of a simulated specimen, in one run.

    python benchmarks/stitching.py PROBE.npy [--side 256] [--threads 2]

The patches are cut from a twisted h-BN bilayer at the positions of a raster of side x side points,
0.8696 px apart, and given offsets by chance. They come in blocks, as they do from a network; what
is timed includes making sense of them, not making them. Memory is the peak of what was allocated
while stitching, without the patches. The relaxation runs as a loop in Python, as its authors wrote
it, on a part of the patches, and compiled on all of them.
"""

import argparse
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter

from gpu_kernels.stitch import stitch, stitch_blocks
from gpu_kernels.stitch_relaxed import FINER, stitch_relaxed
from models.specimens import build_specimen

STEP, PIXEL = 0.8696, 0.286
"""Scan step [px] and size of a pixel [Å] of the published data."""
BLOCK = 4096
LOOPED = 4096
"""Patches that the loop in Python gets."""
MARGIN = 12
"""Pixels at the edges that are not judged."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("probe", help="(32, 32) complex, the probe in real space")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    field = np.abs(np.load(options.probe)) ** 2
    weights = np.where(field > 0.05 * field.max(), field, 0)
    patches, positions, truth = true_patches(weights, options.side)
    stitch(patches[:64], positions[:64], weights, truth.shape)  # compiled
    print(f"{len(patches)} patches, {np.count_nonzero(weights)} pixels each")
    print(
        f"{'method':36} {'time [s]':>9} {'CPU [s]':>8} {'memory [MB]':>12} {'rms [rad]':>10} "
        f"{'slope':>6}"
    )

    def blocks():
        for first in range(0, len(patches), BLOCK):
            at = slice(first, min(first + BLOCK, len(patches)))
            yield at, patches[at]

    for threads in sorted({1, options.threads}):
        name = f"joint least squares, {threads} thread" + "s" * (threads > 1)
        show(
            name,
            lambda n=threads: (
                stitch_blocks(blocks, positions, weights, truth.shape, threads=n).image
            ),
            truth,
        )
    compiled = np.where(field > 0.16 * field.max(), field, 0)
    stitch_relaxed(patches[:64], positions[:64], compiled, truth.shape)
    show(
        "relaxation of the paper, compiled",
        lambda: stitch_relaxed(patches, positions, compiled, truth.shape),
        truth,
    )
    chosen = np.arange(len(patches))[:LOOPED]
    start, busy = time.perf_counter(), time.process_time()
    relaxed_in_python(patches[chosen], positions[chosen], compiled, truth.shape)
    times = time.perf_counter() - start, time.process_time() - busy
    taken, busy = (one * len(patches) / chosen.size for one in times)
    print(
        f"{'relaxation, loop in Python':36} {taken:9.1f} {busy:8.1f} (from {chosen.size} patches)"
    )


def show(name: str, run: Callable[[], np.ndarray], truth: np.ndarray) -> None:
    """Print one line: time, then memory in a run of its own, and what came out."""
    start, busy = time.perf_counter(), time.process_time()
    image = run()
    taken, busy = time.perf_counter() - start, time.process_time() - busy
    tracemalloc.start()
    run()
    memory = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    rms, slope = scores(image, truth)
    print(f"{name:36} {taken:9.2f} {busy:8.2f} {memory:12.0f} {rms:10.4f} {slope:6.3f}", flush=True)


def scores(image: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Rms difference and slope inside the scan, without the mean."""
    edge = 16 + MARGIN
    inside = slice(edge, -edge), slice(edge, -edge)
    a, b = (part[inside] - part[inside].mean() for part in (image, truth))
    return float(np.sqrt(np.mean((a - b) ** 2))), float((a * b).sum() / (b * b).sum())


def true_patches(
    weights: np.ndarray, side: int, finer: int = 4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patches where there is weight, positions, and the phase on whole pixels."""
    along = np.arange(side) * STEP + 16
    positions = np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)
    pixels = int(along[-1]) + 18
    size = (pixels * PIXEL,) * 2
    specimen = build_specimen("hbn", size, 80e3, np.random.default_rng(0))
    fine = specimen.phase((finer * pixels,) * 2, (PIXEL / finer,) * 2)
    spline = spline_filter(fine, order=5)
    y, x = np.nonzero(weights)
    patches = np.zeros((side * side, *weights.shape), np.float32)
    for first in range(0, side * side, BLOCK):
        part = slice(first, first + BLOCK)
        at = [finer * (positions[part, a, None] + (y, x)[a] - 16) for a in (0, 1)]
        patches[part, y, x] = map_coordinates(spline, at, order=5, prefilter=False)
    offsets = np.random.default_rng(1).normal(size=(side * side, 1, 1)).astype(np.float32)
    patches += offsets
    return patches, positions, fine[::finer, ::finer]


def relaxed_in_python(
    patches: np.ndarray, positions: np.ndarray, weights: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """The same relaxation as ``stitch_relaxed``, a patch at a time in NumPy."""
    mask = np.kron(weights > 0, np.ones((FINER, FINER)))
    middle = np.array(weights.shape) // 2
    corners = np.floor((positions - middle) * FINER + 0.5).astype(int)
    image = np.zeros((FINER * shape[0], FINER * shape[1]))
    height, width = mask.shape
    for _ in range(3):
        for p in np.random.default_rng(0).permutation(len(positions)):
            window = image[
                corners[p, 0] : corners[p, 0] + height, corners[p, 1] : corners[p, 1] + width
            ]
            patch = np.kron(patches[p], np.ones((FINER, FINER)))
            patch -= (patch * mask).sum() / mask.sum()
            window += 0.1 * (patch - window + (window * mask).sum() / mask.sum()) * mask
    return image


if __name__ == "__main__":
    main()
