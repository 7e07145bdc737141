"""Search for a probe: which aberrations make neighbouring patterns agree.

Defocus is looked for over all that the window can hold, in bands of growing probes; in the band of
the smallest the seven aberrations are searched together by CMA-ES (Hansen and Ostermeier, Evol.
Comput. 9 (2001) 159–195), in the others defocus rules. What is best in each band is then judged by
the likelihood of blocks of patterns (joint_fit.py), which decides and refines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil, pi
from typing import Any, Literal

import cma
import numpy as np
import torch

from models.joint_fit import Block, Fit
from models.network_disagreement import NetworkDisagreement
from models.pair_prediction import (
    Covariances,
    DiskGrid,
    PairDisagreement,
    PairPrediction,
    PatchRegression,
    coarser,
)
from models.probe_family import LIMITS
from models.unrolled import UnrolledPatch

Objective = Literal["prediction", "relative", "absolute", "network"]
FOCUSED = 2.5
"""Up to this defocus at the edge all aberrations are searched together [rad]."""
FILLED = 0.85
"""Part of the window that a probe may fill."""
MARGIN = 6
"""Pixels around the rays of the widest probe of a band."""
NODES = 14
"""Nodes along a side of the phase."""
PER_SIGN = 8
"""Defoci that are tried in a band, each side of focus."""
MOST_HEAD = 16
"""Side of a network's patches, at most [px]."""
WORTH_A_LOOK = 1.05
"""Times the least deviance, up to which a wide probe's defocus is looked at more closely."""
NEARBY = (0.84, 0.92, 1.09, 1.19, 1.3)
"""Times its defocus."""
WIDER = 1.2
"""By which the search may go beyond the limits of the family."""


@dataclass(frozen=True)
class Search:
    """How hard to look."""

    objective: Objective = "prediction"
    iterations: int = 40
    trials: int = 30
    restarts: int = 2
    seed: int = 0
    network: UnrolledPatch | None = None
    """Of all probes, where its patches are the objective."""
    start: tuple[float, ...] | None = None
    """rad at the edge; None: anywhere."""


@dataclass(frozen=True)
class Candidate:
    """A local optimum."""

    aberrations: np.ndarray
    """(7,) rad at the edge."""
    misfit: float
    """Of the pairs; comparable within a band only."""
    band: int
    deviance: float = np.nan
    """Of a block of patterns; comparable throughout."""


@dataclass(frozen=True)
class Recovered:
    """What the patterns say of the probe."""

    aberrations: np.ndarray
    """(n,) rad at the edge: mean over the blocks."""
    uncertainty: np.ndarray
    """(n,) its standard deviation, from how much the blocks differ; NaN for a single block."""
    wave: np.ndarray
    """(side, side) complex64: A, the amplitude in √counts."""
    free_wavefront: bool
    """Whether the wavefront departs from the aberrations, because the data demand it."""
    deviance: float
    """Of the deciding block, a pixel."""
    gain: float
    """Deviance that a free wavefront takes away, over what it must to be believed."""
    candidates: tuple[Candidate, ...]
    """Best first."""
    landscape: np.ndarray = field(default_factory=lambda: np.empty((0, 2, 0)))
    """(aberrations, 2, points): values [rad] and misfit of the pairs around the optimum."""


@dataclass(frozen=True)
class Neighbours:
    """Pairs of patterns, as moments and as some pairs."""

    grid: DiskGrid
    moments: Covariances
    pairs: tuple[tuple[np.ndarray, np.ndarray], ...]
    """Whitened patterns for each of ``steps``."""
    steps: tuple[tuple[float, float], ...]
    radius: float
    """Of the disk [px of the grid]."""
    amplitude: np.ndarray
    """(side, side) float: √ of the mean counts, zero frequency first."""
    wavefronts: np.ndarray
    """(7, side, side) float: χ of one rad at the edge of each aberration."""
    counts: tuple[tuple[np.ndarray, np.ndarray], ...]
    """(n, side, side) counts of ``pairs``, zero frequency first."""


def bands(radius: float, side: int) -> list[tuple[float, float]]:
    """Ranges of |defocus| that a window can hold [rad at the edge]."""
    most = FILLED * pi * radius / 2
    edges = [0.0, min(FOCUSED, most)]
    while edges[-1] < most:
        edges.append(min(2 * edges[-1], most))
    return list(pairwise(edges))


