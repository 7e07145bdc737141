"""Whole scans through the mill on a GPU, and a microscope's day from them.

    python -m benchmarks.gpu_mill [SIDE ...] [--threads 4]

Counted scans of 2,000 electrons a frame are milled with the direct methods and their resolution on
`cluster: local-cuda`, one after another. The wall time of each step grows with events or positions;
the day is 115 scans of 1024 x 1024. Then the largest scan's events are taken from its store to the
SSB phase without anything in between, beside the reading alone. Needs a CUDA device
and all that the mill needs, dask-cuda too.
"""

import argparse
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from benchmarks.counted_scan import CENTER, DETECTOR, RADIUS, write_scan
from benchmarks.day import EVENTS, JOB, SCANS, SIDE, STORAGE, Scan, projected
from benchmarks.gpu import bench
from benchmarks.gpu.ssb import SEMIANGLE, STEP, WAVELENGTH
from flows.clusters import NightCluster
from flows.job import check_job
from flows.reprocess import reprocess
from flows.worker_options import WorkerOptions
from gpu_kernels.backend import as_library, beside, to_device, to_host
from gpu_kernels.fourier import libraries
from gpu_kernels.pixel_plan import plan_pixels, window_bins
from gpu_kernels.reduction_gpu import Tables, reduce_on_device
from gpu_kernels.ssb import SsbSums, ssb_partial
from gpu_kernels.ssb_finish import ssb_finish
from gpu_kernels.ssb_geometry import SsbGeometry
from gpu_kernels.streamed import streamed
from tasks.store.events import EventStore, open_store
from tasks.store.layout import event_store, work_folder

BINS = 20
"""Of the window, across: as the mill has it."""
PIXELS_AT_ONCE = 64
BYTES_PER_EVENT = 4
AHEAD = 32
"""Side of the scan that goes ahead: kernels are compiled with it."""


