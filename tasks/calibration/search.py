"""Search for the rotation and the aberrations that explain most of the measured interference.

A coarse grid over rotation and defocus finds the valleys, then the deepest are followed down with
more and more aberrations. An order is kept only where it explains more than chance would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import pi
from typing import NamedTuple

import numpy as np
from scipy import optimize

from models.aberrations import ORDERS
from tasks.calibration.evidence import NAMES, Evidence

ROTATION_STEP = np.deg2rad(4.0)
FOCUS_STEP = 1 / 3
"""Of the grid, in depths of focus."""
FOCUS_RANGE = 6.0
"""The grid reaches so many depths of focus to both sides, and further with a hint."""
GRID_FREQUENCIES = 60
"""The grid looks at the strongest only."""
VALLEYS = 6
"""Minima of the grid that are followed, of each mirror."""
HOPELESS = 0.4
"""A valley that explains less than this part of the best is not followed further."""
GAIN = 3.0
"""An order is kept if each of its coefficients gains so much log-likelihood."""
THIRD_ORDER_GAIN = 4e-3
"""Third order must explain this part more: strong phases, which the model of a weak one leaves out,
look like some 0.2 rad of C30 at the disk's edge."""
PLAUSIBLE = {1: np.inf, 2: 3e6, 3: 1e8}
"""Largest coefficients of each order [Å]: where a radian takes more, the order is not fitted."""
PARTS_OF_MISFIT = 20
"""What the model leaves out is no noise, independent from pixel to pixel: it has about so many
independent parts at each frequency (by simulated phases of up to 0.9 rad)."""
CLOSE = 30.0
"""Valleys that differ by less log-likelihood are both followed to all orders."""
STAGES = (
    ("C12a", "C12b"),
    ("C21a", "C21b", "C23a", "C23b"),
    ("C30",),
    ("C32a", "C32b", "C34a", "C34b"),
)
"""What is added, one after another, to rotation and C10."""
TURNS = 72
"""Rotations with which a given one is compared."""
THIRD_ORDER = 2
"""Stages from here on are of third order."""


@dataclass(frozen=True)
class Optimum:
    """The best trial, and how well it is known."""

    trial: np.ndarray
    """(13,) float64: rotation [rad], Cartesian aberrations [Å]."""
    flip: bool
    explained: float
    """Energy that it explains."""
    free: tuple[str, ...]
    """What was fitted, the rest was given or did not matter."""
    covariance: np.ndarray
    """(13, 13) float64: of all parameters; 0 for those that were not fitted."""
    misfit: float
    """Energy of what is left per value; 1 where it is Poisson noise alone."""
    margin: float
    """Log-likelihood by which the best valley beats the second-best."""
    mirror_margin: float
    """The same, by which it beats the best of the other mirror; infinite if the mirror is given."""
    significance: float
    """How far the best place of the grid stands above all others, in their deviations."""
    signal_share: float
    """Share of the energy beyond noise that is explained."""
    turned: float = 0.0
    """How far the rotation that explains most, as aberrations are, is from a given one [rad]."""
    turned_flip: bool = False
    """The mirror with that rotation."""
    turned_margin: float = 0.0
    """Log-likelihood by which it beats the given rotation and mirror; 0 where none is given."""


