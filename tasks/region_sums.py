"""Sums of frames over regions of the scan, slab by slab, and over rings of the detector."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from gpu_kernels.pixel_plan import radial_bins
from gpu_kernels.reduction import sum_frames
from tasks.detectors import RadialSettings
from tasks.regions import VACUUM, Region, RegionError, pick_vacuum
from tasks.store import events as store
from tasks.units import run_units

PARTS = "parts"
"""Folder of the slabs' sums, until they are added up."""


def write_part(
    folder: Path,
    recording: store.EventStore,
    slab: int,
    indptr: np.ndarray,
    indices: np.ndarray,
    regions: tuple[Region, ...],
) -> list[Path]:
    """Write what one slab adds to each region that reaches into it.

    Returns
    -------
    list of Path
        The files written.
    """
    first, last = recording.rows(slab)
    files: list[Path] = []
    for region, inside in zip(regions, _insides(recording, regions), strict=True):
        here = inside[first:last].ravel()
        if here.any():
            name = _part(region.name, slab)
            sums = sum_frames(indptr, indices, recording.detector_shape, here)
            store.write_array(folder, name, sums)
            files += [file for file in (folder / name).rglob("*") if file.is_file()]
    return files


def gather(
    folder: Path, recording: store.EventStore, regions: tuple[Region, ...]
) -> dict[str, dict[str, Any]]:
    """Add up the parts of each region, write ``region_<name>``, and say what is in it."""
    facts = {}
    for region, inside in zip(regions, _insides(recording, regions), strict=True):
        total = np.zeros(recording.detector_shape, np.int64)
        for slab in range(recording.slabs):
            if (folder / _part(region.name, slab)).is_dir():
                total += store.read_array(folder, _part(region.name, slab))
        facts[region.name] = _publish(folder, recording, region, inside, total)
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    return facts


def sum_rings(
    aside: Path, recording: store.EventStore, center: tuple[float, float], radial: RadialSettings
) -> int:
    """Write the rings of the whole scan from its sum of frames; returns the electrons in them."""
    frames = recording.array("frame_sum")
    rings = radial_bins(recording.detector_shape, center, radial.width, radial.rings)
    pixels = np.bincount(rings.ravel(), minlength=radial.rings + 1)
    electrons = np.zeros(radial.rings + 1, np.int64)
    np.add.at(electrons, rings.ravel(), frames.ravel().astype(np.int64))
    store.write_array(aside, "ring_electrons", electrons)
    store.write_array(aside, "ring_pixels", pixels.astype(np.int64))
    return int(electrons.sum())


def sum_vacuum(
    folder: Path, recording: store.EventStore, radius: float, client: Client | None
) -> dict[str, dict[str, Any]]:
    """Pick a vacuum region from the finished images, and sum its frames.

    Only the slabs that it reaches into are read again.
    """
    picked = pick_vacuum(
        recording.array("electrons"),
        store.read_array(folder, "com_electrons"),
        store.read_array(folder, "com_sums"),
        radius,
        ~recording.unusable(),
    )
    (inside,) = _insides(recording, (picked.region,))
    slabs = [n for n in range(recording.slabs) if inside[slice(*recording.rows(n))].any()]
    units = [(recording.path, slab, picked.region) for slab in slabs]
    total = np.zeros(recording.detector_shape, np.int64)
    for part in run_units("vacuum", _sum_slab, units, client, short=True):
        total += part
    facts = _publish(folder, recording, picked.region, inside, total) | {
        "picked": True,
        "deflection_over_noise": round(picked.deflection, 4),
        "scattered": round(picked.scattered, 6),
        "scattered_elsewhere": round(picked.scattered_elsewhere, 6),
        "plain": picked.plain,
    }
    return {VACUUM: facts}


def _sum_slab(events: str, slab: int, region: Region) -> np.ndarray:
    recording = store.open_store(events)
    (inside,) = _insides(recording, (region,))
    here = inside[slice(*recording.rows(slab))].ravel()
    return sum_frames(*recording.read(slab), recording.detector_shape, here)


def _part(name: str, slab: int) -> str:
    return f"{PARTS}/{name}-{slab:05d}"


def _insides(recording: store.EventStore, regions: tuple[Region, ...]) -> tuple[np.ndarray, ...]:
    """Positions of each region; vacuum has only those whose frames are whole."""
    return tuple(
        region.inside(recording.scan_shape) & (~recording.unusable() | (region.name != VACUUM))
        for region in regions
    )


def _publish(
    folder: Path, recording: store.EventStore, region: Region, inside: np.ndarray, total: np.ndarray
) -> dict[str, Any]:
    frames = int(recording.array("frames_present")[inside].sum(dtype=np.int64))
    if not frames:
        raise RegionError(f"region '{region.name}': none of its scan positions has a whole frame.")
    store.write_array(folder, f"region_{region.name}", total)
    electrons = int(total.sum())
    due = int(recording.array("electrons")[inside].sum(dtype=np.int64))
    if electrons != due:
        raise RuntimeError(
            f"{recording.path}: region '{region.name}' counted {electrons} of {due} electrons; "
            "this is a fault of the program, please report it."
        )
    return region.parameters | {
        "positions": int(inside.sum()),
        "frames": frames,
        "electrons": electrons,
    }