def main() -> None:
    """Print the steps, the day, and the store's row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sides", type=int, nargs="*", default=[128, 256, 512])
    parser.add_argument("--threads", type=int, default=4, help="of the GPU's worker")
    given = parser.parse_args()
    device, sides = bench.open_device(), sorted(given.sides)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        workers = WorkerOptions(count=1, threads=given.threads)
        with NightCluster("local-cuda", workers) as night:
            milled(folder / "ahead", AHEAD, night.client())
            scans = [milled(folder / str(n), n, night.client()) for n in sides]
        day(scans, given.threads)
        work = work_folder(folder / str(sides[-1]) / "out", "scan")
        bench.figures(lambda: store_to_phase(device, open_store(event_store(work)), given.threads))


def milled(folder: Path, side: int, client: Client) -> Scan:
    """Mill a scan; the wall time of each of its steps."""
    folder.mkdir()
    path = folder / "scan.h5"
    counted = write_scan(path, side, EVENTS)
    job = check_job(
        {"output": str(folder / "out"), "datasets": [{"path": str(path), **JOB}]}, "job", folder
    )
    start = time.monotonic()
    row = reprocess.fn(job.datasets[0], job.output, client)
    took = time.monotonic() - start
    if row["status"] != "ok":
        raise SystemExit(f"{path}: {row}")
    told = json.loads((folder / "out" / "scan" / "provenance.json").read_text())
    steps = {step["name"]: float(step["seconds"]) for step in told["steps"]}
    print(f"{side} x {side}, {counted} electrons: {took:.2f} s", flush=True)
    return Scan(side * side, counted, steps | {"all": took})


def day(scans: list[Scan], threads: int) -> None:
    """Print what was measured, and 115 scans."""
    print(
        "\n| step | " + " | ".join(f"{s.positions**0.5:.0f}² [s]" for s in scans)
        + " | grows by | scan of 1024² [s] |\n|---" + "|---" * (len(scans) + 2) + "|"
    )  # fmt: skip
    whole = {}
    for name in scans[-1].seconds:
        if name == "all":
            continue
        whole[name], growth = projected(name, scans)
        cells = " | ".join(f"{scan.seconds.get(name, 0.0):.2f}" for scan in scans)
        print(f"| {name} | {cells} | {growth} | {whole[name]:.1f} |")
    cells = " | ".join(f"{scan.seconds['all']:.2f}" for scan in scans)
    size = np.array([float(scan.events) for scan in scans])
    slope, start = np.polyfit(size, np.array([scan.seconds["all"] for scan in scans]), 1)
    scan = max(start, 0.0) + slope * SIDE**2 * EVENTS
    print(f"| all, by the clock | {cells} | {1e9 * slope:.3g} ns an event | {scan:.1f} |")
    # The file comes from memory here: where storage is slower than the ingest, that waits for it.
    read = SIDE**2 * EVENTS * BYTES_PER_EVENT / STORAGE
    scan += max(0.0, read - whole["ingest"])
    print(
        f"\nOne GPU, a worker of {threads} threads: a scan takes {scan:.1f} s, of which storage at "
        f"{STORAGE / 1e9:.0f} GB/s needs {read:.1f} s to deliver it while it is ingested. A day of "
        f"{SCANS} scans: {SCANS * scan / 3600:.2f} h. Most of it: "
        f"{max(whole, key=lambda name: whole[name])}.\n"
    )


def store_to_phase(device: bench.Device, store: EventStore, threads: int) -> None:
    """Events from the Zarr store on disk to the SSB phase, beside the reading alone."""
    plan, geometry, k_y, k_x = scene(store.scan_shape)
    tables, slabs = Tables.of(plan), range(store.slabs)

    def run() -> Any:
        parts = []
        with ThreadPoolExecutor(threads) as pool:
            for indptr, indices in pool.map(store.read, slabs):
                (events,) = streamed([indices])
                found = reduce_on_device(to_device(indptr), events, plan, tables, frame_sum=False)
                parts.append(found.dense[: k_y.size])
        return phase(parts, k_y, k_x, geometry)

    def read() -> int:
        with ThreadPoolExecutor(threads) as pool:
            return sum(indices.size for _, indices in pool.map(store.read, slabs))

    image, events = to_host(run()), read()
    started = time.monotonic()
    read()
    alone = time.monotonic() - started
    started = time.monotonic()
    again = to_host(run())
    took = time.monotonic() - started
    if again.tobytes() != image.tobytes():
        raise ValueError("a second run does not repeat the first to the bit")
    bench.show(
        device, f"store on disk to SSB phase, {events:.2g} events", took, "bound by reading",
        "none", 4 * events, 0.0, 0.0,
        f"reading and decompressing alone {1e3 * alone:.0f} ms with {threads} threads, "
        f"{100 * alone / took:.0f} % of it; repeats to the bit",
    )  # fmt: skip


def phase(parts: list[Any], k_y: np.ndarray, k_x: np.ndarray, geometry: SsbGeometry) -> Any:
    """SSB phase of counts that lie on the device slab by slab, (pixels, positions) each."""
    total = None
    for first in range(0, k_y.size, PIXELS_AT_ONCE):
        part = slice(first, first + PIXELS_AT_ONCE)
        counts = joined([one[part] for one in parts], geometry)
        total = ssb_partial(counts, k_y[part], k_x[part], geometry, into=total)
    assert isinstance(total, SsbSums)
    intensity = total.electrons / k_y.size / (geometry.scan_shape[0] * geometry.scan_shape[1])
    return ssb_finish(total, intensity, geometry).phase


def joined(parts: list[Any], geometry: SsbGeometry) -> Any:
    """Slabs of some pixels as one scan."""
    there = [as_library(one) for one in parts]
    xp, _ = libraries(there[0])
    whole = xp.concatenate(there, axis=1).reshape(-1, *geometry.scan_shape)
    return beside(whole, parts[0])


def scene(scan_shape: tuple[int, int]) -> tuple[Any, SsbGeometry, np.ndarray, np.ndarray]:
    """A window around the disk, its wave vectors, and a lens."""
    width = max(1, round(2 * RADIUS / (BINS - 2)))
    bins, origin = window_bins(DETECTOR, CENTER, width, BINS)
    aperture, at = SEMIANGLE / WAVELENGTH, width * (np.arange(BINS) + 0.5) - 0.5
    along = [(o + at - c) * aperture / RADIUS for o, c in zip(origin, CENTER, strict=True)]
    k_y, k_x = (k.ravel() for k in np.meshgrid(*along, indexing="ij"))
    inside = np.hypot(k_y, k_x) < aperture
    number = np.where(inside, np.cumsum(inside) - 1, -1)
    bins = np.where(bins >= 0, number[bins], -1).astype(np.int32)
    plan = plan_pixels(DETECTOR, dense_bin=bins, dense_size=int(inside.sum()))
    aberrations = np.zeros(12)
    aberrations[0] = 100.0
    geometry = SsbGeometry(scan_shape, (STEP, STEP), -0.16, aperture, WAVELENGTH, aberrations)
    return plan, geometry, k_y[inside], k_x[inside]


if __name__ == "__main__":
    main()
