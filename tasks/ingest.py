"""Ingest: a recording, in whatever format, becomes an event store, slab by slab.

On the way every slab is surveyed: the sum of its frames, the electrons of each scan position, the
frames that are missing and the detector sectors that lost their data, so that later steps need not
read the events again to know where the disk is and which positions to trust.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from gpu_kernels.reduction import sum_frames
from gpu_kernels.sectors import LOG_FALSE_ALARM, lost_sectors, sector_counts
from tasks.formats.binning import binned
from tasks.formats.detect import open_recording
from tasks.formats.raw_sectors import Counting
from tasks.formats.recording import Recording, RecordingError
from tasks.memory import INGEST_PER_EVENT, MemoryPlanError, room_of_unit
from tasks.store import events as store
from tasks.store import layout
from tasks.store.chunks import CODEC
from tasks.store.files import hash_of
from tasks.store.publish import Manifest, publish, reusable, step_identity, written
from tasks.store.records import finished_unit, record_unit
from tasks.store.source import (
    Source,
    files_of,
    fingerprint,
    hash_files,
    recalled,
    remember,
    state_of,
)
from tasks.store.zarr_json import group_attributes, write_group
from tasks.units import run_units

STEP, VERSION = "ingest", 5
EVENTS_PER_SLAB = 8_250_000
"""33 MB of indices: some 0.1 s of work, and as much as malloc keeps for the next (32 MiB). Scans of
2,000 electrons a frame whose sides are powers of 2 are cut into equal slabs."""
NARROW_FRAME = 1 << 16
"""A frame of so many pixels or fewer has indices of 16 bits."""
_CHANGED = (
    "{}: the recording changed while it was read; is it still being written? Run the job again "
    "when it is complete."
)


@dataclass(frozen=True)
class ReaderOptions:
    """What a reader must be told that the file does not say."""

    array: str | None = None
    scan_shape: tuple[int, int] | None = None
    detector_shape: tuple[int, int] | None = None
    drop_flyback: bool = False
    threshold: float | None = None
    out_of_range: str = "error"
    scan_bin: int = 1
    counting: Counting | None = None

    def open(self, path: str) -> Recording:
        """Open a recording with these options."""
        told = dict(vars(self))
        scan_bin = told.pop("scan_bin")
        return binned(open_recording(path, **told), scan_bin)

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the events; how raw frames are counted only where that is told."""
        told = dict(vars(self))
        counting = told.pop("counting")
        return told if counting is None else told | {"counting": counting.parameters}


