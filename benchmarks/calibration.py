"""Calibration and DPC beside LiberTEM, py4DSTEM and quantem, in one run: errors, time and memory.

    python -m benchmarks.calibration [blind | com | large] [--without-peers] [--with-quantem]

``blind``: rotation and aberrations of a MoS2 monolayer from its counts alone, and the image that
follows; quantem's own fit takes minutes and is asked only ``--with-quantem``. ``com``: the centre
of mass, its rotation and its integral. ``large``: time and memory for scans of 512² and 1024².
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from math import pi, radians
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from benchmarks.phase_scan import (
    DOSES,
    LENS,
    ROTATION,
    SPEED,
    SpeedCase,
    ask_peer,
    counted_scan,
    frames,
    mos2,
)
from benchmarks.simulated_scan import Scan, mos2_phase, simulate
from benchmarks.ssb import (
    Cost,
    counts_at,
    in_a_process,
    likeness,
    measured,
    print_cost,
    reconstruct,
)
from gpu_kernels.disk_fit import fit_disk
from gpu_kernels.dpc import deflection, integrate, integrate_iteratively
from gpu_kernels.frames import electrons_of_counts, events_of_counts
from gpu_kernels.pixel_plan import annular_masks, plan_pixels
from gpu_kernels.reduction import reduce_events
from gpu_kernels.rotation_fit import fit_rotation
from models.geometry import Geometry
from tasks.calibration.blind import calibrate


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("blind", "com", "large"))
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--with-quantem", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peers = None if options.without_peers else folder
        if options.what in (None, "blind"):
            blind(peers, options.with_quantem)
        if options.what in (None, "com"):
            for case in SPEED:
                centre_of_mass(case, folder, peers)
        if options.what in (None, "large"):
            for side in (512, 1024):
                large(side, folder)


def blind(peers: Path | None, with_quantem: bool) -> None:
    """Errors of the blind calibration of MoS2, and the likeness of the image with it."""
    print("\nMoS2, calibrated blind: found less true, [°] and [Å]; likeness as in ssb.py")
    print(f"{'dose':>8} {'':22} {'θ':>7} {'C10':>6} {'C12a':>6} {'C12b':>6} {'C21a':>6} {'C21b':>6}"
          f" {'Wiener':>7} {'CPU [s]':>8}")  # fmt: skip
    scan = mos2()
    true = LENS.cartesian()
    calibrate(scan.dense * 1e3, scan.rows, scan.cols, 1.0, scan.geometry)  # compiles
    for dose in DOSES:
        counted = counts_at(scan, dose)
        start = time.process_time()
        found = blindly(counted)
        cpu = time.process_time() - start
        _, weighted = reconstruct(counted, 1, found.geometry, found.aberrations)
        label = "none" if dose is None else f"{dose:.0e}"
        off = [
            degrees_off(np.rad2deg(found.rotation.value)),
            *(found.aberrations.cartesian() - true),
        ]
        print_errors(label, "ours", off, likeness(weighted, scan), cpu)
        moved = scan.geometry
        disk = fit_disk(frames(counted, 32).sum(axis=(0, 1), dtype=np.float64))
        middle = np.subtract(disk.center, moved.center)
        print(f"{label:>8} {'ours, disk':22} centre off by ({middle[0]:+.3f}, {middle[1]:+.3f}) px,"
              f" radius by {disk.radius - moved.radius:+.3f} px")  # fmt: skip
        for peer in ("libertem", "py4dstem") if peers else ():
            answer = ask_peer(peer, peers, counted, 32, repeats=1)
            said = answer if isinstance(answer, str) else (
                f"θ {degrees_off(answer['rotation_deg']):+.2f}, mirror {answer['flip']}"
            )  # fmt: skip
            print(f"{label:>8} {peer + ', COM':22} {said}")
        if peers and with_quantem and dose == 1e5:
            answer = ask_peer("quantem_blind", peers, counted, 32, repeats=1)
            print(f"{label:>8} {'quantem, fit':22} {json.dumps(answer)}")


def blindly(scan: Scan) -> Any:
    """Calibration from the counts alone."""
    unknown = replace(scan.geometry, rotation=0.0, flip=False)
    return calibrate(scan.dense, scan.rows, scan.cols, 1.0, unknown, com=scan.com)


def degrees_off(rotation: float) -> float:
    """A rotation less the true one, modulo half a turn, which the curl cannot tell."""
    return float((rotation - ROTATION + 90) % 180 - 90)


def print_errors(dose: str, who: str, off: list[float], like: float, cpu: float) -> None:
    """One line of the table."""
    print(f"{dose:>8} {who:22} {off[0]:+7.3f} " + " ".join(f"{one:+6.1f}" for one in off[1:6])
          + f" {like:7.4f} {cpu:8.2f}")  # fmt: skip


def centre_of_mass(case: SpeedCase, folder: Path, peers: Path | None) -> None:
    """Times of the centre of mass, its rotation and its integral."""
    scan = counted_scan(case)
    np.save(folder / "counts.npy", frames(scan, case.detector))
    print(f"\nDPC of {case.side} x {case.side} positions x {case.detector} x {case.detector} px")
    print(f"{'':44} {'wall [s]':>9} {'CPU [s]':>9} {'extra MB':>9}")
    for name, cost in in_a_process(our_costs, folder / "counts.npy", scan.geometry).items():
        print_cost(name, cost)
    for peer in ("floor", "libertem", "py4dstem") if peers else ():
        found = ask_peer(peer, folder, scan, case.detector)
        if isinstance(found, str):
            print(f"{peer}: {found}")
            continue
        for name, cost in found.items():
            if isinstance(cost, dict):
                print_cost(f"{peer}, {name}", Cost(**cost))


def our_costs(file: Path, geometry: Geometry) -> dict[str, Cost]:
    """Ours, from the events of the counts, on one core."""
    counts = np.load(file)
    shape, detector = counts.shape[:2], counts.shape[2:]
    flat = counts.reshape(-1, detector[0] * detector[1])
    indptr, indices = events_of_counts(flat, electrons_of_counts(flat))
    mask = annular_masks(detector, geometry.center, [(0, geometry.radius)])[0]
    plan = plan_pixels(detector, com_mask=mask)
    out: dict[str, Cost] = {}

    def moments() -> Any:
        return reduce_events(indptr, indices, plan, frame_sum=False)

    found = moments()
    sums = found.com_sums.reshape(*shape, 2)
    electrons = found.com_electrons.reshape(shape)

    def field(rotation: float = geometry.rotation) -> tuple[np.ndarray, np.ndarray]:
        return deflection(
            sums, electrons, geometry.center, geometry.pixel_wavevector, rotation, False
        )

    com, bare = field(), field(0.0)
    band = (0.1 * geometry.aperture, 1.2 * geometry.aperture)
    step = geometry.scan_step
    out["one read of the counts"] = measured(lambda: counts.sum(dtype=np.int64))
    out[f"COM, from {indices.size / 1e6:.0f} M events"] = measured(lambda: (moments(), field()))
    fit_rotation(*bare, step)
    out["rotation, closed form"] = measured(lambda: fit_rotation(*bare, step))
    out["rotation, band-limited"] = measured(lambda: fit_rotation(*bare, step, band))
    integrate(*com, step)
    out["iCOM, mirror"] = measured(lambda: integrate(*com, step))
    out["iCOM, periodic"] = measured(lambda: integrate(*com, step, "periodic"))
    out["iCOM, 64 iterations"] = measured(lambda: integrate_iteratively(*com, step, 64), 2)
    return out


def large(side: int, folder: Path) -> None:
    """Time and memory of the blind calibration of a large scan, read from disk."""
    scan = simulate(
        mos2_phase((128, 128), 0.31), (128, 128),
        Geometry(80e3, 0.025, (0.31, 0.31), (8.6, 8.4), 8.4, radians(ROTATION)), LENS, 1,
    )  # fmt: skip
    pixels, rng = len(scan.dense), np.random.default_rng(0)
    path = folder / f"{side}.zarr"
    dense = zarr.create_array(
        str(path), shape=(pixels, side, side), chunks=(32, 256, side), dtype="uint16"
    )
    for first in range(0, pixels, 32):
        block = np.tile(scan.dense[first : first + 32], (1, side // 128, side // 128))
        dense[first : first + 32] = rng.poisson(2000 * block).astype(np.uint16)
    cost, off = in_a_process(large_costs, path, replace(scan, dense=scan.dense[:0]))
    print(f"\nblind calibration of {side} x {side} positions x {pixels} px:")
    print(f"θ off by {off[0]:+.2f}°, C10 by {off[1]:+.1f} Å")
    print_cost("", cost)


def large_costs(path: Path, scan: Scan) -> tuple[Cost, tuple[float, float]]:
    """In a process of its own."""
    dense = zarr.open_array(str(path), mode="r")
    unknown = replace(scan.geometry, rotation=0.0)
    small = np.asarray(dense[:, :128, :128])
    calibrate(small, scan.rows, scan.cols, 1.0, unknown)  # compiles
    found: list[Any] = []

    def work() -> None:
        found.append(calibrate(dense, scan.rows, scan.cols, 1.0, unknown))

    cost = measured(work, repeats=1)
    turn = (found[0].rotation.value - radians(ROTATION) + pi / 2) % pi - pi / 2
    return cost, (float(np.rad2deg(turn)), found[0].aberrations.C10 - LENS.C10)


if __name__ == "__main__":
    main()
