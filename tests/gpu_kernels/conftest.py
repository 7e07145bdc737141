"""Each kernel is tested on both sides: the host, and the device or its simulator."""

import os
import runpy
from pathlib import Path

import pytest
from numba import cuda

from gpu_kernels import backend

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"

if SIMULATED:
    runpy.run_path(str(Path(__file__).with_name("cupy_stand_in.py")))["install"]()


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def twin(request):
    """A function that puts a host array on the side of the twin under test."""
    if request.param == "cpu":
        return lambda array: array
    if not SIMULATED and not cuda.is_available():
        pytest.skip("no CUDA device, and NUMBA_ENABLE_CUDASIM is not 1")
    return backend.to_device


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def large_twin(request):
    """The same for runs that a simulator would take minutes for."""
    if request.param == "cpu":
        return lambda array: array
    if SIMULATED or not cuda.is_available():
        pytest.skip("too long for the simulator, and there is no CUDA device")
    return backend.to_device
