"""A dataset's keys from the file beside its recording; what the job says itself always wins."""

from pathlib import Path
from typing import Any

from flows.places import fault
from flows.roots import refusal
from tasks.formats.companion import read_companion
from tasks.formats.recording import RecordingError

KEY = "metadata"


def completed(
    entry: dict[str, Any],
    folder: Path,
    lines: dict[tuple, int],
    number: int,
    faults: list[str],
) -> dict[str, Any]:
    """Fill what a dataset leaves open from its companion file.

    Parameters
    ----------
    entry : dict
        Keys of one dataset, its path being full.
    folder : Path
        That of the job.
    lines, number, faults
        Where the dataset stands in the job, and the list that takes what is wrong with it.

    Returns
    -------
    dict
        With the full path of the companion, and the keys that it gives.
    """
    told = entry.get(KEY)
    if not isinstance(told, str) or not told:
        return entry
    recording = Path(str(entry.get("path", "")))
    path = str((folder / Path(told.replace("{name}", recording.stem)).expanduser()).resolve())
    if refusal(path) is not None:  # the check of all paths says so
        return entry | {KEY: path}
    try:
        found = read_companion(path).keys
    except (RecordingError, OSError) as error:
        faults.append(fault(lines, ("datasets", number, KEY), str(error)))
        return entry | {KEY: path}
    return found | {name: value for name, value in entry.items() if value is not None} | {KEY: path}
