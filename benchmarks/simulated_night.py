"""A night of many small datasets, some of them broken: what each costs, first to last.

    PYTHONPATH=. .venv/bin/python benchmarks/simulated_night.py [--datasets 40] [--workers 2]

Every eighth recording is cut short. All processes are watched; what is printed is the time and CPU
of a dataset, that of the first and the last quarter of the night, which must not differ, and the
memory. The exit code is 1 if the broken ones are not exactly those that fail.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import yaml

from benchmarks.watched import BIN, KNOWN, watch
from tasks.simulate import simulate
from tasks.simulation import small_simulation

BROKEN = 8
"""One recording in so many is cut short."""


def main() -> None:
    """Make the recordings, mill them as one night, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names = [_recording(folder, number) for number in range(options.datasets)]
        job = {
            "output": "out",
            "cluster": "local",
            "workers": {"count": options.workers},
            "defaults": KNOWN,
            "datasets": [{"path": f"{name}.h5"} for name in names],
        }
        (folder / "night.yaml").write_text(yaml.safe_dump(job))
        command = [BIN / "phasemill", "run", folder / "night.yaml", "--quiet", "--no-prefect"]
        with (folder / "log").open("w") as log:
            cost = watch(command, stdout=log, stderr=log)
        night = json.loads((folder / "out" / "night.json").read_text())
    failed = {row["name"] for row in night["datasets"] if row["status"] != "ok"}
    expected = {name for name in names if name.startswith("broken")}
    whole = [row["seconds"] for row in night["datasets"] if row["status"] == "ok"]
    quarter = max(1, len(whole) // 4)
    print(f"{len(names)} datasets, {len(failed)} failed, {cost.wall:.0f} s in all")
    print(f"a whole dataset: {statistics.median(whole):.2f} s (median),")
    print(f"  first quarter {statistics.mean(whole[:quarter]):.2f} s, ", end="")
    print(f"last quarter {statistics.mean(whole[-quarter:]):.2f} s")
    print(f"CPU a dataset {cost.cpu_seconds / len(names):.2f} s, start included")
    print(f"most memory of all processes {cost.most / 2**30:.2f} GiB")
    if failed != expected:
        raise SystemExit(f"failed {sorted(failed)}, broken were {sorted(expected)}")


def _recording(folder: Path, number: int) -> str:
    broken = number % BROKEN == BROKEN - 1
    name = f"{'broken' if broken else 'scan'}{number:03d}"
    path = folder / f"{name}.h5"
    simulate(small_simulation(scan_shape=(48, 40), electrons=300.0, seed=number), path)
    if broken:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    return name


if __name__ == "__main__":
    main()
