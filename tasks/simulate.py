"""A scan of a known specimen as electron events, with the truth beside it.

The physics is in models (a phase object, an aberrated probe, Poisson electrons); this step cuts the
scan into rows, counts them on all cores, and writes what the electron counter of a 4D Camera would
have written. Each row has a random stream of its own, so that the events depend on the settings
alone and not on how the scan was cut.
"""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.aberrations import CARTESIAN
from models.counting import count_electrons
from models.diffraction import Canvas, ForwardModel
from models.phase_object import PhaseObject
from models.specimens import build_specimen
from tasks.simulation import (
    FAULTS_STREAM,
    FLYBACK_STREAM,
    ROWS_STREAM,
    SPECIMEN_STREAM,
    Simulation,
    as_json,
)
from tasks.store.stempy_file import write_stempy_file

PATTERNS_AT_ONCE = 16
"""Patterns that are transformed together: their waves stay in the cache of a core."""
SECTORS = 4
"""Bands of detector rows that are read out apart, and may be lost apart."""
FLYBACK_TIME = 2.0
"""Duration of a flyback frame in frames of the scan: it holds so many times the electrons."""
FLYBACK_PLACES = 16
"""Places on the beam's way back whose patterns are averaged."""


class Losses(NamedTuple):
    """What the recording lost."""

    missing: np.ndarray
    """(n,) int64: positions of the scan without a frame, ascending; no flyback frame is lost."""
    sectors: np.ndarray
    """(m, 2) int64: position and sector (0 at row 0) of each lost sector, ascending."""


class SimulatedSlab(NamedTuple):
    """The electrons of some rows of the scan."""

    first_row: int
    indptr: np.ndarray
    """(positions + 1,) int64."""
    indices: np.ndarray
    """(events,) uint32: row · cols + col, ascending within a frame."""


def specimen_of(settings: Simulation) -> PhaseObject:
    """The specimen in the scan's frame, (0, 0) Å at the first position, for the truth on any grid.

    It reaches as far beyond the scan as the probe's grid does.
    """
    model = settings.forward_model
    size = tuple(n * d for n, d in zip(settings.scan_shape, settings.scan_step, strict=True))
    margin = 0.5 * float(np.hypot(*np.multiply(model.grid_shape, model.sampling))) + 2.0
    return build_specimen(
        settings.specimen, (size[0], size[1]), settings.energy, settings.random(SPECIMEN_STREAM),
        margin=margin,
    )  # fmt: skip