def search(
    evidence: Evidence,
    fixed: dict[str, float],
    flips: Sequence[bool],
    hints: Sequence[tuple[bool, np.ndarray]] = (),
    frequencies: int = 200,
) -> Optimum:
    """Find the trial that explains most.

    Parameters
    ----------
    evidence : Evidence
        From ``gather_evidence``.
    fixed : dict
        Given values by their name in ``evidence.NAMES`` [rad, Å]; never changed.
    flips : sequence of bool
        Mirrors to try.
    hints : sequence of (flip, (13,) trial)
        Starting values from elsewhere, such as image shifts.
    frequencies : int
        How many of the strongest are used in the end.

    Returns
    -------
    Optimum
        With a rotation in [0, π) where neither it nor an aberration is given: then θ + π with all
        signs turned explains exactly as much.
    """
    first, fine = evidence.strongest(GRID_FREQUENCIES), evidence.strongest(frequencies)
    valleys: list[_Valley] = []
    significance = 0.0
    for flip in flips:
        own = [np.asarray(trial) for mirror, trial in hints if mirror == flip]
        grid = _Grid(first, fixed, [float(trial[1]) for trial in own])
        found, above = grid.valleys(first, flip)
        valleys += found
        significance = max(significance, above)
        valleys += [_valley(first, _clamp(trial, fixed), flip) for trial in own]
    start = _free(("rotation", "C10"), fixed)
    second = _free(("rotation", "C10", *STAGES[0]), fixed)
    followed = [_descend(first, one, second) for one in _promising(valleys, flips)]
    noise = _noise(first, max(followed, key=_score))
    close = [one for one in _distinct(evidence, followed) if _loses(followed, one) < CLOSE * noise]
    staged = [_stages(fine, _descend(fine, one, second), start, fixed) for one in close]
    best, free = max(staged, key=lambda one: one[0].score)
    apart = [one for one in followed if one.flip == best.flip
             and not _same(evidence, one.trial, best.trial)]  # fmt: skip
    mirrored = [one for one in followed if one.flip != best.flip]
    values, modes = fine.g.size, len(fine.modes.q_y)
    misfit = (fine.energy - best.score) / (values - modes)
    beyond = max(fine.energy - values, 1e-9)
    left_out = max(beyond - (best.score - modes), 0.0) / (modes * PARTS_OF_MISFIT)
    turned = _turned(fine, best, fixed) if "rotation" in fixed else best
    return Optimum(
        trial=best.trial,
        flip=best.flip,
        explained=best.score,
        free=free,
        covariance=_covariance(fine, best, free, (1.0 + left_out) * fine.correlation),
        misfit=misfit,
        margin=min((_loses(followed, one) / noise for one in apart), default=np.inf),
        mirror_margin=min((_loses(followed, one) / noise for one in mirrored), default=np.inf),
        significance=significance,
        signal_share=float(np.clip((best.score - modes) / beyond, 0, 1)),
        turned=float(turned.trial[0] - best.trial[0]),
        turned_flip=turned.flip,
        turned_margin=(turned.score - best.score) / _noise(fine, best),
    )


def _turned(evidence: Evidence, best: "_Valley", fixed: dict[str, float]) -> "_Valley":
    """The best of all rotations and mirrors with a trial's aberrations, or with the given alone."""
    found, bare = best, _clamp(np.zeros(len(NAMES)), fixed)
    for flip, trial in product((False, True), (best.trial, bare)):
        trials = np.repeat(trial[None], TURNS, axis=0)
        trials[:, 0] += np.linspace(-pi, pi, TURNS, endpoint=False)
        scores = evidence.explained(trials, flip)
        most = int(np.argmax(scores))
        if scores[most] > found.score:
            found = _Valley(trials[most], flip, float(scores[most]))
    return found


class _Valley(NamedTuple):
    """A trial and the energy that it explains."""

    trial: np.ndarray
    flip: bool
    score: float


def _score(valley: _Valley) -> float:
    return valley.score


def _valley(evidence: Evidence, trial: np.ndarray, flip: bool) -> _Valley:
    return _Valley(trial, flip, float(evidence.explained(trial[None], flip)[0]))


def _loses(followed: Sequence[_Valley], one: _Valley) -> float:
    """Energy by which a valley is behind the best."""
    return max(other.score for other in followed) - one.score


def _noise(evidence: Evidence, best: _Valley) -> float:
    """Energy that is one unit of log-likelihood: noise, or what the model leaves out."""
    return max(1.0, (evidence.energy - best.score) / evidence.g.size) * evidence.correlation


