"""Results: everything a dataset's steps found, gathered, pictured and published as one folder.

The folder holds ``results.zarr`` (opens with ``xarray.open_zarr``), the images, the report and the
provenance; it replaces the previous one in a single rename, so a reader sees the old or the new.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client

from models.geometry import Geometry
from tasks.calibrate import read_calibration
from tasks.cnn_results import cnn_flags, cnn_variables
from tasks.data_flags import data_flags, reduction_flags
from tasks.epie_results import epie_flags, epie_variables
from tasks.frc import read_curves
from tasks.probe_results import probe_variables
from tasks.reduce import ReduceSettings
from tasks.reduced import angles, link_radial, publish_dense, reduced_variables
from tasks.report.images import write_images
from tasks.report.page import open_results, write_report
from tasks.ssb_bins import ssb_flags
from tasks.store import layout
from tasks.store.datasets import consolidate, write_zarr
from tasks.store.events import EventStore, open_store, read_array
from tasks.store.files import data_names, hash_file, hash_of, write_json
from tasks.store.foreign import keep_foreign, refuse_foreign
from tasks.store.provenance import provenance
from tasks.store.publish import Manifest, publish, reusable, step_identity
from tasks.store.records import begin
from tasks.store.source import Source
from tasks.units import run_units

VERSION = 3
PARTS = 4
"""Units in which the images are drawn."""

LONG_NAMES = {
    "electrons": ("electrons at each scan position", "e"),
    "com_y": ("centre of mass of the bright-field disk along y", "1/Å"),
    "com_x": ("centre of mass of the bright-field disk along x", "1/Å"),
    "dpc_phase": ("phase from differential phase contrast", "rad"),
    "ssb_phase": ("phase from single sidebands", "rad"),
    "ssb_amplitude": ("amplitude from single sidebands", "1"),
    "ssb_wiener_phase": ("phase from single sidebands, Wiener-weighted", "rad"),
    "wpo_phase": ("phase from the full weak-phase estimate", "rad"),
    "wpo_wiener_phase": ("phase from the full weak-phase estimate, Wiener-weighted", "rad"),
}


@dataclass(frozen=True)
class Gathered:
    """What the steps of one dataset left to be published."""

    name: str
    source: Source
    events: EventStore
    geometry: Geometry
    calibration: dict[str, Any]
    """As the root attribute ``calibration`` of the results."""
    quality: list[dict[str, str]]
    work: Path
    """Folder of the dataset's steps."""
    reduction: ReduceSettings
    reduced: xr.Dataset
    """Variables of the reduction."""
    iterative: xr.Dataset
    """Variables of ePIE and of the network, empty without them."""
    images: dict[str, tuple[np.ndarray, str, dict[str, Any]]]
    """(y, x) image, name of the step that made it, its parameters; by variable."""
    job: dict[str, Any]
    steps: list[tuple[Manifest, bool]]


def dataset_of(gathered: Gathered) -> xr.Dataset:
    """All results of a dataset with their coordinates, units and parameters.

    Returns
    -------
    xarray.Dataset
        Images over ``y``, ``x`` [Å]; ``pacbed`` over ``ky``, ``kx`` [1/Å] on the detector's axes.
    """
    events, geometry = gathered.events, gathered.geometry
    rows, cols = events.scan_shape
    height, width = events.detector_shape
    k = geometry.pixel_wavevector
    coordinates: dict[str, Any] = {
        "y": ("y", np.arange(rows) * geometry.scan_step[0], _axis("slow scan axis", "Å")),
        "x": ("x", np.arange(cols) * geometry.scan_step[1], _axis("fast scan axis", "Å")),
        "ky": ("ky", (np.arange(height) - geometry.center[0]) * k, _axis("detector rows", "1/Å")),
        "kx": ("kx", (np.arange(width) - geometry.center[1]) * k, _axis("detector columns", "1/Å")),
    }
    electrons = events.array("electrons")
    frames = events.array("frames_present")
    variables: dict[str, Any] = {
        "electrons": _image(electrons.astype(np.float32), "electrons", "ingest", {}),
        "frames_present": (("y", "x"), frames, _axis("frames recorded at each position", "1")),
        "sector_mask": (
            ("y", "x"),
            events.array("sector_mask"),
            _axis("detector sectors that lost their data, one bit each", "1"),
        ),
        "pacbed": (
            ("ky", "kx"),
            events.array("frame_sum") / max(1, int(frames.sum())),
            _axis("mean diffraction pattern", "e") | {"step": "ingest", "parameters": {}},
        ),
    }
    if gathered.reduction.radial is not None:
        coordinates["radius"] = angles(gathered.reduction.radial, geometry)
    variables |= {str(name): variable for name, variable in gathered.reduced.data_vars.items()}
    variables |= {str(name): variable for name, variable in gathered.iterative.data_vars.items()}
    coordinates |= {str(name): axis for name, axis in gathered.iterative.coords.items()}
    for name, (data, step, parameters) in gathered.images.items():
        variables[name] = _image(data.astype(np.float32), name, step, parameters)
    return xr.Dataset(
        variables,
        coords=coordinates,
        attrs={
            "title": gathered.name,
            "calibration": gathered.calibration,
            "dose": dose(electrons, frames, events.array("sector_mask"), geometry),
            "quality": gathered.quality,
            "notes": list(events.metadata["notes"]),
            "source": events.metadata["source"],
        },
    )


