"""Compile every kernel that the tiny benchmarks launch, as CUDA does: without a device.

    python -m benchmarks.gpu.compile [--for 9.0] [--ptxas] [--tests]

The simulator runs kernels as Python and refuses nothing that CUDA's compiler would. This notes the
types of each launch in the simulator, and then compiles each kernel for them with numba-cuda, which
has its compiler with it. Scripts whose libraries are missing are left out, and named. With
``--tests`` the launches of the simulator's tests are compiled as well: every kernel that there is.
With ``--ptxas``, of CUDA's toolkit, it assembles them, and prints a table of what each takes of a
multiprocessor.
"""

import argparse
import importlib
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import config, cuda, types

from gpu_kernels import ssb_reduce_kernel

ALL_OF_IT = " (everything)"
"""Of the two kernels of ``ssb_reduce_kernel`` the one that sums more than single sidebands."""
REGISTERS, WARPS, BLOCKS, SHARED = 65_536, 64, 32, 228 << 10
"""Of a multiprocessor of an A100 or H100 (the A100 has 164 KiB of shared memory)."""
LONG_DIVISION = r"\b(div|rem)\.[su]64"
"""Has no instruction, and takes some hundred of others."""
SCRIPTS = ("ssb", "reductions", "decode", "epie", "cnn")


def main() -> None:
    """Print a line a kernel; fails if one does not compile."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--for", dest="target", default="9.0", help="compute capability")
    parser.add_argument("--ptxas", action="store_true", help="a table of registers and the like")
    parser.add_argument("--tests", action="store_true", help="also what the tests launch")
    parser.add_argument("--note", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.note:
        print(json.dumps(launched(given.tests)))
        return
    if importlib.util.find_spec("numba_cuda") is None:
        print("numba-cuda is not installed; install phasemill[gpu].", file=sys.stderr)
        raise SystemExit(2)
    command = [sys.executable, "-m", "benchmarks.gpu.compile", "--note", "--tiny"]
    command += ["--tests"] if given.tests else []
    noted = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
    ).stdout.splitlines()[-1]  # fmt: skip
    target = tuple(map(int, given.target.split(".")))
    _pretend(target)
    assembler = _ptxas() if given.ptxas else None
    if assembler:
        print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    failed = 0
    for module, name, threads, arguments in json.loads(noted):
        try:
            kernel = _kernel(module, name, arguments)
            signature = types.void(*map(_type, arguments))
            ptx, _ = cuda.compile_ptx(kernel.py_func, signature, cc=target)
            if assembler:
                print(_assembled(assembler, target, f"{module}.{name}", ptx, threads))
            else:
                print(f"{module}.{name}: {ptx.count(chr(10))} lines, {ptx.count('.f64')} in double")
        except Exception as error:  # whatever the compiler says is what is asked for
            failed += 1
            print(f"{module}.{name} does not compile: {error}")
    if failed:
        raise SystemExit(f"{failed} kernels do not compile")


COLUMNS = ("kernel", "registers", "stack [B]", "spilled [B]", "shared [B]", "occupancy",
           "in double", "long divisions")  # fmt: skip


def _ptxas() -> str:
    found = shutil.which("ptxas") or next(
        (str(path) for path in sorted(Path("/usr/local").glob("cuda*/bin/ptxas"))), None
    )
    if found is None:
        raise SystemExit("ptxas is not installed; it comes with CUDA's toolkit.")
    return found


def _assembled(assembler: str, target: tuple[int, ...], name: str, ptx: str, threads: int) -> str:
    """Row of the table."""
    done = _run_ptxas(assembler, target, ptx)
    if older := re.search(r"Unsupported \.version .* current version is '([\d.]+)'", done.stderr):
        # An assembler older than the compiler: it knows all that these kernels use.
        ptx = re.sub(r"\.version [\d.]+", f".version {older[1]}", ptx, count=1)
        done = _run_ptxas(assembler, target, ptx)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())

    def most(pattern: str) -> int:
        return max((int(found) for found in re.findall(pattern, done.stderr)), default=0)

    registers, shared = most(r"Used (\d+) registers"), most(r"(\d+) bytes smem")
    # Registers are given to warps 256 at a time, and warps to a multiprocessor block by block.
    warps = -(-threads // 32)
    blocks = min(
        REGISTERS // (-(-32 * max(registers, 1) // 256) * 256) // warps,
        WARPS // warps,
        BLOCKS,
        SHARED // (shared + 1024),
    )
    numbers = (
        registers, most(r"(\d+) bytes stack frame"), most(r"(\d+) bytes spill stores"), shared,
        f"{100 * blocks * warps / WARPS:.0f} %",
        len(re.findall(r"\b(?:add|sub|mul|fma|div|sqrt)[.a-z]*\.f64", ptx)),
        len(re.findall(LONG_DIVISION, ptx)),
    )  # fmt: skip
    return "| " + " | ".join([f"`{name.removeprefix('gpu_kernels.')}`", *map(str, numbers)]) + " |"


def _run_ptxas(
    assembler: str, target: tuple[int, ...], ptx: str
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        arch = f"-arch=sm_{target[0]}{target[1]}"
        command = [assembler, "-v", arch, str(source), "-o", str(source.with_suffix(".cubin"))]
        return subprocess.run(command, capture_output=True, text=True)


def launched(tests: bool) -> list[tuple[str, str, int, list[Any]]]:
    """Modules, names, threads of a block and types of the arguments of all launches, simulated."""
    assert config.ENABLE_CUDASIM
    from numba.cuda.simulator.kernel import FakeCUDAKernel

    seen: dict[str, tuple[str, str, int, list[Any]]] = {}
    launch = FakeCUDAKernel.__call__

    def note(self: Any, *arguments: Any) -> Any:
        if not self._device and self.fn.__module__.startswith("gpu_kernels"):
            name = self.fn.__name__
            if inspect.getclosurevars(self.fn).nonlocals.get("everything"):
                name += ALL_OF_IT
            threads = int(np.prod(self.block_dim))
            one = self.fn.__module__, name, threads, [_described(a) for a in arguments]
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
    if tests:
        pytest = importlib.import_module("pytest")
        # As a machine has it that lacks the plugin for timeouts.
        ours = ["-o", "addopts=--import-mode=importlib", "-W", "ignore::pytest.PytestConfigWarning"]
        if pytest.main([*ours, "-p", "no:cacheprovider", "-q", "-m", "gpu", "tests/gpu_kernels"]):
            raise SystemExit("the simulator's tests fail")
    return sorted(seen.values(), key=lambda one: one[:2])


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
    if module == ssb_reduce_kernel.__name__:  # made for a type, and for what is summed
        closing = arguments[7][1] == "complex128"  # what it writes: Φ(Q), or sums
        return ssb_reduce_kernel.reduce_kernel(
            np.dtype(arguments[0][1]), name.endswith(ALL_OF_IT), closing
        )
    return getattr(importlib.import_module(module), name)


def _pretend(target: tuple[int, ...]) -> None:
    """Let functions that kernels call be compiled for the target: they ask the device for it."""
    for name in ("dispatcher", "compiler"):
        module = importlib.import_module(f"numba.cuda.{name}")
        module.get_current_device = lambda: type("Device", (), {"compute_capability": target})


if __name__ == "__main__":
    main()
