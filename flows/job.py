"""The job file: what a night is to do, checked as a whole before any work starts.

Every key names its unit. All that is wrong is reported at once, each with the line of the file, so
that nobody finds the second mistake after the first night.
"""

import glob
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from flows.companions import completed, untold
from flows.dataset import Dataset, name_of_recording
from flows.job_model import Job
from flows.options import MIRROR, CnnOptions, CountingOptions, EpieOptions
from flows.places import fault, lines_of, once, place_and_message, repeated_keys, yaml_fault
from flows.roots import escaped_paths, masks_of, overwritten_paths
from tasks.array_files import ArrayFileError, read_positions, read_probe, read_reference
from tasks.fetch import is_remote
from tasks.files import why_unreadable
from tasks.masks import MaskError, read_mask
from tasks.patterns import PatternError, check_side

__all__ = ["Job", "JobError", "check_job", "read_job"]

RESERVED = dict.fromkeys(("bf", "abf", "adf"), "a standard detector has it")
RESERVED_REGIONS = {"vacuum": "give the key 'vacuum' instead"}


class JobError(ValueError):
    """A job file that cannot be run; each of ``faults`` is one mistake with its line."""

    def __init__(self, path: str, faults: list[str]) -> None:
        self.path, self.faults = path, faults
        many = f"{len(faults)} mistakes" if len(faults) > 1 else "1 mistake"
        super().__init__(f"{path}: {many} in the job\n" + "\n".join(f"  {f}" for f in faults))


