"""Compile every kernel that the tiny benchmarks launch, as CUDA does: without a device.

    python -m benchmarks.gpu.compile [--for 9.0]

The simulator runs kernels as Python and refuses nothing that CUDA's compiler would. This notes the
types of each launch in the simulator, and then compiles each kernel for them with numba-cuda, which
has its compiler with it. Scripts whose libraries are missing are left out, and named.
"""

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import numba
import numpy as np
from numba import config, cuda, types

from gpu_kernels import ssb_reduce_gpu

SCRIPTS = ("ssb", "reductions", "decode", "epie", "cnn")


def main() -> None:
    """Print a line a kernel; fails if one does not compile."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--for", dest="target", default="9.0", help="compute capability")
    parser.add_argument("--note", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.note:
        print(json.dumps(launched()))
        return
    if importlib.util.find_spec("numba_cuda") is None:
        print("numba-cuda is not installed; install phasemill[gpu].", file=sys.stderr)
        raise SystemExit(2)
    command = [sys.executable, "-m", "benchmarks.gpu.compile", "--note", "--tiny"]
    noted = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
    ).stdout.splitlines()[-1]  # fmt: skip
    target = tuple(map(int, given.target.split(".")))
    _pretend(target)
    failed = 0
    for module, name, arguments in json.loads(noted):
        try:
            kernel = _kernel(module, name, arguments)
            signature = types.void(*map(_type, arguments))
            ptx, _ = cuda.compile_ptx(kernel.py_func, signature, cc=target)
            print(f"{module}.{name}: {ptx.count(chr(10))} lines, {ptx.count('.f64')} in double")
        except Exception as error:  # whatever the compiler says is what is asked for
            failed += 1
            print(f"{module}.{name} does not compile: {error}")
    if failed:
        raise SystemExit(f"{failed} kernels do not compile")


def launched() -> list[tuple[str, str, list[Any]]]:
    """Modules, names and types of the arguments of all launches; in the simulator."""
    assert config.ENABLE_CUDASIM
    from numba.cuda.simulator.kernel import FakeCUDAKernel

    seen: dict[str, tuple[str, str, list[Any]]] = {}
    launch = FakeCUDAKernel.__call__

    def note(self: Any, *arguments: Any) -> Any:
        if not self._device:
            one = self.fn.__module__, self.fn.__name__, [_described(a) for a in arguments]
            seen[json.dumps(one)] = one
        return launch(self, *arguments)

    FakeCUDAKernel.__call__ = note
    for name in SCRIPTS:
        try:
            script = importlib.import_module(f"benchmarks.gpu.{name}")
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        script.main()
    return list(seen.values())


def _described(argument: Any) -> list[Any]:
    if hasattr(argument, "dtype") and getattr(argument, "ndim", 0):
        layout = "C" if argument.flags["C_CONTIGUOUS"] else "A"
        return ["array", argument.dtype.name, argument.ndim, layout]
    if isinstance(argument, bool | np.bool_):
        return ["boolean"]
    if isinstance(argument, np.generic):
        return [argument.dtype.name]
    return ["int64" if isinstance(argument, int) else "float64"]


def _type(described: list[Any]) -> Any:
    if described[0] == "array":
        return types.Array(numba.from_dtype(np.dtype(described[1])), *described[2:])
    return getattr(types, described[0])


def _kernel(module: str, name: str, arguments: list[Any]) -> Any:
    if module == ssb_reduce_gpu.__name__:  # made for a type
        return ssb_reduce_gpu.reduce_kernel(np.dtype(arguments[0][1]))
    return getattr(importlib.import_module(module), name)


def _pretend(target: tuple[int, ...]) -> None:
    """Let functions that kernels call be compiled for the target: they ask the device for it."""
    for name in ("dispatcher", "compiler"):
        module = importlib.import_module(f"numba.cuda.{name}")
        module.get_current_device = lambda: type("Device", (), {"compute_capability": target})


if __name__ == "__main__":
    main()
