"""A microscope's whole day, projected from measured stages: 115 scans of 1024 x 1024 at 2,000 e.

    python -m benchmarks.day [SIDE ...] [--events 2000]

Scans of several sizes are milled in this process, with the direct methods and their resolution, and
the CPU time of each step is taken. Between the sizes a step grows by so much for each event or for
each position; what is left is the same for every scan. The day is then a sum. Steps that are cut
into units of work use all cores, the others one; what a GPU and a disk would take follows from the
bytes that they have to move, and is a floor, not a measurement.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.counted_scan import CENTER, RADIUS, write_scan
from flows.job import check_job
from flows.reprocess import reprocess
from tasks.units import reporting

SCANS, SIDE, EVENTS = 115, 1024, 2000
CORES, GPU_CORES = 2, 16
"""Cores of the small machine, and beside a GPU."""
NIGHT = 12 * 3600
"""Seconds of a night."""
STORAGE = 1e9
"""Bytes that a facility's storage delivers in a second."""
BY_EVENT = ("ingest", "reduce", "frc: reduce")
"""Steps that grow with the events; the others grow with the positions."""
REST = "publish and report"
"""What is between the last unit of a step and the next step: hashes, curves, figures."""
ALONE = ("calibrate", "dpc", "frc: dpc", REST)
"""Steps that are one unit, or work in the flow's own process: one core, whatever there are."""
BYTES_PER_EVENT = 4.0
"""Of an index in a counted file."""
JOB = {
    "voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.3, "center_px": list(CENTER),
    "semiangle_px": RADIUS, "scan_rotation_deg": -9.0, "flip": False, "aberrations": {"C10": 100},
    "steps": ["virtual", "dpc", "ssb", "frc"],
}  # fmt: skip


@dataclass(frozen=True)
class Scan:
    """A scan that was milled."""

    positions: int
    events: int
    seconds: dict[str, float]
    """CPU time of each step."""


def main() -> None:
    """Print what was measured, and the day."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sides", type=int, nargs="*", default=[96, 160, 224])
    parser.add_argument("--events", type=int, default=EVENTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        milled(Path(folder) / "first", 16, given.events)  # compiled and loaded
        scans = [milled(Path(folder) / str(n), n, given.events) for n in sorted(given.sides)]
    names = list(scans[-1].seconds)
    print(
        "| step | " + " | ".join(f"{s.positions**0.5:.0f}² [CPU s]" for s in scans) + " |", end=""
    )
    print(" grows by | scan of 1024² [CPU s] |\n|---" + "|---" * (len(scans) + 2) + "|")
    whole = {}
    for name in names:
        whole[name], growth = projected(name, scans)
        cells = " | ".join(f"{scan.seconds.get(name, 0.0):.2f}" for scan in scans)
        print(f"| {name} | {cells} | {growth} | {whole[name]:.1f} |")
    alone = sum(took for name, took in whole.items() if name in ALONE)
    shared = sum(whole.values()) - alone
    scan = alone + shared / CORES
    read = SIDE**2 * EVENTS * BYTES_PER_EVENT
    print(
        f"\nA scan: {alone:.0f} s on one core and {shared:.0f} s shared by {CORES}: {scan:.0f} s.\n"
        f"A day of {SCANS} scans on {CORES} cores: {SCANS * scan / 3600:.1f} h; a night has "
        f"{NIGHT / 3600:.0f} h. Most of it: {max(whole, key=lambda name: whole[name])}.\n"
        f"Reading {SCANS * read / 1e12:.2f} TB at {STORAGE / 1e9:.0f} GB/s: "
        f"{SCANS * read / STORAGE / 60:.0f} min.\n"
    )
    # Recordings are read while they are ingested. What the device does is less than what its host
    # cannot be rid of: so at most all that cores do, at least nothing of what is wired to a device.
    ingest = max(read / STORAGE, whole["ingest"] / GPU_CORES)
    most = ingest + (shared - whole["ingest"]) / GPU_CORES + alone
    least = ingest + whole[REST]
    print(
        f"One GPU beside {GPU_CORES} cores, projected, not measured: {SCANS * least / 3600:.2f} h, "
        f"were the device no time at all, to {SCANS * most / 3600:.2f} h, were it of no use. A "
        f"scan is at least {read / STORAGE:.1f} s of storage and {whole[REST]:.1f} s of one core "
        f"for: {REST}."
    )


def projected(name: str, scans: list[Scan]) -> tuple[float, str]:
    """Seconds of a scan of the day, and by what the step grows, from a line through the sizes."""
    by_event = name in BY_EVENT
    size = np.array([float(s.events if by_event else s.positions) for s in scans])
    took = np.array([s.seconds.get(name, 0.0) for s in scans])
    slope, start = np.polyfit(size, took, 1)
    slope, start = max(slope, 0.0), max(start, 0.0)
    most = SIDE**2 * (EVENTS if by_event else 1)
    unit, factor = ("ns an event", 1e9) if by_event else ("µs a position", 1e6)
    return float(start + slope * most), f"{factor * slope:.3g} {unit}"


def milled(folder: Path, side: int, events: int) -> Scan:
    """Mill a scan in this process."""
    folder.mkdir()
    path = folder / "scan.h5"
    counted = write_scan(path, side, events)
    raw = {"output": str(folder / "out"), "datasets": [{"path": str(path), **JOB}]}
    job = check_job(raw, "job", folder)
    with timed() as seconds:
        row = reprocess.fn(job.datasets[0], job.output, None)
    if row["status"] != "ok":
        raise SystemExit(f"{path}: {row}")
    return Scan(side * side, counted, seconds)


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """CPU time between the first and the last words of each step."""
    seconds: dict[str, float] = {}
    last = ["ingest", time.process_time()]

    def turn(step: str) -> None:
        now = time.process_time()
        seconds[last[0]] = seconds.get(last[0], 0.0) + now - last[1]
        last[:] = [step, now]

    def hear(step: str, done: int, total: int, note: str = "") -> None:
        name = (
            step.split(": ")[-1] if not step.startswith("frc") else f"frc: {step.split(': ')[-1]}"
        )
        if name != last[0]:
            turn(name)
        if done == total:
            turn(REST)

    with reporting(hear):
        yield seconds
    turn(REST)


if __name__ == "__main__":
    main()