def dose(
    electrons: np.ndarray, frames: np.ndarray, sectors: np.ndarray, geometry: Geometry
) -> dict[str, float]:
    """How many electrons the images were made from, and where some are missing.

    Parameters
    ----------
    electrons, frames : (scan_y, scan_x) integer
        Of each position.
    sectors : (scan_y, scan_x) uint8
        Lost sectors as bits.
    geometry : Geometry
        With the scan step.

    Returns
    -------
    dict
        ``electrons_total``, ``electrons_per_frame_mean`` [e], ``electrons_per_angstrom2`` [e/Å²];
        ``frames_missing``, ``frames_partial`` and ``positions``, which are counts.
    """
    total, present = int(electrons.sum(dtype=np.int64)), frames > 0
    area = geometry.scan_step[0] * geometry.scan_step[1]
    mean = total / max(1, int(frames.sum(dtype=np.int64)))
    return {
        "electrons_total": total,
        "electrons_per_frame_mean": mean,
        "electrons_per_angstrom2": total / max(1, int(present.sum())) / area,
        "frames_missing": int((~present).sum()),
        "frames_partial": int((sectors != 0).sum()),
        "positions": int(frames.size),
    }


def publish_results(
    gathered: Gathered, output: Path, client: Client | None = None, force: bool = False
) -> tuple[Manifest, bool]:
    """Write and publish the folder of a dataset, or find it as it should be.

    Parameters
    ----------
    gathered : Gathered
        What the steps left.
    output : Path
        Folder of the night.
    client, force
        As for every step; the images are drawn while the report is written.

    Returns
    -------
    manifest : Manifest
        Its summary has ``data``, the digest of all that repeats to the byte.
    reused : bool
        Whether nothing had to be written.

    Raises
    ------
    ForeignFilesError
        If something else than a result stands there. What somebody put into one is moved beside it.
    """
    folder = output / gathered.name
    inputs = {manifest.step: manifest.identity for manifest, _ in gathered.steps}
    parameters = {"job": gathered.job, "name": gathered.name}
    identity = step_identity("results", VERSION, inputs, parameters)
    refuse_foreign(folder)
    if not force and (manifest := reusable(folder, identity)):
        return manifest, True
    aside = begin(folder, identity)
    results = dataset_of(gathered)
    write_zarr(results, aside / layout.RESULTS)
    if any(manifest.step == "frc" for manifest, _ in gathered.steps):
        write_zarr(read_curves(gathered.work), aside / layout.RESULTS, group="frc")
    _link_large_arrays(gathered, aside)
    write_json(
        aside / layout.PROVENANCE,
        provenance(
            gathered.source, gathered.events.metadata["format"], gathered.job, gathered.steps
        ),
    )
    names = [str(name) for name in results.data_vars]
    parts = [names[first::PARTS] for first in range(min(PARTS, len(names)))]
    units = [(str(aside), part) for part in parts]
    run_units("images", _draw, units, client, meanwhile=partial(write_report, aside))
    repeatable = {
        name: hash_file(aside / name)
        for name in data_names(aside)
        if name.split("/")[0] in (layout.RESULTS, layout.DENSE, layout.IMAGES)
    }
    keep_foreign(folder)
    manifest = publish(
        folder,
        step="results",
        identity=identity,
        inputs=inputs,
        parameters=parameters,
        summary={"data": hash_of(repeatable)},
        known_hashes=repeatable,
    )
    return manifest, False


