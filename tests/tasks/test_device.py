"""A process works on its cores unless told to use a device, and says what is missing there."""

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
    devices_noted,
    note_device,
    on_device,
    torch_device,
)


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