def losses_of(settings: Simulation) -> Losses:
    """Which frames are missing and which lost a sector."""
    rng = settings.random(FAULTS_STREAM)
    positions = settings.scan_shape[0] * settings.scan_shape[1]
    missing = round(settings.missing_fraction * positions)
    hit = rng.choice(positions, missing + settings.lost_sectors, replace=False)
    partial = np.sort(hit[missing:])
    band = -(-settings.detector_shape[0] // SECTORS)
    sector = np.full(len(partial), int(settings.center[0] + 0.5) // band)
    return Losses(np.sort(hit[:missing]), np.stack([partial, sector], axis=1))


def simulated_rows(
    settings: Simulation, rows_per_slab: int = 8, workers: int | None = None
) -> Iterator[SimulatedSlab]:
    """Record a scan, slab by slab.

    Parameters
    ----------
    settings : Simulation
        What is recorded.
    rows_per_slab : int
        Scan rows that are given out together; memory grows with them, the events do not change.
    workers : int, optional
        Threads; as many as there are cores unless given.

    Yields
    ------
    SimulatedSlab
        In the order of the scan.
    """
    losses, model = losses_of(settings), settings.forward_model
    canvas = model.canvas(specimen_of(settings), settings.scan_shape)
    rows, workers = settings.scan_shape[0], workers or os.cpu_count() or 1
    pending: deque[Future[tuple[np.ndarray, np.ndarray]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        asked = 0
        for first in range(0, rows, rows_per_slab):
            last = min(first + rows_per_slab, rows)
            parts = []
            for _ in range(first, last):
                while asked < min(rows, last + workers):
                    pending.append(pool.submit(_row, settings, model, canvas, losses, asked))
                    asked += 1
                parts.append(pending.popleft().result())
            counts = np.concatenate([np.diff(indptr) for indptr, _ in parts])
            indptr = np.concatenate([[0], np.cumsum(counts)])
            yield SimulatedSlab(first, indptr, np.concatenate([events for _, events in parts]))


def simulate(
    settings: Simulation, path: Path, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Record a scan into a file, and write the truth beside it.

    Parameters
    ----------
    settings : Simulation
        What is recorded.
    path : Path
        The electron-counted HDF5 file (stempy's layout 3). The truth goes to
        ``<stem>_truth.npz``, see ``write_truth``.
    progress : callable, optional
        Called with the rows that are done and the rows of the scan.

    Returns
    -------
    dict
        ``path``, ``truth``, ``specimen``, ``scan_shape``, ``detector_shape``, ``events``,
        ``electrons_per_frame``, ``electrons_per_angstrom2``, ``frames_missing``,
        ``sectors_lost``, ``seed``, ``seconds``; JSON values.
    """
    start, path = time.monotonic(), Path(path)
    rows = settings.scan_shape[0]

    def counted() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for slab in simulated_rows(settings):
            yield slab.indptr, slab.indices
            if progress:
                done = (slab.indptr.size - 1) // settings.recorded_shape[1]
                progress(slab.first_row + done, rows)

    truth = truth_path(path)
    events = write_stempy_file(
        path, counted(), settings.recorded_shape, settings.detector_shape,
        {"simulation": {"settings": json.dumps(as_json(settings))}},
    )  # fmt: skip
    write_truth(settings, truth)
    losses = losses_of(settings)
    whole = rows * (settings.scan_shape[1] + FLYBACK_TIME * settings.flyback) - len(losses.missing)
    return {
        "path": str(path),
        "truth": str(truth),
        "specimen": settings.specimen,
        "scan_shape": list(settings.recorded_shape),
        "detector_shape": list(settings.detector_shape),
        "events": events,
        "electrons_per_frame": round(events / max(1, whole), 2),
        "electrons_per_angstrom2": round(settings.dose, 2),
        "frames_missing": len(losses.missing),
        "sectors_lost": len(losses.sectors),
        "seed": settings.seed,
        "seconds": round(time.monotonic() - start, 3),
    }


def truth_path(path: Path) -> Path:
    """Where the truth of a simulated recording is."""
    return path.with_name(f"{path.stem}_truth.npz")


def write_truth(settings: Simulation, path: Path) -> None:
    """Write what a recording was made from; ``numpy.load`` reads it without pickle.

    ``phase`` (scan_y, scan_x) float64 [rad] at the scan positions; ``scan_step`` (2,) [Å];
    ``energy`` [eV]; ``semiangle``, ``rotation`` [rad]; ``flip``; ``center`` (2,), ``radius`` [px];
    ``aberrations`` (12,) [Å] with ``aberration_names`` (C10, C12a, C12b, …); ``electrons`` [e];
    ``missing`` (n,) positions; ``lost_sectors`` (m, 2) position and sector; ``settings``: all of
    them as JSON.
    """
    losses, g = losses_of(settings), settings.geometry
    aside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with aside.open("wb") as file:
            np.savez_compressed(
                file,
                phase=specimen_of(settings).phase(settings.scan_shape, settings.scan_step),
                scan_step=np.array(g.scan_step),
                energy=np.array(g.energy),
                semiangle=np.array(g.semiangle),
                rotation=np.array(g.rotation),
                flip=np.array(g.flip),
                center=np.array(g.center),
                radius=np.array(g.radius),
                aberrations=settings.aberrations.cartesian(),
                aberration_names=np.array(CARTESIAN),
                electrons=np.array(settings.electrons),
                missing=losses.missing,
                lost_sectors=losses.sectors,
                settings=np.array(json.dumps(as_json(settings))),
            )
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _row(
    settings: Simulation, model: ForwardModel, canvas: Canvas, losses: Losses, row: int
) -> tuple[np.ndarray, np.ndarray]:
    """Events of one row of the scan."""
    cols = settings.scan_shape[1]
    positions = model.positions(np.full(cols, row), np.arange(cols))
    rng = settings.random(ROWS_STREAM, row)
    lengths, events = [], []
    for first in range(0, cols, PATTERNS_AT_ONCE):
        patterns = model.patterns(canvas, positions[first : first + PATTERNS_AT_ONCE])
        frames = patterns.reshape(len(patterns), -1)
        indptr, indices = count_electrons(frames, settings.electrons, rng)
        lengths.append(np.diff(indptr))
        events.append(indices)
    indptr, indices = _without_losses(
        settings, losses, row, np.concatenate(lengths), np.concatenate(events)
    )
    if not settings.flyback:
        return indptr, indices
    flown = _flyback(settings, model, canvas, row)
    return np.append(indptr, indptr[-1] + len(flown)), np.concatenate([indices, flown])


def _flyback(settings: Simulation, model: ForwardModel, canvas: Canvas, row: int) -> np.ndarray:
    """Events of the frame that is taken while the beam flies from the end of a row to the next."""
    way = (np.arange(FLYBACK_PLACES) + 0.5) / FLYBACK_PLACES
    rows = np.minimum(row + way, settings.scan_shape[0] - 1)
    positions = model.positions(rows, (settings.scan_shape[1] - 1) * (1 - way))
    pattern = model.patterns(canvas, positions).mean(axis=0).reshape(1, -1)
    rng = settings.random(FLYBACK_STREAM, row)
    return count_electrons(pattern, FLYBACK_TIME * settings.electrons, rng)[1]


def _without_losses(
    settings: Simulation, losses: Losses, row: int, lengths: np.ndarray, events: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Take away the frames and sectors of a row that were lost."""
    cols = settings.scan_shape[1]
    frame = np.repeat(np.arange(row * cols, (row + 1) * cols), lengths)
    keep = ~np.isin(frame, losses.missing)
    band = -(-settings.detector_shape[0] // SECTORS) * settings.detector_shape[1]
    for position, sector in losses.sectors:
        keep &= (frame != position) | (events // band != sector)
    lengths = np.bincount(frame[keep] - row * cols, minlength=cols)
    return np.concatenate([[0], np.cumsum(lengths)]), events[keep]
