"""Time to read an electron-counted file, and to ingest it, beside h5py alone, in one run.

    PYTHONPATH=. .venv/bin/python benchmarks/ingest.py [FILE ...] [--repeats 5]

Without a file, three are made in a temporary folder: 512 x 512 positions with 100 electrons each,
and 128 x 128 and 256 x 256 with 2,000. h5py reads the ragged rows in blocks and does nothing with
them; *reader* finds the layout, checks and sorts every index and says which frames are missing;
*ingest* reads, surveys, compresses, checksums, hashes and publishes the event store. *SHA-256* is
that of the recording itself, which a night takes once.

CPU time is that of all threads of this process, where the slabs run one after another. Wall time
of the ingest is a night's: slabs are units on a local cluster, one process a core, that was opened
before. Everything is in the page cache.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from distributed import Client

from benchmarks.counted_scan import write_scan
from flows.clusters import cluster
from tasks.formats.detect import open_recording
from tasks.formats.stempy_layout import FRAMES, read_layout
from tasks.ingest import ReaderOptions, ingest, slab_rows_for
from tasks.store import layout
from tasks.store.files import hash_file
from tasks.store.source import Source, fingerprint

ROWS_AT_ONCE = 8192
TARGET = 3
MADE = {
    "512x512_100e.h5": (512, 100),
    "128x128_2000e.h5": (128, 2060),
    "256x256_2000e.h5": (256, 2060),
}


def main() -> None:
    """Print one table per file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, cluster("local") as client:
        for name, size in MADE.items() if not options.files else ():
            options.files.append(Path(folder) / name)
            write_scan(options.files[-1], *size)
        for file in options.files:
            print_table(file, Path(folder), options.repeats, client)


def print_table(file: Path, folder: Path, repeats: int, client: Client) -> None:
    """Measure one file: seconds, and their ratios to h5py alone."""
    source = fingerprint(file, folder / "source.json")
    jobs: dict[str, Callable[[], object]] = {
        "h5py": lambda: read_with_h5py(file),
        "reader": lambda: read_whole(file),
        "ingest, here": lambda: ingest_whole(source, folder),
        "ingest, cluster": lambda: ingest_whole(source, folder, client),
        "SHA-256": lambda: hash_file(file),
    }
    found = {name: np.full(2, np.inf) for name in jobs}
    for _ in range(repeats + 1):  # in turn, so that a busy moment does not fall on one alone
        for name, job in jobs.items():
            read_layout.cache_clear()
            if "ingest" in name:
                shutil.rmtree(layout.event_store(folder), ignore_errors=True)
            start = np.array([time.process_time(), time.perf_counter()])
            job()
            took = np.array([time.process_time(), time.perf_counter()]) - start
            found[name] = np.minimum(found[name], took)
    events, store = read_whole(file), layout.event_store(folder)
    size = sum(part.stat().st_size for part in store.rglob("*") if part.is_file())
    workers = len(client.scheduler_info()["workers"])
    print(
        f"\n{file.name}: {events} events, {size / events:.2f} bytes each in the store; "
        f"{workers} workers; target of ingest: {TARGET} x h5py\n"
        f"{'':16} {'CPU [s]':>8} {'x h5py':>7} {'wall [s]':>9} {'x h5py':>7}"
    )
    for name, (cpu, wall) in found.items():
        plain_cpu, plain_wall = found["h5py"]
        # The workers' time is not this process's.
        own = f"{cpu:8.3f} {cpu / plain_cpu:7.2f}" if "cluster" not in name else f"{'':16}"
        print(f"{name:16} {own} {wall:9.3f} {wall / plain_wall:7.2f}")


def ingest_whole(source: Source, folder: Path, client: Client | None = None) -> None:
    """Make the event store, in this process or on a cluster."""
    ingest(source, folder, ReaderOptions(), client)


def read_with_h5py(path: Path) -> int:
    """Events of a file, through h5py alone."""
    with h5py.File(path) as file:
        frames = file[FRAMES]
        return sum(
            sum(map(len, frames[at : at + ROWS_AT_ONCE]))
            for at in range(0, len(frames), ROWS_AT_ONCE)
        )


def read_whole(path: Path) -> int:
    """Events of a file, through the reader, slab by slab."""
    recording = open_recording(path)
    rows, step = recording.scan_shape[0], slab_rows_for(recording)
    return sum(
        recording.read_rows(first, min(first + step, rows)).indices.size
        for first in range(0, rows, step)
    )


if __name__ == "__main__":
    main()
