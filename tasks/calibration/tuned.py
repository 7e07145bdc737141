"""A calibration that somebody tuned by eye, kept beside the event store with who, when and why.

What a job gives wins over it; what a job leaves open is taken from it instead of being fitted.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.calibration.given import Given
from tasks.store import layout
from tasks.store.files import write_json

KEYS = ("scan_rotation_deg", "flip", "center_px", "semiangle_px", "aberrations")
"""What can be tuned, by its name in a job."""


class TunedError(ValueError):
    """The file of a tuned calibration does not hold one."""


def read_tuned(work: Path) -> dict[str, Any]:
    """What was tuned last: the keys of ``KEYS``, with the ``history`` of all changes.

    Parameters
    ----------
    work : Path
        Folder of the dataset's event store and steps.

    Returns
    -------
    dict
        Empty where nothing was tuned.

    Raises
    ------
    TunedError
        If the file cannot be read.
    """
    path = layout.tuned(work)
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in (*KEYS, "history") if key not in found]
    except (OSError, ValueError, TypeError) as error:
        raise TunedError(f"{path}: this is no tuned calibration ({error})") from error
    if missing:
        raise TunedError(f"{path}: this is no tuned calibration: {', '.join(missing)} missing")
    return found


def write_tuned(work: Path, entry: dict[str, Any]) -> Path:
    """Keep a tuned calibration beside the store.

    Parameters
    ----------
    work : Path
        Folder of the dataset's event store and steps.
    entry : dict
        ``by``, ``at``, ``before`` and ``after``; the last two have the keys of ``KEYS``.

    Returns
    -------
    Path
        The file.
    """
    history = [*read_tuned(work).get("history", []), entry]
    path = layout.tuned(work)
    write_json(path, {key: entry["after"][key] for key in KEYS} | {"history": history})
    return path


def with_tuned(given: Given, work: Path) -> tuple[Given, list[str]]:
    """What a job gives, completed by what was tuned.

    Returns
    -------
    given : Given
    taken : list of str
        A sentence for each value that was taken, for the report.
    """
    tuned = read_tuned(work)
    open_keys = [key for key in KEYS if tuned and getattr(given, key) is None]
    if not open_keys:
        return given, []
    values = {key: tuned[key] for key in open_keys}
    if "center_px" in values:
        values["center_px"] = tuple(values["center_px"])
    last = tuned["history"][-1]
    sentence = f"{', '.join(open_keys)}: tuned by {last['by']} on {last['at']}"
    return replace(given, **values), [sentence]
