"""Time to read an electron-counted file, and to ingest it, beside h5py alone, in one run.

    PYTHONPATH=. .venv/bin/python benchmarks/ingest.py [FILE ...] [--repeats 5]

Without a file, two are made in a temporary folder: 512 x 512 positions with 100 electrons each, and
128 x 128 with 2,000. h5py reads the ragged rows in blocks and does nothing with them; *reader*
finds the layout, checks and sorts every index and says which frames are missing; *ingest* reads,
surveys, compresses, checksums, hashes and publishes the event store. In CPU time of all threads;
the last column adds the SHA-256 of the recording itself, which a night takes once.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py

from benchmarks.counted_scan import write_scan
from tasks.formats.detect import open_recording
from tasks.formats.stempy_layout import FRAMES, read_layout
from tasks.ingest import ReaderOptions, ingest, slab_rows_for
from tasks.store import layout
from tasks.store.publish import hash_file
from tasks.store.source import Source, fingerprint

ROWS_AT_ONCE = 8192
TARGET = 3
MADE = {"512x512_100e.h5": (512, 100), "128x128_2000e.h5": (128, 2060)}


def main() -> None:
    """Print one line per file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    columns = ("h5py", "reader", "ingest", "+ sha256", "B/event", "reader x", "ingest x", "all x")
    print(f"{'file':20} {'events':>11} " + " ".join(f"{name:>8}" for name in columns))
    with tempfile.TemporaryDirectory() as folder:
        for name, size in MADE.items() if not options.files else ():
            options.files.append(Path(folder) / name)
            write_scan(options.files[-1], *size)
        for file in options.files:
            print_row(file, Path(folder), options.repeats)


def print_row(file: Path, folder: Path, repeats: int) -> None:
    """Measure one file: seconds, bytes an event in the store, and ratios to h5py alone."""
    source = fingerprint(file, folder / "source.json")
    jobs: tuple[Callable[[], object], ...] = (
        lambda: read_with_h5py(file),
        lambda: read_whole(file),
        lambda: ingest_whole(source, folder),
        lambda: hash_file(file),
    )
    times = [float("inf")] * len(jobs)
    for _ in range(repeats + 1):  # in turn, so that a busy moment does not fall on one alone
        for n, job in enumerate(jobs):
            read_layout.cache_clear()
            start = time.process_time()
            job()
            times[n] = min(times[n], time.process_time() - start)
    plain, reader, whole, sha = times
    events, store = read_whole(file), layout.event_store(folder)
    size = sum(part.stat().st_size for part in store.rglob("*") if part.is_file())
    print(
        f"{file.name[:20]:20} {events:11d} {plain:8.3f} {reader:8.3f} {whole:8.3f} {sha:8.3f} "
        f"{size / events:8.2f} {reader / plain:8.2f} {whole / plain:8.2f} "
        f"{(whole + sha) / plain:8.2f}   target of ingest: {TARGET}"
    )


def ingest_whole(source: Source, folder: Path) -> None:
    """Make the event store anew, in this process."""
    ingest(source, folder, ReaderOptions(), force=True)


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
