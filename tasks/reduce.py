"""Reduce: one pass over the events gives everything that the later steps read.

Virtual detector images, radial sums, sums of frames over regions of the scan, the moments of the
bright-field disk, and the disk binned to a dense array of (detector pixel, scan_y, scan_x), the
layout in which the scan is Fourier-transformed. Every reduction accounts for every electron.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from gpu_kernels.dpc import radius_of_com
from gpu_kernels.pixel_plan import PixelPlan, annular_masks, plan_pixels, radial_bins, window_bins
from gpu_kernels.reduction import Reductions, reduce_events
from tasks import dense, region_sums
from tasks.dense_blocks import PIXELS_PER_BLOCK, blocks_of, write_blocks
from tasks.detectors import Annulus, MaskDetector, RadialSettings
from tasks.device import on_device
from tasks.regions import Region
from tasks.store import events as store
from tasks.store import layout
from tasks.store.chunks import write_chunk
from tasks.store.publish import Manifest, published
from tasks.store.records import finished_unit, record_unit
from tasks.store.zarr_json import lay_out_array, write_group
from tasks.units import run_units

VERSION = 5
DENSE_TYPE = np.uint16


@dataclass(frozen=True)
class ReduceSettings:
    """Where the disk is and what to take from the events."""

    detector_shape: tuple[int, int]
    center: tuple[float, float]
    """(row, col) of the disk's centre [px]."""
    radius: float
    """Radius of the disk [px]."""
    annuli: tuple[Annulus | MaskDetector, ...]
    """Virtual detectors, of whatever shape."""
    disk_bins: int
    """Binned pixels across the disk."""
    radial: RadialSettings | None = None
    regions: tuple[Region, ...] = ()
    """Regions of the scan whose frames are summed."""
    pick_vacuum: bool = False
    """Also look for a region without specimen, and sum its frames."""
    export: dense.DenseSettings | None = None
    """A 4D array for other programs."""

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

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the result; a mask counts by what is in it, not by where it lies."""
        return asdict(self) | {
            "annuli": [one.parameters for one in self.annuli],
            "regions": [one.parameters for one in self.regions],
        }


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
        (y, x, 2), ``dense`` (pixels, y, x), ``ring_electrons`` and ``ring_pixels`` (rings + 1,),
        ``radial`` (y, x, rings) with ``radial_overflow`` (y, x), ``region_<name>`` (rows, cols) and
        ``export`` (y, x, rows, cols), those that were asked for. Its summary has ``kept``:
        electrons inside and outside of each reduction, by name; ``regions``; and ``frames``.
    reused : bool
        Whether it was there before.
    """

    def write(aside: Path) -> dict[str, Any]:
        recording = store.open_store(events)
        (kept,) = reduce_slabs(recording, {0: aside}, settings, client)
        if settings.radial is not None:
            kept["rings"] = region_sums.sum_rings(
                aside, recording, settings.center, settings.radial
            )
        regions = region_sums.gather(aside, recording, settings.regions)
        if settings.pick_vacuum:
            regions |= region_sums.sum_vacuum(aside, recording, settings.radius, client)
        _account(kept, recording.events, recording.path)
        return summary_of(recording, kept, regions)

    return publish_reductions(work, identity_of_events, settings, write, force)


