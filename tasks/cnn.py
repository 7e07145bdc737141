"""CNN: the phase from single patterns by a network, stitched; and how far to trust it.

Nothing is iterated over the scan: every pattern is turned into a patch of phases on its own, in
parallel (Chang et al., Phys. Rev. Lett. 130, 016101 (2023)), and the patches are stitched in one
linear solve, or one for each tile of a large scan (``tasks.cnn_stitch``). The network that comes
along serves every probe; it is tested on patterns simulated for the dataset's own probe and dose,
and trained on for a little while where that pays. What neighbouring patterns tell together is then
added in a few rounds (``tasks.cnn_refine``).
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from distributed import Client

from models.forward import head_size, unit_probe
from models.geometry import Geometry
from models.retrieval import retrieve
from models.weights import load_network
from tasks.cnn_echo import retrieve_echo, without_echo, without_plane
from tasks.cnn_refine import PHASE, PROBE, refine
from tasks.cnn_scene import NETWORK, SIDE, roots_of, scene
from tasks.cnn_settings import CnnError, CnnSettings
from tasks.cnn_stitch import Cut, Part, arrays_of, cut_patches, merge_solved, solve_tile, write_sums
from tasks.device import device_turn, torch_device
from tasks.network import make_network
from tasks.object_image import along_scan
from tasks.patterns import PatternGrid, read_patterns
from tasks.places import scan_places
from tasks.starting_probe import starting_probe
from tasks.store import layout
from tasks.store.events import EventStore, open_store, read_array, write_array
from tasks.store.publish import Manifest, published
from tasks.store.records import finished_unit, record_unit
from tasks.store.zarr_json import write_group
from tasks.units import run_units

VERSION = 7
LARGEST_HEAD = 20
"""Side of the largest patch; a probe that needs more does not fit into the window [px]."""
SAMPLED = 4096
"""Patterns that the mean dose is taken from."""
GENTLE = 8
"""Phases are turned to the scan's axes as e^(iφ/8): no phase that occurs then wraps."""
STITCHED = "stitched"


