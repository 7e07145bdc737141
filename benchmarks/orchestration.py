"""What Prefect, Dask and publishing cost, and how soon a tiny night answers.

    PYTHONPATH=. .venv/bin/python benchmarks/orchestration.py [--events 1e8] [--repeats 3]

A tiny recording is milled by ``phasemill run`` as a person would: with a Prefect database that is
still to be made, with one that is there, with a server that is up already, and without Prefect.
Then a tiny and a large recording are milled in one process without Prefect and Dask, and as a night
with both on a cluster of one worker; the difference is what orchestration costs. Publishing
(hashes, records, manifests, renames) is timed in the first of the two. Least of the repeats.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.watched import KNOWN, mill, write_large_scan
from tasks.simulate import simulate
from tasks.simulation import small_simulation

ELECTRONS = 2060
TARGET_TINY, TARGET_SHARE, TARGET_ANSWER = 3.0, 0.05, 15.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=float, default=1e8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(inside(options.inside[0], Path(options.inside[1]))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        simulate(small_simulation(scan_shape=(48, 40), electrons=900.0), folder / "tiny.h5")
        answers(folder, options.repeats)
        side = round((options.events / ELECTRONS) ** 0.5)
        events = write_large_scan(folder / "large.h5", side, side, ELECTRONS)
        shares(folder, events, options.repeats)


def answers(folder: Path, repeats: int) -> None:
    """Wall time of a tiny run in each way."""
    job = {"cluster": "local", "datasets": [{"path": str(folder / "tiny.h5")}]}
    mill(folder, "first", job)  # fills the caches of compiled code
    print("phasemill run, tiny recording, two processes:          wall     CPU")
    with Server(folder / "server") as url:
        for label, fresh, more, flags in (
            ("new Prefect database", True, {}, ()),
            ("its database is there", False, {}, ()),
            ("a server is up", False, {"PREFECT_API_URL": url}, ()),
            ("without Prefect", False, {}, ("--no-prefect",)),
        ):
            costs = []
            for number in range(repeats):
                state = folder / f"state-{number}" if fresh else folder / "state"
                name = f"{label.replace(' ', '-')}-{number}"
                env = {"XDG_STATE_HOME": str(state), **more}
                costs.append(mill(folder, name, job, *flags, env=env, memory=False))
            best = min(costs, key=lambda cost: cost.wall)
            print(f"  {label:<48} {best.wall:6.1f} s {best.cpu_seconds:6.1f} s")
    print(f"  asked for: {TARGET_ANSWER:.0f} s")


def shares(folder: Path, events: int, repeats: int) -> None:
    """What orchestration adds to a tiny and to a large dataset."""
    found: dict[str, list[dict[str, float]]] = {"plain": [], "night": []}
    with Server(folder / "server") as url:
        for _ in range(repeats):
            for kind, runs in found.items():
                runs.append(_child(kind, folder, url))
    least = {
        kind: {key: min(run[key] for run in runs) for key in runs[0]}
        for kind, runs in found.items()
    }
    plain, night = least["plain"], least["night"]
    print(f"\n{events} electrons        plain   night   of it publishing   orchestration")
    for size in ("tiny", "large"):
        published = plain[f"{size} publishing"]
        added = night[size] - plain[size] + published
        print(
            f"{size:<18} {plain[size]:8.2f} {night[size]:7.2f} {published:12.2f} s "
            f"{added:12.2f} s  {added / night[size]:.1%}"
        )
    opened = night["opening"]
    print(f"cluster of one process opened and closed: {opened:.2f} s, once a night")
    print(
        f"asked for: {TARGET_TINY:.0f} s on a tiny dataset with a server up, {TARGET_SHARE:.0%} of "
        "a large one's time"
    )


def inside(kind: str, folder: Path) -> dict[str, float]:
    """Mill both recordings in this process; seconds of each by name."""
    from rich.console import Console

    from flows.job import check_job
    from flows.overnight import run_night
    from flows.reprocess import reprocess

    output = Path(tempfile.mkdtemp(dir=folder))
    # One that goes ahead, so that neither pays for what is loaded at first use.
    names = ("ahead", "tiny", "large")
    paths = {"ahead": "tiny.h5", "tiny": "tiny.h5", "large": "large.h5"}
    raw = {
        "output": str(output),
        "cluster": "local",
        "workers": {"count": 1},
        "defaults": KNOWN,
        "datasets": [{"path": str(folder / paths[name]), "name": name} for name in names],
    }
    job = check_job(raw, "job", folder)
    found: dict[str, float] = {}
    if kind == "night":
        night = run_night(job, [], True, Console(quiet=True), True)
        rows = {row["name"]: row for row in night["datasets"]}
        found = {name: rows[name]["seconds"] for name in names}
        found["opening"] = night["seconds"] - sum(found.values())
        assert all(row["status"] == "ok" for row in rows.values()), rows
        return found
    publishing = time_publishing()
    for dataset in job.datasets:
        publishing[0], start = 0.0, time.perf_counter()
        reprocess.fn(dataset, job.output)
        found[dataset.name] = time.perf_counter() - start
        found[f"{dataset.name} publishing"] = publishing[0]
    return found


def time_publishing() -> list[float]:
    """Time all that publishing does from now on; the seconds add up in what is given back."""
    from tasks.store import files, publish, records

    spent, depth = [0.0], [0]

    def timed(function):
        def call(*args, **options):
            depth[0] += 1
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                depth[0] -= 1
                if not depth[0]:
                    spent[0] += time.perf_counter() - start

        return call

    for module, name in (
        (records, "begin"), (records, "record_unit"), (records, "finished_unit"),
        (publish, "publish"), (publish, "reusable"), (files, "write_json"), (files, "hash_file"),
    ):  # fmt: skip
        before = getattr(module, name)
        after = timed(before)
        for one in list(sys.modules.values()):
            if getattr(one, name, None) is before:
                setattr(one, name, after)
    return spent


def _child(kind: str, folder: Path, url: str) -> dict[str, float]:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env |= {
        "PREFECT_API_URL": url,
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "OPENBLAS_NUM_THREADS": "1",  # as the command has it
    }
    command = [sys.executable, __file__, "--inside", kind, str(folder)]
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


class Server:
    """A Prefect server on this machine; gives its address."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def __enter__(self) -> str:
        door = socket.create_server(("127.0.0.1", 0))
        home = {"PREFECT_HOME": str(self._home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flows.prefect_server", str(door.fileno()), str(os.getpid())],
            pass_fds=[door.fileno()],
            env={**os.environ, **home},
        )
        url = f"http://127.0.0.1:{door.getsockname()[1]}/api"
        door.close()
        self._wait(url)
        return url

    def _wait(self, url: str) -> None:
        import httpx

        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                if httpx.get(f"{url}/health").is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.2)
        raise SystemExit("the Prefect server does not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


if __name__ == "__main__":
    main()
