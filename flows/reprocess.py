"""Reprocess: one dataset, from its recording to its report."""

import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distributed import Client
from prefect import flow
from rich.console import Console

from flows.chosen import chosen_reductions
from flows.clusters import cluster
from flows.dataset import STEPS, Dataset
from flows.progress import step_lines
from flows.step import step
from tasks import results
from tasks.calibrate import calibrate
from tasks.calibration.given import Given
from tasks.disk import measure_disk
from tasks.dpc import DpcSettings, dpc
from tasks.ingest import ReaderOptions, ingest
from tasks.reduce import ReduceSettings, reduce
from tasks.ssb import SsbSettings, ssb
from tasks.store import layout
from tasks.store.events import EventStore, open_store
from tasks.store.publish import Manifest
from tasks.store.source import Source, fingerprint

ORDER = ("ingest", "disk", "reduce", "calibrate", "dpc", "ssb", "results")
"""Steps in the order in which they run; to redo one redoes all that follow."""

take_fingerprint = step(fingerprint)
ingest_recording = step(ingest)
measure_bright_field_disk = step(measure_disk)
reduce_events = step(reduce)
calibrate_microscope = step(calibrate)
retrieve_dpc_phase = step(dpc)
retrieve_ssb_phase = step(ssb)
publish_results = step(results.publish_results)


@flow(name="reprocess", validate_parameters=False, persist_result=False)
def reprocess(
    dataset: Dataset, output: str, client: Client | None = None, force: Iterable[str] = ()
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

    Returns
    -------
    dict
        The dataset's row in the night's summary.
    """
    return _reprocess(dataset, Path(output), client, redone(force))


def redone(force: Iterable[str]) -> frozenset[str]:
    """All steps that are redone when some are forced: those and what follows them."""
    first = min((ORDER.index(name) for name in force), default=len(ORDER))
    return frozenset(ORDER[first:])


def _reprocess(
    dataset: Dataset, output: Path, client: Client | None, force: frozenset[str]
) -> dict[str, Any]:
    start = time.monotonic()
    work = layout.work_folder(output, dataset.name)
    given = Given.of(dataset.model_dump() | {"scan_step_angstrom": dataset.milled_step})
    steps: list[tuple[Manifest, bool]] = []

    source = take_fingerprint(Path(dataset.path), work / "source.json")
    steps.append(ingest_recording(source, work, reader_options(dataset), client, "ingest" in force))
    events = open_store(layout.event_store(work))
    steps.append(measure_bright_field_disk(work, steps[-1][0].identity, given, "disk" in force))
    settings = reduce_settings(dataset, events, steps[-1][0])
    steps.append(
        reduce_events(events.path, work, steps[0][0].identity, settings, client, "reduce" in force)
    )
    reduced = steps[-1][0].identity
    steps.append(calibrate_microscope(work, reduced, settings, given, client, "calibrate" in force))
    calibrated = steps[-1][0].identity
    if "dpc" in dataset.steps:
        chosen = DpcSettings(**dataset.dpc.model_dump())
        steps.append(retrieve_dpc_phase(work, calibrated, chosen, "dpc" in force))
    if "ssb" in dataset.steps:
        chosen_ssb = SsbSettings(**dataset.ssb.model_dump())
        steps.append(
            retrieve_ssb_phase(work, calibrated, settings, chosen_ssb, client, "ssb" in force)
        )
    gathered = results.gather(
        dataset.name, source, work, settings, dataset.model_dump(exclude={"priority"}), steps
    )
    manifest, unchanged = publish_results(gathered, output, "results" in force)
    return results.summary_row(gathered, output, manifest) | {
        "status": "unchanged" if unchanged else "ok",
        "seconds": round(time.monotonic() - start, 1),
    }


def reader_options(dataset: Dataset) -> ReaderOptions:
    """What the job tells the reader."""
    return ReaderOptions(
        array=dataset.array,
        scan_shape=dataset.scan_shape,
        detector_shape=dataset.detector_shape,
        drop_flyback=dataset.drop_flyback,
        threshold=dataset.threshold,
        out_of_range=dataset.out_of_range,
        scan_bin=dataset.scan_bin,
    )


def reduce_settings(dataset: Dataset, events: EventStore, disk: Manifest) -> ReduceSettings:
    """What to take from the events: the standard detectors, and all that the job adds."""
    center, radius = tuple(disk.summary["center_px"]), float(disk.summary["semiangle_px"])
    return chosen_reductions(dataset, events.scan_shape, events.detector_shape, center, radius)


def ingest_file(
    path: Path, output: Path, options: ReaderOptions, console: Console, quiet: bool
) -> dict[str, Any]:
    """Ingest one recording on its own, without a job.

    Returns
    -------
    dict
        Path of the store and the facts that are worth knowing before a job is written.
    """
    work = output / path.name.split(".")[0]
    with cluster("local") as client, step_lines(console, quiet):
        source: Source = fingerprint(path, work / "source.json")
        manifest, reused = ingest(source, work, options, client)
    store = open_store(layout.event_store(work))
    return {
        "store": store.path,
        "format": store.metadata["format"],
        "scan": list(store.scan_shape),
        "detector": list(store.detector_shape),
        **{key: value for key, value in manifest.summary.items() if key != "seconds"},
        "notes": store.metadata["notes"],
        "reused": reused,
        "options": asdict(options),
    }


__all__ = ["ORDER", "STEPS", "ingest_file", "reprocess"]
