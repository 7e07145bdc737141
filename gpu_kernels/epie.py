"""Extended ptychographic iterative engine (ePIE): object and probe from overlapping patterns.

Each pattern is |F[P(r − R) · O(r)]|². Where a wave's amplitude differs from what the root of the
counts says (see counted_root.py, for electrons are few), it is put right, and the difference goes
back to the object through P* and to the probe through O*
(Maiden and Rodenburg, Ultramicroscopy 109 (2009) 1256–1262). Strictly sequential, each position
acts before the next one is looked at. In batches, positions act together, Σ P*Δψ / Σ |P|², and
momentum carries slow changes on (Maiden, Johnson and Li, Optica 4 (2017) 736–745): long waves of
the phase, which no single pattern sees, need fifty sequential rounds, and arrive in ten.

Batches grow from a quarter of all positions, where electrons are few from half, to all of them:
small ones are quick, and leave the noise of the last batch in the image; a batch of everything
leaves the least. On 4,096 patterns of 27,882 electrons, 50 rounds came to 4 mrad of the phase so,
in batches of all to 5 mrad, and sequentially to 9 mrad.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import cos, pi
from typing import NamedTuple

import numpy as np
from scipy.signal import fftconvolve
from scipy.special import gammaln

from gpu_kernels.backend import Array, on_gpu
from gpu_kernels.epie_cpu import CpuEngine
from gpu_kernels.epie_gauge import settle
from gpu_kernels.epie_gpu import GpuEngine

MARGIN = 2
"""Pixels around the windows, for positions that are refined."""


BRISK = ((0.3, 0.25), (0.6, 0.5), (1.0, 1.0))
"""Shares of all positions that act together, until which part of the rounds."""
CALM = ((0.4, 0.5), (1.0, 1.0))
"""The same where electrons are few: smaller shares would add more noise than they take away."""
FEW_ELECTRONS = 1000.0
"""On a pixel of the object, in all patterns together."""
FAINT_PIXEL, LEAST_DOUBT = 300.0, 0.01
"""Electrons on a pixel of the object below which the dark field is doubted, and what remains of the
doubt when there are many."""


@dataclass(frozen=True)
class Epie:
    """How object and probe are sought; the defaults find the phase of a known probe's object."""

    iterations: int = 50
    """Rounds through all positions."""
    batch_size: int | None = None
    """Positions that act together; 1 is strictly sequential. None: shares of all, as below."""
    batch_shares: tuple[tuple[float, float], ...] | None = None
    """(until this part of the rounds, so large a share of all positions acts together); None:
    ``BRISK`` or ``CALM``, by the electrons that there are."""
    object_step: float = 0.7
    """Part of the difference by which the object is put right."""
    probe_step: float = 0.0
    """The same for the probe; 0 leaves it as it is."""
    probe_from: int = 5
    """Round from which on the probe is updated."""
    momentum: float = 0.9
    """Part of the object's last change that is repeated; in the first rounds at most 3/4 and 6/7,
    for the first changes are the largest, and would overshoot."""
    regularisation: float = 0.1
    """0 divides by the illumination of each pixel, 1 by that of the brightest one."""
    doubt: float | None = None
    """Variance of a wave's own amplitude over that of a bright count's root, which makes the dark
    field count less; None: (``FAINT_PIXEL`` / electrons on a pixel)⁴, at least ``LEAST_DOUBT``."""
    annealing: float = 1.0
    """Steps of the last round, relative to the first; in between they follow a cosine."""
    positions_from: int | None = None
    """Round from which on the positions are refined; None: never."""
    position_step: float = 0.5
    """Part of the Gauss-Newton step by which a position moves."""
    position_limit: float = 2.0
    """How far a position may stray from where it was [px]."""
    seed: int = 0
    """Of the order of positions."""
    settled_rad: float = 0.0
    """Stop when the residual is down to Poisson noise and a round moves the object by less [rad];
    0: never."""

    def batch(self, iteration: int, positions: int) -> int:
        """Positions of a batch."""
        if self.batch_size is not None:
            return min(self.batch_size, positions)
        done = iteration / self.iterations
        share = next((s for until, s in self.batch_shares or BRISK if done < until), 1.0)
        return max(1, round(share * positions))

    def for_electrons(self, typical: float) -> "Epie":
        """Fill in what depends on the electrons that a pixel of the object sees."""
        doubt, shares = self.doubt, self.batch_shares
        if doubt is None:
            doubt = max(LEAST_DOUBT, (FAINT_PIXEL / typical) ** 4)
        if shares is None:
            shares = CALM if typical < FEW_ELECTRONS else BRISK
        return replace(self, doubt=doubt, batch_shares=shares)

    def keeping(self, iteration: int) -> float:
        """Momentum of a round."""
        return min(self.momentum, (iteration + 1) / (iteration + 4 / 3))

    def fading(self, iteration: int) -> float:
        """Factor of the steps."""
        wave = (1 + cos(pi * iteration / max(1, self.iterations - 1))) / 2
        return self.annealing + (1 - self.annealing) * wave


