"""A night in which workers, scheduler and flow are killed at random, and lose nothing.

    python benchmarks/chaos.py [--kills 20] [--seed 1] [--keep FOLDER]

Twelve datasets, of which two are corrupt and one has impossible parameters, are milled once
undisturbed. The same job is then milled on two workers while a random victim (a worker, the
scheduler or the flow) gets SIGKILL at random moments; what was killed is started again, as a
service manager would. A watcher reads everything that is published all the while. Printed is what
was killed and whether all that must hold did; the exit code is 1 if anything did not.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from flows.verify import verify_result
from tasks.simulate import simulate
from tasks.simulation import small_simulation
from tasks.store import layout
from tasks.store.publish import DamagedResultError, verify

GOOD, BIN = 9, Path(sys.executable).parent
KNOWN = {
    "voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4, "scan_rotation_deg": -9,
    "flip": False,
}  # fmt: skip
LONGEST = 420.0
"""Seconds after which the disturbed night is given up."""


@dataclass
class Outcome:
    """What became of a disturbed night."""

    kills: Counter = field(default_factory=Counter)
    runs: int = 0
    seconds: float = 0.0
    looks: int = 0
    """How often a published folder was read and found whole."""
    faults: list[str] = field(default_factory=list)
    """Everything that must not be."""


def main() -> None:
    """Run the two nights and print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        outcome = chaos(options.keep or Path(scratch), options.kills, options.seed)
    killed = ", ".join(f"{victim} {count}" for victim, count in sorted(outcome.kills.items()))
    print(f"seed {options.seed}: {sum(outcome.kills.values())} kills ({killed}) in")
    print(f"{outcome.seconds:.0f} s and {outcome.runs} runs of the flow; {outcome.looks} looks at")
    print(f"published folders; {len(outcome.faults)} faults")
    for fault in outcome.faults:
        print(f"  {fault}")
    raise SystemExit(bool(outcome.faults))


def chaos(folder: Path, kills: int, seed: int, good: int = GOOD) -> Outcome:
    """Mill a job undisturbed and disturbed, and compare.

    Parameters
    ----------
    folder : Path
        For the recordings and both nights.
    kills : int
        How often something is killed.
    seed : int
        Decides victims and moments.
    good : int
        Datasets that can be milled; three that cannot stand beside them.

    Returns
    -------
    Outcome
    """
    datasets = recordings(folder, good)
    calm, port = folder / "calm", _free_port()
    _night(folder, "calm", "threads", datasets).wait()
    outcome = Outcome()
    address = f"tcp://127.0.0.1:{port}"
    started = time.monotonic()
    with Cluster(port) as cluster, Watcher(folder / "wild", outcome):
        _disturb(folder, datasets, cluster, address, random.Random(seed), kills, outcome)
    outcome.seconds = time.monotonic() - started
    _compare(folder / "wild", calm, good, outcome)
    return outcome


