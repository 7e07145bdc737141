"""Where an array lives: on the host, or on a CUDA device.

Every kernel has one public function that chooses its CPU or GPU form by where its input lives.
This file is the only place that knows whether CuPy is installed.
"""

from typing import Any

import numpy as np
from numba import cuda

try:
    import cupy
except ImportError:  # a machine without a GPU: the CPU forms are complete on their own
    cupy = None

Array = Any
"""A NumPy array, a CuPy array or a numba.cuda device array."""


def on_gpu(array: Array) -> bool:
    """Tell whether an array lives on a CUDA device (or in the CUDA simulator)."""
    return not isinstance(array, np.ndarray) and (
        hasattr(array, "__cuda_array_interface__") or type(array).__name__ == "FakeCUDAArray"
    )


def device_zeros(shape: int | tuple[int, ...], dtype: Any) -> Array:
    """Zeros on the device: CuPy's where it is usable, else numba.cuda's (and its simulator's)."""
    if cupy is not None and cupy.is_available():
        return cupy.zeros(shape, dtype=dtype)
    return cuda.to_device(np.zeros(shape, dtype=dtype))


def to_device(array: np.ndarray) -> Array:
    """Copy a host array to the device."""
    if cupy is not None and cupy.is_available():
        return cupy.asarray(array)
    return cuda.to_device(array)


def to_host(array: Array) -> np.ndarray:
    """Copy an array to the host; a host array is returned as it is."""
    if isinstance(array, np.ndarray):
        return array
    if cupy is not None and isinstance(array, cupy.ndarray):
        return cupy.asnumpy(array)
    return array.copy_to_host()
