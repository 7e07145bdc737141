"""Every headline of a GPU, one after another, in eight minutes at most: a table for RESULTS.md.

    python -m benchmarks.gpu.all [--tiny] > gpu.md

Each script runs in a process of its own, so that one that fails, or takes too long, costs its own
figures only. Needs CuPy, numba-cuda, SciPy and torch; nothing of Prefect, Dask or Zarr.
"""

import datetime
import subprocess
import sys

from benchmarks.gpu.bench import table_head

LIMITS = {
    "bench": 30, "ssb": 80, "reductions": 50, "cnn": 70, "epie": 60, "decode": 40, "train": 150,
}  # fmt: skip
"""Seconds that each may take; the first names the device."""


def main() -> None:
    """Run them, print their rows as they come, and say which failed."""
    failed = []
    for name, limit in LIMITS.items():
        told, why = output_of(name, None if "--tiny" in sys.argv else limit)
        if name == "bench" and why:
            print(told + why, file=sys.stderr)
            raise SystemExit(2)
        if name == "bench":
            today = datetime.datetime.now(datetime.UTC).date()
            command = " ".join(["python -m benchmarks.gpu.all", *sys.argv[1:]])
            print(f"{today}, {told}`{command}`.\n\n{table_head()}", flush=True)
            continue
        print(told, end="", flush=True)
        if why:
            failed.append(f"{name} {why}")
    if failed:
        print(f"\nNot measured: {'; '.join(failed)}.")
        raise SystemExit(1)


def output_of(name: str, limit: float | None) -> tuple[str, str]:
    """What a script prints, and what went wrong with it, if anything did."""
    command = [sys.executable, "-m", f"benchmarks.gpu.{name}", *sys.argv[1:]]
    try:
        done = subprocess.run(command, timeout=limit, stdout=subprocess.PIPE, text=True)
    except subprocess.TimeoutExpired as late:
        told = late.stdout or b""
        whole = told if isinstance(told, str) else told.decode(errors="replace")
        return whole[: whole.rfind("\n") + 1], f"took more than {limit:g} s and was stopped"
    return done.stdout, f"failed with {done.returncode}" if done.returncode else ""


if __name__ == "__main__":
    main()
