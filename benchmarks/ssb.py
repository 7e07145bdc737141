"""SSB beside its floor, quantem and ptychography40, in one run: time, memory and quality.

    python -m benchmarks.ssb [speed | quality] [--without-peers]

The floor is what any SSB does at least: read the counts once and transform the disk's pixels over
the scan, by FFTW in real form. Ours runs as the mill runs it, each core on its own pixels, and the
update is that of the explorer. The peers read (scan_y, scan_x, detector_y, detector_x), ours the
disk's pixels as the mill's reduction leaves them. Wall times of a busy machine say little: CPU
time, of all threads together, is beside them.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.phase_peers import peak, resident
from benchmarks.phase_scan import DOSES, SPEED, SpeedCase, ask_peer, counted_scan, mos2
from benchmarks.simulated_scan import Scan
from gpu_kernels.held_trotters import HeldTrotters
from gpu_kernels.joined_edges import join_edges, joined_shape
from gpu_kernels.ssb import SsbSums, ssb_partial
from gpu_kernels.ssb_finish import ssb_finish
from gpu_kernels.ssb_geometry import SsbGeometry
from gpu_kernels.wiener import image_of, noise_of_sums, ring_wiener
from models.aberrations import Aberrations
from models.geometry import Geometry

THREADS = 2
REPEATS = 5
BLOCK = 32
"""Pixels at a time, as the mill reads them."""
UPDATE = f"update from held G, {THREADS} threads"


@dataclass(frozen=True)
class Cost:
    """Of one thing."""

    wall: float
    cpu: float
    """[s], of all threads."""
    mb: float
    """Memory beyond the counts."""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("speed", "quality"))
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peers = None if options.without_peers else Path(folder)
        if options.what != "quality":
            for case in SPEED:
                speed(case, Path(folder), peers)
        if options.what != "speed":
            quality(peers)


def speed(case: SpeedCase, folder: Path, peers: Path | None) -> None:
    """Times and memory for one size of recording."""
    scan = counted_scan(case)
    np.save(folder / "dense.npy", scan.dense)
    own = in_a_process(our_costs, folder / "dense.npy", replace(scan, dense=scan.dense[:0]))
    print(
        f"\nSSB of {case.side} x {case.side} positions x {case.detector} x {case.detector} px, "
        f"{own.pop('pixels')} px in the disk"
    )
    print(f"{'':44} {'wall [s]':>9} {'CPU [s]':>9} {'extra MB':>9}")
    for name, cost in own.items():
        print_cost(name, cost)
    if peers is None:
        return
    for peer, works in (
        ("floor", ("read", "transforms")),
        ("quantem", ("prepare", "ssb")),
        ("ptychography40", ("masks", "ssb")),
    ):
        if peer == "ptychography40" and case.side > 256:
            continue  # a quarter of an hour
        found = ask_peer(peer, peers, scan, case.detector)
        if isinstance(found, str):
            print(f"{peer}: {found}")
            continue
        parts = [Cost(**found[work]) for work in works]
        for work, cost in zip(works, parts, strict=True):
            print_cost(f"{peer}, {work}", cost)
        both = Cost(*(sum(getattr(one, key) for one in parts) for key in ("wall", "cpu", "mb")))
        ours = own["SSB, 2 threads"]
        ratios = f"{both.wall / ours.wall:.1f} in wall, {both.cpu / ours.cpu:.1f} in CPU time"
        print(f"  {peer} over ours: {ratios}")
        if peer == "floor":
            update = own[UPDATE]
            print(f"  its transforms over our update: {parts[1].cpu / update.cpu:.1f} in CPU time")


def print_cost(name: str, cost: Cost) -> None:
    """One line of the table."""
    print(f"{name:44} {cost.wall:9.3f} {cost.cpu:9.3f} {cost.mb:9.0f}")


def in_a_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """Do it in a process of its own, whose largest memory is that of this work."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def our_costs(file: Path, scan: Scan) -> dict[str, Any]:
    """Ours: the whole, and the update."""
    dense = np.load(file)
    scan, small = replace(scan, dense=dense), replace(scan, dense=dense[:, :32, :32])
    for threads in (1, THREADS):
        reconstruct(small, threads)  # compiles
    update(hold(small), small, THREADS)
    out: dict[str, Any] = {"pixels": len(scan.dense)}
    for threads in (1, THREADS):
        name = f"SSB, {threads} thread{'s' * (threads > 1)}"
        out[name] = measured(lambda n=threads: reconstruct(scan, n))
    held: list[HeldTrotters] = []
    out["taking G"] = measured(lambda: held.append(hold(scan)), repeats=1)
    out[UPDATE] = measured(lambda: update(held[0], scan, THREADS))
    return out