def cnn(
    work: Path,
    identity_of_calibration: str,
    settings: CnnSettings,
    client: Client | None = None,
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Retrieve the phase with a network.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    identity_of_calibration : str
        Identity of the calibration, which stands for all that comes before it.
    settings : CnnSettings
        What to do.
    client, force
        As for every step.

    Returns
    -------
    manifest : Manifest
        Of the step's folder: ``phase`` (rows, cols) float32 [rad] along the axes of the scan, with
        ``phase_y`` and ``phase_x`` [Å]; ``phase_stitched``, the same before it was refined, where
        it was; ``misfit`` (scan_y, scan_x) float32, 1 where the phase explains the pattern and NaN
        where there is none; ``network.safetensors``, what retrieved it. Its summary has
        ``sampling`` [Å], ``bin``, ``electrons``, ``patches``; ``plane`` (y, x) [rad/Å], the slope
        that was taken away; ``refined``, the rounds that were kept, with ``misfit_median`` and,
        before them, ``misfit_median_stitched``; ``misfit_mean`` with its standard error
        ``misfit_doubt``, and ``misfit_bare``, the mean for the probe alone; ``refined_anew``,
        whether the rounds began from no phase;
        ``tiles`` and their ``disagreement`` [rad], where a large scan was stitched in several;
        and all that ``make_network`` says.
    reused : bool
        Whether it was there before.

    Raises
    ------
    CnnError
        If probe or detector do not suit a network.
    """

    def write(aside: Path) -> dict[str, Any]:
        if not (aside / "zarr.json").exists():
            write_group(aside)
        unit = str(work), str(aside), settings
        facts = finished_unit(aside, "network")
        if facts is None:
            (facts,) = run_units("cnn: network", _make_network, [unit], client)
        events = open_store(layout.event_store(work))
        cut = Cut(*facts.pop("cut"))
        sums = _sums_of_slabs(unit, range(events.slabs), facts, cut, client)
        tiles, solved = _solved(unit, sums, cut, client)
        (stitched,) = run_units("cnn: merge", _merge, [(str(aside), tiles, solved)], client)
        facts |= stitched | {"patches": cut.patches}
        refined = refine(work, aside, settings, facts, client)
        if not settings.refine:  # which makes good what the network loses, and more
            units = [(*unit, slab, facts, cut) for slab in sums]
            echoes = run_units("cnn: echo", retrieve_echo, units, client)
            tiles, solved = _solved(unit, dict(zip(sums, echoes, strict=True)), cut, client)
            run_units("cnn: merge", _merge_echo, [(str(aside), tiles, solved)], client)
            alone, refined = refined, refine(work, aside, settings, facts, client)
            if not np.nanmean(refined.misfit) < np.nanmean(alone.misfit):
                write_array(aside, PHASE, read_array(aside, STITCHED))
                refined = alone
        (placed,) = run_units("cnn: turn", _turn, [(*unit, facts)], client)
        write_array(aside, "misfit", refined.misfit.astype(np.float32))
        for name in (PHASE, STITCHED, PROBE, *arrays_of(range(events.slabs), tiles)):
            shutil.rmtree(aside / name, ignore_errors=True)
        usable = refined.misfit[np.isfinite(refined.misfit)]
        judged = {
            "refined": refined.rounds,
            "refined_anew": refined.anew,
            "misfit_median": float(np.median(usable)),
            "misfit_median_stitched": refined.before,
            "misfit_mean": refined.mean,
            "misfit_doubt": refined.doubt,
            "misfit_bare": refined.bare,
        }
        return facts | placed | judged

    return published(
        layout.step_folder(work, "cnn"),
        step="cnn",
        version=VERSION,
        inputs={"calibrate": identity_of_calibration},
        parameters=settings.parameters,
        write=write,
        force=force,
    )


def _make_network(work_path: str, aside: str, settings: CnnSettings) -> dict[str, Any]:
    torch.set_num_threads(1)
    work = Path(work_path)
    events, geometry, grid = scene(work)
    electrons = _mean_electrons(events, grid)
    probe = starting_probe(work, grid, settings.probe, electrons)
    head = head_size(probe)
    if head > LARGEST_HEAD:
        raise CnnError(
            f"cnn: the probe needs a window of {head * grid.sampling:.4g} Å or more, and patterns "
            f"of {SIDE} x {SIDE} pixels with a disk of {geometry.radius / grid.bin:.3g} px see "
            f"{grid.extent:.4g} Å. Its defocus is too large for a network; take the step epie."
        )
    path = Path(aside) / NETWORK
    facts = make_network(settings.network, unit_probe(probe), electrons, path)
    facts |= {"electrons": electrons, "bin": grid.bin, "sampling": grid.sampling}
    facts["cut"] = cut_patches(events, geometry, grid, settings, facts["head"])
    record_unit(Path(aside), "network", [path], facts)
    return facts


def _mean_electrons(events: EventStore, grid: PatternGrid) -> float:
    """Mean electrons of a pattern, from some positions all over the scan."""
    usable = np.flatnonzero(~events.unusable())
    if not usable.size:
        raise CnnError("cnn: no scan position has a whole frame.")
    chosen = np.zeros(events.scan_shape, bool)
    chosen.ravel()[usable[:: max(1, usable.size // SAMPLED)]] = True
    return float(read_patterns(events, grid, chosen).mean(axis=0, dtype=np.float64).sum())


def _unit(slab: int) -> str:
    return f"slab-{slab:05d}"


def _sums_of_slabs(
    unit: tuple[str, str, CnnSettings],
    slabs: range,
    facts: dict[str, Any],
    cut: Cut,
    client: Client | None,
) -> dict[int, dict[str, Any]]:
    """``parts`` of every slab; those that lie there from before are not made again."""
    there = {slab: finished_unit(Path(unit[1]), _unit(slab)) for slab in slabs}
    todo = [slab for slab, found in there.items() if found is None]
    units = [(*unit, slab, facts, cut) for slab in todo]
    made = dict(zip(todo, run_units("cnn: patches", _retrieve_slab, units, client), strict=True))
    return {slab: found or made[slab] for slab, found in there.items()}


def _retrieve_slab(
    work: str, aside: str, settings: CnnSettings, slab: int, facts: dict[str, Any], cut: Cut
) -> dict[str, Any]:
    torch.set_num_threads(1)
    events, _, grid = scene(Path(work))
    network, _ = load_network(Path(aside) / NETWORK)
    roots, _ = roots_of(events, grid, slab, settings.stride)
    with device_turn():
        patches = retrieve(network.to(torch_device()), roots, facts["electrons"])
    parts, files = write_sums(Path(work), Path(aside), settings, slab, patches, cut)
    sums = {"parts": parts}
    record_unit(Path(aside), _unit(slab), files, sums)
    return sums


def _by_tile(sums: dict[int, dict[str, Any]]) -> dict[tuple[int, int], list[tuple[int, Part]]]:
    """Slabs and their sums for each tile that has any patch."""
    found: dict[tuple[int, int], list[tuple[int, Part]]] = {}
    for slab, one in sums.items():
        for tile, corner, shape, first in one["parts"]:
            part = Part(tuple(tile), tuple(corner), tuple(shape), first)
            found.setdefault(part.tile, []).append((slab, part))
    return dict(sorted(found.items()))


def _solved(
    unit: tuple[str, str, CnnSettings],
    sums: dict[int, dict[str, Any]],
    cut: Cut,
    client: Client | None,
) -> tuple[list[tuple[int, int]], list[dict[str, Any]]]:
    """Stitch every tile from the sums of slabs; gives the tiles and what was said of each."""
    of_tiles = _by_tile(sums)
    units = [(*unit, tile, cut, parts) for tile, parts in of_tiles.items()]
    return list(of_tiles), run_units("cnn: stitch", solve_tile, units, client)


def _merge(
    aside: str, tiles: list[tuple[int, int]], solved: list[dict[str, Any]]
) -> dict[str, Any]:
    phase, facts = merge_solved(aside, tiles, solved)
    write_array(aside, PHASE, phase)
    write_array(aside, STITCHED, phase)
    network, _ = load_network(Path(aside) / NETWORK)
    write_array(aside, PROBE, network.probe.numpy())
    return facts


def _merge_echo(aside: str, tiles: list[tuple[int, int]], solved: list[dict[str, Any]]) -> None:
    echo, _ = merge_solved(aside, tiles, solved)
    write_array(aside, PHASE, without_echo(read_array(aside, PHASE), echo))


def _turn(work: str, aside: str, settings: CnnSettings, facts: dict[str, Any]) -> dict[str, Any]:
    """Write the phases along the axes of the scan."""
    events, geometry, grid = scene(Path(work))
    places = scan_places(events, geometry, settings.positions)
    low = np.array(facts["origin"])
    image, y, x = _turned(read_array(aside, PHASE), low, geometry, grid, places)
    flat, slope = without_plane(image)
    arrays = {"phase": flat, "phase_y": y, "phase_x": x}
    if settings.refine:
        own, *_ = _turned(read_array(aside, STITCHED), low, geometry, grid, places)
        arrays["phase_stitched"] = without_plane(own)[0]
    for name, array in arrays.items():
        write_array(aside, name, array)
    return {"plane": [one / grid.sampling for one in slope]}


def _turned(
    image: np.ndarray,
    low: np.ndarray,
    geometry: Geometry,
    grid: PatternGrid,
    places: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image of the patterns' frame on the axes of the scan, with places along y and x [Å]."""
    gentle = np.exp(1j * image / GENTLE)
    found = along_scan(gentle, (float(low[0]), float(low[1])), geometry, grid.sampling, places)
    return (np.angle(found.obj) * GENTLE).astype(np.float32), found.y, found.x
