"""Reprocess: one dataset, from its recording to its report."""

import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

from distributed import Client
from prefect import flow
from rich.console import Console

from flows.chosen import chosen_cnn, chosen_epie, chosen_reductions
from flows.clusters import cluster
from flows.companions import untold
from flows.dataset import STEPS, Dataset, name_of_recording
from flows.progress import step_lines
from flows.recordings import reader_options
from flows.step import step
from tasks import results
from tasks.calibrate import calibrate
from tasks.calibration.given import Given
from tasks.calibration.tuned import with_tuned
from tasks.compared import Method
from tasks.disk import measure_disk
from tasks.dpc import DpcSettings, dpc
from tasks.epie import reconstruct
from tasks.fetch import fetch, is_remote
from tasks.formats.companion import read_companion
from tasks.formats.recording import RecordingError
from tasks.frc import FrcSettings, frc, make_halves
from tasks.ingest import ReaderOptions, ingest, source_of
from tasks.memory import Demand, demands, refuse_what_cannot_fit
from tasks.reduce import ReduceSettings, reduce
from tasks.ssb import SsbSettings, ssb
from tasks.step_copies import StepCopies
from tasks.store import layout
from tasks.store.events import EventStore, open_store
from tasks.store.foreign import (
    ForeignFilesError,
    refuse_foreign,
    refuse_other_recording,
)
from tasks.store.publish import Manifest
from tasks.store.source import fingerprint

ORDER = (
    "ingest", "disk", "reduce", "calibrate", "probe",
    "dpc", "ssb", "cnn", "epie", "frc", "results",
)  # fmt: skip
"""Steps in the order in which they run; to redo one redoes all that follow."""


def cnn(*args: Any, **options: Any) -> tuple[Manifest, bool]:
    """The step ``cnn``; torch is loaded only where a job asks for it."""
    from tasks.cnn import cnn as retrieve

    return retrieve(*args, **options)


def recover_probe(
    work: Path, calibrated: str, dataset: Dataset, use: bool, *args: Any
) -> tuple[Manifest, bool]:
    """The step ``probe``, as a dataset wants it; loads torch as well."""
    from tasks.probe import ProbeSettings
    from tasks.probe import recover_probe as recover

    return recover(
        work, calibrated, ProbeSettings(**dataset.probe_search.model_dump(), use=use), *args
    )


fetch_recording = step(fetch)
ingest_recording = step(ingest)
measure_bright_field_disk = step(measure_disk)
reduce_events = step(reduce)
calibrate_microscope = step(calibrate)
find_probe = step(recover_probe)
PHASES: dict[str, Callable[..., tuple[Manifest, bool]]] = {
    "dpc": dpc, "ssb": ssb, "cnn": cnn, "epie": reconstruct,
}  # fmt: skip
"""Steps that make phase images from the calibrated reductions, in the order in which they run."""
retrieve_phase = {name: step(function) for name, function in PHASES.items()}
measure_resolution = step(frc)
publish_results = step(results.publish_results)


@flow(name="reprocess", validate_parameters=False, persist_result=False)
def reprocess(
    dataset: Dataset,
    output: str,
    client: Client | None = None,
    force: Iterable[str] = (),
    copies: StepCopies | None = None,
) -> dict[str, Any]:
    """Mill one dataset.

    Parameters
    ----------
    dataset : Dataset
        The recording and how it is to be milled.
    output : str
        Folder of the night.
    client : distributed.Client, optional
        Where units of work run; without it everything runs in this process.
    force : iterable of str
        Steps to redo, with all that follow them.
    copies : StepCopies, optional
        Where each finished step is copied to.

    Returns
    -------
    dict
        The dataset's row in the night's summary.
    """
    return _reprocess(dataset, Path(output), client, redone(force), copies)


def redone(force: Iterable[str]) -> frozenset[str]:
    """All steps that are redone when some are forced: those and what follows them."""
    first = min((ORDER.index(name) for name in force), default=len(ORDER))
    return frozenset(ORDER[first:])


def _reprocess(
    dataset: Dataset,
    output: Path,
    client: Client | None,
    force: frozenset[str],
    copies: StepCopies | None,
) -> dict[str, Any]:
    start = time.monotonic()
    refuse_untold(dataset)
    refuse_foreign(output / dataset.name)
    work = layout.work_folder(output, dataset.name)
    told = Given.of(dataset.model_dump() | {"scan_step_angstrom": dataset.milled_step})
    given, tuned = with_tuned(told, work)
    steps: list[tuple[Manifest, bool]] = []

    def add(done: tuple[Manifest, bool]) -> None:
        steps.append(done)
        if copies is not None:
            copies.keep(done[0])

    path = Path(dataset.path)
    if is_remote(dataset.path):
        path = fetch_recording(dataset.path, work / "recording")
    refuse_other_recording(
        output / dataset.name, dataset.path, lambda: fingerprint(path, layout.source(work)).sha256
    )
    add(ingest_recording(path, work, reader_options(dataset), client, "ingest" in force))
    source = source_of(path, work, steps[0][0])
    events = open_store(layout.event_store(work))
    check_companion(dataset, events)
    add(measure_bright_field_disk(work, steps[-1][0].identity, given, "disk" in force))
    settings = reduce_settings(dataset, events, steps[-1][0])
    refuse_what_cannot_fit(memory_demands(dataset, events, settings), client)
    add(reduce_events(events.path, work, steps[0][0].identity, settings, client, "reduce" in force))
    reduced = steps[-1][0].identity
    judged = frc_settings(dataset)
    halves = cache(partial(make_halves, work, steps[0][0].identity, settings, judged, client))
    beside = halves if "frc" in dataset.steps else None
    add(calibrate_microscope(work, reduced, settings, given, client, "calibrate" in force, beside))
    calibrated = steps[-1][0].identity
    if "probe" in dataset.steps:
        use = given.aberrations is None
        add(find_probe(work, calibrated, dataset, use, client, "probe" in force))
        calibrated = steps[-1][0].identity if use else calibrated
    phases = phase_options(dataset, settings, client)
    for name, options in phases.items():
        add(retrieve_phase[name](work, calibrated, **options, force=name in force))
    if "frc" in dataset.steps:
        methods: dict[str, Method] = {
            name: partial(PHASES[name], **options)
            for name, options in phases.items()
            if name in halved(dataset)
        }
        made = {manifest.step: manifest.identity for manifest, _ in steps}
        made["calibrate"] = calibrated
        inputs = {name: made[name] for name in ("ingest", "reduce", "calibrate", *methods)}
        judging = (work, inputs, settings, judged, methods, halves, client)
        add(measure_resolution(*judging, "frc" in force))
    job = dataset.model_dump(exclude={"priority"})
    gathered = results.gather(dataset.name, source, work, settings, job, steps, tuned)
    manifest, unchanged = publish_results(gathered, output, client, "results" in force)
    return results.summary_row(gathered, output, manifest) | {
        "status": "unchanged" if unchanged else "ok",
        "seconds": round(time.monotonic() - start, 1),
    }


