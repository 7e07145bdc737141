"""Event formats on a GPU: EER's run lengths of 7 and 8 bits to indices.

    python -m benchmarks.gpu.decode [--tiny]

Frames of 4096 x 4096 pixels with 4,000 electrons each. The stream is read twice, once to count and
once to write; the floor reads it once. Indices are the host's, all of them.
"""

from functools import partial

import numpy as np

from benchmarks.gpu import bench
from gpu_kernels.backend import Array, to_host
from gpu_kernels.codecs import RunLength, decode_run_length, encode_run_length

SIDE, FRAMES, EVENTS = (64, 6, 20) if bench.tiny() else (4096, 4096, 4000)
CODES = {"7 bits": RunLength(7, 2, 2), "8 bits": RunLength(8, 2, 2)}


def main() -> None:
    """Print a figure for each code."""
    device = bench.open_device()
    bench.figures(*(partial(decode, device, name) for name in CODES))


def decode(device: bench.Device, name: str) -> None:
    """Run lengths on the device to indices there."""
    rng = np.random.default_rng(0)
    indptr = np.arange(FRAMES + 1) * EVENTS
    one = [np.sort(rng.choice(SIDE * SIDE, EVENTS, replace=False)) for _ in range(min(FRAMES, 64))]
    indices = np.concatenate([one[n % len(one)] for n in range(FRAMES)]).astype(np.uint32)
    offsets, stream = encode_run_length(indptr, indices, SIDE * SIDE, CODES[name])
    there = bench.moved_there(offsets, stream)

    def run() -> tuple[Array, Array, Array]:
        return decode_run_length(*there, SIDE * SIDE, CODES[name])

    error = bench.off(to_host(run()[1]), indices, 0)
    took = bench.seconds(run, repeats=5)
    rate = f"{indices.size / took / 1e9:.2f}e9 events/s" if took else ""
    bench.show(
        device, f"run lengths of {name}, {indices.size:.2g} events", took, "none", "none",
        stream.nbytes + 6 * indices.size, 0.0, error, rate,
    )  # fmt: skip


if __name__ == "__main__":
    main()
