"""The benchmarks of a GPU run in the simulator, refuse without a device, need kernels alone."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu.all import LIMITS

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "benchmarks" / "gpu").glob("*.py"))
NEEDED = {"benchmarks", "gpu_kernels", "models", "numpy", "scipy", "numba", "torch"}
"""What a machine with a GPU has; CuPy comes through ``gpu_kernels.backend``."""


def run(name, simulated, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.gpu.{name}", *arguments], cwd=ROOT, text=True,
        capture_output=True,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": str(int(simulated)), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", LIMITS)
def test_script_runs_in_the_simulator_and_its_result_is_right(name):
    done = run(name, True, "--tiny")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines
    assert all("ran in the simulator, error" in line for line in lines)
    assert not any("NOT REPEAT" in line for line in lines)


def test_without_a_device_it_says_so_and_what_to_do():
    done = run("reductions", False)
    if "GB/s" in done.stdout:
        pytest.skip("there is a CUDA device")
    assert done.returncode == 2
    assert "needs a CUDA device" in done.stderr
    assert "--tiny" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(300)
def test_every_kernel_compiles_or_the_compiler_is_missed():
    done = run("compile", False)
    if importlib.util.find_spec("numba_cuda") is None:
        assert done.returncode == 2
        assert "numba-cuda is not installed" in done.stderr
    else:
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(done.stdout.splitlines()) > 10


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_need_nothing_but_kernels_and_models(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            top = name.split(".")[0]
            assert top in NEEDED or top in sys.stdlib_module_names, name
            assert top != "benchmarks" or name.startswith("benchmarks.gpu")


def test_all_of_them_are_run_within_eight_minutes():
    assert {path.stem for path in SCRIPTS} == LIMITS.keys() | {"bench", "all", "compile"}
    assert sum(LIMITS.values()) <= 480
