"""A recording four times larger than the memory, and the cost of an electron at every size.

    PYTHONPATH=. .venv/bin/python benchmarks/memory.py limit [--limit-gib 1.25]
    PYTHONPATH=. .venv/bin/python benchmarks/memory.py cost [--events 1e7 1e8 5e8]

``limit`` writes a recording whose electrons take four times a limit (4 bytes each), and mills it on
one worker with all of the default steps. All processes together, the flow, its worker and whatever
else it starts, must stay below the limit at every moment. ``cost`` mills recordings of different
sizes, 2,060 electrons a frame, in one process, and prints what each step takes of the CPU for an
electron. Steps that work on images and spectra of the whole (*) are apart: most of what they take
a recording costs anyhow.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.watched import KNOWN, mill, write_large_scan

ELECTRONS, TIMES, BYTES = 2060, 4, 4
FIXED = ("measure_disk", "calibrate", "frc", "publish_results")


def main() -> None:
    """Run what is asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("limit", "cost", "inside"))
    parser.add_argument("--limit-gib", type=float, default=1.25)
    parser.add_argument("--worker-gib", type=float, default=0.8)
    parser.add_argument("--electrons", type=float, default=8000, help="of a frame, for limit")
    parser.add_argument("--events", type=float, nargs="+", default=[1e7, 1e8, 5e8])
    parser.add_argument("--recording", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.what == "inside":
        print(json.dumps(cost_of_steps(options.recording)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        if options.what == "limit":
            within = limit(Path(scratch), options.limit_gib, options.worker_gib, options.electrons)
            raise SystemExit(0 if within else 1)
        costs(Path(scratch), options.events)


def limit(folder: Path, limit_gib: float, worker_gib: float, electrons: float) -> bool:
    """Whether a recording of four times the limit stays below it."""
    side = round((TIMES * limit_gib * 2**30 / BYTES / electrons) ** 0.5 * 1.05)
    path = folder / "large.h5"
    events = write_large_scan(path, side, side, electrons)
    print(f"{side} x {side} frames, {events} electrons, {BYTES * events / 2**30:.2f} GiB")
    job = {
        "cluster": "local",
        "workers": {"count": 1, "threads": 1, "memory_gib": worker_gib},
        "datasets": [{"path": str(path)}],
    }
    cost = mill(folder, "night", job, "--no-prefect")
    most, one = cost.most / 2**30, cost.most_of_one / 2**30
    print(f"{cost.wall:.0f} s, {cost.cpu_seconds:.0f} s of CPU; most memory of all processes")
    print(f"{most:.2f} GiB (limit {limit_gib:.2f}), of one process {one:.2f} GiB")
    return most < limit_gib


def costs(folder: Path, sizes: list[float]) -> None:
    """CPU of each step for an electron, at each size."""
    table: dict[str, dict[int, float]] = defaultdict(dict)
    for size in sizes:
        side = round((size / ELECTRONS) ** 0.5)
        path = folder / "scan.h5"
        events = write_large_scan(path, side, side, ELECTRONS)
        for step, seconds in _child(path).items():
            table[step][events] = seconds
    counts = list(next(iter(table.values())))
    print("ns of CPU an electron   " + "".join(f"{events:>14,}" for events in counts))
    for step, found in table.items():
        cells = "".join(f"{1e9 * found[events] / events:14.2f}" for events in counts)
        print(f"{step + (' *' if step in FIXED else ''):<24}{cells}")
    moving = [
        sum(found[events] for step, found in table.items() if step not in FIXED) * 1e9 / events
        for events in counts
    ]
    print(f"{'all without *':<24}" + "".join(f"{value:14.2f}" for value in moving))
    if len(counts) > 1:
        few, many = counts[-2:]
        grown = (moving[-1] * many - moving[-2] * few) / (many - few)
        print(f"each further electron from {few:,} on: {grown:.2f} ns")
    fixed = [sum(table[step][events] for step in FIXED) for events in counts]
    print(f"{'* [s of CPU]':<24}" + "".join(f"{value:14.2f}" for value in fixed))
    middle = (max(moving) + min(moving)) / 2
    print(f"spread of all without *: ±{(max(moving) - min(moving)) / 2 / middle:.0%}")


def _child(path: Path) -> dict[str, float]:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env |= {"OPENBLAS_NUM_THREADS": "1"}  # as the command has it
    command = [sys.executable, __file__, "inside", "--recording", str(path)]
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def cost_of_steps(path: Path) -> dict[str, float]:
    """Mill a recording here, after a small one that goes ahead; CPU seconds of each step."""
    from flows import reprocess
    from flows.job import check_job

    spent: dict[str, float] = defaultdict(float)
    inner = [0.0]  # of steps that run inside of others, which it is taken from

    def timed(function):
        def call(*args, **options):
            start, before, inner[0] = time.process_time(), inner[0], 0.0
            try:
                return function(*args, **options)
            finally:
                took = time.process_time() - start
                spent[function.__name__] += took - inner[0]
                inner[0] = before + took

        return call

    for name in ("ingest_recording", "measure_bright_field_disk",
                 "reduce_events", "calibrate_microscope", "make_halves",
                 "measure_resolution", "publish_results"):  # fmt: skip
        setattr(reprocess, name, timed(getattr(reprocess, name)))
    for name, function in reprocess.retrieve_phase.items():
        reprocess.retrieve_phase[name] = timed(function)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        # Of the same kind of camera, so that what is compiled for it is compiled.
        write_large_scan(Path(folder) / "ahead.h5", 48, 40, ELECTRONS)
        datasets = [{"path": f"{folder}/ahead.h5"}, {"path": str(path)}]
        raw = {"output": f"{folder}/out", "defaults": KNOWN, "datasets": datasets}
        for dataset in check_job(raw, "job", path.parent).datasets:
            spent.clear()
            reprocess.reprocess.fn(dataset, f"{folder}/out")
    return dict(spent)


if __name__ == "__main__":
    main()
