"""Events from the Zarr store on disk to the SSB phase on a GPU, beside the reading alone.

    python -m benchmarks.gpu_store [--side 1024] [--events 240] [--threads 16] [--tiny]

A counted scan is ingested on cores; with 240 electrons a frame 1024 x 1024 positions have some 2e8
in the disk. Then its slabs are read, unpacked and checked by threads, as the mill does, and travel
to the device while the next are read. The reference is the host's form in double precision, of the
same counts. Needs a CUDA device and all that the mill needs.
"""

import argparse
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.counted_scan import CENTER, DETECTOR, RADIUS, write_scan
from benchmarks.day import JOB
from benchmarks.gpu import bench
from benchmarks.gpu.ssb import SEMIANGLE, STEP, WAVELENGTH
from flows.job import check_job
from flows.reprocess import reprocess
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
BYTES_OF_AN_EVENT = 4
"""On the device."""


def main() -> None:
    """Print the row."""
    tiny = bench.tiny()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4 if tiny else 1024)
    parser.add_argument("--events", type=float, default=240.0, help="electrons a frame")
    parser.add_argument("--threads", type=int, default=2 if tiny else 16, help="that read")
    parser.add_argument("--tiny", action="store_true", help="a size for the simulator")
    given = parser.parse_args()
    device = bench.open_device()
    with tempfile.TemporaryDirectory() as scratch:
        store = ingested(Path(scratch), given.side, given.events)
        print(bench.table_head())
        bench.figures(lambda: store_to_phase(device, store, given.threads))


def ingested(folder: Path, side: int, electrons: float) -> EventStore:
    """The store of a scan that the mill has ingested on cores."""
    path = folder / "scan.h5"
    write_scan(path, side, electrons)
    raw = {"output": str(folder / "out"),
           "datasets": [{"path": str(path), **JOB, "steps": ["virtual"]}]}  # fmt: skip
    job = check_job(raw, "job", folder)
    row = reprocess.fn(job.datasets[0], job.output, None)
    if row["status"] != "ok":
        raise SystemExit(f"{path}: {row}")
    return open_store(event_store(work_folder(folder / "out", "scan")))


def store_to_phase(device: bench.Device, store: EventStore, threads: int) -> None:
    """Events from the Zarr store on disk to the SSB phase, beside the reading alone."""
    plan, geometry, k_y, k_x = scene(store.scan_shape)
    tables = Tables.of(plan)

    def counted() -> list[Any]:
        found, scans = [], deque[np.ndarray]()
        for events in streamed(indices_of(read(store, threads), scans)):
            dense = reduce_on_device(
                to_device(scans.popleft()), events, plan, tables, frame_sum=False
            ).dense
            found.append(dense[: k_y.size])
        return found

    def clocked(work: Callable[[], Any]) -> tuple[Any, float]:
        started = time.monotonic()
        done = work()
        return done, time.monotonic() - started

    def image() -> np.ndarray:
        return to_host(phase(counted(), k_y, k_x, geometry))

    first, (events, alone), (again, took) = (
        image(),
        clocked(lambda: sum(indices.size for _, indices in read(store, threads))),
        clocked(image),
    )
    if again.tobytes() != first.tobytes():
        raise ValueError("a second run does not repeat the first to the bit")
    counts = np.concatenate([to_host(part) for part in counted()], axis=1)
    error = bench.off(first, exact(counts.reshape(-1, *store.scan_shape), k_y, k_x, geometry))
    bench.show(
        device, f"store on disk to SSB phase, {events:.2g} events", took, "bound by reading",
        "none", BYTES_OF_AN_EVENT * events, 0.0, error,
        f"{counts.sum():.2g} of them in the disk; reading and unpacking alone {1e3 * alone:.0f} ms "
        f"with {threads} threads, {100 * alone / took:.0f} % of it; repeats to the bit",
    )  # fmt: skip


def read(store: EventStore, threads: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Slabs of a store in order, a few of them ahead."""
    with ThreadPoolExecutor(threads) as pool:
        coming: deque[Future[tuple[np.ndarray, np.ndarray]]] = deque()
        for slab in range(store.slabs):
            coming.append(pool.submit(store.read, slab))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def indices_of(
    slabs: Iterator[tuple[np.ndarray, np.ndarray]], scans: deque[np.ndarray]
) -> Iterator[np.ndarray]:
    """Indices of the events of slabs; where their positions begin is put aside."""
    for indptr, indices in slabs:
        scans.append(indptr)
        yield indices


def exact(
    counts: np.ndarray, k_y: np.ndarray, k_x: np.ndarray, geometry: SsbGeometry
) -> np.ndarray:
    """Phase by the host in double precision."""
    sums = ssb_partial(counts, k_y, k_x, geometry, np.float64)
    return np.asarray(ssb_finish(sums, float(counts.mean()), geometry).phase)


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