def _promising(valleys: Sequence[_Valley], flips: Sequence[bool]) -> list[_Valley]:
    """Those that are not hopeless, and two at least of each mirror, for comparison."""
    deepest = max(one.score for one in valleys)
    out = []
    for flip in flips:
        own = sorted((one for one in valleys if one.flip == flip), key=_score, reverse=True)
        out += own[:2] + [one for one in own[2:] if one.score > HOPELESS * deepest]
    return out


def _free(names: Sequence[str], fixed: dict[str, float]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in fixed)


def _clamp(trial: np.ndarray, fixed: dict[str, float]) -> np.ndarray:
    out = np.array(trial, dtype=np.float64)
    for name, value in fixed.items():
        out[NAMES.index(name)] = value
    return out


class _Grid:
    """Trials over rotation and C10, as far as these are free."""

    def __init__(
        self, evidence: Evidence, fixed: dict[str, float], focus_hints: Sequence[float]
    ) -> None:
        # Only a given aberration tells θ from θ + π.
        self.whole_turn = any(value for name, value in fixed.items() if name != "rotation")
        rotations = np.arange(0, 2 * pi if self.whole_turn else pi, ROTATION_STEP)
        depth = evidence.depth_of_focus
        focus = np.arange(-FOCUS_RANGE, FOCUS_RANGE + 1e-9, FOCUS_STEP) * depth
        for hint in focus_hints:
            step = min(0.1, FOCUS_STEP * depth / max(abs(hint), depth))
            reach = np.arange(0.6, 1.4, max(step, 0.01))
            focus = np.union1d(focus, np.concatenate([reach * hint, -reach * hint]))
        if "rotation" in fixed:
            rotations = np.array([fixed["rotation"]])
        if "C10" in fixed:
            focus = np.array([fixed["C10"]])
        trials = np.zeros((rotations.size, focus.size, len(NAMES)))
        trials[..., 0], trials[..., 1] = rotations[:, None], focus
        for name, value in fixed.items():
            trials[..., NAMES.index(name)] = value
        self.trials = trials
        self.fixed = fixed

    def _arbitrary(self, evidence: Evidence, flip: bool) -> np.ndarray:
        """What other rotations and C10 explain where both are given."""
        fixed = {name: value for name, value in self.fixed.items() if name not in NAMES[:2]}
        return evidence.explained(_Grid(evidence, fixed, ()).trials.reshape(-1, len(NAMES)), flip)

    def valleys(self, evidence: Evidence, flip: bool) -> tuple[list[_Valley], float]:
        """Local optima, best first, and how far the best stands above the rest."""
        shape = self.trials.shape[:2]
        score = evidence.explained(self.trials.reshape(-1, len(NAMES)), flip).reshape(shape)
        around = np.pad(score, 1, mode="edge")
        # Half a turn on, the rotation meets itself with the other sign of C10.
        ends = (score[-1], score[0]) if self.whole_turn else (score[-1, ::-1], score[0, ::-1])
        around[0, 1:-1], around[-1, 1:-1] = ends
        near = [around[y : y + shape[0], x : x + shape[1]] for y in range(3) for x in range(3)]
        top = np.argwhere(score >= np.max(near, axis=0))
        places = sorted((tuple(at) for at in top), key=lambda at: -score[at])[:VALLEYS]
        others = score if score.size > 1 else self._arbitrary(evidence, flip)
        spread = 1.4826 * np.median(np.abs(others - np.median(others)))
        above = (score.max() - np.median(others)) / max(float(spread), 1e-9)
        return [_Valley(self.trials[at], flip, float(score[at])) for at in places], float(above)


