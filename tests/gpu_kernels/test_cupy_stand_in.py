"""The stand-in for CuPy punishes what a device punishes."""

import os

import numpy as np
import pytest
from numba import cuda

from gpu_kernels import backend
from gpu_kernels.backend import to_device, to_host
from gpu_kernels.replay import Replay

pytestmark = pytest.mark.gpu
if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
    pytest.skip("the stand-in is for the simulator", allow_module_level=True)
cupy = backend.cupy


def test_what_another_stream_does_is_not_there_without_an_event():
    array, copies = cupy.zeros(3), cupy.cuda.Stream(non_blocking=True)
    to_host(array)
    with copies:
        array += 1.0
    np.testing.assert_array_equal(to_host(array), 0)
    cupy.cuda.get_current_stream().wait_event(copies.record())
    np.testing.assert_array_equal(to_host(array), 1)


def test_pinned_memory_is_read_when_its_turn_comes():
    host, there = np.zeros(3), cupy.empty(3)
    there.set(host)
    host[:] = 1  # too early: the copy has not been waited for
    np.testing.assert_array_equal(to_host(there), 1)


def test_host_and_device_do_not_mix():
    there, here = to_device(np.ones(3)), np.ones(3)
    for mixed in (
        lambda: there + here, lambda: here + there, lambda: cupy.where(there > 0, there, here),
        lambda: np.asarray(there), lambda: np.sum(there), lambda: there.__setitem__(0, here),
    ):  # fmt: skip
        with pytest.raises(TypeError):
            mixed()
    with pytest.raises(AssertionError, match="_double is given arrays of the host"):
        _double[1, 3](here)


def test_recording_is_done_again_and_may_wait_for_nothing():
    numbers = to_device(np.arange(3.0))
    double = Replay(lambda queue: numbers * 2)
    first = to_host(double())
    numbers.set(np.ones(3))
    np.testing.assert_array_equal([first, to_host(double())], [[0, 2, 4], [2, 2, 2]])
    with pytest.raises(RuntimeError, match="waits in a recording"):
        Replay(lambda queue: numbers * float(numbers.sum()))


def test_threads_that_do_not_wait_for_each_other_come_out_wrong():
    numbers = to_device(np.arange(4.0))
    _turned[1, 4](numbers, True)
    np.testing.assert_array_equal(to_host(numbers), [3, 2, 1, 0])
    _turned[1, 4](numbers, False)
    assert np.isnan(to_host(numbers)).any()  # what nobody had written yet was read


def test_error_in_a_kernel_names_the_thread():
    _double[1, 4](to_device(np.ones(3)))
    with pytest.raises(IndexError, match=r"tid=\[3, 0, 0\]"):
        cuda.synchronize()


@cuda.jit
def _double(numbers):
    numbers[cuda.threadIdx.x] *= 2


@cuda.jit
def _turned(numbers, waits):
    here = cuda.shared.array(4, np.float64)
    at = cuda.threadIdx.x
    here[at] = numbers[at]
    if waits:
        cuda.syncthreads()
    numbers[at] = here[3 - at]
