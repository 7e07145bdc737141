"""ePIE in tiles: parts of a scan on as many workers, and one object from what they find.

Every tile goes through the first rounds alone. Then the objects are merged, with the constants,
slopes and factors that no pattern tells (``gpu_kernels.merge_tiles``), the probes are brought to
the same terms and averaged, and every tile goes through the last rounds from there: so what its
neighbours know of the long waves reaches it too. The merged objects of those are the result.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from gpu_kernels.epie import EpieResult, blank, epie, illumination
from gpu_kernels.epie_gpu import epie_scratch
from gpu_kernels.merge_tiles import Merged, Tile, merge_tiles
from gpu_kernels.registration import shifted
from tasks.device import device_turn, on_device
from tasks.epie_setup import EpieSettings, EpieSetup, electrons_of
from tasks.epie_start import going_on, start_of
from tasks.scan_tiles import ScanTile
from tasks.store.events import read_array, write_array
from tasks.store.zarr_json import write_group
from tasks.units import part_done, run_units

ALONE = 0.6
"""Part of the rounds before the tiles are merged for the first time; the rest is with all positions
at once, for which a good start is worth most."""
PARTS = "tiles"
"""Folder of what tiles leave for one another; it is gone when the step is done."""
MOVED = 1e-3
"""Where a probe wandered by less, the object is left as it is [px]."""


def reconstruct_tiles(
    work: Path, aside: Path, setup: EpieSetup, tiles: list[ScanTile], client: Client | None
) -> dict[str, Any]:
    """Reconstruct tile by tile, merge, and write the result.

    Parameters
    ----------
    work, aside : Path
        Folder of the dataset's steps, and the one to write into.
    setup : EpieSetup
        Of the dataset.
    tiles : list of ScanTile
        From ``setup.tiles``.
    client : distributed.Client, optional
        Where tiles are worked on.

    Returns
    -------
    dict
        Summary of the step.
    """
    parts, settings = aside / PARTS, setup.settings
    write_group(parts)
    numbers = range(len(tiles))
    counted = run_units(
        "epie: count", _electrons, [(str(work), settings, n) for n in numbers], client
    )
    probe = setup.probe(sum(counted) / len(setup.places[0]))
    last = settings.algorithm.iterations
    first = min(max(1, round(ALONE * last)), last)
    write_array(parts, "probe", probe)
    write_array(parts, "positions", setup.positions)
    residuals, noise = [], 0.0
    for rounds in [(0, first), (first, last)] if first < last else [(0, last)]:
        units = [(str(work), str(parts), settings, n, rounds) for n in numbers]
        name = f"epie: rounds {rounds[0] + 1} to {rounds[1]} of {len(tiles)} tiles"
        found = run_units(name, _tile, units, client, parts=rounds[1] - rounds[0])
        share = np.array(counted) / sum(counted)
        residuals.append(share @ _of_one_length([one["residuals"] for one in found]))
        noise = float(share @ [one["noise"] for one in found])
        merged = _merge(parts, tiles, found, settings.algorithm.probe_step > 0)
    result = EpieResult(
        merged.obj, merged.origin, read_array(parts, "probe"), read_array(parts, "positions"),
        np.concatenate(residuals), noise,
    )  # fmt: skip
    shutil.rmtree(parts)
    setup.write(aside, result)
    return setup.facts(result) | {"tiles": len(tiles), "disagreement": merged.disagreement}


def _electrons(work_path: str, settings: EpieSettings, number: int) -> float:
    """Electrons of a tile's own patterns: probes of all tiles start with the same."""
    setup = EpieSetup(Path(work_path), settings)
    tile = setup.tiles()[number]
    return electrons_of(setup.patterns(tile.members[tile.own]), setup.grid.measured())