def reach_of(defocus: float, radius: float, side: int) -> int:
    """Side of the square that a probe of a defocus lights [px]."""
    return min(side, ceil(2 * defocus * side / (pi * radius)) + MARGIN)


def candidates(
    seen: Neighbours,
    search: Search,
) -> list[Candidate]:
    """Best of every band and sign of defocus, unordered.

    Parameters
    ----------
    seen : Neighbours
        The patterns.
    search : Search
        How hard to look.
    """
    ranges = bands(seen.radius, seen.grid.side)
    found = []
    for number, (low, high) in enumerate(ranges):
        misfit = misfit_of(seen, search, high)
        if number == 0:
            found += _everything(misfit, search)
        else:
            for sign in (1.0, -1.0):
                tried = sign * np.geomspace(low, high, PER_SIGN)
                values = [misfit(np.array([t] + [0.0] * 6)) for t in tried]
                best = int(np.argmin(values))
                found.append(Candidate(np.array([tried[best]] + [0.0] * 6), values[best], number))
    return found


def misfit_of(seen: Neighbours, search: Search, defocus: float) -> Callable[[np.ndarray], float]:
    """The objective for probes up to a defocus [rad at the edge]."""
    reach = reach_of(defocus, seen.radius, seen.grid.side)
    spacing = ceil(reach / NODES)
    if search.objective == "prediction":
        # A window twice as wide as what is lit is enough.
        factor = max(1, seen.grid.side // (2 * reach))
        grid, moments = coarser(seen.grid, seen.moments, factor)
        score: Any = PairPrediction(PatchRegression(grid, reach, spacing), moments)
    elif search.objective == "network":
        score = NetworkDisagreement(
            _network_of(seen, search, reach),
            seen.amplitude,
            seen.wavefronts,
            seen.counts,
            seen.steps,
        )
    else:
        regression = PatchRegression(seen.grid, reach, spacing)
        score = PairDisagreement(regression, seen.pairs, seen.steps, search.objective == "relative")

    def misfit(aberrations: np.ndarray) -> float:
        with torch.no_grad():
            return float(score(torch.tensor(aberrations, dtype=torch.float32)))

    return misfit


def decide(
    block: Block,
    found: Sequence[Candidate],
) -> list[Candidate]:
    """Order candidates by the likelihood of a block of patterns.

    Wide probes are tried at some defoci around their own, unless they are far from the best.

    Returns
    -------
    list of Candidate
        Best first, with their deviance.
    """
    judged = [replace(one, deviance=block.misfit(one.aberrations)) for one in found]
    worst_tried = WORTH_A_LOOK * min(c.deviance for c in judged)
    for number, one in enumerate(judged):
        if one.band and one.deviance <= worst_tried:
            tried = [one.aberrations * f for f in NEARBY]
            deviances = [block.misfit(at) for at in tried]
            best = int(np.argmin(deviances))
            if deviances[best] < one.deviance:
                judged[number] = replace(one, aberrations=tried[best], deviance=deviances[best])
    return sorted(judged, key=lambda c: c.deviance)


def refine(
    blocks: Sequence[Block],
    best: Candidate,
    third_order: bool = False,
    free: bool = True,
) -> tuple[np.ndarray, np.ndarray, Fit, bool, float]:
    """Refine with every block, and let the wavefront go free if the first block demands it.

    Returns
    -------
    aberrations, uncertainty : (7 or 12,) float
        See ``Recovered``.
    fit : Fit
        Of the first block.
    freed : bool
        Whether its wavefront is free.
    gain : float
        See ``Recovered``.
    """
    start = best.aberrations
    if third_order:
        start = np.concatenate([start, np.zeros(5)])
    fits = [block.fit(start) for block in blocks]
    each = np.stack([fit.aberrations for fit in fits])
    mean = each.mean(axis=0)
    spread = each.std(axis=0, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else mean * np.nan
    first, freed, gain = fits[0], False, 0.0
    if free:
        # As many steps each, lest what is gained by further steps be taken for the wavefront's.
        loose = blocks[0].fit(mean, steps=40, free_steps=80)
        first = blocks[0].fit(mean, steps=120)
        lit = int((np.abs(first.wave) > 0.1 * np.abs(first.wave).max()).sum())
        # Schwarz's criterion: a parameter must earn the logarithm of the number of data.
        gain = (first.deviance - loose.deviance) / (lit * np.log(blocks[0].patterns.size))
        freed = bool(gain > 1)
        if freed:
            first, mean = loose, projected(loose.wave, blocks[0].wavefronts[: len(mean)], mean)
    return mean, spread, first, freed, float(gain)


def projected(wave: np.ndarray, wavefronts: np.ndarray, about: np.ndarray) -> np.ndarray:
    """Aberrations that come nearest to a wave whose phase is free.

    Parameters
    ----------
    wave : (side, side) complex
        A, zero frequency first.
    wavefronts : (n, side, side) float
        χ of one rad at the edge of each.
    about : (n,) float
        Aberrations from which it departs by less than half a turn.

    Returns
    -------
    (n,) float
        Least squares over the phases in the aperture, weighted with |A|²; piston and tilt are free.
    """
    side = wave.shape[-1]
    k = np.fft.fftfreq(side, 1 / side) / (side / 2)
    y, x = np.broadcast_arrays(k[:, None], k)
    weight = (np.abs(wave) * (wavefronts[0] <= 1.05)).ravel()
    rest = wave * np.exp(1j * np.tensordot(about, wavefronts, 1))
    for _ in range(3):
        mean = np.sum(rest * np.abs(rest) * (wavefronts[0] <= 1.05))
        rest = rest * np.conj(mean) / abs(mean)
        terms = np.concatenate([wavefronts, [np.ones_like(y), y, x]]).reshape(len(about) + 3, -1)
        off = np.linalg.lstsq((terms * weight).T, -np.angle(rest).ravel() * weight, rcond=None)[0]
        about = about + off[: len(about)]
        rest = rest * np.exp(1j * (off @ terms).reshape(rest.shape))
    return np.asarray(about)


def landscape(misfit: Callable[[np.ndarray], float], at: np.ndarray, points: int = 9) -> np.ndarray:
    """(aberrations, 2, points): misfit along each aberration, the others as they are."""
    lines = []
    for axis in range(len(LIMITS)):
        span = max(LIMITS[axis] / 2, 0.3 * abs(at[axis]))
        values = at[axis] + np.linspace(-span, span, points)
        moved = [np.concatenate([at[:axis], [v], at[axis + 1 : len(LIMITS)]]) for v in values]
        lines.append([values, [misfit(one) for one in moved]])
    return np.array(lines)


def _network_of(seen: Neighbours, search: Search, reach: int) -> UnrolledPatch:
    """The network with patches that hold the probes of a band."""
    if search.network is None:
        raise ValueError("the objective 'network' needs a network of all probes")
    side = seen.grid.side
    probe = np.fft.fftshift(np.fft.ifft2(seen.amplitude))
    options = search.network.options | {
        "electrons": float(np.sum(np.square(seen.amplitude))),
        "head": min(side, 4 * ceil(min(reach, MOST_HEAD) / 4)),
    }
    ready = UnrolledPatch(probe, **options)
    ready.load_state_dict(search.network.state_dict() | dict(ready.named_buffers()))
    return ready.eval()


def _everything(misfit: Callable[[np.ndarray], float], search: Search) -> list[Candidate]:
    """Optima of all seven aberrations within the limits, one a restart."""
    rng = np.random.default_rng(search.seed)
    scale = WIDER * LIMITS
    found = []
    for restart in range(search.restarts):
        start = rng.uniform(-0.5, 0.5, len(LIMITS))
        if restart == 0 and search.start is not None:
            start = np.clip(np.asarray(search.start)[: len(LIMITS)] / scale, -0.99, 0.99)
        strategy = cma.CMAEvolutionStrategy(
            start,
            0.35,
            {"popsize": search.trials, "maxiter": search.iterations, "bounds": [-1, 1],
             "seed": search.seed * 1000 + restart + 1, "verbose": -9},
        )  # fmt: skip
        while not strategy.stop():
            tried = strategy.ask()
            strategy.tell(tried, [misfit(np.asarray(one) * scale) for one in tried])
        found.append(Candidate(strategy.result.xbest * scale, float(strategy.result.fbest), 0))
    return found
