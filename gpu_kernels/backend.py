"""Where an array lives: on the host, or on a CUDA device.

Every kernel has one public function that chooses its CPU or GPU form by where its input lives.
This file is the only place that knows whether CuPy is installed.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import config, cuda

try:
    if config.ENABLE_CUDASIM:
        raise ImportError("the simulator's arrays are not CuPy's")
    import cupy
    import cupyx
except ImportError:  # a machine without a GPU: the CPU forms are complete on their own
    cupy = cupyx = None

config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
"""A small scan makes small grids, which is no fault; numba would warn of each."""
config.CUDA_ARRAY_INTERFACE_SYNC = 0
"""All work is queued on one stream, in order; numba would wait for it with each array of CuPy's."""

DRIVER = Path("/proc/driver/nvidia/version")
"""Where the driver's kernel module says which it is."""

Array = Any
"""A NumPy array, a CuPy array or a numba.cuda device array."""


def on_gpu(array: Array) -> bool:
    """Tell whether an array lives on a CUDA device (or in the CUDA simulator)."""
    return not isinstance(array, np.ndarray) and (
        hasattr(array, "__cuda_array_interface__") or type(array).__name__ == "FakeCUDAArray"
    )


@lru_cache(maxsize=1)
def _cupy_usable() -> bool:
    """Whether CuPy is there, and a device; asked once, since it is asked with every array."""
    return cupy is not None and cupy.is_available()


def device_zeros(shape: int | tuple[int, ...], dtype: Any) -> Array:
    """Zeros on the device: CuPy's where it is usable, else numba.cuda's (and its simulator's)."""
    if _cupy_usable():
        return cupy.zeros(shape, dtype=dtype)
    return cuda.to_device(np.zeros(shape, dtype=dtype))


def device_empty(shape: int | tuple[int, ...], dtype: Any) -> Array:
    """An array on the device that is to be filled, as ``device_zeros`` is already."""
    if _cupy_usable():
        return cupy.empty(shape, dtype=dtype)
    return cuda.device_array(shape, dtype)


def to_device(array: np.ndarray) -> Array:
    """Copy a host array to the device."""
    if _cupy_usable():
        return cupy.asarray(array)
    return cuda.to_device(array)


def to_host(array: Array) -> np.ndarray:
    """Copy an array to the host; a host array is returned as it is."""
    if isinstance(array, np.ndarray):
        return array
    if cupy is not None and isinstance(array, cupy.ndarray):
        return cupy.asnumpy(array)
    return array.copy_to_host()


def as_library(array: Array) -> Array:
    """Give an array as a library's functions take it: CuPy's on a device, else NumPy's.

    In the simulator, which has no CuPy, the libraries are those of the host.
    """
    if on_gpu(array) and _cupy_usable():
        return cupy.asarray(array)
    return to_host(array)


def beside(found: Array, like: Array) -> Array:
    """Put what a library found where the array lives that it was found from."""
    return to_device(found) if on_gpu(like) and not on_gpu(found) else found


def device_missing() -> str:
    """Why no work can be done on a CUDA device; empty where it can, or in the simulator."""
    if config.ENABLE_CUDASIM:
        return ""
    if cupy is None:
        return "CuPy is not installed; install phasemill[gpu]"
    if not cuda.is_available():
        return "no CUDA device or driver was found; look at nvidia-smi"
    return ""


def device_memory() -> tuple[int, int] | None:
    """Free and whole memory of the device [bytes]; None where there is none, or it is simulated.

    What CuPy holds ready for its next arrays counts as free.
    """
    if config.ENABLE_CUDASIM or device_missing():
        return None
    free, whole = cupy.cuda.Device().mem_info
    return int(free + cupy.get_default_memory_pool().free_bytes()), int(whole)


def give_back_memory() -> None:
    """Give back to the device what CuPy holds ready: other libraries cannot take it from there."""
    if _cupy_usable():
        cupy.fft.config.get_plan_cache().clear()
        cupy.get_default_memory_pool().free_all_blocks()


def device_described() -> str:
    """Name, memory and driver of the device, for whoever asks later what a result was made on.

    Returns
    -------
    str
        Of the device that this process works on; of the simulator in the simulator.

    Raises
    ------
    RuntimeError
        If there is no device; see ``device_missing``.
    """
    if config.ENABLE_CUDASIM:
        return "CUDA simulator on the CPU"
    if missing := device_missing():
        raise RuntimeError(missing)
    runtime, number = cupy.cuda.runtime, cupy.cuda.Device().id
    found = runtime.getDeviceProperties(number)
    version = runtime.driverGetVersion()
    told = re.search(r"Kernel Module\D*([\d.]+)", DRIVER.read_text()) if DRIVER.exists() else None
    driver = f"driver {told[1]}, " if told else ""
    return (
        f"{found['name'].decode()}, {found['totalGlobalMem'] / 2**30:.0f} GiB ({driver}CUDA "
        f"{version // 1000}.{version % 1000 // 10})"
    )
