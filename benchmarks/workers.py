"""One worker and two, on the whole chain of a large scan: how much sooner it is done.

    PYTHONPATH=. .venv/bin/python benchmarks/workers.py [--events 5e8] [--repeats 1]

A small recording goes ahead in each night, so that the workers have loaded what they need; the time
is that of the large one, from its fingerprint to its published report. Each step's own time shows
which of them do not grow with the workers. Needs two idle cores; about two minutes then.
"""

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.watched import mill, write_large_scan

ELECTRONS, TARGET = 2060, 1.7


def main() -> None:
    """Mill the same scan with each number of workers and print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=float, default=5e8)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    side = round((options.events / ELECTRONS) ** 0.5)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        events = write_large_scan(folder / "large.h5", side, side, ELECTRONS)
        write_large_scan(folder / "ahead.h5", 32, 32, ELECTRONS)
        best: dict[int, dict[str, float]] = {}
        for repeat in range(options.repeats):
            for workers in (1, 2):
                found = _night(folder, f"workers-{workers}-{repeat}", workers)
                if workers not in best or found["all"] < best[workers]["all"]:
                    best[workers] = found
    print(f"{side} x {side} frames, {events} electrons")
    print(f"{'step':<12}{'1 worker':>10}{'2 workers':>11}{'times':>8}")
    for step, one in best[1].items():
        two = best[2][step]
        print(f"{step:<12}{one:8.2f} s{two:9.2f} s{one / max(two, 1e-3):8.2f}")
    print(f"asked for: {TARGET}")


def _night(folder: Path, name: str, workers: int) -> dict[str, float]:
    """Seconds of each step of the large recording, and of all."""
    job = {
        "cluster": "local",
        "workers": {"count": workers, "threads": 1},
        "datasets": [{"path": str(folder / "ahead.h5")}, {"path": str(folder / "large.h5")}],
    }
    cost = mill(folder, name, job, "--no-prefect", memory=False)
    own = cost.cpu.pop(cost.process)
    each = sorted(cost.cpu.values(), reverse=True)[:workers]
    print(f"CPU with {workers}, start and small recording included: of the flow {own:.1f} s,")
    print(f"  of each worker {', '.join(f'{one:.1f}' for one in each)} s")
    rows = json.loads((folder / name / "night.json").read_text())["datasets"]
    told = json.loads((folder / name / "large" / "provenance.json").read_text())
    steps = {step["name"]: step["seconds"] for step in told["steps"]}
    return steps | {"all": next(row["seconds"] for row in rows if row["name"] == "large")}


if __name__ == "__main__":
    main()
