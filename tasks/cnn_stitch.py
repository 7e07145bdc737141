"""Patches of the step ``cnn`` become one image: sums of slabs, tiles of the scan, and their merge.

A slab's patches are added up where they are made, once for each tile that they are in; a sum is of
the size of the image under the slab, and no patch is kept. A tile is solved from its sums. Most
scans are one tile; those of a large one overlap, are solved in parallel, and are merged with an
offset each, so that no worker holds more than a tile and the merged image.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt

from gpu_kernels.merge_tiles import Tile, merge_images
from gpu_kernels.stitch import PatchSums, patch_sums, stitch_sums
from models.geometry import Geometry
from models.retrieval import patch_weights
from models.weights import load_network
from tasks.cnn_scene import NETWORK, SIDE, on_stride, scene
from tasks.cnn_settings import CnnSettings
from tasks.device import on_device
from tasks.patterns import PatternGrid, probe_positions
from tasks.places import scan_places
from tasks.scan_tiles import in_tile, tile_edges, tiles_for
from tasks.store.events import EventStore, read_array, write_array

TILE_POSITIONS = 2**18
"""Most positions of a tile, without those that it shares: a scan of 512 x 512 is one."""
OVERLAP = 1.0
"""How far a tile reaches into its neighbours, in sides of a patch."""


class Cut(NamedTuple):
    """How a scan is cut into tiles; it depends on the data alone."""

    edges: tuple[list[float], list[float]]
    """Along y and x [Å]."""
    reach: float
    """Of a tile into its neighbours [Å]."""
    patches: int
    """That are to be stitched."""

    @property
    def tiles(self) -> Iterator[tuple[int, int]]:
        """(row, column) of each."""
        rows, columns = (len(edges) - 1 for edges in self.edges)
        return ((row, column) for row in range(rows) for column in range(columns))


class Part(NamedTuple):
    """The sum of a slab's patches that are in one tile, in the array of all its sums."""

    tile: tuple[int, int]
    corner: tuple[int, int]
    shape: tuple[int, int]
    first: int


def cut_patches(
    events: EventStore, geometry: Geometry, grid: PatternGrid, settings: CnnSettings, head: int
) -> Cut:
    """Cut a scan into as few tiles as keep each small.

    Parameters
    ----------
    events, geometry, grid, settings
        Of the dataset.
    head : int
        Side of a patch [px].
    """
    chosen = ~events.unusable() & on_stride(events.scan_shape, settings.stride)
    y, x = (axis[chosen] for axis in scan_places(events, geometry, settings.positions))
    edges = tile_edges((y, x), tiles_for(y.size, (y, x), TILE_POSITIONS))
    return Cut((edges[0].tolist(), edges[1].tolist()), OVERLAP * head * grid.sampling, y.size)


def write_sums(
    work: Path, aside: Path, settings: CnnSettings, slab: int, patches: np.ndarray, cut: Cut
) -> tuple[list[Part], list[Path]]:
    """Add a slab's patches up, for each tile that they are in, and write the sums.

    Parameters
    ----------
    work, aside : Path
        Folder of the dataset's steps, and that of this one.
    settings : CnnSettings
        Which positions.
    slab : int
        Of the event store.
    patches : (some, head, head) float32
        Of the slab's positions, in the scan's order.
    cut : Cut
        Of the scan.

    Returns
    -------
    parts : list of Part
        Which sums there are.
    files : list of Path
        That hold them.
    """
    events, geometry, grid = scene(work)
    weights = patch_weights(load_network(aside / NETWORK)[0])
    y, x = slab_places(events, geometry, settings, slab)
    parts: list[Part] = []
    values: list[np.ndarray] = []
    for tile in cut.tiles:
        inside = in_tile((y, x), cut.edges, tile, cut.reach)
        if inside.any():
            at = probe_positions(grid, geometry, (y[inside], x[inside]))
            own = patch_sums(on_device(patches[inside]), at, weights)
            rows, cols = own.values.shape
            parts.append(Part(tile, own.corner, (rows, cols), sum(map(np.size, values))))
            values.append(own.values.ravel())
    if not parts:
        return [], []
    return parts, list(write_array(aside, _sums(slab), np.concatenate(values)))


