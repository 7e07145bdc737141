"""Calibrate: how the scan is turned to the detector, and what the lens does to the probe.

Given values always win; what is not given is fitted to the data themselves.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from math import radians
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from distributed import Client

from models.aberrations import Aberrations
from models.electron import wavelength
from models.geometry import Geometry
from tasks.calibration import blind
from tasks.calibration.given import Given
from tasks.calibration.result import Calibration, Parameter
from tasks.dense_blocks import DenseBlocks
from tasks.reduce import ReduceSettings, window_wavevectors
from tasks.store import layout
from tasks.store.events import EventStore, open_store, read_array
from tasks.store.files import write_json
from tasks.store.publish import Manifest, published
from tasks.units import run_units

VERSION = 4


class CalibrationError(ValueError):
    """The data do not allow what the job leaves to be fitted."""


def calibrate(
    work: Path,
    identity_of_reduce: str,
    settings: ReduceSettings,
    given: Given,
    client: Client | None = None,
    force: bool = False,
    meanwhile: Callable[[], Any] | None = None,
) -> tuple[Manifest, bool]:
    """Fit rotation, mirror and aberrations, or take them from the job.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    identity_of_reduce : str
        Identity of the reductions, which hold the disk's counts and its centre of mass.
    settings : ReduceSettings
        How they were made.
    given : Given
        What the job says.
    client, force
        As for every step.
    meanwhile : callable, optional
        Work that needs no calibration: the fit is one unit, which leaves other workers idle.

    Returns
    -------
    manifest : Manifest
        See ``read_calibration`` for what was found.
    reused : bool
        Whether it was there before.

    Raises
    ------
    CalibrationError
        If the data hold too little to fit what is not given.
    """

    def write(aside: Path) -> dict[str, Any]:
        units = [(str(work), settings, given)]
        ((found, seconds),) = run_units("calibrate", _timed_fit, units, client, meanwhile=meanwhile)
        write_json(aside / "calibration.json", found)
        return {"seconds": seconds}

    done = published(
        layout.step_folder(work, "calibrate"),
        step="calibrate",
        version=VERSION,
        inputs={"reduce": identity_of_reduce},
        parameters=asdict(given),
        write=write,
        force=force,
    )
    use_calibration(work, "calibrate")
    return done


def calibration_folder(work: Path) -> Path:
    """Folder of the step whose calibration is in use."""
    chosen = layout.calibrated_by(work)
    step = chosen.read_text(encoding="utf-8") if chosen.is_file() else "calibrate"
    return layout.step_folder(work, step)


def use_calibration(work: Path, step: str) -> None:
    """Let later steps read the calibration of this step."""
    chosen = layout.calibrated_by(work)
    aside = chosen.with_name(chosen.name + layout.ASIDE)
    aside.write_text(step, encoding="utf-8")
    aside.replace(chosen)


def read_calibration(
    work: Path, step: str | None = None
) -> tuple[Geometry, Aberrations, dict[str, Any]]:
    """Calibration of a dataset: its geometry, its aberrations, and all of it as written.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    step : str, optional
        Whose calibration; the one in use when absent.
    """
    folder = calibration_folder(work) if step is None else layout.step_folder(work, step)
    path = folder / "calibration.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    one = found["calibration"]
    geometry = Geometry(
        energy=one["voltage_kv"]["value"] * 1e3,
        semiangle=one["semiangle_mrad"]["value"] * 1e-3,
        scan_step=tuple(one["scan_step_angstrom"]["value"]),
        center=tuple(one["center_px"]["value"]),
        radius=one["semiangle_px"]["value"],
        rotation=radians(one["scan_rotation_deg"]["value"]),
        flip=one["flip"]["value"],
    )
    values = {name: item["value"] for name, item in one["aberrations"].items()}
    return geometry, Aberrations(**values), found


class Calibrated(NamedTuple):
    """What the steps after the calibration know of their dataset."""

    events: EventStore
    geometry: Geometry
    aberrations: Aberrations


def open_calibrated(work: Path) -> Calibrated:
    """Events of a dataset with the calibration that is in use."""
    geometry, aberrations, _ = read_calibration(work)
    return Calibrated(open_store(layout.event_store(work)), geometry, aberrations)


def _timed_fit(*unit: Any) -> tuple[dict[str, Any], float]:
    start = time.monotonic()
    found = _fit(*unit)
    return found, round(time.monotonic() - start, 3)


def _fit(work_path: str, settings: ReduceSettings, given: Given) -> dict[str, Any]:
    work = Path(work_path)
    try:
        found = _blind(work, settings, given)
    except ValueError as error:
        if not given.complete:
            raise CalibrationError(
                f"rotation and aberrations cannot be fitted: {error}; give scan_rotation_deg, "
                "flip and aberrations in the job."
            ) from None
        text = f"the given calibration could not be compared with the data: {error}"
        flags = [{"flag": "calibration signal", "level": "warn", "text": text}]
        return {
            "calibration": _table(work, given, _given_alone(given)),
            "quality": flags + _sampling(given),
        }
    return {
        "calibration": _table(work, given, found.as_attributes()),
        "quality": [flag.as_dict() for flag in found.flags] + _sampling(given),
        "polarity": asdict(found.polarity),
        "explained": found.explained,
        "misfit": found.misfit,
    }


def _blind(work: Path, settings: ReduceSettings, given: Given) -> Calibration:
    reduced = layout.step_folder(work, "reduce")
    geometry = Geometry(
        given.voltage_kv * 1e3, given.semiangle_mrad * 1e-3, tuple(given.scan_step_angstrom),  # type: ignore[arg-type]
        settings.center, settings.radius,
    )  # fmt: skip
    events = open_store(layout.event_store(work))
    missing = (events.array("frames_present") == 0) | (events.array("sector_mask") != 0)
    electrons, sums = (read_array(reduced, name) for name in ("com_electrons", "com_sums"))
    seen = np.where((electrons > 0) & ~missing, electrons, np.nan)
    return blind.calibrate(
        DenseBlocks(reduced),
        *window_wavevectors(settings),
        bin_size=settings.bin,
        geometry=geometry,
        com=(sums[..., 0] / seen, sums[..., 1] / seen),
        given=given.known,
        missing=missing,
    )


def _sampling(given: Given) -> list[dict[str, str]]:
    """Say so where the scan step, and not the aperture, limits what can be resolved."""
    finest = wavelength(given.voltage_kv * 1e3) / (4 * given.semiangle_mrad * 1e-3)
    step = max(given.scan_step_angstrom)
    if step <= finest:
        return []
    text = (
        f"the scan step of {step:.4g} Å is coarser than the {finest:.3g} Å that SSB could use: its "
        f"images end at the scan's own {2 * step:.4g} Å, and finer detail folds back into them"
    )
    return [{"flag": "sampling", "level": "ok", "text": text}]


def _given_alone(given: Given) -> dict[str, Any]:
    """What the job gives, as a calibration would say it."""
    return {
        "scan_rotation_deg": Parameter(given.scan_rotation_deg, "given", unit="°").as_dict(),
        "flip": Parameter(given.flip, "given").as_dict(),
        "aberrations": {
            name: Parameter(value, "given", unit=_unit(name)).as_dict()
            for name, value in (given.aberrations or {}).items()
        },
    }


def _table(work: Path, given: Given, found: dict[str, Any]) -> dict[str, Any]:
    """The disk and the instrument beside what was found; aberrations that are left out are 0."""
    disk = json.loads((layout.step_folder(work, "disk") / "disk.json").read_text())
    own = _given_alone(given)
    aberrations = {k: v for k, v in found["aberrations"].items() if v["origin"] != "default"}
    instrument = {
        "voltage_kv": Parameter(given.voltage_kv, "given", unit="kV"),
        "semiangle_mrad": Parameter(given.semiangle_mrad, "given", unit="mrad"),
        "scan_step_angstrom": Parameter(list(given.scan_step_angstrom), "given", unit="Å"),
        **{
            f"{name}_px": Parameter(
                disk[f"{name}_px"], disk[f"{name}_origin"], disk[f"{name}_sigma"], "px"
            )
            for name in ("center", "semiangle")
        },
    }
    table = {name: one.as_dict() for name, one in instrument.items()} | {
        "scan_rotation_deg": found["scan_rotation_deg"],
        "flip": found["flip"],
        "aberrations": aberrations,
    }
    # To the digit as they were given, not as they came back from the fit.
    return table | {name: item for name, item in own.items() if getattr(given, name) is not None}


def _unit(name: str) -> str:
    return "rad" if name.startswith("phi") else "Å"
