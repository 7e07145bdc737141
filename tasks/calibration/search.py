"""Search for the rotation and the aberrations that explain most of the measured interference.

A coarse grid over rotation and defocus finds the valleys, then the deepest are followed down with
more and more aberrations. An order is kept only where it explains more than chance would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import numpy as np
from scipy import optimize

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
THIRD_ORDER_GAIN = 2e-3
"""Third order must explain this part more: strong phases, which the model of a weak one leaves out,
look like some 0.2 rad of C30 at the disk's edge."""
CLOSE = 30.0
"""Valleys that differ by less log-likelihood are both followed to all orders."""
STAGES = (
    ("C12a", "C12b"),
    ("C21a", "C21b", "C23a", "C23b"),
    ("C30",),
    ("C32a", "C32b", "C34a", "C34b"),
)
"""What is added, one after another, to rotation and C10."""


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
    valleys = [
        valley for flip in flips for valley in _valleys(first, flip, fixed, _hinted(hints, flip))
    ]
    for flip, trial in hints:
        if flip in flips:
            own = _clamp(trial, fixed)
            valleys.append((float(first.explained(own[None], flip)[0]), flip, own))
    start = _free(("rotation", "C10"), fixed)
    low = _free(("rotation", "C10", *STAGES[0]), fixed)
    deepest = max(score for score, _, _ in valleys)
    found = [
        (*_descend(first, trial, flip, low), flip)
        for score, flip, trial in valleys
        if score > HOPELESS * deepest
    ]
    found = _distinct(first, found)
    found = [(*_descend(fine, trial, flip, low), flip) for trial, _, flip in found]
    found.sort(key=lambda one: -one[1])
    values = fine.g.size
    noise = max(1.0, (fine.energy - found[0][1]) / values) * fine.correlation
    close = [one for one in found[:2] if (found[0][1] - one[1]) / noise < CLOSE]
    (trial, score, flip), free = _stages(fine, close, start, fixed, noise)
    best = (trial, score, flip)
    margin, mirror_margin = _margins(fine, found, best, noise)
    misfit = (fine.energy - score) / (values - len(fine.modes.q_y))
    return Optimum(
        trial=trial,
        flip=flip,
        explained=score,
        free=free,
        covariance=_covariance(fine, trial, flip, free, max(1.0, misfit) * fine.correlation),
        misfit=misfit,
        margin=margin,
        mirror_margin=mirror_margin if len(flips) > 1 else np.inf,
    )


def _hinted(hints, flip):
    return [trial[1] for hint, trial in hints if hint == flip]


def _free(names: Sequence[str], fixed: dict[str, float]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in fixed)


def _clamp(trial: np.ndarray, fixed: dict[str, float]) -> np.ndarray:
    out = np.array(trial, dtype=np.float64)
    for name, value in fixed.items():
        out[NAMES.index(name)] = value
    return out


def _valleys(evidence, flip, fixed, focus_hints):
    """Minima of the grid over rotation and C10, deepest first."""
    signed = any(value for name, value in fixed.items() if name != "rotation")
    turn = 2 * pi if signed else pi  # only a given aberration tells θ from θ + π
    rotations = np.arange(0, turn, ROTATION_STEP)
    if "rotation" in fixed:
        rotations = np.array([fixed["rotation"]])
    depth = evidence.depth_of_focus
    focus = np.arange(-FOCUS_RANGE, FOCUS_RANGE + 1e-9, FOCUS_STEP) * depth
    for hint in focus_hints:
        reach = np.arange(0.6, 1.4, min(0.1, FOCUS_STEP * depth / max(abs(hint), depth)))
        focus = np.union1d(focus, np.concatenate([reach * hint, -reach * hint]))
    if "C10" in fixed:
        focus = np.array([fixed["C10"]])
    trials = np.zeros((rotations.size, focus.size, len(NAMES)))
    trials[..., 0], trials[..., 1] = rotations[:, None], focus
    trials = np.stack([_clamp(one, fixed) for one in trials.reshape(-1, len(NAMES))])
    score = evidence.explained(trials, flip).reshape(rotations.size, focus.size)
    around = np.pad(score, ((1, 1), (1, 1)), mode="edge")
    around[0, 1:-1], around[-1, 1:-1] = (
        (score[-1], score[0]) if signed else (score[-1, ::-1], score[0, ::-1])
    )
    top = np.ones(score.shape, dtype=bool)
    for dy in range(3):
        for dx in range(3):
            top &= score >= around[dy : dy + score.shape[0], dx : dx + score.shape[1]]
    places = sorted(np.argwhere(top), key=lambda at: -score[tuple(at)])[:VALLEYS]
    grid = trials.reshape(*score.shape, len(NAMES))
    return [(float(score[tuple(at)]), flip, grid[tuple(at)]) for at in places]