def solve_tile(
    work: str, aside: str, settings: CnnSettings, tile: tuple[int, int], cut: Cut, parts: list
) -> dict[str, Any]:
    """Stitch the patches of a tile from the sums of slabs; writes its image.

    Parameters
    ----------
    work, aside, settings, tile, cut
        As in ``write_sums``.
    parts : list of (int, Part)
        Slabs that have some of its patches, and their sums.

    Returns
    -------
    dict
        ``origin`` of the image [px] and ``rounds``.
    """
    events, geometry, grid = scene(Path(work))
    network, _ = load_network(Path(aside) / NETWORK)
    weights = patch_weights(network)
    at = np.concatenate(
        [_positions(events, geometry, grid, settings, slab, tile, cut) for slab, _ in parts]
    )
    low = np.floor(at.min(axis=0)).astype(int) - SIDE // 2
    shape = np.ceil(at.max(axis=0)).astype(int) + SIDE // 2 - low
    origin = int(low[0]), int(low[1])
    found = stitch_sums(
        _read_sums(aside, parts), at, weights, (int(shape[0]), int(shape[1])),
        like=on_device(weights), origin=origin,
    )  # fmt: skip
    write_array(aside, _name("image", tile), found.image)
    write_array(aside, _name("lit", tile), found.weight)
    return {"origin": origin, "rounds": found.rounds}


def merge_solved(
    aside: str, tiles: Sequence[tuple[int, int]], found: list[dict[str, Any]]
) -> tuple[np.ndarray, dict[str, Any]]:
    """Merge the images of all tiles.

    Parameters
    ----------
    aside : str
        Folder of the step.
    tiles : sequence of (row, column)
        Which there are.
    found : list of dict
        What ``solve_tile`` said of each.

    Returns
    -------
    image : (rows, cols) float32
        Phase in the patterns' frame, where no patch saw anything the nearest one [rad].
    facts : dict
        ``origin`` of the image [px], ``rounds``, the most of a tile, and where there are several
        ``tiles``, how many, and ``disagreement`` where they overlap [rad].
    """
    rounds = max(one["rounds"] for one in found)
    images = [read_array(aside, _name("image", tile)) for tile in tiles]
    if len(tiles) == 1:
        return _filled(images[0]), {"origin": list(found[0]["origin"]), "rounds": rounds}
    merged = merge_images(
        [
            Tile(image, tuple(one["origin"]), read_array(aside, _name("lit", tile)))
            for image, one, tile in zip(images, found, tiles, strict=True)
        ]
    )
    facts = {"tiles": len(tiles), "disagreement": merged.disagreement}
    return _filled(merged.image), facts | {"origin": list(merged.origin), "rounds": rounds}


def slab_places(
    events: EventStore, geometry: Geometry, settings: CnnSettings, slab: int
) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) of the positions of a slab that are stitched [Å]."""
    first, last = events.rows(slab)
    chosen = ~events.unusable()[first:last]
    chosen &= on_stride(events.scan_shape, settings.stride)[first:last]
    y, x = scan_places(events, geometry, settings.positions)
    return y[first:last][chosen], x[first:last][chosen]


def arrays_of(slabs: range, tiles: Sequence[tuple[int, int]]) -> list[str]:
    """Names of what lies in the step's folder while patches are stitched."""
    of_tiles = [_name(kind, tile) for kind in ("image", "lit") for tile in tiles]
    return [*map(_sums, slabs), *of_tiles]


def _sums(slab: int) -> str:
    return f"sums_{slab:05d}"


def _name(kind: str, tile: tuple[int, int]) -> str:
    return f"{kind}_{tile[0]}_{tile[1]}"


def _read_sums(aside: str, parts: list[tuple[int, Part]]) -> Iterator[PatchSums]:
    for slab, part in parts:
        rows, cols = part.shape
        values = read_array(aside, _sums(slab))[part.first : part.first + rows * cols]
        yield PatchSums(part.corner, values.reshape(rows, cols))


def _positions(
    events: EventStore,
    geometry: Geometry,
    grid: PatternGrid,
    settings: CnnSettings,
    slab: int,
    tile: tuple[int, int],
    cut: Cut,
) -> np.ndarray:
    """(some, 2) places of a slab's probes in a tile, in the frame of the patterns [px]."""
    y, x = slab_places(events, geometry, settings, slab)
    inside = in_tile((y, x), cut.edges, tile, cut.reach)
    return probe_positions(grid, geometry, (y[inside], x[inside]))


def _filled(image: np.ndarray) -> np.ndarray:
    """The image with the nearest value where no patch saw anything: an edge there would scatter."""
    unseen = ~np.isfinite(image)
    nearest = distance_transform_edt(unseen, return_distances=False, return_indices=True)
    return image[tuple(nearest)].astype(np.float32)
