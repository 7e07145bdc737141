"""Provenance: what made a result, so that anyone can tell two results apart or make one again."""

import datetime
import platform
import socket
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tasks.device import device_name
from tasks.store.publish import Manifest
from tasks.store.source import Source

PACKAGES = ("phasemill", "numpy", "scipy", "numba", "dask", "distributed", "zarr", "numcodecs",
            "xarray", "h5py", "prefect", "matplotlib", "tifffile")  # fmt: skip
"""Packages whose version may change a result or how it came about."""
ONLY_SOME_HAVE = ("torch", "cupy-cuda13x", "numba-cuda", "dask-cuda")
"""The same, named where they are installed."""


@cache  # to look them up takes 50 ms, and a night may have a thousand recordings
def package_versions() -> dict[str, str]:
    """Installed versions of the packages that matter, by name."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    for name in ONLY_SOME_HAVE:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def provenance(
    source: Source, recording_format: str, job: dict[str, Any], steps: list[tuple[Manifest, bool]]
) -> dict[str, Any]:
    """Everything that made a dataset's results.

    Parameters
    ----------
    source : Source
        The recording.
    recording_format : str
        What the reader took it for.
    job : dict
        The dataset's keys, with defaults filled in.
    steps : list of (Manifest, bool)
        Each step's manifest, and whether it was there from an earlier run.

    Returns
    -------
    dict
        JSON values, written as ``provenance.json``.
    """
    return {
        "phasemill": package_versions()["phasemill"],
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "device": "; ".join(dict.fromkeys(name for m, _ in steps for name in m.devices))
        or device_name(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "input": asdict(source) | {"format": recording_format},
        "job": job,
        "seeds": {m.step: m.parameters["seed"] for m, _ in steps if "seed" in m.parameters},
        "steps": [
            {
                "name": manifest.step,
                "identity": manifest.identity,
                "digest": manifest.digest,
                "seconds": manifest.seconds,
                "devices": manifest.devices,
                "reused": reused,
                "parameters": manifest.parameters,
                "summary": manifest.summary,
            }
            for manifest, reused in steps
        ],
    }
