"""What a reconstruction starts from: grid, positions and probe of a dataset."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpu_kernels.epie import EpieResult
from gpu_kernels.epie_settings import Epie
from tasks.array_files import ArrayFile, parameters_of, read_probe
from tasks.calibrate import open_calibrated
from tasks.object_image import along_scan
from tasks.patterns import PatternGrid, choose_grid, probe_positions, probe_room, read_patterns
from tasks.places import scan_places
from tasks.scan_tiles import ScanTile, cut_scan, tiles_for
from tasks.starting_probe import starting_probe
from tasks.store.events import EventStore, write_array

OVERLAP = 1 / 3
"""How far a tile reaches into its neighbours, in windows of the probe."""


@dataclass(frozen=True)
class EpieSettings:
    """What is reconstructed from what, and how."""

    algorithm: Epie = field(default_factory=Epie)
    probe: str | ArrayFile = "aberrations"
    """To start from: ``aberrations``, ``vacuum`` (its amplitude, with the calibrated phases), or a
    file."""
    start: str = "flat"
    """What the object starts from: ``flat``, or ``cnn``, the phase that the network found."""
    positions: ArrayFile | None = None
    """Of the probe; absent: the raster of the scan."""
    window: tuple[int, int, int, int] | None = None
    """First scan row, row after the last, first column, column after the last; absent: all."""
    bin: int | None = None
    """Detector pixels along a side of a binned one; absent: as many as the probe allows."""
    side: int | None = None
    """Binned pixels along a side of a pattern; absent: a given probe's, else twice the disk."""
    tiles: tuple[int, int] | None = None
    """Tiles along the slow and the fast axis; absent: as few as keep a tile's patterns small."""
    tile_overlap: float | None = None
    """How far a tile reaches into its neighbours [Å]; absent: a third of the probe's window."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the result; a file counts by what is in it, not by where it lies."""
        return parameters_of(self)


class EpieSetup:
    """A dataset as ePIE sees it; read anew on every worker, for it is small."""

    def __init__(self, work: Path, settings: EpieSettings) -> None:
        """Read calibration and positions.

        Parameters
        ----------
        work : Path
            Folder of the dataset's steps.
        settings : EpieSettings
            What to do.
        """
        self.work, self.settings = work, settings
        self.events, self.geometry, self.aberrations = open_calibrated(work)
        self.grid = choose_grid(
            self.geometry, self.aberrations, self.events.detector_shape, settings.bin, settings.side
        )
        if settings.side is None and isinstance(settings.probe, ArrayFile):
            self.grid = _grid_of_probe(self.grid, settings.probe)
        self.chosen = _chosen(self.events, settings)
        places = scan_places(self.events, self.geometry, settings.positions)
        y, x = (axis[self.chosen] for axis in places)
        self.places = y, x

    @property
    def positions(self) -> np.ndarray:
        """(positions, 2) float64: (y, x) of the chosen positions, in pixels of the object."""
        return probe_positions(self.grid, self.geometry, self.places)

    def tiles(self) -> list[ScanTile]:
        """Cut the scan; one tile where patterns are few enough and the job wants no more."""
        size = 2 * self.grid.side**2 * len(self.places[0])
        shape = self.settings.tiles or tiles_for(size, self.places)
        reach = self.settings.tile_overlap or OVERLAP * self.grid.extent
        return cut_scan(self.places, shape, reach)

    def patterns(self, members: np.ndarray | None = None) -> np.ndarray:
        """(positions, side, side): patterns of some of the chosen positions, or of all."""
        if members is None:
            return read_patterns(self.events, self.grid, self.chosen)
        mask = np.zeros(self.chosen.size, bool)
        mask[np.flatnonzero(self.chosen)[members]] = True
        return read_patterns(self.events, self.grid, mask.reshape(self.chosen.shape))

    def probe(self, electrons: float) -> np.ndarray:
        """(side, side) complex128: the probe to start from, with so many electrons."""
        return starting_probe(self.work, self.grid, self.settings.probe, electrons)

    def write(self, aside: Path, found: EpieResult) -> None:
        """Write what was found into the step's folder, the object along the axes of the scan."""
        # Where the probe was put back, the object lies beside the scan by as much.
        home = self.positions
        away = (found.positions - home).mean(axis=0)
        origin = found.origin[0] - away[0], found.origin[1] - away[1]
        image = along_scan(found.obj, origin, self.geometry, self.grid.sampling, self.places)
        moved = np.zeros((*self.chosen.shape, 2), np.float32)
        steps = np.round((found.positions - home - away) * self.grid.sampling, 6)
        # Positions lie in the frame after the mirror: the rotation alone leads to the scan.
        turn = replace(self.geometry, flip=False)
        on_scan = turn.detector_to_scan(steps[:, 0], steps[:, 1])
        moved[self.chosen] = np.stack(on_scan, axis=-1)
        for name, array in (
            ("object", image.obj), ("object_y", image.y), ("object_x", image.x),
            ("probe", (found.probe / self.grid.tilt).astype(np.complex64)),
            ("residuals", found.residuals), ("moved", moved),
        ):  # fmt: skip
            write_array(aside, name, array)

    def facts(self, found: EpieResult) -> dict[str, Any]:
        """What the summary says."""
        return {
            "sampling": self.grid.sampling,
            "bin": self.grid.bin,
            "side": self.grid.side,
            "patterns": len(self.places[0]),
            "rounds": len(found.residuals),
            "residual": float(found.residuals[-1]),
            "noise": found.noise,
            "probe_room": probe_room(self.geometry, self.aberrations),
            "extent": self.grid.extent,
        }


def _grid_of_probe(grid: PatternGrid, probe: ArrayFile) -> PatternGrid:
    """The grid with as many pixels as a probe that was measured on it, where there is a choice."""
    side = probe.read(read_probe).shape[0]
    return grid if side == grid.side * grid.bin else replace(grid, side=side)


def electrons_of(patterns: np.ndarray, weight: np.ndarray) -> float:
    """Electrons of all patterns where the detector measures [e]."""
    return float((patterns.sum(axis=0, dtype=np.float64) * weight).sum())


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