def _descend(evidence: Evidence, valley: _Valley, free: Sequence[str]) -> _Valley:
    """Follow a valley to its end (BFGS)."""
    index = [NAMES.index(name) for name in free]
    if not index:
        return _valley(evidence, valley.trial, valley.flip)
    scale, energy = evidence.scale[index], evidence.energy
    trial = valley.trial.copy()

    def value_and_slope(part: np.ndarray) -> tuple[float, np.ndarray]:
        trial[index] = part * scale
        score, slope = evidence.explained_and_slope(trial, valley.flip)
        return -score / energy, -slope[index] * scale / energy

    found = optimize.minimize(
        value_and_slope, valley.trial[index] / scale, jac=True, method="BFGS",
        options={"gtol": 2e-6, "maxiter": 60},
    )  # fmt: skip
    trial[index] = found.x * scale
    return _Valley(trial, valley.flip, -float(found.fun) * energy)


def _distinct(evidence: Evidence, valleys: Sequence[_Valley]) -> list[_Valley]:
    """Different valleys only, two at most of each mirror, best first."""
    kept: list[_Valley] = []
    for one in sorted(valleys, key=_score, reverse=True):
        own = [other for other in kept if other.flip == one.flip]
        if len(own) < 2 and not any(_same(evidence, one.trial, other.trial) for other in own):
            kept.append(one)
    return kept


def _same(evidence: Evidence, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two trials are in one valley, also as (θ + π, −χ)."""
    turned = np.concatenate([[other[0] + pi], -other[1:]])
    return any(
        abs((one[0] - far[0] + pi) % (2 * pi) - pi) < 2 * ROTATION_STEP
        and abs(one[1] - far[1]) < 0.5 * evidence.depth_of_focus
        for far in (other, turned)
    )


def _stages(
    evidence: Evidence, valley: _Valley, start: tuple[str, ...], fixed: dict[str, float]
) -> tuple[_Valley, tuple[str, ...]]:
    """Add order after order, each only if it pays."""
    bare = np.zeros(len(NAMES))
    for name in start:
        bare[NAMES.index(name)] = valley.trial[NAMES.index(name)]
    current = _descend(evidence, _Valley(_clamp(bare, fixed), valley.flip, 0.0), start)
    free = start
    for number, stage in enumerate(STAGES):
        more = _free(stage, fixed)
        if not more or evidence.scale[NAMES.index(more[0])] > PLAUSIBLE[ORDERS[more[0][:3]][0]]:
            continue
        begin = valley if number == 0 else current
        tried = _descend(evidence, begin, free + more)
        least = GAIN * len(more) * _noise(evidence, tried)
        if number >= THIRD_ORDER:
            least = max(least, THIRD_ORDER_GAIN * current.score)
        if tried.score - current.score > least:
            current, free = tried, free + more
    return current, free


def _covariance(
    evidence: Evidence, valley: _Valley, free: Sequence[str], noise: float
) -> np.ndarray:
    """Inverse curvature of the log-likelihood, of which ``noise`` is the unit of energy."""
    index = np.array([NAMES.index(name) for name in free], dtype=int)
    out = np.zeros((len(NAMES), len(NAMES)))
    if not index.size:
        return out
    scale, n, h = evidence.scale[index], index.size, 0.05
    pairs = [(a, b) for a in range(n) for b in range(a, n)]
    unit = h * np.eye(n)
    moves = [s * unit[a] + t * unit[b] for a, b in pairs for s in (1, -1) for t in (1, -1)]
    trials = np.repeat(valley.trial[None], len(moves), axis=0)
    trials[:, index] += np.array(moves) * scale
    score = evidence.explained(trials, valley.flip).reshape(-1, 4) @ [-1, 1, 1, -1]
    curvature = np.zeros((n, n))
    for (a, b), value in zip(pairs, score / (4 * h * h) / noise, strict=True):
        curvature[a, b] = curvature[b, a] = value
    values, vectors = np.linalg.eigh(curvature)
    values = np.maximum(values, 1e-6)  # a flat direction is unknown by ±1000 rad, not by nothing
    out[np.ix_(index, index)] = (vectors / values) @ vectors.T * np.outer(scale, scale)
    return out
