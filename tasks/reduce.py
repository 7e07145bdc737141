"""Reduce: one pass over the events gives everything that the later steps read.

Virtual detector images, the moments of the bright-field disk, and the disk binned to a dense array
of (detector pixel, scan_y, scan_x), the layout in which the scan is Fourier-transformed.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from distributed import Client

from gpu_kernels.pixel_plan import PixelPlan, annular_masks, plan_pixels, window_bins
from gpu_kernels.reduction import reduce_events
from tasks.store import events as store
from tasks.store import layout
from tasks.store.publish import Manifest, finished_unit, published, record_unit
from tasks.units import run_units

VERSION = 1
PIXELS_PER_BLOCK = 32
"""Detector pixels of one chunk of the dense array, and of one unit of the transforms."""
DENSE_TYPE = np.uint16


@dataclass(frozen=True)
class Annulus:
    """A virtual detector between two radii around the centre of the disk [px]."""

    name: str
    inner: float
    outer: float


@dataclass(frozen=True)
class ReduceSettings:
    """Where the disk is and what to take from the events."""

    detector_shape: tuple[int, int]
    center: tuple[float, float]
    """(row, col) of the disk's centre [px]."""
    radius: float
    """Radius of the disk [px]."""
    annuli: tuple[Annulus, ...]
    disk_bins: int
    """Binned pixels across the disk."""

    @property
    def bin(self) -> int:
        """Detector pixels along a side of a binned one."""
        return max(1, round(2 * self.radius / self.disk_bins))

    @property
    def window(self) -> int:
        """Binned pixels along a side of the window, the disk and a margin of one around it."""
        return 2 * ceil(self.radius / self.bin) + 2

    @property
    def pixels(self) -> int:
        """Binned pixels of the window."""
        return self.window**2


def standard_annuli(radius: float, detector_shape: tuple[int, int]) -> tuple[Annulus, ...]:
    """Bright field (the disk), annular bright field (its outer half) and annular dark field."""
    corner = float(np.hypot(*detector_shape))
    return (
        Annulus("virtual_bf", 0.0, radius),
        Annulus("virtual_abf", 0.5 * radius, radius),
        Annulus("virtual_adf", 1.1 * radius, corner),
    )


def window_wavevectors(settings: ReduceSettings) -> tuple[np.ndarray, np.ndarray]:
    """Centres (row, col) of the window's binned pixels on the detector [px], flattened."""
    _, origin = _window(settings)
    along = settings.bin * (np.arange(settings.window) + 0.5) - 0.5
    rows, cols = np.meshgrid(origin[0] + along, origin[1] + along, indexing="ij")
    return rows.ravel(), cols.ravel()


def reduce(
    events: str,
    work: Path,
    identity_of_events: str,
    settings: ReduceSettings,
    client: Client | None = None,
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Reduce a whole event store, one unit a slab.

    Parameters
    ----------
    events : str
        Path of the event store.
    work : Path
        Folder of the dataset's steps.
    identity_of_events : str
        Identity of the store.
    settings : ReduceSettings
        What to compute.
    client, force
        As for every step.

    Returns
    -------
    manifest : Manifest
        Of the step's folder: ``virtual`` (detectors, y, x), ``com_electrons`` (y, x), ``com_sums``
        (y, x, 2) and ``dense`` (pixels, y, x).
    reused : bool
        Whether it was there before.
    """
    return published(
        layout.step_folder(work, "reduce"),
        step="reduce",
        version=VERSION,
        inputs={"events": identity_of_events},
        parameters=asdict(settings),
        write=lambda aside: _write(aside, events, settings, client),
        force=force,
    )


def _write(
    aside: Path, events: str, settings: ReduceSettings, client: Client | None
) -> dict[str, Any]:
    recording = store.open_store(events)
    todo = [n for n in range(recording.slabs) if finished_unit(aside, _unit(n)) is None]
    if len(todo) == recording.slabs:
        _lay_out(aside, recording, settings)
    run_units(
        "reduce", _reduce_slab, [(events, str(aside), slab, settings) for slab in todo], client
    )
    facts = [finished_unit(aside, _unit(slab)) or {} for slab in range(recording.slabs)]
    return {
        "events": sum(f["events"] for f in facts),
        "dense_kept": sum(f["dense_kept"] for f in facts),
        "dense_dropped": sum(f["dense_dropped"] for f in facts),
    }


def _unit(slab: int) -> str:
    return f"slab-{slab:05d}"


def _lay_out(aside: Path, recording: store.EventStore, settings: ReduceSettings) -> None:
    height, width = recording.scan_shape
    rows = recording.slab_rows
    zarr.create_group(str(aside), overwrite=False) if not (aside / "zarr.json").exists() else None
    for name, shape, dtype, chunks in (
        ("virtual", (len(settings.annuli), height, width), np.uint32,
         (len(settings.annuli), rows, width)),
        ("com_electrons", (height, width), np.uint32, (rows, width)),
        ("com_sums", (height, width, 2), np.int64, (rows, width, 2)),
        ("dense", (settings.pixels, height, width), DENSE_TYPE, (PIXELS_PER_BLOCK, rows, width)),
    ):  # fmt: skip
        store.create_array(aside, name, shape, dtype, chunks)


@lru_cache(maxsize=2)
def _window(settings: ReduceSettings) -> tuple[np.ndarray, tuple[int, int]]:
    return window_bins(settings.detector_shape, settings.center, settings.bin, settings.window)


@lru_cache(maxsize=2)
def _plan(settings: ReduceSettings) -> PixelPlan:
    # Built once in each worker rather than sent with every unit: it is megabytes.
    masks = [
        annular_masks(settings.detector_shape, settings.center, [(a.inner, a.outer)])[0]
        for a in settings.annuli
    ]
    disk = annular_masks(settings.detector_shape, settings.center, [(0.0, settings.radius)])[0]
    return plan_pixels(
        settings.detector_shape,
        masks=np.array(masks),
        com_mask=disk,
        dense_bin=_window(settings)[0],
        dense_size=settings.pixels,
    )


def _reduce_slab(events: str, folder: str, slab: int, settings: ReduceSettings) -> None:
    recording = store.open_store(events)
    first, last = recording.rows(slab)
    indptr, indices = recording.read(slab)
    sums = reduce_events(indptr, indices, _plan(settings), frame_sum=False, dense_dtype=DENSE_TYPE)
    assert sums.virtual is not None and sums.com_electrons is not None
    assert sums.com_sums is not None and sums.dense is not None
    shape = (last - first, recording.scan_shape[1])
    group = zarr.open_group(folder, mode="r+")
    group["virtual"][:, first:last] = sums.virtual.reshape(-1, *shape)
    group["com_electrons"][first:last] = sums.com_electrons.reshape(shape)
    group["com_sums"][first:last] = sums.com_sums.reshape(*shape, 2)
    group["dense"][:, first:last] = sums.dense.reshape(-1, *shape)
    number = first // recording.slab_rows
    files = [
        Path(folder) / f"virtual/c/0/{number}/0",
        Path(folder) / f"com_electrons/c/{number}/0",
        Path(folder) / f"com_sums/c/{number}/0/0",
        *Path(folder).glob(f"dense/c/*/{number}/0"),
    ]
    facts = {
        "events": int(indices.size),
        "dense_kept": int(sums.dense_kept),
        "dense_dropped": int(sums.dense_dropped),
    }
    record_unit(Path(folder), _unit(slab), files, facts)