def _tile(
    work_path: str, parts_path: str, settings: EpieSettings, number: int, rounds: tuple[int, int]
) -> dict[str, Any]:
    """Some rounds of one tile; writes its object, probe and positions."""
    setup, parts = EpieSetup(Path(work_path), settings), Path(parts_path)
    tile = setup.tiles()[number]
    positions = read_array(parts, "positions")[tile.members]
    start = start_of(setup, tile.members)
    algorithm = going_on(settings.algorithm, start)
    if rounds[0] > 0:
        origin = read_array(parts, "origin")
        start = _part_of(read_array(parts, "object"), origin, positions, setup.grid.side)
    patterns = setup.patterns(tile.members)
    with device_turn():
        found = epie(
            on_device(patterns, epie_scratch(patterns)), positions, read_array(parts, "probe"),
            algorithm, weight=setup.grid.measured(), start=start, rounds=rounds,
            on_round=lambda n, residual, noise: part_done(
                n - rounds[0], f"residual {residual:.4f}, noise {noise:.4f}"
            ),
        )  # fmt: skip
    # Where the probe was put back, the object lies beside the positions by as much.
    away = (found.positions - positions).mean(axis=0)
    obj = shifted(found.obj, tuple(-away)) if np.abs(away).max() > MOVED else found.obj
    places = found.positions - away
    lit = illumination(places, found.probe, obj.shape, found.origin)
    for name, array in (
        ("object", obj.astype(np.complex64)), ("lit", lit), ("probe", found.probe),
        ("positions", places),
    ):  # fmt: skip
        write_array(parts, f"{name}_{number}", array)
    return {
        "origin": found.origin, "residuals": found.residuals.tolist(), "noise": found.noise,
    }  # fmt: skip


def _part_of(
    obj: np.ndarray, origin: np.ndarray, positions: np.ndarray, side: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """Part of the merged object under the windows of some positions; 1 outside of it."""
    out, low = blank(positions, side)
    first = np.maximum(low, origin)
    last = np.minimum(np.add(low, out.shape), origin + obj.shape)
    here, there = (
        tuple(slice(int(a), int(b)) for a, b in zip(first - at, last - at, strict=True))
        for at in (low, origin)
    )
    out[here] = obj[there]
    return out, low


def _merge(
    parts: Path, tiles: list[ScanTile], found: list[dict[str, Any]], free_probe: bool
) -> Merged:
    """Merge objects, probes and positions, and write them for the next rounds."""
    objects = [
        Tile(read_array(parts, f"object_{n}"), tuple(one["origin"]), read_array(parts, f"lit_{n}"))
        for n, one in enumerate(found)
    ]
    merged = merge_tiles(objects, free_probe=free_probe)
    if free_probe:
        probes = [read_array(parts, f"probe_{n}") for n in range(len(tiles))]
        write_array(parts, "probe", _common_probe(probes, merged))
    positions = read_array(parts, "positions")
    for n, tile in enumerate(tiles):
        own = read_array(parts, f"positions_{n}")
        positions[tile.members[tile.own]] = own[tile.own]
    write_array(parts, "positions", positions)
    write_array(parts, "object", merged.obj)
    write_array(parts, "origin", np.array(merged.origin))
    return merged


def _common_probe(probes: list[np.ndarray], merged: Merged) -> np.ndarray:
    """Mean of the tiles' probes, each with what was taken from its object, with their power."""
    total: np.ndarray = np.zeros(probes[0].shape, complex)
    across = np.arange(len(total)) - len(total) // 2
    for probe, plane, factor in zip(probes, merged.phases, merged.factors, strict=True):
        slope = np.exp(1j * plane[1] * across)[:, None] * np.exp(1j * plane[2] * across)
        own = probe * factor * slope
        total += own * np.exp(-1j * np.angle(np.vdot(probes[0], own)))
    power = np.mean([np.sum(np.abs(probe) ** 2) for probe in probes])
    return total * np.sqrt(power / np.sum(np.abs(total) ** 2))


def _of_one_length(residuals: list[list[float]]) -> np.ndarray:
    """(tiles, rounds) float64: a tile that settled early stays where it was."""
    longest = max(map(len, residuals))
    return np.array([one + one[-1:] * (longest - len(one)) for one in residuals])
