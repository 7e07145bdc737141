"""The stitched phase against all patterns together: how well it explains them, and a better one.

Each round reads every pattern once, slab by slab: for its misfit, which says how far the phase is
to be trusted there, and for what it would have changed (``models.joint_phase``). A round that does
not bring the misfit down is not kept, and made again with caution. Where the network's phase
explains the patterns less well than no specimen at all does, twice as many cautious rounds begin
from none.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from distributed import Client

from models.joint_phase import Score, improved, score_of
from models.retrieval import bare_misfits, scan_misfits
from tasks.cnn_scene import on_stride, roots_of, scene
from tasks.cnn_settings import CnnSettings
from tasks.device import device_turn, torch_device
from tasks.patterns import probe_positions
from tasks.places import scan_places
from tasks.store.events import read_array, write_array
from tasks.units import run_units

PHASE, PROBE = "detector_phase", "probe"
"""Arrays in the step's folder, in the patterns' frame, while it is at work."""
DOUBTED = 1.5
"""Median misfit above which the network's phase is compared with none."""


class Refined(NamedTuple):
    """What the rounds came to; the phase lies in the folder."""

    misfit: np.ndarray
    """(scan_y, scan_x) float64: 1 where counting noise explains it, NaN without a frame."""
    rounds: int
    """That were kept."""
    before: float
    """Median misfit of the network's own phase."""
    anew: bool
    """Whether they began from no phase, because that explained more."""
    mean: float
    """Of the misfit, over the positions that the phase is made from."""
    doubt: float
    """Standard error of that mean."""
    bare: float
    """The same mean for the probe alone: what there was to explain."""


def refine(
    work: Path, aside: Path, settings: CnnSettings, facts: dict[str, Any], client: Client | None
) -> Refined:
    """Judge the phase in the step's folder, and replace it by more likely ones.

    Parameters
    ----------
    work, aside : Path
        Folder of the dataset's steps, and that of this one.
    settings : CnnSettings
        Which positions make the phase, and how many rounds are asked for.
    facts : dict
        ``origin`` of the phase [px] and ``electrons`` of a pattern.
    client : Client, optional
        As for every step.
    """
    units = str(work), str(aside), settings, facts
    wanted, rounds, cautious, anew = settings.refine, 0, False, False
    seen = _look(units, client, last=wanted == 0)
    before = float(np.nanmedian(seen.misfit))
    if wanted and before > DOUBTED and seen.bare < seen.mean:
        write_array(aside, PHASE, np.zeros_like(read_array(aside, PHASE)))
        seen, wanted, cautious, anew = _look(units, client), 2 * wanted, True, True
    while rounds < wanted:
        phase = read_array(aside, PHASE)
        run_units("cnn: solve", _improve, [(*units, seen.scores, cautious)], client)
        tried = _look(units, client, last=rounds + 1 == wanted)
        if tried.mean < seen.mean:
            seen, rounds = tried, rounds + 1
            continue
        write_array(aside, PHASE, phase)
        if cautious:
            break
        cautious = True
    return Refined(seen.misfit, rounds, before, anew, seen.mean, seen.doubt, seen.bare)


class _Seen(NamedTuple):
    """What a phase makes of all patterns."""

    misfit: np.ndarray
    """(scan_y, scan_x) float64."""
    mean: float
    """Of it, over the positions that the phase is made from."""
    doubt: float
    """Standard error of ``mean``."""
    bare: float
    """Mean of the misfit of the probe alone, over the same positions."""
    scores: list[Score]


def _look(units: tuple[Any, ...], client: Client | None, last: bool = False) -> _Seen:
    """Hold the phase in the step's folder against all patterns."""
    work, _, settings, _ = units
    slabs = range(scene(Path(work))[0].slabs)
    name = "cnn: misfit" if last else "cnn: refine"
    seen = run_units(name, _see_slab, [(*units, slab, last) for slab in slabs], client)
    misfit, bare = (np.concatenate(one) for one in list(zip(*seen, strict=True))[:2])
    used = on_stride(misfit.shape, settings.stride) & np.isfinite(misfit)
    doubt = float(misfit[used].std() / np.sqrt(used.sum()))
    scores = [score for *_, score in seen if score is not None]
    return _Seen(misfit, float(misfit[used].mean()), doubt, float(bare[used].mean()), scores)


def _see_slab(
    work: str, aside: str, settings: CnnSettings, facts: dict[str, Any], slab: int, last: bool
) -> tuple[np.ndarray, np.ndarray, Score | None]:
    """A slab's misfits and those of the probe alone, and what the slab would change.

    Misfits are (rows, cols), NaN where nothing was recorded.
    """
    torch.set_num_threads(1)
    events, geometry, grid = scene(Path(work))
    roots, chosen = roots_of(events, grid, slab)
    first, end = events.rows(slab)
    y, x = (axis[first:end][chosen] for axis in scan_places(events, geometry, settings.positions))
    at = probe_positions(grid, geometry, (y, x)) - facts["origin"]
    phase, probe = read_array(aside, PHASE), read_array(aside, PROBE)
    misfit, bare = (np.full(chosen.shape, np.nan) for _ in range(2))
    bare[chosen] = bare_misfits(roots, probe, facts["electrons"])
    misfit[chosen] = scan_misfits(roots, phase, at, probe, facts["electrons"])
    used = on_stride(events.scan_shape, settings.stride)[first:end][chosen]
    if last or not used.any():
        return misfit, bare, None
    dose = facts["electrons"]
    with device_turn():
        score = score_of(roots[used], phase, at[used], probe, dose, torch_device())
    return misfit, bare, score


def _improve(
    work: str,
    aside: str,
    settings: CnnSettings,
    facts: dict[str, Any],
    scores: list[Score],
    cautious: bool,
) -> None:
    torch.set_num_threads(1)
    events, geometry, grid = scene(Path(work))
    chosen = ~events.unusable() & on_stride(events.scan_shape, settings.stride)
    y, x = (axis[chosen] for axis in scan_places(events, geometry, settings.positions))
    at = probe_positions(grid, geometry, (y, x)) - facts["origin"]
    phase, probe = read_array(aside, PHASE), read_array(aside, PROBE)
    with device_turn():
        changed = improved(phase, scores, at, probe, facts["electrons"], torch_device(), cautious)
    write_array(aside, PHASE, changed)
