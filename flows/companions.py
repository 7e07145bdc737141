"""A dataset's keys from its recording or a file beside it; what the job says itself always wins."""

import os
from pathlib import Path
from typing import Any

from flows.dataset import Dataset
from flows.places import fault
from tasks.fetch import is_remote
from tasks.formats.companion import read_companion
from tasks.formats.own_metadata import own_metadata
from tasks.formats.recording import RecordingError
from tasks.roots import refusal

KEY, TOLD_BY = "metadata", "told_by"
NEEDED = ("voltage_kv", "semiangle_mrad", "scan_step_angstrom")
"""Keys that a file can give."""


def completed(
    entry: dict[str, Any],
    folder: Path,
    lines: dict[tuple, int],
    number: int,
    faults: list[str],
    awaited: bool = False,
) -> dict[str, Any]:
    """Fill what a dataset leaves open from its companion file, then from its recording.

    Parameters
    ----------
    entry : dict
        Keys of one dataset, its path being full.
    folder : Path
        That of the job.
    lines, number, faults
        Where the dataset stands in the job, and the list that takes what is wrong with it.
    awaited : bool
        A companion that cannot be read may be still to come.

    Returns
    -------
    dict
        With the full path of the companion, the keys that the files give, and the name of the file
        that gave each.
    """
    unsaid = {name for name in NEEDED if entry.get(name) is None} | {TOLD_BY}
    entry = {name: value for name, value in entry.items() if name not in unsaid}
    told = entry.get(KEY)
    if isinstance(told, str) and told:
        recording = Path(str(entry.get("path", "")))
        beside = Path(told.replace("{name}", recording.stem)).expanduser()
        full = Path(os.path.realpath(folder / beside))
        entry[KEY] = str(full)
        if refusal(str(full)) is None:  # else the check of all paths says so
            try:
                entry = _filled(entry, read_companion(str(full)).keys, full.name)
            except (RecordingError, OSError) as error:
                if not awaited:
                    faults.append(fault(lines, ("datasets", number, KEY), str(error)))
    return _from_recording(entry)


def untold(dataset: Dataset) -> str | None:
    """Say which keys a dataset still lacks that a file can give; None where it lacks none."""
    missing = [key for key in NEEDED if getattr(dataset, key) is None]
    if not missing:
        return None
    files = "the file does not hold it"
    if dataset.metadata is not None:
        files = f"neither the file nor {Path(dataset.metadata).name} holds it"
    return (
        f"{', '.join(missing)} missing; {files} and no phase in rad or length in Å can be had "
        "without it"
    )


def _from_recording(entry: dict[str, Any]) -> dict[str, Any]:
    path = entry.get("path")
    if all(name in entry for name in NEEDED) or not isinstance(path, str) or not path:
        return entry
    if is_remote(path) or refusal(path) is not None or not os.path.exists(path):
        return entry
    found = own_metadata(path)
    return entry if found is None else _filled(entry, found.keys, Path(path).name)


def _filled(entry: dict[str, Any], found: dict[str, Any], name: str) -> dict[str, Any]:
    new = {key: value for key, value in found.items() if key not in entry}
    if not new:
        return entry
    return entry | new | {TOLD_BY: entry.get(TOLD_BY, {}) | dict.fromkeys(new, name)}
