"""Disk: where the bright-field disk lies on the detector, by the sum of all frames."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gpu_kernels.disk_fit import DiskError, fit_disk
from tasks.calibration.given import Given
from tasks.store import layout
from tasks.store.events import EventStore, open_store
from tasks.store.files import write_json
from tasks.store.publish import Manifest, published

VERSION = 2


def measure_disk(
    work: Path, identity_of_events: str, given: Given, force: bool = False
) -> tuple[Manifest, bool]:
    """Fit the bright-field disk, unless the job gives it.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    identity_of_events : str
        Identity of the event store.
    given : Given
        ``center_px`` and ``semiangle_px`` of the job win over the fit.
    force : bool
        Redo what is there.

    Returns
    -------
    manifest : Manifest
        Its summary has ``center_px`` and ``semiangle_px`` with their uncertainty and origin.
    reused : bool
        Whether it was there before.

    Raises
    ------
    DiskError
        If there is no disk to fit, or no electron in the disk that the job gives.
    """

    def write(aside: Path) -> dict[str, Any]:
        found = _disk(layout.event_store(work), given)
        write_json(aside / "disk.json", found)
        return found

    return published(
        layout.step_folder(work, "disk"),
        step="disk",
        version=VERSION,
        inputs={"events": identity_of_events},
        parameters={"center_px": given.center_px, "semiangle_px": given.semiangle_px},
        write=write,
        force=force,
    )


def fit_store_disk(store: EventStore) -> tuple[tuple[float, float], float]:
    """Centre (row, col) and radius of the bright-field disk of a recording [px].

    Raises
    ------
    DiskError
        If there is no disk to fit.
    """
    fit = fit_disk(store.array("frame_sum"))
    return fit.center, fit.radius


def _disk(events: Path, given: Given) -> dict[str, Any]:
    disk: dict[str, Any] = {"fit": None}
    frame = open_store(events).array("frame_sum")
    if not frame.any():
        raise DiskError("the recording has no electron, so there is nothing to mill.")
    if given.center_px is None or given.semiangle_px is None:
        fit = fit_disk(frame)
        disk = {
            "center_px": list(fit.center),
            "center_sigma": list(fit.center_sigma),
            "center_origin": "fitted",
            "semiangle_px": fit.radius,
            "semiangle_sigma": fit.radius_sigma,
            "semiangle_origin": "fitted",
            "fit": asdict(fit),
        }
    for name, value in (("center", given.center_px), ("semiangle", given.semiangle_px)):
        if value is not None:
            disk[f"{name}_px"] = list(value) if isinstance(value, tuple) else value
            disk |= {f"{name}_sigma": None, f"{name}_origin": "given"}
    _refuse_an_empty_disk(disk, frame)
    return disk


def _refuse_an_empty_disk(disk: dict[str, Any], frame: np.ndarray) -> None:
    """A fitted disk is bright; a given one may lie anywhere, even beside the detector."""
    row, col = disk["center_px"]
    radius = disk["semiangle_px"]
    rows, cols = np.arange(frame.shape[0])[:, None], np.arange(frame.shape[1])
    if not frame[np.hypot(rows - row, cols - col) < radius].any():
        raise DiskError(
            f"the disk of radius {radius:g} px ({disk['semiangle_origin']}) about ({row:g}, "
            f"{col:g}) px ({disk['center_origin']}) holds none of the {int(frame.sum())} electrons "
            f"on the detector of {frame.shape[0]} x {frame.shape[1]} pixels; mend center_px and "
            "semiangle_px, or leave them out."
        )
