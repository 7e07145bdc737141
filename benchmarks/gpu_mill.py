"""Whole scans through the mill on a GPU, and a microscope's day from them.

    python -m benchmarks.gpu_mill [SIDE ...] [--threads 4]

Counted scans of 2,000 electrons a frame are milled with the direct methods and their resolution on
`cluster: local-cuda`, one after another, each twice: what a size needs for the first time is
compiled then. The wall time of each step of the second grows with events or positions; the day is
115 scans of 1024 x 1024. Needs a CUDA device and all that the mill needs, dask-cuda too.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from distributed import Client

from benchmarks.counted_scan import write_scan
from benchmarks.day import EVENTS, JOB, SCANS, SIDE, STORAGE, Scan, projected
from benchmarks.gpu import bench
from flows.clusters import NightCluster
from flows.job import check_job
from flows.reprocess import reprocess
from flows.worker_options import WorkerOptions

BYTES_PER_EVENT = 4
AHEAD = 32
"""Side of the scan that goes ahead: most kernels are compiled with it."""
TIMES = 2


def main() -> None:
    """Print the steps and the day."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sides", type=int, nargs="*", default=[128, 256])
    parser.add_argument("--threads", type=int, default=4, help="of the GPU's worker")
    given = parser.parse_args()
    bench.open_device()
    sides = sorted(given.sides)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        workers = WorkerOptions(count=1, threads=given.threads)
        with NightCluster("local-cuda", workers) as night:
            milled(folder / "ahead", AHEAD, night.client())
            scans = [milled(folder / str(n), n, night.client()) for n in sides]
        day(scans, given.threads)


def milled(folder: Path, side: int, client: Client) -> Scan:
    """Mill a scan over and over; the wall time of each of the last one's steps."""
    folder.mkdir()
    path = folder / "scan.h5"
    counted = write_scan(path, side, EVENTS)
    for turn in range(TIMES):
        out = folder / f"out{turn}"
        job = check_job(
            {"output": str(out), "datasets": [{"path": str(path), **JOB}]}, "job", folder
        )
        start = time.monotonic()
        row = reprocess.fn(job.datasets[0], job.output, client)
        took = time.monotonic() - start
        if row["status"] != "ok":
            raise SystemExit(f"{path}: {row}")
        print(f"{side} x {side}, {counted} electrons: {took:.2f} s", flush=True)
    told = json.loads((out / "scan" / "provenance.json").read_text())
    steps = {step["name"]: float(step["seconds"]) for step in told["steps"]}
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


if __name__ == "__main__":
    main()
