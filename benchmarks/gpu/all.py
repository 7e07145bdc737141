"""Every headline of a GPU, one after another, in eight minutes at most.

    python -m benchmarks.gpu.all [--tiny] > gpu.txt

Each script runs in a process of its own, so that one that fails, or takes too long, costs its own
figures only. Needs CuPy, numba-cuda, SciPy and torch; nothing of Prefect, Dask or Zarr.
"""

import subprocess
import sys

LIMITS = {"ssb": 150, "reductions": 90, "cnn": 90, "epie": 100, "decode": 50}
"""Seconds that each may take."""


def main() -> None:
    """Run them, and say which failed."""
    failed = []
    for name, limit in LIMITS.items():
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.gpu.{name}", *sys.argv[1:]]
        try:
            done = subprocess.run(command, timeout=None if "--tiny" in sys.argv else limit)
        except subprocess.TimeoutExpired:
            print(f"{name} took more than {limit} s and was stopped", flush=True)
            failed.append(name)
            continue
        if done.returncode:
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
