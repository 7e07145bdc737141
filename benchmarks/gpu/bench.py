"""What the benchmarks of a GPU share: the device and its floors, its own clock, a line a figure.

A floor is the time in which the device would move the bytes, or do the sums, that nobody can do
without: bandwidth and arithmetic are measured by a copy and by multiply-adds in the same run.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numba import config, cuda

from gpu_kernels.backend import Array, cupy, device_missing, device_zeros, to_device, to_host

COPIED = 1 << 30
"""Bytes of the array whose copy measures the bandwidth."""
CHAINS, STEPS, THREADS = 8, 4096, 256
WARM_UPS, REPEATS = 3, 15


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
        return Device("simulator, nothing is timed", None, None)
    if missing := device_missing():
        print(
            f"This needs a CUDA device: {missing}. To run the script without one, set "
            "NUMBA_ENABLE_CUDASIM=1 and give --tiny.",
            file=sys.stderr,
        )
        raise SystemExit(2)
    name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    source = cupy.zeros(COPIED, np.uint8)
    target = cupy.empty_like(source)
    copied = seconds(lambda: cupy.copyto(target, source))
    blocks = 64 * cupy.cuda.Device().attributes["MultiProcessorCount"]
    out = device_zeros(blocks * THREADS, np.float32)
    worked = seconds(lambda: _multiply_add_kernel[blocks, THREADS](np.float32(0.999), out))
    found = Device(name, 2 * COPIED / copied, 2 * CHAINS * STEPS * blocks * THREADS / worked)
    print(
        f"{name}: copies {found.bytes_per_second / 1e9:.0f} GB/s, "
        f"{found.flops / 1e12:.1f} TFLOP/s in single precision"
    )
    return found


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


def peak_bytes(work: Callable[[], Any]) -> int:
    """Device memory that some work takes beyond what is held; 0 in the simulator."""
    if config.ENABLE_CUDASIM:
        work()
        return 0
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.total_bytes()
    work()
    cupy.cuda.Device().synchronize()
    return int(pool.total_bytes() - before)


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
    """Print a figure beside the paper's and the floors.

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
    if device.bytes_per_second is None or device.flops is None:
        print(f"{title}: ran in the simulator, error {error:.1e} {note}")
        return
    by_bytes, by_sums = moved / device.bytes_per_second, sums / device.flops
    floor = max(by_bytes, by_sums)
    print(
        f"{title}: {1e3 * took:.3f} ms (target {target}; paper {paper}); floors: bytes "
        f"{1e3 * by_bytes:.3f} ms, arithmetic {1e3 * by_sums:.3f} ms; ours / floor "
        f"{took / floor:.2f}; error {error:.1e} {note}"
    )


def off(found: np.ndarray, exact: np.ndarray, most: float = 1e-4) -> float:
    """Greatest difference over the range of the exact values; ends the program beyond ``most``."""
    scale = float(np.abs(exact).max())
    error = float(np.abs(found - exact).max()) / (scale if scale > 0 else 1.0)
    if not error <= most:
        raise SystemExit(
            f"the result is off by {error:.2e} of its range, at most {most:.0e} may be"
        )
    return error


def same_bits(work: Callable[[], Array]) -> str:
    """Say whether two runs give the same bytes."""
    first, second = (to_host(work()) for _ in range(2))
    return "repeats to the bit" if first.tobytes() == second.tobytes() else "DOES NOT REPEAT"


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