def publish_reductions(
    work: Path,
    identity_of_events: str,
    settings: ReduceSettings,
    write: Callable[[Path], dict[str, Any]],
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Publish what ``write`` leaves in its folder, or find it; see ``published``."""
    return published(
        layout.step_folder(work, "reduce"),
        step="reduce",
        version=VERSION,
        inputs={"events": identity_of_events},
        parameters=settings.parameters,
        write=write,
        force=force,
    )


def reduce_slabs(
    recording: store.EventStore,
    asides: dict[int, Path],
    settings: ReduceSettings,
    client: Client | None,
    seed: int | None = None,
) -> list[dict[str, int]]:
    """Reduce all slabs into the folder 0; or, with a seed, into those of halves by their numbers.

    Gives the electrons that each reduction kept, by its name, for each folder.
    """
    slabs = range(recording.slabs)
    found: dict[int, dict[int, Any]] = {number: {} for number in asides}
    for number, aside in asides.items():
        records = {slab: finished_unit(aside, _unit(slab)) for slab in slabs}
        found[number] |= {slab: record for slab, record in records.items() if record is not None}
        if not found[number]:
            _lay_out(aside, recording, settings)
    units = []
    for slab in slabs:
        folders = {n: str(aside) for n, aside in asides.items() if slab not in found[n]}
        units += [(recording.path, folders, slab, settings, seed)] if folders else []
    done = run_units("reduce", _reduce_slab, units, client, short=True)
    for unit, facts in zip(units, done, strict=True):
        for number, one in facts.items():
            found[number][unit[2]] = one
    return [
        {name: sum(one["kept"][name] for one in facts.values()) for name in facts[0]["kept"]}
        for facts in found.values()
    ]


def summary_of(
    recording: store.EventStore, kept: dict[str, int], regions: dict[str, Any]
) -> dict[str, Any]:
    """Summary of the reductions of a whole or a half, by what they kept."""
    events = kept["all"]
    return {
        "events": events,
        "frames": int(recording.array("frames_present").sum(dtype=np.int64)),
        "kept": {name: [inside, events - inside] for name, inside in kept.items()},
        "regions": regions,
    }


def _account(kept: dict[str, int], events: int, path: str) -> None:
    """Hold the sums against the events that there are: none may be lost or counted twice."""
    for name in ("all", "radial", "rings"):
        if kept.get(name, events) != events:
            raise RuntimeError(
                f"{path}: the reduction '{name}' counted {kept[name]} of {events} electrons; this "
                "is a fault of the program, please report it."
            )


def _unit(slab: int) -> str:
    return f"slab-{slab:05d}"


def _lay_out(aside: Path, recording: store.EventStore, settings: ReduceSettings) -> None:
    height, width = recording.scan_shape
    rows, n = recording.slab_rows, len(settings.annuli)
    write_group(aside)
    arrays: list[tuple[str, tuple[int, ...], Any, tuple[int, ...]]] = [
        ("virtual", (n, height, width), np.uint32, (n, rows, width)),
        ("com_electrons", (height, width), np.uint32, (rows, width)),
        ("com_sums", (height, width, 2), np.int64, (rows, width, 2)),
    ]
    if settings.radial is not None and settings.radial.full:
        rings = settings.radial.rings
        few = dense.whole_rows(recording, 4 * width * rings)
        arrays.append(("radial", (height, width, rings), np.uint32, (few, width, rings)))
        arrays.append(("radial_overflow", (height, width), np.uint32, (rows, width)))
    for name, shape, dtype, chunks in arrays:
        lay_out_array(aside, name, shape, dtype, chunks)
    lay_out_array(
        aside, "dense", (settings.pixels, height, width), DENSE_TYPE,
        (PIXELS_PER_BLOCK, rows, width), blocks_of(settings.pixels),
    )  # fmt: skip
    if settings.export is not None:
        dense.check_size(settings.export, recording.scan_shape, aside)
        dense.lay_out(aside, recording, settings.export)
    shutil.rmtree(aside / region_sums.PARTS, ignore_errors=True)


def _window(settings: ReduceSettings) -> tuple[np.ndarray, tuple[int, int]]:
    return _kept_bins(settings.detector_shape, settings.center, settings.bin, settings.window)


_kept_bins = lru_cache(maxsize=2)(window_bins)


@lru_cache(maxsize=2)
def _plan(settings: ReduceSettings) -> PixelPlan:
    # Built once in each worker rather than sent with every unit: it is megabytes.
    shape, center, radial = settings.detector_shape, settings.center, settings.radial
    masks = np.zeros((len(settings.annuli), *shape), bool)
    for number, detector in enumerate(settings.annuli):
        masks[number] = detector.mask(shape, center)
    rings = about = None
    if radial is not None and radial.full:
        rings = radial_bins(shape, center, radial.width, radial.rings)
        about = (*center, radial.width)
    return plan_pixels(
        shape,
        masks=masks,
        com_mask=annular_masks(shape, center, [(0.0, radius_of_com(settings.radius))])[0],
        radial_bin=rings,
        rings_about=about,
        dense_bin=_window(settings)[0],
        dense_size=settings.pixels,
    )


def _reduce_slab(
    events: str, folders: dict[int, str], slab: int, settings: ReduceSettings, seed: int | None
) -> dict[int, dict[str, dict[str, int]]]:
    recording = store.open_store(events)
    parts: Sequence[store.Events]
    parts = [recording.read(slab)] if seed is None else recording.read_halves(slab, seed)
    return {
        number: _reduce_part(recording, Path(folder), slab, settings, parts[number])
        for number, folder in folders.items()
    }


def _reduce_part(
    recording: store.EventStore,
    aside: Path,
    slab: int,
    settings: ReduceSettings,
    events: store.Events,
) -> dict[str, dict[str, int]]:
    indptr, indices = events
    sums = reduce_events(
        on_device(indptr), on_device(indices), _plan(settings), frame_sum=False,
        dense_dtype=DENSE_TYPE,
    )  # fmt: skip
    files, kept = _write_images(aside, recording, slab, sums, settings)
    regions = region_sums.write_part(aside, recording, slab, indptr, indices, settings.regions)
    files |= dict.fromkeys(regions)
    if settings.export is not None:
        written, kept["export"], _ = dense.write_slab(
            aside, recording, slab, indptr, indices, settings.export
        )
        files |= dict.fromkeys(written)
    facts = {"kept": kept | {"all": int(indices.size)}}
    record_unit(aside, _unit(slab), files, facts)
    return facts


def _write_images(
    aside: Path, recording: store.EventStore, slab: int, sums: Reductions, settings: ReduceSettings
) -> tuple[dict[Path, str | None], dict[str, int]]:
    """Write a slab's part of every image; gives files (and hashes), and the electrons in each."""
    assert sums.virtual is not None
    assert sums.com_electrons is not None
    assert sums.com_sums is not None
    assert sums.dense is not None
    (first, last), width = recording.rows(slab), recording.scan_shape[1]
    shape, rows = (last - first, width), slice(first, last)

    def put(name: str, where: Any, data: np.ndarray) -> None:
        store.open_for_writing(aside, name)[where] = data

    whole, n = (recording.slab_rows, width), len(settings.annuli)
    written = [
        write_chunk(aside / "com_electrons", (slab, 0), sums.com_electrons.reshape(shape), whole),
        write_chunk(
            aside / "com_sums", (slab, 0, 0), sums.com_sums.reshape(*shape, 2), (*whole, 2)
        ),
        write_blocks(aside / "dense", slab, sums.dense.reshape(-1, *shape), whole),
    ]
    if n:
        images = sums.virtual.reshape(n, *shape)
        written.append(write_chunk(aside / "virtual", (0, slab, 0), images, (n, *whole)))
    files: dict[Path, str | None] = dict(written)
    names = (detector.name for detector in settings.annuli)
    kept = dict(zip(names, sums.virtual.sum(axis=1, dtype=np.int64).tolist(), strict=True))
    kept |= {"disk": int(sums.com_electrons.sum(dtype=np.int64)), "dense": sums.dense_kept}
    if sums.radial is not None:
        assert settings.radial is not None
        # Rings beyond the farthest pixel are not in the sums.
        each = np.zeros((*shape, settings.radial.rings + 1), np.uint32)
        each[..., : sums.radial.shape[1]] = sums.radial.reshape(*shape, -1)
        put("radial", rows, each[..., :-1])
        put("radial_overflow", rows, each[..., -1])
        few = store.open_for_writing(aside, "radial").chunks[0]
        radial = [aside / f"radial/c/{n}/0/0" for n in range(first // few, -(-last // few))]
        files |= dict.fromkeys([*radial, aside / f"radial_overflow/c/{slab}/0"])
        kept["radial"] = int(sums.radial.sum(dtype=np.int64))
    return files, kept
