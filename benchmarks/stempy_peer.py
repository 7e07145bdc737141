"""Our reductions beside stempy's on the same events in memory, in one run, in CPU time.

    python3.11 -m venv .venv-peers-events
    .venv-peers-events/bin/pip install -c constraints.txt -e . -r benchmarks/peers-events.txt
    PYTHONPATH=. .venv-peers-events/bin/python benchmarks/stempy_peer.py [--side 128] [--repeats 3]

Of stempy's ways to one result the faster is taken. Results are compared before times are: equal, or
the run ends. CPU time is that of all threads; ours run on one core, and so do stempy's.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import stempy
from stempy.image import com_sparse, create_stem_images, radial_sum_sparse
from stempy.io import SparseArray

from benchmarks.counted_scan import CENTER, DETECTOR, RADIUS, whole_scan
from gpu_kernels.pixel_plan import PixelPlan, annular_masks, plan_pixels, radial_bins, window_bins
from gpu_kernels.reduction import Reductions, reduce_events, sum_frames

AT = (round(CENTER[0]), round(CENTER[1]))
"""stempy's radii and centre of the rings are whole pixels."""
ANNULI = [(36 * n, 36 * (n + 1)) for n in range(8)]
RINGS = DETECTOR[0] // 2
BIN, BINS = 9, 26


@dataclass(frozen=True)
class Case:
    """One reduction by both."""

    name: str
    target: float
    """How many times less CPU time is asked for."""
    theirs: Callable[[SparseArray], Any]
    ours: Callable[[np.ndarray, np.ndarray], Any]
    same: Callable[[Any, Any], bool]