def _descend(evidence, trial, flip, free):
    """Follow a valley down (BFGS on central differences, all trials of a gradient at once)."""
    index = [NAMES.index(name) for name in free]
    if not index:
        return trial, float(evidence.explained(trial[None], flip)[0])
    scale = evidence.scale[index]
    moves = np.concatenate([np.zeros((1, len(index))), np.eye(len(index)), -np.eye(len(index))])
    moves *= 1e-3
    energy = evidence.energy

    def value_and_slope(part):
        trials = np.repeat(trial[None], len(moves), axis=0)
        trials[:, index] = (part + moves) * scale
        score = -evidence.explained(trials, flip) / energy
        ahead, behind = score[1 : len(index) + 1], score[len(index) + 1 :]
        return float(score[0]), (ahead - behind) / 2e-3

    found = optimize.minimize(
        value_and_slope, trial[index] / scale, jac=True, method="BFGS",
        options={"gtol": 2e-6, "maxiter": 60},
    )  # fmt: skip
    out = trial.copy()
    out[index] = found.x * scale
    return out, -float(found.fun) * energy


def _distinct(evidence, found):
    """Different valleys only, two at most of each mirror."""
    kept: list[tuple] = []
    for trial, score, flip in sorted(found, key=lambda one: -one[1]):
        if sum(flip == other[2] for other in kept) >= 2:
            continue
        if all(flip != other[2] or not _same(evidence, trial, other[0]) for other in kept):
            kept.append((trial, score, flip))
    return kept


def _same(evidence: Evidence, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two trials are in one valley, also as (θ + π, −χ)."""
    turned = np.concatenate([[other[0] + pi], -other[1:]])
    return any(
        abs((one[0] - far[0] + pi) % (2 * pi) - pi) < 2 * ROTATION_STEP
        and abs(one[1] - far[1]) < 0.5 * evidence.depth_of_focus
        for far in (other, turned)
    )


def _stages(evidence, candidates, start, fixed, noise):
    """Add order after order, each only if it pays."""
    best = None
    for trial, _, flip in candidates:
        current, score = _descend(evidence, _without(trial, start, fixed), flip, start)
        free = start
        for stage in STAGES:
            more = _free(stage, fixed)
            if not more:
                continue
            begin = trial if stage == STAGES[0] else current
            tried, gained = _descend(evidence, begin, flip, free + more)
            least = GAIN * len(more) * noise
            if stage in STAGES[2:]:
                least = max(least, THIRD_ORDER_GAIN * score)
            if gained - score > least:
                current, score, free = tried, gained, free + more
        if best is None or score > best[0][1]:
            best = ((current, score, flip), free)
    assert best is not None
    return best


def _without(trial, free, fixed):
    """The trial with nothing but its free and its given values."""
    out = np.zeros(trial.shape)
    for name in free:
        out[NAMES.index(name)] = trial[NAMES.index(name)]
    return _clamp(out, fixed)


def _margins(evidence, found, best, noise):
    """Compare valleys by what they explain with second order, as all were taken that far."""
    own = max(score for trial, score, flip in found
              if flip == best[2])  # fmt: skip
    other = [s for t, s, f in found if f == best[2] and s < own and not _same(evidence, t, best[0])]
    mirrored = [s for _, s, f in found if f != best[2]]
    margin = (own - max(other)) / noise if other else np.inf
    return float(margin), float((own - max(mirrored)) / noise if mirrored else np.inf)


def _covariance(evidence, trial, flip, free, noise):
    """Inverse curvature of the log-likelihood, in which a mode's noise is ``noise``."""
    index = np.array([NAMES.index(name) for name in free], dtype=int)
    out = np.zeros((len(NAMES), len(NAMES)))
    if not index.size:
        return out
    scale, n, h = evidence.scale[index], index.size, 0.05
    pairs = [(a, b) for a in range(n) for b in range(a, n)]
    moves = [h * (s * np.eye(n)[a] + t * np.eye(n)[b]) for a, b in pairs for s in (1, -1)
             for t in (1, -1)]  # fmt: skip
    trials = np.repeat(trial[None], len(moves), axis=0)
    trials[:, index] += np.array(moves) * scale
    score = -evidence.explained(trials, flip).reshape(-1, 4) @ [1, -1, -1, 1] / (4 * h * h) / noise
    curvature = np.zeros((n, n))
    for (a, b), value in zip(pairs, score, strict=True):
        curvature[a, b] = curvature[b, a] = value
    values, vectors = np.linalg.eigh(curvature)
    values = np.maximum(values, 1e-6)  # a flat direction is unknown by ±1000 rad, not by nothing
    out[np.ix_(index, index)] = (vectors / values) @ vectors.T * np.outer(scale, scale)
    return out
