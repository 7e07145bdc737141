"""The benchmarks of a GPU run in the simulator, refuse without a device, need kernels alone."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu import bench
from benchmarks.gpu.all import LIMITS
from benchmarks.gpu.all import main as all_of_them
from benchmarks.gpu.bench import table_head

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
@pytest.mark.parametrize("name", LIMITS)
def test_script_runs_in_the_simulator_and_its_result_is_right(name):
    done = run(name, True, "--tiny")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines
    if name == "bench":
        assert "CUDA simulator" in lines[0]
        return
    columns = table_head().splitlines()[0].count("|")
    for line in lines:
        assert "| ran in the simulator |" in line
        assert line.count("|") == columns


@pytest.mark.slow
def test_events_of_a_store_give_the_phase_that_the_host_gives():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_store", "--tiny"], cwd=ROOT, text=True,
        capture_output=True, check=True,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    head, row = done.stdout.strip().rsplit("\n", 1)
    assert head == table_head()
    assert "store on disk to SSB phase" in row
    assert "repeats to the bit" in row


def well():
    bench.show(bench.Device("none", 1e12, 1e13), "well", 2e-3, "1 ms", "none", 1e9, 1e9, 1e-6)


def badly():
    bench.off(np.ones(3), np.zeros(3))


def test_figure_that_fails_stands_in_the_table_and_others_go_on(capsys):
    with pytest.raises(SystemExit):
        bench.figures(badly, well)
    bad, good = capsys.readouterr().out.splitlines()
    assert bad.startswith("| badly | failed: ValueError: the result is off by 1.00e+00")
    assert good == "| well | 2.000 ms | 1 ms | none | 1.000 ms | 0.100 ms | 2.00 | 1.0e-06 |  |"


def test_script_that_is_stopped_leaves_the_rows_that_it_had(monkeypatch, capsys):
    def told(command, timeout, **_):
        name = command[2].rsplit(".", 1)[1]
        if name == "ssb":
            raise subprocess.TimeoutExpired(command, timeout, b"| a row |\n| half a r")
        return subprocess.CompletedProcess(command, int(name == "cnn"), f"| {name} |\n")

    monkeypatch.setattr(subprocess, "run", told)
    monkeypatch.setattr(sys, "argv", ["all"])
    with pytest.raises(SystemExit):
        all_of_them()
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index("| a row |") + 1] == "| reductions |"
    assert lines[-1] == (
        "Not measured: ssb took more than 80 s and was stopped; cnn failed with 1."
    )


def test_without_a_device_it_says_so_and_what_to_do():
    done = run("reductions", False)
    if "GB/s" in done.stdout:
        pytest.skip("there is a CUDA device")
    assert done.returncode == 2
    assert "needs a CUDA device" in done.stderr
    assert "--tiny" in done.stderr
    assert "Traceback" not in done.stderr


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
    assert {path.stem for path in SCRIPTS} == LIMITS.keys() | {"all", "compile"}
    assert sum(LIMITS.values()) <= 480
