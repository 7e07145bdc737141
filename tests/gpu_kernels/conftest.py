"""Each kernel is tested on both sides: the host, and the device or its simulator."""

import os

import numpy as np
import pytest
from numba import cuda

from gpu_kernels import backend

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


@pytest.fixture(autouse=True)
def device_arrays_alone(monkeypatch):
    """What the simulator does without a word, and a device does not.

    Kernels get what is on the device, and nothing becomes an array of the host by itself.
    """
    if not SIMULATED:
        return
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
    from numba.cuda.simulator.kernel import FakeCUDAKernel

    def refused(self):
        raise TypeError("an array of the device is taken for one of the host; use to_host")

    for name in ("__array__", "__array_interface__", "__array_struct__"):
        monkeypatch.setattr(FakeCUDAArray, name, property(refused), raising=False)

    launch = FakeCUDAKernel.__call__

    def checked(self, *arguments):
        if not self._device:
            hosts = [one.shape for one in arguments if isinstance(one, np.ndarray) and one.ndim]
            assert not hosts, f"{self.fn.__name__} is given arrays of the host: {hosts}"
        return launch(self, *arguments)

    monkeypatch.setattr(FakeCUDAKernel, "__call__", checked)


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def twin(request):
    """A function that puts a host array on the side of the twin under test."""
    if request.param == "cpu":
        return lambda array: array
    if not SIMULATED and not cuda.is_available():
        pytest.skip("no CUDA device, and NUMBA_ENABLE_CUDASIM is not 1")
    return backend.to_device


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def hardware_twin(request):
    """The same for kernels made of library calls, which no simulator runs."""
    if request.param == "cpu":
        return lambda array: array
    if SIMULATED or backend.cupy is None or not cuda.is_available():
        pytest.skip("transforms on a device need CuPy and a CUDA device")
    return backend.to_device


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def large_twin(request):
    """The same for runs that a simulator would take minutes for."""
    if request.param == "cpu":
        return lambda array: array
    if SIMULATED or not cuda.is_available():
        pytest.skip("too long for the simulator, and there is no CUDA device")
    return backend.to_device
