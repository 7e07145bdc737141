"""Where the work of a process is done: on its cores, or on a CUDA device.

``PHASEMILL_DEVICE`` says so, ``cpu`` or ``cuda``. Workers of ``local-cuda``, and of Slurm where the
job asks for GPUs, are started with ``cuda``; a process that is told nothing uses its cores.
"""

import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from threading import RLock

import llvmlite.binding
import numpy as np
import psutil
from numba import config

from gpu_kernels.backend import (
    Array,
    device_described,
    device_memory,
    device_missing,
    give_back_memory,
    to_device,
)
from gpu_kernels.streamed import streamed

VARIABLE = "PHASEMILL_DEVICE"
DEVICES = ("cpu", "cuda")
COUNTS_AT_ONCE = 2**22
"""Counts that become single precision at a time, at least of a pair of detector pixels: 16 MB."""

OUT_OF_MEMORY = ("cupy.cuda.memory.OutOfMemoryError", "torch.OutOfMemoryError")
"""What libraries raise whose device is full."""

_turn = RLock()
_noted: ContextVar[set[str] | None] = ContextVar("noted", default=None)


class DeviceError(RuntimeError):
    """A device that was asked for and cannot be used."""


def cuda_wanted() -> bool:
    """Tell whether this process is to work on a CUDA device.

    Raises
    ------
    DeviceError
        If it is, and cannot; or if the variable says something else.
    """
    told = os.environ.get(VARIABLE, "cpu")
    if told not in DEVICES:
        raise DeviceError(f"{VARIABLE} is {told!r}; it can be {' or '.join(DEVICES)}")
    if told == "cuda" and (missing := device_missing()):
        raise DeviceError(f"{VARIABLE} is cuda, but {missing}")
    return told == "cuda"


def on_device(array: np.ndarray, scratch: int = 0) -> Array:
    """Copy an array of any shape and type to where this process works.

    Parameters
    ----------
    array : array
        On the host.
    scratch : int
        Bytes of the device that the work on it will take besides.

    Raises
    ------
    DeviceError
        If both do not fit on the device, with the numbers.
    """
    room = device_room()
    if room is not None and array.nbytes + scratch > room:
        besides = f" and {scratch / 2**30:.2f} GiB for the work on it" if scratch else ""
        raise DeviceError(
            f"an array of {array.shape} {array.dtype}, {array.nbytes / 2**30:.2f} GiB,{besides} "
            f"does not fit on the GPU, which has {room / 2**30:.2f} GiB free; give more tiles, "
            "fewer threads for each worker, or cluster: local"
        )
    return to_device(array) if cuda_wanted() else array


@contextmanager
def device_turn() -> Iterator[None]:
    """For work that fills a device: one unit of this process at a time, with all that is free.

    Threads of a worker would need its memory several times over, and be no faster: all queue on one
    stream. CuPy and torch cannot take memory that the other holds ready, so both give it back.
    """
    if not cuda_wanted():
        yield
        return
    with _turn:
        _give_back()
        try:
            yield
        finally:
            _give_back()


def _give_back() -> None:
    give_back_memory()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@contextmanager
def device_errors_told() -> Iterator[None]:
    """Turn a library's error of a full device into one that says what to do.

    Raises
    ------
    DeviceError
        In its place.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        kind = type(error)
        if f"{kind.__module__}.{kind.__qualname__}" not in OUT_OF_MEMORY:
            raise
        raise DeviceError(
            f"the GPU's memory is full: {str(error).splitlines()[0]}; give the workers fewer "
            "threads, more tiles, or cluster: local"
        ) from None


def blocks_on_device(blocks: Iterable[np.ndarray]) -> Iterator[Array]:
    """Blocks where this process works; to a device the next is copied while one is worked on."""
    return streamed(blocks) if cuda_wanted() else iter(blocks)


def torch_device() -> str:
    """Where networks of this process run, as torch names it; on a GPU made to repeat themselves."""
    if not cuda_wanted() or config.ENABLE_CUDASIM:
        return "cpu"
    import torch  # takes a second, which units without a network need not wait for

    # Read when torch first multiplies matrices: with work space of one size sums have one order.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # What torch calls single precision has 10 bits by default in convolutions.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    return "cuda"


def device_room() -> int | None:
    """Bytes of its device that this process may fill; None where it works on its cores."""
    memory = device_memory() if cuda_wanted() else None
    return None if memory is None else memory[0]


def device_name() -> str:
    """Name where this process works: its CUDA device and driver, or its processor and memory."""
    return _name(cuda_wanted())


@lru_cache(maxsize=2)
def _name(on_cuda: bool) -> str:
    if on_cuda:
        return device_described()
    memory = psutil.virtual_memory().total / 2**30
    kind = config.CPU_NAME or llvmlite.binding.get_host_cpu_name()
    return f"{platform.machine()} CPU, {psutil.cpu_count()} cores, {memory:.0f} GiB ({kind})"


@contextmanager
def devices_noted() -> Iterator[set[str]]:
    """Gather the names of what the units inside are worked out on, wherever they run.

    Yields
    ------
    set of str
        Filled as units end; whoever gathers further out is told of them too.
    """
    outer, found = _noted.get(), set[str]()
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)
        if outer is not None:
            outer |= found


def note_device(name: str) -> None:
    """Say what a unit was worked out on."""
    if (found := _noted.get()) is not None:
        found.add(name)