def main() -> None:
    """Print one table a dose."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--electrons", type=float, nargs="+", default=[100, 2060])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for electrons in options.electrons:
        indptr, indices = whole_scan(options.side, electrons)
        mean = indices.size / (indptr.size - 1)
        print(
            f"\nstempy {stempy.__version__}, numpy {np.__version__}: {options.side} x "
            f"{options.side} frames of {DETECTOR[0]} x {DETECTOR[1]} px, {mean:.0f} electrons each"
        )
        compare(indptr, indices, options.side, options.repeats)


def compare(indptr: np.ndarray, indices: np.ndarray, side: int, repeats: int) -> None:
    """Time every case, and all of them together against one pass."""
    rows = np.empty(indptr.size - 1, object)
    rows[:] = np.split(indices, indptr[1:-1])
    sparse = SparseArray(rows, (side, side), DETECTOR)
    print(f"{'reduction':34} {'stempy [s]':>11} {'ours [s]':>9} {'ratio':>7} {'target':>7}")
    together = 0.0
    for case in cases(side):
        answers = case.theirs(sparse), case.ours(indptr, indices)
        if not case.same(*answers):
            raise SystemExit(f"{case.name}: the results differ")
        theirs = least(lambda case=case: case.theirs(sparse), repeats)
        ours = least(lambda case=case: case.ours(indptr, indices), repeats)
        print_row(case.name, theirs, ours, case.target)
        together += theirs if case.name != "one annulus" else 0
    plan = everything()
    ours = least(lambda: reduce_events(indptr, indices, plan), repeats)
    print_row("all but the first annulus, one pass", together, ours, 50)


def print_row(name: str, theirs: float, ours: float, target: float) -> None:
    """One line of the table."""
    print(f"{name:34} {theirs:11.3f} {ours:9.4f} {theirs / ours:7.1f} {target:7.0f}")


def least(work: Callable[[], Any], repeats: int) -> float:
    """Least CPU time of some runs [s]: other work on the machine only ever adds to it."""
    times = []
    while len(times) < repeats and sum(times) < 60:
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def cases(side: int) -> list[Case]:
    """What is compared."""
    disk = annular_masks(DETECTOR, AT, [(0, RADIUS + 1e-9)])[0]
    com, one, eight = plan(com_mask=disk), plan(masks=masks([(0, 110)])), plan(masks=masks(ANNULI))
    radial, dense = (
        plan(radial_bin=rings(), rings_about=(*AT, 1.0)),
        plan(dense_bin=window()[0], dense_size=BINS**2),
    )
    (top, left), size = window()[1], BIN * BINS

    def stem(sparse: SparseArray, edges: list[tuple[int, int]]) -> np.ndarray:
        inner, outer = zip(*edges, strict=True)
        return create_stem_images(sparse, inner, outer, center=AT[::-1])

    def binned(sparse: SparseArray) -> np.ndarray:
        cropped = sparse[:, :, top : top + size, left : left + size]
        return cropped.bin_frames(BIN).to_dense()

    def same_images(theirs: np.ndarray, ours: Reductions) -> bool:
        return np.array_equal(theirs.reshape(len(theirs), -1), ours.virtual * 65535)

    def same_com(theirs: np.ndarray, ours: Reductions) -> bool:
        mean = ours.com_sums.T[::-1] / ours.com_electrons  # stempy has (column, row) first
        return np.allclose(theirs.reshape(2, -1), mean, rtol=1e-6)

    def same_rings(theirs: np.ndarray, ours: Reductions) -> bool:
        # NumPy's last bin has both edges, so an electron at exactly its radius is in it.
        return np.array_equal(theirs.reshape(-1, RINGS)[:, :-1], ours.radial[:, : RINGS - 1])

    def same_dense(theirs: np.ndarray, ours: Reductions) -> bool:
        return np.array_equal(theirs.reshape(side * side, -1).T, ours.dense)

    return [
        Case("sum of frames", 5, lambda s: s.sum(axis=(0, 1)),
             lambda p, i: sum_frames(p, i, DETECTOR), np.array_equal),
        Case("centre of mass in the disk", 5, faster_com,
             lambda p, i: reduce_events(p, i, com, frame_sum=False), same_com),
        Case("one annulus", 2, lambda s: stem(s, [(0, 110)]),
             lambda p, i: reduce_events(p, i, one, frame_sum=False), same_images),
        Case("eight annuli", 8, lambda s: stem(s, ANNULI),
             lambda p, i: reduce_events(p, i, eight, frame_sum=False), same_images),
        Case("radial sums", 100, lambda s: radial_sum_sparse(s, AT),
             lambda p, i: reduce_events(p, i, radial, frame_sum=False), same_rings),
        Case("crop and bin to dense", 100, binned,
             lambda p, i: reduce_events(p, i, dense, frame_sum=False), same_dense),
    ]  # fmt: skip


def faster_com(sparse: SparseArray) -> np.ndarray:
    """The vectorised form, which is the faster of stempy's two."""
    return com_sparse(sparse, crop_to=RADIUS, init_center=AT, version=1)


def plan(**what: Any) -> PixelPlan:
    """A plan for the detector; built once for a recording, so it is not timed."""
    return plan_pixels(DETECTOR, **what)


def masks(edges: list[tuple[int, int]]) -> np.ndarray:
    """Annuli around the whole pixel of the centre."""
    return annular_masks(DETECTOR, AT, edges)


def rings() -> np.ndarray:
    """Rings one pixel wide, and the overflow that stempy leaves out."""
    return radial_bins(DETECTOR, AT, 1.0, RINGS)


def window() -> tuple[np.ndarray, tuple[int, int]]:
    """Bins of the window around the disk, and its corner."""
    return window_bins(DETECTOR, CENTER, BIN, BINS)


def everything() -> PixelPlan:
    """All reductions at once."""
    return plan(
        masks=masks(ANNULI),
        com_mask=annular_masks(DETECTOR, AT, [(0, RADIUS + 1e-9)])[0],
        radial_bin=rings(),
        rings_about=(*AT, 1.0),
        dense_bin=window()[0],
        dense_size=BINS**2,
    )


if __name__ == "__main__":
    main()