def read_job(path: str | Path, awaited: bool = False) -> Job:
    """Read, check and complete a job file.

    Parameters
    ----------
    path : path
        A YAML file. Paths in it are relative to its folder; globs are expanded.
    awaited : bool
        Recordings that are not there are left out, because they are still to come; those that are
        there may lack what they or their companions are still to tell.

    Returns
    -------
    Job
        With defaults merged into each dataset, names filled in, and all paths absolute.

    Raises
    ------
    JobError
        With everything that is wrong in it.
    """
    file = Path(path)
    if (why := why_unreadable(file)) is not None:
        raise JobError(str(path), [f"the file cannot be read: {why}"])
    try:
        text = file.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except OSError as error:
        raise JobError(str(path), [f"the file cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise JobError(str(path), [f"the file is not UTF-8 text: {error.reason}"]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise JobError(str(path), [yaml_fault(error)]) from error
    if not isinstance(raw, dict):
        raise JobError(str(path), ["line 1: a job is a mapping with output and datasets"])
    return check_job(raw, str(path), file.resolve().parent, dict(lines_of(root)), awaited)


def check_job(
    raw: dict[str, Any],
    name: str,
    folder: Path,
    lines: dict[tuple, int] | None = None,
    awaited: bool = False,
) -> Job:
    """Check a job given as a mapping; see ``read_job``.

    Parameters
    ----------
    raw : dict
        The job.
    name : str
        For errors.
    folder : Path
        What its paths are relative to.
    lines : dict, optional
        Line of the file of each key, by its path of names and numbers.
    awaited : bool
        See ``read_job``.

    Raises
    ------
    JobError
        With everything that is wrong in it.
    """
    lines, faults = lines or {}, repeated_keys(lines or {})
    raw = dict(raw)
    defaults = raw.pop("defaults", None) or {}
    datasets = raw.get("datasets")
    if not isinstance(defaults, dict):
        faults.append(fault(lines, ("defaults",), "must be a mapping of dataset keys"))
        defaults = {}
    origins: list[int] = []
    merged: list[dict[str, Any]] = []
    if isinstance(datasets, list):
        for number, entry in enumerate(datasets):
            if not isinstance(entry, dict):
                faults.append(fault(lines, ("datasets", number), "must be a mapping with a path"))
                continue
            for one in _expanded(entry, folder, lines, number, faults, awaited):
                merged.append(
                    completed({**defaults, **one}, folder, lines, number, faults, awaited)
                )
                origins.append(number)
        raw["datasets"] = merged
    try:
        job = Job.model_validate(raw)
    except ValidationError as error:
        faults += [
            fault(lines, *place_and_message(item, origins, lines))
            for item in error.errors(include_url=False)
        ]
        sound = [(one, at) for one, at in zip(merged, origins, strict=True) if _is_sound(one)]
        rest = Job.model_validate({"output": ".", "datasets": [one for one, _ in sound]})
        places = [at for _, at in sound]
        faults += _contradictions(_with_full_paths(rest, folder), places, lines, awaited)
        raise JobError(name, once(faults)) from error
    job = _with_full_paths(job, folder)
    faults += _contradictions(job, origins, lines, awaited)
    faults += escaped_paths(job, origins, lines) + overwritten_paths(job, origins, lines)
    if not job.datasets and not datasets:
        faults.append(fault(lines, ("datasets",), "a night needs at least one dataset"))
    if faults:
        raise JobError(name, once(faults))
    return job


def _is_sound(raw: dict[str, Any]) -> bool:
    """Whether a dataset can be looked at further, whatever is wrong with others."""
    try:
        Dataset.model_validate(raw)
    except ValidationError:
        return False
    return True


def _with_full_paths(job: Job, folder: Path) -> Job:
    """The same job with the output and every mask as absolute paths."""

    def full(path: str) -> str:
        return os.path.realpath(folder / Path(path).expanduser())

    def moved(one: Any) -> Any:
        if one is None or one.mask is None:
            return one
        return one.model_copy(update={"mask": full(one.mask)})

    def moved_files(one: CnnOptions | EpieOptions, *names: str) -> Any:
        paths = {name: getattr(one, name) for name in names}
        return one.model_copy(update={n: path and full(path) for n, path in paths.items()})

    def moved_references(one: CountingOptions) -> CountingOptions:
        paths = {"dark": one.dark and full(one.dark), "gain": one.gain and full(one.gain)}
        return one.model_copy(update=paths)

    datasets = tuple(
        dataset.model_copy(
            update={
                "counting": dataset.counting and moved_references(dataset.counting),
                "detectors": tuple(moved(one) for one in dataset.detectors),
                "regions": tuple(moved(one) for one in dataset.regions),
                "vacuum": moved(dataset.vacuum),
                "probe": dataset.probe
                if dataset.probe in (None, "vacuum")
                else full(dataset.probe),
                "cnn": moved_files(dataset.cnn, "network", "positions"),
                "epie": moved_files(dataset.epie, "positions"),
            }
        )
        for dataset in job.datasets
    )
    return job.model_copy(update={"output": full(job.output), "datasets": datasets})


def _expanded(
    entry: dict,
    folder: Path,
    lines: dict[tuple, int],
    number: int,
    faults: list[str],
    awaited: bool,
) -> Iterator[dict]:
    """One entry for each file that a path, possibly a glob, stands for."""
    path = entry.get("path")
    if not isinstance(path, str) or not path:
        yield entry
        return
    if is_remote(path):
        if awaited or not re.fullmatch(MIRROR, path):
            why = "--watch looks at files" if awaited else "an address has no key, query or user"
            faults.append(fault(lines, ("datasets", number, "path"), f"{why}: {path}"))
        yield {"name": name_of_recording(path)} | entry
        return
    full = str(folder / Path(path).expanduser())
    found = [full] if os.path.exists(full) else sorted(glob.glob(full, recursive=True))
    if not found and awaited:
        return
    if not found:
        faults.append(
            fault(
                lines, ("datasets", number, "path"), f"{full}: {why_unreadable(full, folders=True)}"
            )
        )
        found = [full]  # its other keys are checked all the same
    if len(found) > 1 and entry.get("name"):
        faults.append(
            fault(
                lines,
                ("datasets", number, "name"),
                f"one name for {len(found)} files that {path} stands for; leave the name away",
            )
        )
    for one in found:
        yield {"name": name_of_recording(one)} | entry | {"path": one}


def _contradictions(
    job: Job, origins: list[int], lines: dict[tuple, int], awaited: bool
) -> list[str]:
    faults: list[str] = []
    if job.mirror_steps and job.mirror is None:
        faults.append(fault(lines, ("mirror_steps",), "needs a mirror to copy the steps to"))
    seen: dict[str, str] = {}
    for dataset, origin in zip(job.datasets, origins, strict=True):

        def place(key: str, origin: int = origin) -> tuple:
            return ("datasets", origin, key)

        if dataset.name in seen:
            faults.append(
                fault(
                    lines,
                    place("name"),
                    f"two datasets are called '{dataset.name}' ({seen[dataset.name]} and "
                    f"{dataset.path}); give each a name of its own",
                )
            )
        seen[dataset.name] = dataset.path
        if not awaited and (missing := untold(dataset)) is not None:
            faults.append(fault(lines, ("datasets", origin), f"{dataset.name}: {missing}"))
        faults += _names_and_masks(dataset, ("datasets", origin), lines)
        faults += _array_files(dataset, ("datasets", origin), lines)
    return faults


def _names_and_masks(dataset: Dataset, at: tuple, lines: dict[tuple, int]) -> list[str]:
    """Names that stand twice, and mask files that hold no mask."""
    faults: list[str] = []
    for key, taken in (("detectors", RESERVED), ("regions", RESERVED_REGIONS)):
        seen = dict(taken)
        for number, one in enumerate(getattr(dataset, key)):
            if one.name in seen:
                message = f"the name '{one.name}' is taken: {seen[one.name]}"
                faults.append(fault(lines, (*at, key, number, "name"), message))
            seen[one.name] = f"{key} {number} has it, give each a name of its own"
    for place, mask in masks_of(dataset):
        try:
            read_mask(mask)
        except MaskError as error:
            faults.append(fault(lines, (*at, *place, "mask"), str(error)))
    return faults


def _array_files(dataset: Dataset, at: tuple, lines: dict[tuple, int]) -> list[str]:
    """Files of arrays and networks that do not hold what they should, and keys that clash."""
    faults: list[str] = []
    if dataset.epie.side is not None:
        try:
            check_side(dataset.epie.side)
        except PatternError as error:
            faults.append(fault(lines, (*at, "epie", "side"), str(error)))
    if dataset.epie.method == "sequential" and dataset.epie.batch_size not in (None, 1):
        text = "the sequential method takes one position at a time; leave batch_size away"
        faults.append(fault(lines, (*at, "epie", "batch_size"), text))
    if dataset.epie.start == "cnn" and "cnn" not in dataset.steps:
        text = "the job has no step cnn to start from; add it to the steps, or leave start away"
        faults.append(fault(lines, (*at, "epie", "start"), text))
    deep = [name for name in ("cnn", "probe") if name in dataset.steps]
    if deep and find_spec("torch") is None:
        text = f"the step {deep[0]} needs torch; install phasemill[deep]"
        faults.append(fault(lines, (*at, "steps"), text))
    network = dataset.cnn.network
    if network is not None and (why := why_unreadable(network)) is not None:
        text = f"{network}: {why}"
        faults.append(fault(lines, (*at, "cnn", "network"), text))
    if dataset.probe == "vacuum" and dataset.vacuum is None:
        text = "the dataset has no vacuum; give 'vacuum: auto' or its window as well"
        faults.append(fault(lines, (*at, "probe"), text))
    references = dataset.counting or CountingOptions()
    for place, path, read in (
        (("counting", "dark"), references.dark, read_reference),
        (("counting", "gain"), references.gain, read_reference),
        (("probe",), None if dataset.probe == "vacuum" else dataset.probe, read_probe),
        (("cnn", "positions"), dataset.cnn.positions, read_positions),
        (("epie", "positions"), dataset.epie.positions, read_positions),
    ):
        if path is not None:
            try:
                read(path)
            except ArrayFileError as error:
                faults.append(fault(lines, (*at, *place), str(error)))
    return faults