def measured(work: Callable[[], Any], repeats: int = REPEATS) -> Cost:
    """Least wall and CPU time, and the memory that it took."""
    before, walls, cpus = resident(), [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Cost(min(walls), min(cpus), peak() - before)


def lens_of(geometry: Geometry, shape: tuple[int, int], lens: Aberrations) -> SsbGeometry:
    """The kernel's form of a geometry."""
    return SsbGeometry(
        shape, geometry.scan_step, geometry.rotation, geometry.aperture, geometry.wavelength,
        lens.cartesian(),
    )  # fmt: skip


def reconstruct(
    scan: Scan,
    threads: int = 1,
    geometry: Geometry | None = None,
    lens: Aberrations | None = None,
    joined: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Phase from the counts, and its Wiener-weighted form; with the scan's edges joined or not."""
    geometry, lens = geometry or scan.geometry, lens or scan.aberrations
    rows, cols = (int(n) for n in scan.dense.shape[1:])
    shape = joined_shape((rows, cols)) if joined else (rows, cols)
    ssb, (k_y, k_x) = lens_of(geometry, shape, lens), geometry.wavevectors(scan.rows, scan.cols)
    inside = np.hypot(k_y, k_x) < ssb.aperture
    blocks = [slice(at, at + BLOCK) for at in range(0, inside.size, BLOCK)]

    def part(some: list[slice]) -> SsbSums:
        sums = SsbSums.none(ssb)
        for at in some:
            block = join_edges(scan.dense[at], shape) if joined else scan.dense[at]
            sums = ssb_partial(block, k_y[at], k_x[at], ssb, into=sums)
        return sums

    with ThreadPoolExecutor(threads) as pool:
        sums = reduce(add, pool.map(part, (blocks[first::threads] for first in range(threads))))
    intensity = sums.electrons / inside.sum() / shape[0] / shape[1]
    images = ssb_finish(sums, intensity, ssb)
    noise = noise_of_sums(
        sums.noise, sums.noise_count, intensity * shape[0] * shape[1], intensity
    )  # fmt: skip
    q_y = np.fft.fftfreq(shape[0], geometry.scan_step[0])
    q_x = np.fft.rfftfreq(shape[1], geometry.scan_step[1])
    weighted = ring_wiener(
        images.spectrum, images.weight, noise, np.hypot(q_y[:, None], q_x), 2 * max(q_y[1], q_x[1])
    )
    return images.phase[:rows, :cols], image_of(weighted, shape)[:rows, :cols]


def hold(scan: Scan) -> HeldTrotters:
    """G as the explorer holds it."""
    shape = (int(scan.dense.shape[1]), int(scan.dense.shape[2]))
    return HeldTrotters.of(
        [scan.dense], len(scan.dense), shape, scan.geometry.scan_step, 2 * scan.geometry.aperture
    )


def update(held: HeldTrotters, scan: Scan, threads: int) -> np.ndarray:
    """What follows when a slider moves."""
    k_y, k_x = scan.geometry.wavevectors(scan.rows, scan.cols)
    lens = lens_of(scan.geometry, held.scan_shape, scan.aberrations)
    return held.phase(k_y, k_x, lens, threads=threads).image


def quality(peers: Path | None) -> None:
    """Correlation with the truth up to twice the aperture, at the known lens."""
    print("\nMoS2, known lens: correlation with the object below 2 α at a dose in e/Å²")
    print(f"{'':42}" + "".join(f" {'none' if d is None else f'{d:.0e}':>8}" for d in DOSES))
    rows: dict[str, list[float]] = {}

    def note(name: str, image: np.ndarray, scan: Scan) -> None:
        rows.setdefault(name, []).append(likeness(image, scan))

    repeating, ending = mos2(), mos2(canvas=160)
    for dose in DOSES:
        for scan, joined, where in (
            (repeating, False, "scan repeats"),
            (ending, False, "scan ends, edges periodic"),
            (ending, True, "scan ends, edges joined"),
        ):
            plain, weighted = reconstruct(counts_at(scan, dose), joined=joined)
            note(where, plain, scan)
            note(f"{where}, Wiener", weighted, scan)
        for peer, names in (("quantem", ("ssb", "wiener")), ("ptychography40", ("ssb",))):
            found = ask_peer(peer, peers, counts_at(repeating, dose), 32) if peers else "not asked"
            for name in names:
                if peers and not isinstance(found, str):
                    image = np.load(peers / f"{peer}_{name}.npy").squeeze()
                    note(f"{peer} {name}, scan repeats", image, repeating)
    for name, likes in rows.items():
        print(f"{name:42}" + "".join(f" {like:8.4f}" for like in likes))


def counts_at(scan: Scan, dose: float | None) -> Scan:
    """Poisson counts at a dose, or the expectation of a thousand electrons a position."""
    if dose is not None:
        return scan.counted(dose)
    dense = (scan.dense * 1e3).astype(np.float32)
    return Scan(dense, scan.rows, scan.cols, scan.geometry, scan.aberrations, scan.phase)


def likeness(image: np.ndarray, scan: Scan) -> float:
    """Correlation with the object, both without what lies beyond twice the aperture."""
    step_y, step_x = scan.geometry.scan_step
    q = np.hypot(np.fft.fftfreq(image.shape[0], step_y)[:, None],
                 np.fft.rfftfreq(image.shape[1], step_x))  # fmt: skip
    kept = (q > 0) & (q < 2 * scan.geometry.aperture)
    flat = [
        np.fft.irfft2(np.where(kept, np.fft.rfft2(one), 0), s=image.shape).ravel()
        for one in (image, scan.phase)
    ]
    return float(np.corrcoef(*flat)[0, 1])


if __name__ == "__main__":
    main()
