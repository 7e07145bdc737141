"""What is explored: the event store behind a path, and what is known of its microscope."""

import json
from dataclasses import dataclass
from math import radians
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.dataset import Dataset, name_of_recording
from flows.job import read_job
from flows.recordings import reader_options
from flows.reprocess import ingest_file
from models.aberrations import Aberrations
from models.geometry import Geometry
from tasks.calibrate import read_calibration
from tasks.calibration.tuned import read_tuned
from tasks.disk import fit_store_disk
from tasks.files import in_words
from tasks.ingest import ReaderOptions
from tasks.memory import MemoryPlanError
from tasks.store import layout
from tasks.store.events import EventStore, open_store

NEEDED = {"voltage_kv": "--voltage-kv", "semiangle_mrad": "--semiangle-mrad",
          "scan_step_angstrom": "--scan-step-angstrom"}  # fmt: skip


class ExploreError(ValueError):
    """What was asked for cannot be explored; says why and what to do."""


@dataclass(frozen=True)
class Opened:
    """A recording, ready to be explored."""

    store: EventStore
    work: Path
    """Folder of the event store and of the steps."""
    geometry: Geometry
    aberrations: Aberrations
    origin: str
    """Where rotation and aberrations are known from; empty where they are not."""
    job: Path | None
    """The job that the dataset belongs to."""
    name: str
    """Of the dataset."""
    recording: str
    """Path of the recording, where it is known."""


def numbers_of(
    voltage_kv: float | None, semiangle_mrad: float | None, scan_step_angstrom: float | None
) -> dict[str, Any]:
    """What is given by hand, by the keys of a dataset."""
    return dict(zip(NEEDED, (voltage_kv, semiangle_mrad, scan_step_angstrom), strict=True))


def open_target(
    path: Path,
    numbers: dict[str, Any],
    job: Path | None = None,
    dataset: str | None = None,
    output: Path = Path("stores"),
    console: Console | None = None,
) -> Opened:
    """Find the event store behind a path, and all that is known of its calibration.

    Parameters
    ----------
    path : Path
        An event store or its folder, a dataset's results, a job, or a recording, which is ingested.
    numbers : dict
        Keys of a dataset that are given by hand; None is not given. They win.
    job : Path, optional
        Where the dataset's numbers stand, and tuned ones are to be saved.
    dataset : str, optional
        Its name, where the job has several.
    output : Path
        Folder for the store of a recording that is in no job.
    console : rich.console.Console, optional
        Where the progress of an ingest is shown.

    Returns
    -------
    Opened

    Raises
    ------
    ExploreError
        If something is missing or wrong.
    """
    try:
        if path.suffix in (".yaml", ".yml"):
            job = path
        entry, night = (None, None) if job is None else _entry(job, dataset, path)
        work = _work_folder(path, entry, night, output, console)
        store = open_store(layout.event_store(work))
        return _opened(store, work, numbers, entry, job)
    except (ValueError, OSError, MemoryPlanError) as error:
        raise ExploreError(in_words(error)) from error


def _entry(job: Path, dataset: str | None, path: Path) -> tuple[Dataset, Path]:
    """The dataset of a job that is meant: the named one, the only one, or the one of the path."""
    found = read_job(job)
    names = [one.name for one in found.datasets]
    wanted = [
        one
        for one in found.datasets
        if (one.name == dataset if dataset else len(names) == 1 or _is_of(one, path))
    ]
    if len(wanted) != 1:
        asked = f"'{dataset}' is none of them" if dataset else "say which with --dataset"
        raise ExploreError(f"{job}: it has the datasets {', '.join(names)}; {asked}")
    return wanted[0], Path(found.output)


def _is_of(one: Dataset, path: Path) -> bool:
    return path.resolve() == Path(one.path).resolve() or one.name in (path.name, path.parent.name)


def _work_folder(
    path: Path, entry: Dataset | None, night: Path | None, output: Path, console: Console | None
) -> Path:
    """Folder of the event store, which is made where there is none yet."""
    if path.name == layout.EVENTS and path.is_dir():
        return path.parent
    for work in (path, layout.work_folder(path.parent, path.name)):
        if layout.event_store(work).is_dir():
            return work
    if entry is not None and night is not None:
        work = layout.work_folder(night, entry.name)
        if not layout.event_store(work).is_dir():
            _ingest(Path(entry.path), work, reader_options(entry), console)
        return work
    if not path.exists():
        raise ExploreError(
            f"{path}: there is nothing here; give an event store, a dataset's results, a job or a "
            "recording"
        )
    work = output / name_of_recording(path)
    _ingest(path, work, ReaderOptions(), console)
    return work


def _ingest(path: Path, work: Path, options: ReaderOptions, console: Console | None) -> None:
    quiet = console is None
    ingest_file(path, work.parent, options, console or Console(quiet=True), quiet, work.name)


def _opened(
    store: EventStore, work: Path, numbers: dict[str, Any], entry: Dataset | None, job: Path | None
) -> Opened:
    known, origin = _known(work)
    own = {} if entry is None else _given(entry)
    if any(own.get(key) is not None for key in ("scan_rotation_deg", "aberrations")):
        origin = f"the job {job}"
    known |= own | {key: value for key, value in numbers.items() if value is not None}
    missing = [option for key, option in NEEDED.items() if known.get(key) is None]
    if missing:
        raise ExploreError(
            f"{store.path}: the store does not say {', '.join(missing)}; give them, or --job with "
            "the job that has them"
        )
    center, radius = known.get("center_px"), known.get("semiangle_px")
    if center is None or radius is None:
        fitted = fit_store_disk(store)
        center, radius = center or fitted[0], radius or fitted[1]
    step = known["scan_step_angstrom"]
    geometry = Geometry(
        energy=known["voltage_kv"] * 1e3,
        semiangle=known["semiangle_mrad"] * 1e-3,
        scan_step=(step, step) if isinstance(step, float | int) else tuple(step),
        center=(float(center[0]), float(center[1])),
        radius=float(radius),
        rotation=radians(known.get("scan_rotation_deg") or 0.0),
        flip=bool(known.get("flip")),
    )
    lens = Aberrations(**(known.get("aberrations") or {}))
    name = entry.name if entry else work.name
    return Opened(
        store, work, geometry, lens, origin, job, name, entry.path if entry else _recording(work)
    )


def _given(entry: Dataset) -> dict[str, Any]:
    keys = (*NEEDED, "scan_rotation_deg", "flip", "center_px", "semiangle_px", "aberrations")
    found = {key: getattr(entry, key) for key in keys} | {"scan_step_angstrom": entry.milled_step}
    return {key: value for key, value in found.items() if value is not None}


def _known(work: Path) -> tuple[dict[str, Any], str]:
    """What the last calibration found, and on top of it what somebody tuned."""
    known: dict[str, Any] = {}
    origin = ""
    try:
        _, lens, found = read_calibration(work)
        one = found["calibration"]
        known = {key: one[key]["value"] for key in one if key != "aberrations"}
        known["aberrations"] = lens.nonzero()
        origin = "the night's calibration"
    except (OSError, KeyError, ValueError):
        pass  # no night has calibrated it yet
    if tuned := read_tuned(work):
        known |= {key: value for key, value in tuned.items() if key != "history"}
        last = tuned["history"][-1]
        origin = f"the calibration that {last['by']} tuned on {last['at']}"
    return known, origin


def _recording(work: Path) -> str:
    try:
        return str(json.loads((work / "source.json").read_text(encoding="utf-8"))["path"])
    except (OSError, KeyError, ValueError):
        return ""
