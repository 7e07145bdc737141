"""Saving what was tuned: into a job, whose comments stay as they are, or beside the event store."""

import io
import os
from copy import copy
from math import degrees
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.explore.opening import ExploreError, Opened
from flows.job import JobError, read_job
from tasks.calibration.tuned import KEYS, write_tuned
from tasks.explore.phases import Trial

DIGITS = 7


def tuned_values(trial: Trial) -> dict[str, Any]:
    """A trial as the keys of a dataset."""
    geometry = trial.geometry
    return {
        "scan_rotation_deg": _rounded(degrees(geometry.rotation)),
        "flip": geometry.flip,
        "center_px": [_rounded(c) for c in geometry.center],
        "semiangle_px": _rounded(geometry.radius),
        "aberrations": {k: _rounded(v) for k, v in trial.aberrations.nonzero().items()},
        "semiangle_mrad": _rounded(geometry.semiangle * 1e3),
    }


def entry_of(by: str, at: str, before: Trial, after: Trial) -> dict[str, Any]:
    """Who changed what, and when.

    Raises
    ------
    ExploreError
        If nobody signs.
    """
    if not by.strip():
        raise ExploreError("Who saves this? Give a name beside the button.")
    values = {"before": tuned_values(before), "after": tuned_values(after)}
    return {"by": by.strip()[:80], "at": at, **values}


def save_to_store(opened: Opened, entry: dict[str, Any]) -> Path:
    """Keep a calibration beside the event store, for every job that leaves it open.

    Raises
    ------
    ExploreError
        If the store is gone, or the semi-angle changed, which is a job's to give.
    """
    if not Path(opened.store.path).is_dir():
        raise ExploreError(f"The event store {opened.store.path} is gone; save to a job instead.")
    before, after = entry["before"], entry["after"]
    if before["semiangle_mrad"] != after["semiangle_mrad"]:
        raise ExploreError(
            f"The semi-angle was changed to {after['semiangle_mrad']:g} mrad, and a job always "
            "gives it: save to the job."
        )
    kept = {name: {key: entry[name][key] for key in KEYS} for name in ("before", "after")}
    try:
        return write_tuned(opened.work, entry | kept)
    except (OSError, ValueError) as error:
        raise ExploreError(f"{opened.work} cannot be written: {error}") from error


def save_to_job(opened: Opened, path: Path, entry: dict[str, Any]) -> Path:
    """Write a calibration into a job that has the dataset, or into a new one.

    Parameters
    ----------
    opened : Opened
        The dataset.
    path : Path
        The job file; where there is none, it is made.
    entry : dict
        From ``entry_of``.

    Returns
    -------
    Path
        The file; it is a job that can be run.

    Raises
    ------
    ExploreError
        If the result would be no job, and then the file is as it was.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    try:
        job = yaml.load(path.read_text(encoding="utf-8")) if path.exists() else _new(opened, path)
        dataset = _dataset(job, path, opened)
        for key, value in entry["after"].items():
            dataset[key] = copy(value)  # no two keys of the file point to one
        dataset["tuned"] = [*dataset.get("tuned", []), entry]
        text = io.StringIO()
        yaml.dump(job, text)
        _replace(path, text.getvalue())
    except (OSError, UnicodeDecodeError, YAMLError, JobError) as error:
        raise ExploreError(f"{path} is left as it was: {error}") from error
    return path


def _new(opened: Opened, path: Path) -> dict[str, Any]:
    if not opened.recording or not Path(opened.recording).exists():
        raise ExploreError(
            f"A new job needs the recording, and {opened.recording or 'its path'} is not there."
        )
    if path.suffix not in (".yaml", ".yml"):
        raise ExploreError(f"{path}: a job's name ends in .yaml")
    geometry = opened.geometry
    return {
        "output": "reprocessed",
        "datasets": [
            {
                "path": str(Path(opened.recording).resolve()),
                "name": opened.name,
                "voltage_kv": _rounded(geometry.energy / 1e3),
                "semiangle_mrad": _rounded(geometry.semiangle * 1e3),
                "scan_step_angstrom": [_rounded(s) for s in geometry.scan_step],
            }
        ],
    }


def _dataset(job: Any, path: Path, opened: Opened) -> Any:
    """The entry of the dataset in a job as it is written."""
    datasets = job.get("datasets") if isinstance(job, dict) else None
    if not isinstance(datasets, list) or not all(isinstance(one, dict) for one in datasets):
        raise ExploreError(f"{path}: this is no job, it has no list of datasets")
    folder = path.resolve().parent
    for one in datasets:
        own = str(one.get("path", ""))
        same = opened.recording and (folder / own).resolve() == Path(opened.recording).resolve()
        if one.get("name") == opened.name or (same and one.get("name") in (None, opened.name)):
            return one
    raise ExploreError(
        f"{path}: no dataset of it is named {opened.name} or has the path "
        f"{opened.recording or '(unknown)'}; one that stands for many files by a pattern needs an "
        "entry of its own"
    )


def _replace(path: Path, text: str) -> None:
    """Put a file in the place of another if it is a job, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        aside.write_text(text, encoding="utf-8")
        read_job(aside)
        if path.exists():
            aside.chmod(path.stat().st_mode & 0o777)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