def _draw(folder: str, names: list[str]) -> None:
    """Draw some of the results that a folder holds."""
    results, _ = open_results(Path(folder))
    write_images(results, Path(folder, layout.IMAGES), names)


def _link_large_arrays(gathered: Gathered, aside: Path) -> None:
    """Add what is too large to be read into memory and written again."""
    settings = gathered.reduction
    if settings.radial is not None and settings.radial.full:
        link_radial(gathered.work, aside / layout.RESULTS)
        consolidate(aside / layout.RESULTS)
    if settings.export is not None:
        reduced = next(manifest for manifest, _ in gathered.steps if manifest.step == "reduce")
        publish_dense(
            gathered.work, aside / layout.DENSE, settings, gathered.events, gathered.geometry,
            reduced, gathered.name,
        )  # fmt: skip
        consolidate(aside / layout.DENSE)


def read_step(work: Path, step: str, names: list[str]) -> dict[str, np.ndarray]:
    """Arrays that a finished step left, by name; those it did not make are left out."""
    folder = layout.step_folder(work, step)
    return {name: read_array(folder, name) for name in names if (folder / name).is_dir()}


def _image(
    data: np.ndarray, name: str, step: str, parameters: dict[str, Any]
) -> tuple[tuple[str, str], np.ndarray, dict[str, Any]]:
    long_name, units = LONG_NAMES.get(name, (name.replace("_", " "), "e"))
    return ("y", "x"), data, _axis(long_name, units) | {"step": step, "parameters": parameters}


def _axis(long_name: str, units: str) -> dict[str, Any]:
    return {"long_name": long_name, "units": units}


IMAGES_OF = {
    "dpc": ("com_y", "com_x", "dpc_phase"),
    "ssb": ("ssb_phase", "ssb_amplitude", "ssb_wiener_phase", "wpo_phase", "wpo_wiener_phase"),
}
"""Images that each step leaves, beside those of the reduction, which the job names."""


def gather(
    name: str,
    source: Source,
    work: Path,
    reduced: ReduceSettings,
    job: dict[str, Any],
    steps: list[tuple[Manifest, bool]],
    tuned: Sequence[str] = (),
) -> Gathered:
    """Collect what the steps of a dataset left; ``tuned`` says what a person tuned."""
    geometry, _, found = read_calibration(work)
    events = open_store(layout.event_store(work))
    images: dict[str, tuple[np.ndarray, str, dict[str, Any]]] = {}
    reduction = next(manifest for manifest, _ in steps if manifest.step == "reduce")
    iterative, flags = xr.Dataset(), []
    for manifest, _ in steps:
        if manifest.step == "disk":
            flags += manifest.summary.get("flags", [])
        if manifest.step == "ssb":
            flags += ssb_flags(manifest)
        if manifest.step == "epie":
            iterative = iterative.merge(epie_variables(work, manifest))
            flags += epie_flags(manifest)
        if manifest.step == "probe":
            iterative = iterative.merge(probe_variables(work, manifest))
        if manifest.step == "cnn":
            iterative = iterative.merge(cnn_variables(work, manifest))
            flags += cnn_flags(work, manifest)
        for one, image in read_step(
            work, manifest.step, list(IMAGES_OF.get(manifest.step, ()))
        ).items():
            images[one] = (image, manifest.step, manifest.parameters)
    calibration = found["calibration"]
    for key, file in (job.get("told_by") or {}).items():
        calibration[key] = calibration[key] | {"origin": f"from {file}"}
    return Gathered(
        name, source, events, geometry, calibration,
        found["quality"] + data_flags(events, job) + reduction_flags(reduction) + flags
        + [{"flag": "tuned", "level": "ok", "text": text} for text in tuned],
        work, reduced, reduced_variables(work, reduced, reduction), iterative, images, job, steps,
    )  # fmt: skip


def summary_row(gathered: Gathered, output: Path, manifest: Manifest) -> dict[str, Any]:
    """A dataset's row in the night's summary."""
    folder = output / gathered.name
    worst = {"ok": 0, "warn": 1, "bad": 2}
    flags = sorted(gathered.quality, key=lambda flag: -worst[flag["level"]])
    return {
        "name": gathered.name,
        "reason": "",
        "report": str(folder / layout.REPORT),
        "folder": str(folder),
        "data": manifest.summary["data"],
        "flags": flags,
        "worst": flags[0]["level"] if flags else "ok",
        "electrons": gathered.events.events,
    }
