"""All checks, one after the other."""

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from flows.doctor.finding import Finding
from flows.doctor.folders import disk, kernel_cache, output_folder, state
from flows.doctor.gpu import gpu
from flows.doctor.machine import clock, memory, open_files, shared_memory
from flows.doctor.network import loopback, prefect_server, proxy
from flows.doctor.software import names, versions


def examine(output: Path) -> list[Finding]:
    """Look at this machine and at the folder that results are to go to.

    Parameters
    ----------
    output : Path
        A folder, or one that could be made.

    Returns
    -------
    list of Finding
        At least one for each check. A check that itself fails is a finding too.
    """
    output = output.absolute()
    standing = next(p for p in [output, *output.parents] if os.path.exists(p))
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("versions", versions),
        ("names", names),
        ("clock", partial(clock, standing)),
        ("memory", memory),
        ("shared memory", shared_memory),
        ("open files", open_files),
        ("GPU", gpu),
        ("kernel cache", kernel_cache),
        ("localhost", loopback),
        ("proxy", proxy),
        ("Prefect server", prefect_server),
        ("output", partial(output_folder, standing)),
        ("disk", partial(disk, standing)),
        ("state folder", state),
    ]
    return [finding for name, check in checks for finding in _outcome(name, check)]


def as_rows(findings: list[Finding]) -> list[dict[str, Any]]:
    """Findings as JSON values."""
    return [asdict(finding) for finding in findings]


def _outcome(name: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except Exception as error:
        # Whatever breaks a check may break the mill: it is shown, and the others still run.
        return [Finding(name, "bad", f"the check failed: {type(error).__name__}: {error}")]
