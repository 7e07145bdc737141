"""What the benchmarks of a GPU share: the device and its floors, its own clock, a row a figure.

    python -m benchmarks.gpu.bench

names the device. A floor is the time in which it would move the bytes, or do the sums, that nobody
can do without: bandwidth and arithmetic are measured by a copy and by multiply-adds in each run.
"""

import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any

import numpy as np
from numba import config, cuda

from gpu_kernels.backend import (
    Array,
    cupy,
    device_described,
    device_missing,
    device_zeros,
    to_device,
    to_host,
)

COPIED = 1 << 30
"""Bytes of the array whose copy measures the bandwidth."""
CHAINS, STEPS, THREADS = 8, 4096, 256
WARM_UPS, REPEATS = 3, 15
PACKAGES = ("numpy", "numba", "numba-cuda", "cupy-cuda13x", "cupy-cuda12x", "torch")
COLUMNS = ("figure", "ours", "target", "paper", "bytes' floor", "arithmetic's floor",
           "ours / floor", "error", "")  # fmt: skip


@dataclass(frozen=True)
class Device:
    """Where the figures come from."""

    name: str
    bytes_per_second: float | None
    """Read and written by a copy; None in the simulator."""
    flops: float | None
    """Single-precision multiply-adds, two each; None in the simulator."""


def open_device() -> Device:
    """The device, measured; ends the program where there is none.

    In the simulator nothing is timed: it is there to run the script at ``--tiny`` sizes.
    """
    if config.ENABLE_CUDASIM:
        if "--tiny" not in sys.argv:
            print("The simulator takes days for real sizes; give --tiny.", file=sys.stderr)
            raise SystemExit(2)
        return Device(device_described(), None, None)
    if missing := device_missing():
        print(
            f"This needs a CUDA device: {missing}. To run the script without one, set "
            "NUMBA_ENABLE_CUDASIM=1 and give --tiny.",
            file=sys.stderr,
        )
        raise SystemExit(2)
    source = cupy.zeros(COPIED, np.uint8)
    target = cupy.empty_like(source)
    copied = seconds(lambda: cupy.copyto(target, source))
    blocks = 64 * cupy.cuda.Device().attributes["MultiProcessorCount"]
    out = device_zeros(blocks * THREADS, np.float32)
    worked = seconds(lambda: _multiply_add_kernel[blocks, THREADS](np.float32(0.999), out))
    flops = 2 * CHAINS * STEPS * blocks * THREADS / worked
    return Device(device_described(), 2 * COPIED / copied, flops)


def main() -> None:
    """Name the device, its speed, and the versions of all that works on it."""
    device = open_device()
    installed = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            installed.append(f"{name} {version(name)}")
    speed = (
        "nothing is timed"
        if device.bytes_per_second is None or device.flops is None
        else f"copies {device.bytes_per_second / 1e9:.0f} GB/s, {device.flops / 1e12:.1f} TFLOP/s "
        "in single precision"
    )
    print(f"{device.name}: {speed}; {', '.join(installed)}.")


def table_head() -> str:
    """First two rows of the table that ``show`` and ``figures`` print the others of."""
    return _row(COLUMNS) + "\n" + "|".join(["", *["---"] * len(COLUMNS), ""])


def _row(cells: Any) -> str:
    return f"| {' | '.join(' '.join(str(cell).split()).replace('|', '/') for cell in cells)} |"


def figures(*works: Callable[[], None]) -> None:
    """Do some works, each of which shows figures; one that fails costs its own alone.

    Raises
    ------
    SystemExit
        If one failed, when all are done.
    """
    failed = 0
    for work in works:
        try:
            work()
        except (Exception, SystemExit) as error:  # whatever it is, it stands in the table
            failed += 1
            name = getattr(work, "func", work).__name__.replace("_", " ")
            said = f"failed: {type(error).__name__}: {error}"
            print(_row((name, said, *[""] * (len(COLUMNS) - 2))), flush=True)
    if failed:
        raise SystemExit(1)


def seconds(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median time of some work by the device's own events; in the simulator it runs once: 0."""
    if config.ENABLE_CUDASIM:
        work()
        return 0.0
    for _ in range(WARM_UPS):
        work()
    times = []
    for _ in range(repeats):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end) / 1e3)
    return median(times)


def taken(make: Callable[[], Any]) -> tuple[Any, int]:
    """Something, and the device memory that it took to make it; 0 in the simulator."""
    if config.ENABLE_CUDASIM:
        return make(), 0
    cupy.get_default_memory_pool().free_all_blocks()
    before = cupy.cuda.Device().mem_info[0]
    made = make()
    cupy.cuda.Device().synchronize()
    return made, int(before - cupy.cuda.Device().mem_info[0])


def show(
    device: Device,
    title: str,
    took: float,
    target: str,
    paper: str,
    moved: float,
    sums: float,
    error: float,
    note: str = "",
) -> None:
    """Print a figure beside the paper's and the floors, as a row of a table.

    Parameters
    ----------
    device : Device
        Where it was measured.
    title : str
        What was done.
    took : float
        [s].
    target, paper : str
        What is aimed at, and what the literature has; "none" where there is nothing.
    moved, sums : float
        Bytes that must be moved, and single-precision operations that must be done.
    error : float
        Greatest difference to the reference in double precision, over its range.
    note : str
        Anything else.
    """
    ours, floors, ratio = "ran in the simulator", ("", ""), ""
    if device.bytes_per_second is not None and device.flops is not None:
        by_bytes, by_sums = moved / device.bytes_per_second, sums / device.flops
        floors = (f"{1e3 * by_bytes:.3f} ms", f"{1e3 * by_sums:.3f} ms")
        ours, ratio = f"{1e3 * took:.3f} ms", f"{took / max(by_bytes, by_sums):.2f}"
    cells = (title, ours, target, paper, *floors, ratio, f"{error:.1e}", note)
    print(_row(cells), flush=True)


def off(found: np.ndarray, exact: np.ndarray, most: float = 1e-4) -> float:
    """Greatest difference over the range of the exact values; refused beyond ``most``."""
    scale = float(np.abs(exact).max())
    error = float(np.abs(found - exact).max()) / (scale if scale > 0 else 1.0)
    if not error <= most:
        raise ValueError(f"the result is off by {error:.2e} of its range; {most:.0e} is allowed")
    return error


def same_bits(work: Callable[[], Array]) -> str:
    """Say that two runs give the same bytes, or refuse."""
    first, second = (to_host(work()) for _ in range(2))
    if first.tobytes() != second.tobytes():
        raise ValueError("a second run does not repeat the first to the bit")
    return "repeats to the bit"


def tiny() -> bool:
    """Whether the sizes are those that a simulator can do."""
    return "--tiny" in sys.argv


def moved_there(*arrays: np.ndarray) -> list[Array]:
    """Arrays on the device."""
    return [to_device(array) for array in arrays]


@cuda.jit
def _multiply_add_kernel(factor, out):
    # Eight chains that wait for nothing but themselves keep the units busy; each from a number of
    # its own, or the compiler would make one of them.
    a = factor
    b, c, d = a * factor, a + factor, a - np.float32(1)
    e, f, g, h = b * factor, c * factor, d * factor, d * d
    for _ in range(STEPS):
        a = a * factor + factor
        b = b * factor + factor
        c = c * factor + factor
        d = d * factor + factor
        e = e * factor + factor
        f = f * factor + factor
        g = g * factor + factor
        h = h * factor + factor
    out[cuda.grid(1)] = a + b + c + d + e + f + g + h


if __name__ == "__main__":
    main()