def ingest(
    source: Source | Path,
    work: Path,
    options: ReaderOptions,
    client: Client | None = None,
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Turn a recording into the event store of a dataset, or find it finished.

    Parameters
    ----------
    source : Source or Path
        The recording and its hash; or the recording, which is hashed while it is read, unless a
        store is there that may be of it. The hash is then remembered in ``work``.
    work : Path
        Folder of the dataset's event store and steps.
    options : ReaderOptions
        For the reader.
    client : distributed.Client, optional
        Where slabs are read; without it, here.
    force : bool
        Read it again even if the store is whole.

    Returns
    -------
    manifest : Manifest
        Of the store.
    reused : bool
        Whether it was there before.

    Raises
    ------
    RecordingError
        If the file is not what a reader expects.
    """
    folder, remembered = layout.event_store(work), layout.source(work)
    if isinstance(source, Path) and (folder.exists() or recalled(source, remembered)):
        source = fingerprint(source, remembered)
    if isinstance(source, Source) and not force:
        manifest = reusable(folder, _identity(source, options))
        if manifest is not None:
            return manifest, True
    path = source if isinstance(source, Path) else Path(source.path)
    state, hashed = state_of(path), [source] if isinstance(source, Source) else []

    def write(aside: Path) -> dict[str, Any]:
        recording, cuts, sha256 = _read(aside, path, hashed, options, client)
        if not hashed:
            hashed.append(remember(path, state, sha256, remembered))
        if not (state_of(path) == state == (hashed[0].size, hashed[0].modified)):
            raise RecordingError(_CHANGED.format(path))
        return _seal(aside, recording, hashed[0], cuts)

    # What is half-written is known by the file's state, for its hash may not be known yet.
    begun = hash_of([str(path), *state, VERSION, options.parameters])
    summary, hashes = written(folder, begun, write)
    manifest = publish(
        folder,
        step=STEP,
        identity=_identity(hashed[0], options),
        inputs={"recording": hashed[0].sha256},
        parameters=options.parameters,
        summary=summary,
        known_hashes=hashes,
    )
    return manifest, False


def source_of(path: Path, work: Path, events: Manifest) -> Source:
    """The recording of an event store as it was hashed for it.

    Raises
    ------
    RecordingError
        If it changed since then.
    """
    source = recalled(path, layout.source(work))
    if source is None or source.sha256 != events.inputs["recording"]:
        raise RecordingError(_CHANGED.format(path))
    return source


def _identity(source: Source, options: ReaderOptions) -> str:
    return step_identity(STEP, VERSION, {"recording": source.sha256}, options.parameters)


def slab_rows_for(recording: Recording, room: float = np.inf) -> int:
    """Scan rows of a slab: about ``EVENTS_PER_SLAB`` events, or as many as fit.

    Parameters
    ----------
    recording : Recording
        What is to be read.
    room : float
        Memory that a unit of work may fill [bytes].

    Raises
    ------
    MemoryPlanError
        If not even one row fits.
    """
    per_row = max(1.0, recording.events_per_position_estimate * recording.scan_shape[1])
    events = min(EVENTS_PER_SLAB, room / INGEST_PER_EVENT)
    if events < per_row and room < INGEST_PER_EVENT * per_row:
        raise MemoryPlanError(
            f"{recording.path}: one scan row has about {per_row:.3g} electrons, which take "
            f"{INGEST_PER_EVENT * per_row / 2**30:.2f} GiB to read; a worker has "
            f"{room / 2**30:.2f} GiB for each of its threads. Give the workers more memory_gib or "
            "fewer threads."
        )
    return int(np.clip(events // per_row, 1, recording.scan_shape[0]))


def _read(
    aside: Path, path: Path, hashed: list[Source], options: ReaderOptions, client: Client | None
) -> tuple[Recording, list[tuple[int, int]], str]:
    """Read all slabs, and the hash beside them where it is not known; gives it with the cuts."""
    recording = options.open(str(path))
    rows = _rows_begun(aside) or slab_rows_for(recording, room_of_unit(client))
    write_group(aside, slab_rows=rows)
    cuts = [(first, min(first + rows, recording.scan_shape[0]))
            for first in range(0, recording.scan_shape[0], rows)]  # fmt: skip
    todo = [n for n in range(len(cuts)) if finished_unit(aside, _unit(n)) is None]
    units: list[tuple[Any, ...]] = [
        (_ingest_slab, recording, str(aside), number, *cuts[number]) for number in todo
    ]
    if hashed:
        run_units("ingest", _call, units, client, short=True)
        return recording, cuts, hashed[0].sha256
    # First, for it is the longest: SHA-256 has no parts that could be taken side by side.
    units = [(hash_files, *files_of(path)), *units]
    sha256, *_ = run_units("ingest", _call, units, client, short=True)
    return recording, cuts, sha256


def _call(function: Callable[..., Any], *unit: Any) -> Any:
    return function(*unit)


def _rows_begun(aside: Path) -> int | None:
    """Scan rows of the slabs that an earlier run began with, which may have had other memory."""
    try:
        return int(group_attributes(aside)["slab_rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unit(slab: int) -> str:
    return f"slab-{slab:05d}"


def _ingest_slab(recording: Recording, folder: str, slab: int, first: int, last: int) -> None:
    start = time.monotonic()
    indptr, indices, frames_present, sectors_lost = recording.read_rows(first, last)
    height, width = recording.detector_shape
    sectors = sector_counts(indptr, indices, recording.detector_shape, ascending=True)
    # One small array a slab: to lay out a Zarr array takes longer than to write it.
    survey = np.column_stack([frames_present, np.zeros_like(frames_present), sectors])
    if sectors_lost is not None:
        survey[:, 1] = sectors_lost
    narrow = height * width <= NARROW_FRAME
    files = store.write_slab(
        folder,
        slab,
        {
            "indices": indices.astype(np.uint16 if narrow else np.uint32, copy=False),
            "indptr": indptr,
            "frame_sum": sum_frames(indptr, indices, recording.detector_shape),
            "survey": survey.astype(np.uint32),
        },
    )
    facts = {"events": int(indices.size), "seconds": round(time.monotonic() - start, 3)}
    record_unit(Path(folder), _unit(slab), files, facts)


def _seal(
    aside: Path,
    recording: Recording,
    source: Source,
    cuts: list[tuple[int, int]],
) -> dict[str, Any]:
    """Write the arrays of the whole scan from those of the slabs, and the store's attributes."""
    scan = recording.scan_shape
    frame_sum, surveys = np.zeros(recording.detector_shape, np.uint64), []
    for slab in range(len(cuts)):
        group = layout.slab_group(slab)
        frame_sum += store.read_array(aside, f"{group}/frame_sum")
        surveys.append(store.read_array(aside, f"{group}/survey"))
    survey = np.concatenate(surveys)
    frames, lost, sectors = survey[:, 0].astype(np.uint16), survey[:, 1], survey[:, 2:]
    electrons = sectors.sum(axis=1, dtype=np.uint32).reshape(scan)
    mask = (lost_sectors(sectors, frames, scan) | lost.astype(np.uint8)).reshape(scan)
    notes = [*recording.notes, *_blind_sectors(sectors, frames, mask)]
    frames = frames.reshape(scan)
    arrays: dict[str, np.ndarray] = {
        "frame_sum": frame_sum,
        "electrons": electrons,
        "frames_present": frames,
        "sector_mask": mask,
    }
    for name, data in arrays.items():
        store.write_array(aside, name, data)
    facts = {
        "events": int(electrons.sum(dtype=np.int64)),
        "positions": int(electrons.size),
        "frames_missing": int((frames == 0).sum()),
        "frames_partial": int((mask != 0).sum()),
    }
    write_group(
        aside,
        event_store_format=store.FORMAT,
        scan_shape=list(scan),
        detector_shape=list(recording.detector_shape),
        codec=CODEC,
        events=facts["events"],
        metadata={
            "format": recording.format,
            "source": {
                "name": Path(source.path).name,
                "size": source.size,
                "sha256": source.sha256,
            },
            "recording": recording.metadata,
            "notes": notes,
            "flyback_suspected": recording.flyback_suspected,
        },
    )
    return facts


def _blind_sectors(sectors: np.ndarray, frames: np.ndarray, mask: np.ndarray) -> list[str]:
    """Where some frames lost a sector: in which sectors a loss would not be seen."""
    due = sectors.sum(axis=0, dtype=np.float64) / max(1, int(frames.sum(dtype=np.int64)))
    blind = np.flatnonzero(due < LOG_FALSE_ALARM)
    if not mask.any() or not blind.size:
        return []
    each = ", ".join(f"sector {n} ({due[n]:.2g} e)" for n in blind)
    return [
        f"a lost sector cannot be told from chance where fewer than {LOG_FALSE_ALARM:.0f} "
        f"electrons are due in a frame: {each}"
    ]
