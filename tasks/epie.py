"""ePIE: object and probe by iterative ptychography, from the patterns of a scan.

One unit of work is one reconstruction; it runs on one worker, and says after each round how far the
patterns still are from what object and probe predict.
"""

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from distributed import Client

from gpu_kernels import backend
from gpu_kernels.epie import SEQUENTIAL, Epie, EpieResult, epie
from models.geometry import Geometry
from tasks.array_files import ArrayFile, ArrayFileError, read_positions, read_probe
from tasks.calibrate import read_calibration
from tasks.object_image import along_scan
from tasks.patterns import (
    PatternGrid,
    choose_grid,
    given_probe,
    modelled_probe,
    probe_positions,
    probe_room,
    read_patterns,
)
from tasks.regions import VACUUM
from tasks.store import layout
from tasks.store.events import EventStore, open_store, read_array, write_array
from tasks.store.publish import Manifest, published
from tasks.units import part_done, run_units

VERSION = 1


@dataclass(frozen=True)
class EpieSettings:
    """What is reconstructed from what, and how."""

    algorithm: Epie = field(default_factory=Epie)
    probe: str | ArrayFile = "aberrations"
    """To start from: ``aberrations``, ``vacuum`` (its amplitude, with the calibrated phases), or a
    file."""
    positions: ArrayFile | None = None
    """Of the probe; absent: the raster of the scan."""
    window: tuple[int, int, int, int] | None = None
    """First scan row, row after the last, first column, column after the last; absent: all."""
    bin: int | None = None
    """Detector pixels along a side of a binned one; absent: as many as the probe allows."""
    side: int | None = None
    """Binned pixels along a side of a pattern; absent: twice the disk."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the result; a file counts by what is in it, not by where it lies."""
        files = {
            name: value.parameters
            for name in ("probe", "positions")
            if isinstance(value := getattr(self, name), ArrayFile)
        }
        return asdict(self) | files


def algorithm(method: str, given: dict[str, Any]) -> Epie:
    """How object and probe are sought.

    Parameters
    ----------
    method : str
        ``batches`` or ``sequential``.
    given : dict
        Values for fields of ``Epie``; None, and what is no field of it, are left out.

    Returns
    -------
    Epie
        The method's own values elsewhere.
    """
    names = {one.name for one in fields(Epie)}
    own = {name: given[name] for name in names & given.keys() if given[name] is not None}
    return replace(SEQUENTIAL if method == "sequential" else Epie(), **own)


