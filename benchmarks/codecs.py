"""Encodings of electron events beside the copy of their memory, in one run, in CPU time.

    PYTHONPATH=. .venv/bin/python benchmarks/codecs.py [--repeats 3]

First the three encodings of files (linear index, run length, bitmap), on 64 x 64 frames, then the
compressors that the event store could have, on one slab. A nanosecond an event is 10^9 events a
second; *copy* is the floor: 4 bytes an event read and written.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numcodecs import Blosc, blosc

from benchmarks.counted_scan import DETECTOR, whole_scan
from gpu_kernels import codecs
from tasks.store.chunks import CODEC

PIXELS = DETECTOR[0] * DETECTOR[1]
SHUFFLES = {"no": 0, "bytes": 1, "bits": 2}


def main() -> None:
    """Print both tables at both doses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    blosc.use_threads = False
    for side, electrons in ((64, 100), (64, 2060)):
        indptr, indices = whole_scan(side, electrons)
        copied = least(indices.copy, repeats + 1) / indices.size
        print(
            f"\n{indices.size / side**2:.0f} electrons a frame of {DETECTOR[0]} x {DETECTOR[1]}; "
            f"copy {copied * 1e9:.2f} ns/event"
        )
        print(f"{'encoding':28} {'B/event':>8} {'write ns':>9} {'read ns':>8} {'read/copy':>9}")
        for name, write, read in encodings(indptr, indices):
            print_row(name, write, read, indices, copied, repeats)
        for name, packer in compressors():
            print_row(name, partial(packer.encode, indices), packer.decode, indices,
                      copied, repeats)  # fmt: skip


def print_row(
    name: str,
    write: Callable[[], Any],
    read: Callable[[Any], Any],
    indices: np.ndarray,
    copied: float,
    repeats: int,
) -> None:
    """Time one encoding both ways."""
    data = write()
    size = sum(len(part) if isinstance(part, bytes) else part.nbytes
               for part in (data if isinstance(data, tuple) else (data,)))  # fmt: skip
    read(data)
    wrote = least(write, repeats) / indices.size
    got = least(lambda: read(data), repeats) / indices.size
    print(
        f"{name:28} {size / indices.size:8.2f} {wrote * 1e9:9.2f} {got * 1e9:8.2f} "
        f"{got / copied:9.1f}"
    )


def encodings(indptr: np.ndarray, indices: np.ndarray) -> list[tuple[str, Any, Any]]:
    """Encodings of files: name, how to write, how to read; offsets of the frames count as well."""
    found = [("linear index", lambda: codecs.encode_linear(indptr, indices, PIXELS),
              lambda data: codecs.decode_linear(indptr, data, PIXELS))]  # fmt: skip
    for bits in (7, 8):
        for places in (2, 0):
            code = codecs.RunLength(bits, places, places)
            found.append(
                (
                    f"run length {bits}+{places}+{places} bits",
                    lambda code=code: codecs.encode_run_length(indptr, indices, PIXELS, code),
                    lambda data, code=code: codecs.decode_run_length(*data, PIXELS, code),
                )
            )
    found.append(("bitmap", lambda: codecs.encode_bitmap(indptr, indices, PIXELS),
                  lambda data: codecs.decode_bitmap(data, PIXELS)))  # fmt: skip
    return found


def compressors() -> list[tuple[str, Blosc]]:
    """Compressors of the store: that which it has, and what was near it."""
    size = CODEC["blocksize"]
    found = [("blosc lz4 bytes (the store's)", Blosc("lz4", 5, Blosc.SHUFFLE, size))]
    for name, level in (("lz4", 5), ("zstd", 1), ("blosclz", 1)):
        for how, shuffle in SHUFFLES.items():
            if (name, how) != ("lz4", "bytes"):
                found.append((f"blosc {name} {how}", Blosc(name, level, shuffle, size)))
    return found


def least(work: Callable[[], Any], repeats: int) -> float:
    """Least CPU time of some runs [s]: other work on the machine only ever adds to it."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


if __name__ == "__main__":
    main()