SEQUENTIAL = Epie(batch_size=1, object_step=0.5, momentum=0.0, regularisation=1.0, annealing=0.05)
"""ePIE as it was first written, with steps that fade so that the last patterns do not dominate."""


class EpieResult(NamedTuple):
    """What was found, on the host."""

    obj: np.ndarray
    """(rows, cols) complex64."""
    origin: tuple[int, int]
    """Place of the object's first pixel, on the axes of the positions [px]."""
    probe: np.ndarray
    """(side, side) complex64, centred on pixel side // 2; Σ|probe|² as it was given."""
    positions: np.ndarray
    """(positions, 2) float64: (y, x) [px]; where the probe was updated, all moved by as much as it
    had wandered, since the probe is put back."""
    residuals: np.ndarray
    """(rounds,) float64: Σ (√n − E√n)² / Σ n of each round, for counts n."""
    noise: float
    """What Poisson noise alone would leave of it."""


def epie(
    patterns: Array,
    positions: np.ndarray,
    probe: np.ndarray,
    settings: Epie = Epie(),
    *,
    start: tuple[np.ndarray, tuple[int, int]] | None = None,
    weight: np.ndarray | None = None,
    chosen: np.ndarray | None = None,
    rounds: tuple[int, int] | None = None,
    on_round: Callable[[int, float, float], None] | None = None,
) -> EpieResult:
    """Reconstruct object and probe.

    Parameters
    ----------
    patterns : (positions, side, side) uint8, uint16 or float32
        Counted electrons, zero frequency first. Where they live, the work is done.
    positions : (positions, 2) float64
        (y, x) of the probe's centre, in pixels of the object; any, not only a raster.
    probe : (side, side) complex
        In real space, centred on pixel side // 2, with Σ|probe|² electrons in a pattern.
    settings : Epie
        The algorithm.
    start : (object, origin), optional
        To start from; ones when absent. Must cover the windows of all positions.
    weight : (side, side), optional
        1 where the detector measures and 0 elsewhere, zero frequency first.
    chosen : (some,) int, optional
        Positions that take part; all when absent.
    rounds : (first, last), optional
        Which of the settings' rounds, from 0 to before the last; all when absent.
    on_round : callable, optional
        Is told each round's number, from 1, its residual, and that of Poisson noise.

    Returns
    -------
    EpieResult
        On the host; its object's phase has an arbitrary constant.

    Raises
    ------
    ValueError
        If shapes do not fit together, or there is nothing to work with.
    """
    _check(patterns, positions, probe, start)
    positions = np.array(positions, float)
    chosen = np.arange(len(positions)) if chosen is None else np.asarray(chosen, np.int64)
    if not chosen.size:
        raise ValueError("no position takes part in the reconstruction")
    side = probe.shape[0]
    obj, origin = start if start is not None else blank(positions[chosen], side)
    make = GpuEngine if on_gpu(patterns) else CpuEngine
    engine = make(patterns, probe, obj, weight)
    mean = engine.mean_pattern(chosen)
    lit = illumination(positions[chosen], probe, obj.shape, origin)
    settings = settings.for_electrons(float(np.median(lit[lit > 0.1 * lit.max()])))
    first, last = rounds if rounds is not None else (0, settings.iterations)
    rng = np.random.default_rng([settings.seed, first] if first else settings.seed)
    found, home = [], positions.copy()
    before = engine.obj() if settings.settled_rad else None
    noise = poisson_residual(mean)
    for iteration in range(first, last):
        engine.place(positions - origin)
        order = rng.permutation(chosen)
        residual = _round(engine, settings, iteration, order, lit, probe)
        found.append(residual / (mean.sum() * chosen.size))
        if settings.positions_from is not None and iteration >= settings.positions_from:
            positions[chosen] += _steps(engine, settings, chosen, positions, home)
        if on_round is not None:
            on_round(iteration + 1, found[-1], noise)
        if before is not None:
            now = engine.obj()
            if found[-1] <= noise and _moved(before, now, lit) < settings.settled_rad:
                break
            before = now
    obj, new_probe = engine.obj(), engine.probe()
    if settings.probe_step:
        obj, new_probe, positions = settle(obj, origin, new_probe, positions, probe)
    return EpieResult(obj, origin, new_probe, positions, np.array(found), noise)


