"""A process works on its cores unless told to use a device, and says what is missing there."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from gpu_kernels import backend
from tasks import device
from tasks.device import (
    DeviceError,
    blocks_on_device,
    cuda_wanted,
    device_name,
    device_turn,
    devices_noted,
    note_device,
    on_device,
    torch_device,
)
from tasks.units import run_units


def test_arrays_stay_where_they_are_unless_a_device_is_wanted(monkeypatch):
    monkeypatch.delenv(device.VARIABLE, raising=False)
    array = np.arange(3)
    assert not cuda_wanted()
    assert on_device(array) is array
    assert [one is array for one in blocks_on_device([array, array])] == [True, True]
    assert torch_device() == "cpu"


def test_networks_on_a_gpu_repeat_themselves_in_single_precision(monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(device, "cuda_wanted", lambda: True)
    monkeypatch.setattr(device.config, "ENABLE_CUDASIM", 0)
    backends = torch.backends
    backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = True
    try:
        assert torch_device() == "cuda"
        assert torch.are_deterministic_algorithms_enabled()
        assert not backends.cudnn.allow_tf32
        assert not backends.cuda.matmul.allow_tf32
    finally:
        backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = True, False
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = True


def test_missing_device_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setenv(device.VARIABLE, "cuda")
    monkeypatch.setattr(backend.config, "ENABLE_CUDASIM", 0)
    monkeypatch.setattr(backend, "cupy", None)
    with pytest.raises(DeviceError, match=r"PHASEMILL_DEVICE is cuda, but CuPy is not installed"):
        on_device(np.zeros(1))
    monkeypatch.setattr(backend, "cupy", object())
    monkeypatch.setattr(backend.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"no CUDA device .* look at nvidia-smi"):
        on_device(np.zeros(1))


def test_unknown_device_is_refused(monkeypatch):
    monkeypatch.setenv(device.VARIABLE, "tpu")
    with pytest.raises(DeviceError, match=r"PHASEMILL_DEVICE is 'tpu'; it can be cpu or cuda"):
        cuda_wanted()


def test_array_that_does_not_fit_on_the_device_is_refused_with_its_numbers(monkeypatch):
    monkeypatch.setattr(device, "device_room", lambda: 1 << 20)
    with pytest.raises(DeviceError, match=r"\(1024, 1024\) uint16, 0.00 GiB, .* has 0.00 GiB free"):
        on_device(np.zeros((1024, 1024), np.uint16))


def test_room_for_the_work_on_an_array_is_asked_for_as_well(monkeypatch):
    monkeypatch.setattr(device, "device_room", lambda: 3 << 20)
    monkeypatch.setattr(device, "cuda_wanted", lambda: False)
    array = np.zeros((1024, 1024), np.uint16)
    assert on_device(array, 1 << 20) is array
    with pytest.raises(DeviceError, match=r"0.00 GiB, and 1.00 GiB for the work on it does not"):
        on_device(array, 1 << 30)


def test_work_that_fills_a_device_goes_one_after_another_and_leaves_nothing_held(monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(device, "cuda_wanted", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    happened, inside = [], []
    monkeypatch.setattr(device, "give_back_memory", lambda: happened.append("cupy"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: happened.append("torch"))

    def work(number):
        with device_turn():
            inside.append(number)
            time.sleep(0.02)
            assert inside == [number]  # nobody else is at it
            inside.clear()
            happened.append("work")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert happened == ["cupy", "torch", "work", "cupy", "torch"] * 4


def test_cores_need_no_turns(monkeypatch):
    monkeypatch.delenv(device.VARIABLE, raising=False)
    both = threading.Barrier(2, timeout=30)

    def work(_):
        with device_turn():
            both.wait()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, range(2)))


def of_torch(said):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    return torch.OutOfMemoryError(said)


def of_cupy(said):
    names = {"__module__": "cupy.cuda.memory", "__qualname__": "OutOfMemoryError"}
    return type("OutOfMemoryError", (MemoryError,), names)(said)


@pytest.mark.parametrize("made", [of_torch, of_cupy])
def test_full_device_is_one_error_that_says_what_to_do(made):
    def fill():
        raise made("tried to allocate 20 GiB\nand a page of advice")

    said = r"memory is full: tried to allocate 20 GiB; give the workers fewer threads"
    with pytest.raises(DeviceError, match=said) as found:
        run_units("fill", fill, [()])
    assert found.value.__cause__ is None
    with pytest.raises(RuntimeError, match="another"):
        run_units("else", other_error, [()])


def other_error():
    raise RuntimeError("another")


def test_cores_are_named_by_processor_and_memory(monkeypatch):
    monkeypatch.delenv(device.VARIABLE, raising=False)
    assert "cores" in device_name()
    assert "GiB" in device_name()


def test_device_is_named_with_its_memory_and_driver(monkeypatch, tmp_path):
    runtime = SimpleNamespace(
        getDeviceProperties=lambda n: {"name": b"NVIDIA H100", "totalGlobalMem": 80 << 30},
        driverGetVersion=lambda: 13020,
    )
    cuda = SimpleNamespace(runtime=runtime, Device=lambda: SimpleNamespace(id=0))
    monkeypatch.setattr(backend, "cupy", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(backend, "device_missing", lambda: "")
    monkeypatch.setattr(backend.config, "ENABLE_CUDASIM", 0)
    said = tmp_path / "version"
    monkeypatch.setattr(backend, "DRIVER", said)
    assert backend.device_described() == "NVIDIA H100, 80 GiB (CUDA 13.2)"
    said.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23\n")
    assert backend.device_described() == "NVIDIA H100, 80 GiB (driver 580.95.05, CUDA 13.2)"


def test_devices_are_noted_further_out_as_well():
    with devices_noted() as all_of_them:
        note_device("a")
        with devices_noted() as inner:
            note_device("b")
    note_device("c")
    assert (all_of_them, inner) == ({"a", "b"}, {"b"})