def recordings(folder: Path, good: int) -> list[dict]:
    """Entries of the job: whole recordings, two that are cut and one with impossible parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(good):
        path = folder / f"good{number}.h5"
        simulate(small_simulation(scan_shape=(48, 40), electrons=900.0, seed=number), path)
        entries.append({"path": str(path), **KNOWN, "disk_bins": 12})
    whole = (folder / "good0.h5").read_bytes()
    for name, kept in (("cut_in_half", len(whole) // 2), ("cut_at_once", 3000)):
        (folder / f"{name}.h5").write_bytes(whole[:kept])
        entries.insert(2, {"path": str(folder / f"{name}.h5"), **KNOWN})
    shutil.copy(folder / "good0.h5", folder / "impossible.h5")
    entries.insert(1, {"path": str(folder / "impossible.h5"), **KNOWN, "center_px": [900, 900],
                       "semiangle_px": 8})  # fmt: skip
    return entries


class Cluster:
    """A scheduler and two workers, each a process of its own that is started again when it ends."""

    def __init__(self, port: int) -> None:
        self._port, self._stop = port, threading.Event()
        self.parts: dict[str, subprocess.Popen] = {}
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> "Cluster":
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._keeper.join()
        for part in self.parts.values():
            part.kill()
            part.wait()

    def kill(self, part: str) -> None:
        """End a part with SIGKILL."""
        if part in self.parts:
            self.parts[part].kill()

    def _keep(self) -> None:
        commands = {
            "scheduler": ["scheduler", "--host", "127.0.0.1", "--port", str(self._port)],
            **{
                f"worker {n}": ["worker", f"tcp://127.0.0.1:{self._port}", "--nworkers", "1",
                                "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1",
                                "--death-timeout", "60"]
                for n in range(2)
            },
        }  # fmt: skip
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        while not self._stop.wait(0.2):
            for part, command in commands.items():
                if part not in self.parts or self.parts[part].poll() is not None:
                    self.parts[part] = subprocess.Popen(
                        [BIN / "dask", *command, "--no-dashboard"], **quiet
                    )


class Watcher:
    """Reads every published folder again and again, and remembers when each was made."""

    def __init__(self, output: Path, outcome: Outcome) -> None:
        self._output, self._outcome = output, outcome
        self._made: dict[Path, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.3):
            for folder in published(self._output):
                self._look(folder)

    def _look(self, folder: Path) -> None:
        try:
            made = (folder / layout.MANIFEST).stat().st_ino
            verify(folder)
        except (DamagedResultError, OSError) as error:
            self._outcome.faults.append(f"seen partial: {error}")
            return
        if self._made.setdefault(folder, made) != made:
            self._outcome.faults.append(f"{folder}: was finished, and made again")
            self._made[folder] = made
        self._outcome.looks += 1


def published(output: Path) -> list[Path]:
    """Folders whose name says that they are whole: datasets, event stores, steps."""
    work = layout.work_root(output)
    found = [*output.glob("*/"), *work.glob(f"*/{layout.EVENTS}/"), *work.glob("*/steps/*/")]
    return [path for path in found
            if path != work and not path.name.endswith(layout.ASIDE)]  # fmt: skip


def _disturb(
    folder: Path,
    datasets: list[dict],
    cluster: Cluster,
    address: str,
    rng: random.Random,
    kills: int,
    outcome: Outcome,
) -> None:
    end = time.monotonic() + LONGEST
    flow = None
    while time.monotonic() < end:
        if flow is None or flow.poll() is not None:
            if flow is not None and flow.returncode == 1 and sum(outcome.kills.values()) >= kills:
                return  # it came to its end, as the calm night did: three have failed
            flow = _night(folder, "wild", address, datasets)
            outcome.runs += 1
        if sum(outcome.kills.values()) >= kills:
            time.sleep(0.5)
            continue
        time.sleep(rng.uniform(0.5, 9.0))
        victim = rng.choice(("worker 0", "worker 1", "scheduler", "flow"))
        if victim == "flow":
            flow.send_signal(signal.SIGKILL)
            flow.wait()
        else:
            cluster.kill(victim)
        outcome.kills[victim.split()[0]] += 1
    if flow is not None:
        flow.kill()
    outcome.faults.append(f"the night had not ended after {LONGEST:.0f} s")


def _night(folder: Path, name: str, cluster: str, datasets: list[dict]) -> subprocess.Popen:
    job = {"output": name, "cluster": cluster, "tries": 3, "retry_wait_s": 1, "datasets": datasets}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(job))
    log = (folder / f"{name}.log").open("a")
    return subprocess.Popen(
        [BIN / "phasemill", "run", folder / f"{name}.yaml", "--no-prefect"],
        stdout=log, stderr=log, env={**os.environ, "PYTHONSAFEPATH": "1"},
    )  # fmt: skip


def _compare(wild: Path, calm: Path, good: int, outcome: Outcome) -> None:
    """The night that was disturbed must be the undisturbed one, to the byte."""
    rows = json.loads((wild / "night.json").read_text())["datasets"]
    for row in rows:
        bad = not row["name"].startswith("good")
        if (row["status"] == "failed") != bad or (bad and row["name"] not in row["reason"]):
            outcome.faults.append(f"{row['name']}: {row['status']}, {row['reason'] or 'no reason'}")
    report = verify_result(wild, against=calm)
    same = sum("same bytes" in line for line in report["lines"])
    if report["status"] != "ok" or same != good:
        outcome.faults += [line for line in report["lines"] if "whole" not in line]
        outcome.faults.append(f"{same} of {good} datasets have the bytes of the undisturbed night")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
