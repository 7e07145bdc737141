"""Our counting of raw frames beside stempy's: recall, false events and speed on the same files.

    python3.11 -m venv .venv-peers-events
    .venv-peers-events/bin/pip install -c constraints.txt -e . -r benchmarks/peers-events.txt
    PYTHONPATH=. .venv-peers-events/bin/python benchmarks/counting.py

Raw sector files (layout 5) are simulated with known electrons. Both programs read the same files,
fit their own thresholds, and count: stempy at the 4.5 and 175 standard deviations that the 4D
Camera's facility uses, we as we are shipped. A true electron is
recalled where an event lies within one pixel of it (a matching of one to one); an event that is
left over is false. Time is CPU time of all threads, reading included, of files in memory, divided
by the frames; both use one thread.

With a dark frame as high as the pedestal stempy 3.6.0 did not come to an end, or failed: half of
its samples are then below zero. Both are given one that is ``LOWERED`` less, so that none is.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from statistics import median

import numpy as np
import stempy
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree
from stempy.image import electron_count
from stempy.io import FileVersion, reader

from benchmarks.counted_scan import DETECTOR, whole_scan
from benchmarks.raw_scan import write_sector_files
from models.camera import Camera, dark_frame, raw_frame
from tasks.array_files import ArrayFile, read_reference
from tasks.formats.detect import open_recording
from tasks.formats.raw_sectors import Counting

LOWERED = 18
BACKGROUND, XRAY, SAMPLES = 4.5, 175.0, 64
SHIPPED = Counting().background_sigmas
Events = list[np.ndarray]


def main() -> None:
    """Print a table for each dose and kind of references."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--electrons", type=float, nargs="+", default=[100, 2000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the simulations")
    parser.add_argument("--ours", type=float, default=SHIPPED, help="our deviations, if others")
    options = parser.parse_args()
    print(f"stempy {stempy.__version__}, numpy {np.__version__}, {options.side}² frames, "
          f"{BACKGROUND} standard deviations there and {options.ours} here, "
          f"{XRAY} for X-rays")  # fmt: skip
    print(f"{'e/frame':>8} {'references':12} {'':7} {'recall':>8} {'false':>8} {'threshold':>9} "
          f"{'ms/frame':>9} {'frames/s':>9}")  # fmt: skip
    for seed, electrons in product(options.seeds, options.electrons):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            print(f"seed {seed}")
            compare(Path(folder), options, electrons, seed)


def compare(folder: Path, options: argparse.Namespace, electrons: float, seed: int) -> None:
    """Simulate a scan, count it by both, and print how well."""
    side, rng, camera = options.side, np.random.default_rng(seed + 1), Camera()
    indptr, indices = whole_scan(side, electrons, seed)
    truth = [indices[a:b].astype(np.int64) for a, b in pairwise(indptr)]
    dark = dark_frame(camera, DETECTOR, rng).astype(np.float32)
    gain = rng.normal(1, 0.05, DETECTOR).astype(np.float32)
    lowered = np.maximum(dark - LOWERED, 0)
    np.save(folder / "dark.npy", lowered)
    np.save(folder / "gain.npy", gain)
    frames = (raw_frame(one, dark, gain, camera, rng) for one in truth)
    raw = write_sector_files(folder / "raw", frames, (side, side))
    files = {name: ArrayFile.at(str(folder / f"{name}.npy"), read_reference)
             for name in ("dark", "gain")}  # fmt: skip
    for told, ours, theirs in (
        ("none", {}, {}),
        ("dark", {"dark": files["dark"]}, {"darkreference": lowered}),
        ("dark, gain", files, {"darkreference": lowered, "gain": gain}),
    ):
        rows = {
            "stempy": lambda theirs=theirs: by_stempy(raw, **theirs),
            "ours": lambda ours=ours: by_us(
                raw, Counting(samples=SAMPLES, background_sigmas=options.ours, **ours)
            ),
        }
        seconds = {}
        for name, count in rows.items():
            events, threshold = count()
            recall, false = quality(truth, events)
            seconds[name] = cpu_time(count, options.repeats) / side**2
            row = f"{electrons:8.0f} {told:12} {name:7} {recall:8.3%} {false:8.3%} {threshold:9.3f}"
            print(f"{row} {1e3 * seconds[name]:9.2f} {1 / seconds[name]:9.0f}")
        print(f"{'':22} ours is {seconds['stempy'] / seconds['ours']:.1f} times as fast")


def by_stempy(raw: Path, **references: np.ndarray) -> tuple[Events, float]:
    """Count with stempy's reader of two passes on one thread, as it is used for whole scans."""
    # It wants a dark frame even where there is none.
    told = {"darkreference": np.zeros(DETECTOR)} | references
    source = reader(
        sorted(map(str, raw.iterdir())), FileVersion.VERSION5, backend="multi-pass", threads=1
    )
    found = electron_count(
        source, number_of_samples=SAMPLES, threshold_num_blocks=SAMPLES,
        background_threshold_n_sigma=BACKGROUND, xray_threshold_n_sigma=XRAY, **told,
    )  # fmt: skip
    threshold = found.metadata["electron_counting"]["background_threshold"]
    return [np.concatenate(list(row)) for row in found.data], float(threshold)


def by_us(raw: Path, counting: Counting) -> tuple[Events, float]:
    """Count with our reader in this process."""
    recording = open_recording(raw, counting=counting)
    indptr, indices = recording.read_rows(0, recording.scan_shape[0])[:2]
    threshold = recording.metadata["electron_counting/background_threshold"]
    return [indices[a:b] for a, b in pairwise(indptr)], threshold


def quality(truth: Events, events: Events) -> tuple[float, float]:
    """Part of the electrons that are recalled, and false events as a part of the electrons."""
    recalled = sum(len(true) - missed for true, missed in matched(truth, events))
    electrons = sum(map(len, truth))
    return recalled / electrons, (sum(map(len, events)) - recalled) / electrons


def matched(truth: Events, events: Events) -> Iterator[tuple[np.ndarray, int]]:
    """Each frame's electrons, and how many have no event of their own within one pixel."""
    for true, found in zip(truth, events, strict=True):
        near = cKDTree(place(true)).query_ball_point(place(found), 1, p=np.inf)
        lengths = [len(one) for one in near]
        links = np.concatenate([np.asarray(one, np.int64) for one in near])
        shape = (len(found), len(true))
        graph = csr_array((np.ones(links.size), links, np.cumsum([0, *lengths])), shape)
        pairs = maximum_bipartite_matching(graph, perm_type="column")
        yield true, len(true) - int((pairs >= 0).sum())


def place(pixels: np.ndarray) -> np.ndarray:
    """Rows and columns, (events, 2)."""
    return np.stack(np.divmod(pixels.astype(np.int64), DETECTOR[1]), axis=1)


def cpu_time(work: Callable[[], object], repeats: int) -> float:
    """Median CPU time of some runs [s]."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return median(times)


if __name__ == "__main__":
    main()
