"""A command watched from outside: time, CPU and memory of it and of all processes that it starts.

Memory is the proportional set size (PSS): pages that processes share count once, and so do pages
of files that are mapped; what the system keeps of files besides is no process's.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import psutil
import yaml

from benchmarks.counted_scan import DETECTOR, scan_rows
from tasks.store.stempy_file import write_stempy_file

BIN = Path(sys.executable).parent
EVERY = 0.1
"""Seconds between looks."""
KNOWN = {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4}
DISTINCT_ROWS = 16


@dataclass
class Cost:
    """What a command took."""

    code: int = 0
    process: int = 0
    """Number of the command's own process."""
    wall: float = 0.0
    """[s]"""
    cpu: dict[int, float] = field(default_factory=dict)
    """[s] of each process, of user and system."""
    most: int = 0
    """Most memory that all processes held at one moment [bytes]."""
    most_of_one: int = 0
    """Most memory that any one process held [bytes]."""

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all processes [s]."""
        return sum(self.cpu.values())


def watch(command: list[str | Path], memory: bool = True, **options: object) -> Cost:
    """Run a command and look at its processes until it ends.

    Parameters
    ----------
    command : list
        Program and arguments.
    memory : bool
        Look at the memory as well, which takes some time of the machine's own.
    **options
        For ``subprocess.Popen``.

    Returns
    -------
    Cost
    """
    cost, start = Cost(), time.perf_counter()
    begun = os.times()
    with subprocess.Popen(command, **options) as process:
        cost.process = process.pid
        while process.poll() is None:
            _look(psutil.Process(process.pid), cost, memory)
            time.sleep(EVERY)
    cost.wall, cost.code = time.perf_counter() - start, process.returncode
    ended = os.times()
    # The command itself, with whatever it waited for, is known exactly.
    exact = (ended.children_user - begun.children_user) + (
        ended.children_system - begun.children_system
    )
    if exact > cost.cpu_seconds:
        cost.cpu = {process.pid: exact}
    return cost


def _look(root: psutil.Process, cost: Cost, memory: bool) -> None:
    held = 0
    try:
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        try:
            times = process.cpu_times()
            cost.cpu[process.pid] = times.user + times.system
            if memory:
                one = process.memory_full_info().pss
                held += one
                cost.most_of_one = max(cost.most_of_one, one)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    cost.most = max(cost.most, held)


def write_large_scan(path: Path, rows: int, cols: int, electrons: float) -> int:
    """Write a counted recording of any size, whose rows repeat; returns its events."""
    made = _rows_of(cols, electrons)
    slabs = (made[n % DISTINCT_ROWS] for n in range(rows))
    return write_stempy_file(path, slabs, (rows, cols), DETECTOR)


def _rows_of(cols: int, electrons: float) -> list:
    return list(islice(scan_rows(cols, electrons), DISTINCT_ROWS))


def mill(folder: Path, name: str, job: dict, *options: str, **watched: object) -> Cost:
    """Run a job of one or more recordings in a folder and watch it.

    Raises
    ------
    SystemExit
        With what the mill said, if it failed.
    """
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"output": str(folder / name), "defaults": KNOWN} | job))
    log = folder / f"{name}.log"
    with log.open("w") as file:
        command: list[str | Path] = [BIN / "phasemill", "run", path, "--quiet", *options]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"XDG_STATE_HOME": str(folder / "state")}
        environment |= watched.pop("env", {})  # type: ignore[arg-type]
        cost = watch(command, stdout=file, stderr=file, env=environment, **watched)  # type: ignore[arg-type]
    if cost.code:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {cost.code}\n{log.read_text()}")
    return cost
