"""Read speed of electron-counted files: the reader beside plain h5py, in one run, in CPU time.

    python benchmarks/ingest.py [FILE ...] [--repeats 5]

Without a file, one of 512 x 512 positions with 100 electrons each is made in a temporary folder.
h5py reads the ragged rows in blocks and does nothing with them; the reader also finds the layout,
checks every index, sorts what is not sorted and says which frames are missing.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tasks.formats.detect import open_recording
from tasks.formats.stempy_layout import FRAMES, POSITIONS, read_layout
from tasks.ingest import slab_rows_for

ROWS_AT_ONCE = 8192


def main() -> None:
    """Print one line per file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{'file':32} {'events':>12} {'h5py [s]':>9} {'reader [s]':>10} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for file in options.files or [simulated(Path(folder) / "512x512_100e.h5")]:
            read_whole(file)  # compiled, and in the page cache
            plain = least(read_with_h5py, file, options.repeats)
            ours = least(read_whole, file, options.repeats)
            print(
                f"{file.name:32} {read_whole(file):12d} {plain:9.3f} {ours:10.3f} "
                f"{ours / plain:6.2f}"
            )


def least(read: Callable[[Path], int], file: Path, repeats: int) -> float:
    """Least CPU time of some runs [s]: other work on the machine only ever adds to it."""
    times = []
    for _ in range(repeats):
        read_layout.cache_clear()
        start = time.process_time()
        read(file)
        times.append(time.process_time() - start)
    return min(times)


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


def simulated(path: Path, side: int = 512, electrons: int = 100, detector: int = 576) -> Path:
    """A file of layout 3 with as many electrons per frame, by chance."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs["version"] = 3
        frames = file.create_dataset(FRAMES, (side * side,), h5py.vlen_dtype(np.uint32))
        frames.attrs["Nx"] = frames.attrs["Ny"] = detector
        for first in range(0, side * side, ROWS_AT_ONCE):
            rows = np.empty(ROWS_AT_ONCE, object)
            for n, count in enumerate(rng.poisson(electrons, ROWS_AT_ONCE)):
                rows[n] = np.sort(rng.integers(0, detector**2, count, dtype=np.uint32))
            frames[first : first + ROWS_AT_ONCE] = rows
        positions = file.create_dataset(POSITIONS, data=np.arange(side * side))
        positions.attrs["Nx"] = positions.attrs["Ny"] = side
    return path


if __name__ == "__main__":
    main()