def illumination(
    positions: np.ndarray, probe: np.ndarray, shape: tuple[int, int], origin: tuple[int, int]
) -> np.ndarray:
    """Electrons that each pixel of the object saw, with positions rounded to pixels.

    Returns
    -------
    (rows, cols) float64
        Σ |probe|² [e].
    """
    centres = np.zeros(shape)
    at = np.floor(positions - origin + 0.5).astype(int)
    np.add.at(centres, (at[:, 0], at[:, 1]), 1.0)
    # A window reaches from −side // 2, one pixel further down than up.
    field = np.pad(np.abs(probe) ** 2, ((0, 1), (0, 1)))
    return np.maximum(fftconvolve(centres, field, mode="same"), 0)


def poisson_residual(mean: np.ndarray) -> float:
    """Variance of √n over the mean of n, for Poisson counts n: 1/4 for each bright pixel.

    Parameters
    ----------
    mean : array
        Mean counts μ of each pixel.

    Returns
    -------
    float
        Smallest residual that a true model leaves. Where counts are few it is an upper bound,
        since patterns differ from their mean.
    """
    mu = np.minimum(np.ravel(mean).astype(float), 200.0)
    n = np.arange(400)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = np.exp(np.where(mu > 0, n * np.log(mu), 0) - mu - gammaln(n + 1))
    root = (chance * np.sqrt(n)).sum(axis=0)
    return float(np.where(mu > 0, mu - root**2, 0).sum() / np.sum(mean))


def _check(patterns, positions, probe, start) -> None:
    side = probe.shape[0]
    if patterns.ndim != 3 or tuple(patterns.shape[1:]) != probe.shape or probe.ndim != 2:
        raise ValueError(
            f"patterns of shape {tuple(patterns.shape)} and a probe of shape {probe.shape}; the "
            "probe must have the shape of a pattern"
        )
    if positions.shape != (patterns.shape[0], 2):
        raise ValueError(
            f"{positions.shape} positions for {patterns.shape[0]} patterns; expected "
            f"({patterns.shape[0]}, 2): (y, x) of each"
        )
    if not (np.isfinite(positions).all() and np.isfinite(probe).all() and np.any(probe)):
        raise ValueError("positions and probe must be finite numbers, and the probe not empty")
    if start is not None:
        low = np.floor(positions.min(axis=0) + 0.5) - side // 2 - start[1]
        high = np.floor(positions.max(axis=0) + 0.5) + side - side // 2 - start[1]
        if (low < 0).any() or (high > start[0].shape).any():
            raise ValueError(
                f"the object to start from, {start[0].shape} pixels from {start[1]}, does not "
                f"cover the windows of all positions, which reach {low} to {high} on it"
            )


def blank(positions: np.ndarray, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Ones under the windows of positions, and a margin; and the place of the first pixel."""
    low = np.floor(positions.min(axis=0) + 0.5).astype(int) - side // 2 - MARGIN
    high = np.floor(positions.max(axis=0) + 0.5).astype(int) + side - side // 2 + MARGIN
    return np.ones(tuple(high - low), np.complex64), (int(low[0]), int(low[1]))


def _round(
    engine: "CpuEngine | GpuEngine",
    settings: Epie,
    iteration: int,
    order: np.ndarray,
    lit: np.ndarray,
    probe: np.ndarray,
) -> float:
    size, fade = settings.batch(iteration, order.size), settings.fading(iteration)
    # All of one size, or one less: what is left over would make a batch that is all noise.
    parts = np.array_split(order, -(-order.size // size))
    batches = np.full((len(parts), parts[0].size), -1, np.int64)
    for batch, part in zip(batches, parts, strict=True):
        batch[: part.size] = part
    if size == 1:
        brightest = np.full(len(batches), float((np.abs(probe) ** 2).max()))
    else:
        brightest = (batches >= 0).sum(axis=1) / order.size * lit.max()
    probe_step = settings.probe_step * fade if iteration >= settings.probe_from else 0.0
    return engine.run(
        batches,
        settings.object_step * fade,
        probe_step,
        settings.keeping(iteration),
        1 - settings.regularisation,
        settings.regularisation * brightest,
        settings.doubt or LEAST_DOUBT,
    )


def _steps(
    engine: "CpuEngine | GpuEngine",
    settings: Epie,
    chosen: np.ndarray,
    positions: np.ndarray,
    home: np.ndarray,
) -> np.ndarray:
    steps = settings.position_step * np.clip(engine.position_steps(chosen), -0.5, 0.5)
    moved = np.clip(
        positions[chosen] + steps - home[chosen], -settings.position_limit, settings.position_limit
    )
    # A common shift of all positions and the object changes no pattern.
    return moved - moved.mean(axis=0) + home[chosen] - positions[chosen]


def _moved(before: np.ndarray, now: np.ndarray, lit: np.ndarray) -> float:
    inside = lit > 0.5 * lit.max()
    return float(np.sqrt(np.mean(np.abs(now - before)[inside] ** 2)))