def refuse_untold(dataset: Dataset) -> None:
    """Refuse a recording that was awaited and came without what the job leaves to it."""
    if (missing := untold(dataset)) is not None:
        reader_options(dataset).open(dataset.path)  # which may be why, and then says so
        raise RecordingError(f"{dataset.path}: {missing}")


def check_companion(dataset: Dataset, events: EventStore) -> None:
    """Hold the companion, where it gave the scan step, against the scan."""
    if dataset.metadata is None:
        return
    companion = read_companion(dataset.metadata)
    if companion.scan_step_angstrom == dataset.scan_step_angstrom:
        companion.check_scan(events.scan_shape, dataset.scan_bin)


def phase_options(
    dataset: Dataset, reduced: ReduceSettings, client: Client | None
) -> dict[str, dict[str, Any]]:
    """What each phase that the job asks for is made with, by the name of its step."""
    ssb_settings = SsbSettings(**dataset.ssb.model_dump())
    options: dict[str, Callable[[], dict[str, Any]]] = {
        "dpc": lambda: {"settings": DpcSettings(**dataset.dpc.model_dump())},
        "ssb": lambda: {"reduced": reduced, "settings": ssb_settings, "client": client},
        "cnn": lambda: {"settings": chosen_cnn(dataset), "client": client},
        "epie": lambda: {"settings": chosen_epie(dataset), "client": client},
    }
    return {name: options[name]() for name in PHASES if name in dataset.steps}


def halved(dataset: Dataset) -> set[str]:
    """Steps that are made again from each half: those asked for, and what they start from."""
    wanted: set[str] = set(dataset.frc.methods)
    starts_there = "epie" in wanted and dataset.epie.start != "flat"
    return wanted | {"cnn"} if starts_there else wanted


def frc_settings(dataset: Dataset) -> FrcSettings:
    """How the resolution is measured."""
    virtual = "virtual" in dataset.frc.methods
    return FrcSettings(dataset.frc.seed, dataset.frc.threshold, virtual)


def reduce_settings(dataset: Dataset, events: EventStore, disk: Manifest) -> ReduceSettings:
    """What to take from the events: the standard detectors, and all that the job adds."""
    center, radius = tuple(disk.summary["center_px"]), float(disk.summary["semiangle_px"])
    return chosen_reductions(dataset, events.scan_shape, events.detector_shape, center, radius)


def memory_demands(dataset: Dataset, events: EventStore, settings: ReduceSettings) -> list[Demand]:
    """What the steps of a dataset will need, by the size of its recording."""
    rows, cols = events.scan_shape
    slab = min(events.slab_rows, rows) * cols
    return demands(
        rows * cols, slab, events.events * slab / (rows * cols), settings.pixels, dataset.steps
    )


def ingest_file(
    path: Path,
    output: Path,
    options: ReaderOptions,
    console: Console,
    quiet: bool,
    name: str | None = None,
) -> dict[str, Any]:
    """Ingest one recording on its own, without a job.

    Parameters
    ----------
    path : Path
        The recording.
    output : Path
        Folder of stores.
    options : ReaderOptions
        For the reader.
    console, quiet
        For progress.
    name : str, optional
        Of the store's folder; the recording's own name when absent, as in a job.

    Returns
    -------
    dict
        Path of the store and the facts that are worth knowing before a job is written.

    Raises
    ------
    ForeignFilesError
        If something else stands where the store is to stand.
    """
    work = output / (name or name_of_recording(path))
    if (there := layout.event_store(work)).exists() and not (there / layout.MANIFEST).exists():
        raise ForeignFilesError(
            f"{there} is there and no store of this program, which would take its place; give "
            "another output"
        )
    with cluster("local") as client, step_lines(console, quiet):
        manifest, reused = ingest(path, work, options, client)
    store = open_store(layout.event_store(work))
    return {
        "store": store.path,
        "format": store.metadata["format"],
        "scan": list(store.scan_shape),
        "detector": list(store.detector_shape),
        **{k: v for k, v in manifest.summary.items() if k not in ("seconds", "devices")},
        "notes": store.metadata["notes"],
        "reused": reused,
        "options": options.parameters,
    }


__all__ = ["ORDER", "STEPS", "ingest_file", "reprocess"]
