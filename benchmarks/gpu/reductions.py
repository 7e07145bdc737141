"""One pass over events on a GPU: virtual detectors, moments of the disk, and the binned disk.

    python -m benchmarks.gpu.reductions [--tiny]

512 x 512 positions with 800 electrons each on a detector of 576 x 576 pixels: three annuli, the
disk's moments and its bins in a window of 20 x 20, as the step ``reduce`` asks for them. Counts are
whole numbers: the device's are the host's, all of them.
"""

from functools import partial

import numpy as np

from benchmarks.gpu import bench
from gpu_kernels.backend import to_host
from gpu_kernels.pixel_plan import PixelPlan, annular_masks, plan_pixels, window_bins
from gpu_kernels.reduction import reduce_events
from gpu_kernels.reduction_gpu import OnDevice, Tables, reduce_on_device

SIDE, POSITIONS, EVENTS = (40, 96, 12) if bench.tiny() else (576, 1 << 18, 800)
CENTER, RADIUS = ((SIDE - 1) / 2, (SIDE - 1) / 2), SIDE / 5.2
DRAWN = 1 << 12
"""Positions with electrons of their own."""
COMPARED = 1 << 15
"""Positions that the host counts as well."""


def main() -> None:
    """Print the figure."""
    bench.figures(partial(one_pass, bench.open_device()))


def one_pass(device: bench.Device) -> None:
    """All reductions of events that are on the device."""
    plan = detector()
    indptr, indices = events(np.random.default_rng(0))
    there, tables = bench.moved_there(indptr, indices), Tables.of(plan)

    def run() -> OnDevice:
        return reduce_on_device(*there, plan, tables, frame_sum=False)

    found, some = run(), min(COMPARED, POSITIONS)
    exact = reduce_events(
        indptr[: some + 1], indices[: indptr[some]], plan, frame_sum=False, dense_dtype=np.uint32
    )
    moments, dense = to_host(found.moments), to_host(found.dense)
    bench.off(moments[:some, 0], exact.com_electrons, 0)
    bench.off(moments[:some, 1:], exact.com_sums, 0)
    error = bench.off(dense[: plan.dense_size, :some], exact.dense, 0)
    took = bench.seconds(run)
    # Events are read once, and the counts written once.
    written = found.classes.nbytes + found.moments.nbytes + found.dense.nbytes
    rate = f"{indices.size / took / 1e9:.2f}e9 events/s, " if took else ""
    bench.show(
        device, f"one pass over {indices.size:.2g} events", took,
        f"{1e3 * indices.size / 5e9:.1f} ms, 5e9 events/s", "none", indices.nbytes + written, 0.0,
        error, rate + bench.same_bits(lambda: run().dense),
    )  # fmt: skip


def detector() -> PixelPlan:
    """Three annuli, a disk, and a window of bins around it."""
    edges = [(0, RADIUS), (RADIUS / 2, RADIUS), (1.1 * RADIUS, 2.4 * RADIUS)]
    bins = 4 if bench.tiny() else 20
    dense, _ = window_bins((SIDE, SIDE), CENTER, max(1, round(2 * RADIUS / (bins - 2))), bins)
    return plan_pixels(
        (SIDE, SIDE), masks=annular_masks((SIDE, SIDE), CENTER, edges),
        com_mask=annular_masks((SIDE, SIDE), CENTER, [(0.0, RADIUS)])[0],
        dense_bin=dense, dense_size=bins * bins,
    )  # fmt: skip


def events(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Nine tenths of the electrons in the disk, sorted within each position.

    Those of some positions are repeated for the others: to sort all of them takes a minute.
    """
    some = min(DRAWN, POSITIONS)
    counts = rng.poisson(EVENTS, some)
    far, turn, kind = rng.random((3, counts.sum()), np.float32)
    r = np.where(kind < 0.9, RADIUS * np.sqrt(far), RADIUS * (1 + 1.3 * far))
    row, col = (
        np.clip(np.rint(c + r * f(2 * np.pi * turn)), 0, SIDE - 1).astype(np.uint32)
        for c, f in zip(CENTER, (np.sin, np.cos), strict=True)
    )
    pixel = row * SIDE + col
    drawn = pixel[np.lexsort((pixel, np.repeat(np.arange(some), counts)))]
    copies = POSITIONS // some
    indptr = np.concatenate([[0], np.cumsum(np.tile(counts, copies))])
    return indptr, np.tile(drawn, copies)


if __name__ == "__main__":
    main()