def reconstruct(
    work: Path,
    identity_of_calibration: str,
    settings: EpieSettings,
    client: Client | None = None,
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Reconstruct object and probe.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    identity_of_calibration : str
        Identity of the calibration, which stands for all that comes before it.
    settings : EpieSettings
        What to do.
    client, force
        As for every step.

    Returns
    -------
    manifest : Manifest
        Of the step's folder: ``object`` (rows, cols) complex64 along the axes of the scan, with
        ``object_y`` and ``object_x`` [Å]; ``probe`` (side, side) complex64 in the detector's frame,
        its disk on the zero frequency; ``residuals`` (rounds,); ``moved`` (scan_y, scan_x, 2) [Å],
        how far positions were moved.
        Its summary has ``sampling`` [Å], ``bin``, ``side``, ``patterns``, ``residual``, ``noise``
        and ``probe_room`` over ``extent`` [Å].
    reused : bool
        Whether it was there before.
    """

    def write(aside: Path) -> dict[str, Any]:
        zarr.create_group(str(aside))
        unit = (str(work), str(aside), settings)
        rounds = settings.algorithm.iterations
        (facts,) = run_units("epie", _reconstruct, [unit], client, parts=rounds)
        return facts

    return published(
        layout.step_folder(work, "epie"),
        step="epie",
        version=VERSION,
        inputs={"calibrate": identity_of_calibration},
        parameters=settings.parameters,
        write=write,
        force=force,
    )


def _reconstruct(work_path: str, aside: str, settings: EpieSettings) -> dict[str, Any]:
    work = Path(work_path)
    geometry, aberrations, _ = read_calibration(work)
    events = open_store(layout.event_store(work))
    grid = choose_grid(geometry, aberrations, events.detector_shape, settings.bin, settings.side)
    chosen = _chosen(events, settings)
    places = tuple(axis[chosen] for axis in _places(events, geometry, settings))
    patterns, weight = read_patterns(events, grid, chosen), grid.measured()
    electrons = float((patterns.sum(axis=0, dtype=np.float64) * weight).sum() / len(patterns))
    probe = _probe(work, grid, settings, electrons)
    at = probe_positions(grid, geometry, (places[0], places[1]))
    if backend.cupy is not None and backend.cupy.is_available():
        patterns = backend.to_device(patterns)
    found = epie(
        patterns, at, probe, settings.algorithm, weight=weight,
        on_round=lambda n, residual, noise: part_done(
            n, f"residual {residual:.4f}, noise {noise:.4f}"
        ),
    )  # fmt: skip
    _write(Path(aside), found, geometry, grid, (places[0], places[1]), chosen, at)
    return {
        "sampling": grid.sampling,
        "bin": grid.bin,
        "side": grid.side,
        "patterns": len(at),
        "rounds": len(found.residuals),
        "residual": float(found.residuals[-1]),
        "noise": found.noise,
        "probe_room": probe_room(geometry, aberrations),
        "extent": grid.extent,
    }


def _chosen(events: EventStore, settings: EpieSettings) -> np.ndarray:
    chosen = ~events.unusable()
    if settings.window is not None:
        y0, y1, x0, x1 = settings.window
        if y1 > events.scan_shape[0] or x1 > events.scan_shape[1]:
            raise ValueError(
                f"epie: the window {list(settings.window)} reaches beyond the scan of "
                f"{events.scan_shape[0]} x {events.scan_shape[1]} positions."
            )
        inside = np.zeros_like(chosen)
        inside[y0:y1, x0:x1] = True
        chosen &= inside
    if not chosen.any():
        raise ValueError("epie: no scan position in the window has a whole frame.")
    return chosen


def _places(
    events: EventStore, geometry: Geometry, settings: EpieSettings
) -> tuple[np.ndarray, np.ndarray]:
    """(scan_y, scan_x) float64 each: y and x of the positions along the scan's axes [Å]."""
    if settings.positions is None:
        rows, cols = np.indices(events.scan_shape)
        return rows * geometry.scan_step[0], cols * geometry.scan_step[1]
    places = settings.positions.read(read_positions)
    if places.shape[:2] != events.scan_shape:
        raise ArrayFileError(
            f"{settings.positions.path}: positions of {places.shape[0]} x {places.shape[1]}, the "
            f"scan has {events.scan_shape[0]} x {events.scan_shape[1]}."
        )
    return places[..., 0], places[..., 1]


def _probe(work: Path, grid: PatternGrid, settings: EpieSettings, electrons: float) -> np.ndarray:
    if isinstance(settings.probe, ArrayFile):
        return given_probe(grid, settings.probe.read(read_probe), electrons)
    geometry, aberrations, _ = read_calibration(work)
    vacuum = None
    if settings.probe == "vacuum":
        vacuum = read_array(layout.step_folder(work, "reduce"), f"region_{VACUUM}")
    return modelled_probe(grid, geometry, aberrations, electrons, vacuum)


def _write(
    aside: Path,
    found: EpieResult,
    geometry: Geometry,
    grid: PatternGrid,
    places: tuple[np.ndarray, np.ndarray],
    chosen: np.ndarray,
    home: np.ndarray,
) -> None:
    # Where the probe was put back, the object lies beside the scan by as much.
    away = (found.positions - home).mean(axis=0)
    origin = found.origin[0] - away[0], found.origin[1] - away[1]
    image = along_scan(found.obj, origin, geometry, grid.sampling, places)
    moved = np.zeros((*chosen.shape, 2), np.float32)
    steps = np.round((found.positions - home - away) * grid.sampling, 6)
    moved[chosen] = np.stack(geometry.detector_to_scan(steps[:, 0], steps[:, 1]), axis=-1)
    for name, array in (
        ("object", image.obj), ("object_y", image.y), ("object_x", image.x),
        ("probe", (found.probe / grid.tilt).astype(np.complex64)), ("residuals", found.residuals),
        ("moved", moved),
    ):  # fmt: skip
        write_array(aside, name, array)
