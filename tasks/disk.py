"""Disk: where the bright-field disk lies on the detector, by the sum of all frames."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gpu_kernels.disk_fit import DiskError, DiskFit, fit_disk
from tasks.calibration.given import Given
from tasks.store import layout
from tasks.store.events import EventStore, open_store
from tasks.store.files import write_json
from tasks.store.publish import Manifest, published

VERSION = 3
APART, APART_PX = 0.05, 1.5
"""Of the radius, and of a pixel: how far a given disk may be from the fitted one unremarked."""


def measure_disk(
    work: Path, identity_of_events: str, given: Given, force: bool = False
) -> tuple[Manifest, bool]:
    """Fit the bright-field disk; what the job gives of it wins, and is held against the fit.

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
        Its summary has ``center_px`` and ``semiangle_px`` with their uncertainty and origin, and
        ``flags``, where a given disk is not that of the data.
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
    frame = open_store(events).array("frame_sum")
    if not frame.any():
        raise DiskError("the recording has no electron, so there is nothing to mill.")
    disk: dict[str, Any] = {"fit": None, "flags": []}
    try:
        fit = fit_disk(frame)
    except DiskError:
        if given.center_px is None or given.semiangle_px is None:
            raise
    else:
        disk = {
            "center_px": list(fit.center),
            "center_sigma": list(fit.center_sigma),
            "center_origin": "fitted",
            "semiangle_px": fit.radius,
            "semiangle_sigma": fit.radius_sigma,
            "semiangle_origin": "fitted",
            "fit": asdict(fit),
            "flags": _against_the_fit(given, fit),
        }
    for name, value in (("center", given.center_px), ("semiangle", given.semiangle_px)):
        if value is not None:
            disk[f"{name}_px"] = list(value) if isinstance(value, tuple) else value
            disk |= {f"{name}_sigma": None, f"{name}_origin": "given"}
    _refuse_an_empty_disk(disk, frame)
    return disk


def _against_the_fit(given: Given, fit: DiskFit) -> list[dict[str, str]]:
    """What the data say of a disk that the job gives, as flags of a result."""
    said = []
    if given.center_px is not None:
        apart = float(np.hypot(*np.subtract(given.center_px, fit.center)))
        if apart > max(APART_PX, APART * fit.radius, 4 * max(fit.center_sigma)):
            said.append(
                f"center_px lies {apart:.1f} px from the disk's centre at ({fit.center[0]:.1f}, "
                f"{fit.center[1]:.1f})"
            )
    if given.semiangle_px is not None:
        apart = abs(given.semiangle_px - fit.radius)
        if apart > max(APART_PX, APART * fit.radius, 4 * fit.radius_sigma):
            said.append(
                f"semiangle_px is {given.semiangle_px:g}, and the disk's radius is {fit.radius:.1f}"
            )
    if not said:
        return []
    text = f"the given disk is not that of the data: {'; '.join(said)} px. Leave out what is wrong."
    return [{"flag": "disk", "level": "warn", "text": text}]


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
