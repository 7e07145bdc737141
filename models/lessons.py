"""What a network is trained with: random specimens, probes and doses, counted anew in every step.

Everything that a step sees is decided by the seed and the step's number alone, so that a training
that was interrupted goes on as if it had not been.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from models.forward import (
    SUPPORT_THRESHOLD,
    central,
    counted_roots,
    intensity,
    weighted_demeaned,
)
from models.images import PHASE_RANGE, Atlas, log_uniform
from models.networks import PatchNetwork
from models.probe_family import AnyProbe, OneProbe, ProbeFamily

VALIDATION_SEED = 1 << 40
"""Of the step that validation sees; no training comes so far."""


class Lesson(NamedTuple):
    """Patterns with the phases that made them."""

    roots: torch.Tensor
    """(groups, patterns, side, side) float32: √counts."""
    electrons: torch.Tensor
    """(groups,) float32."""
    probes: torch.Tensor
    """(groups, side, side) complex64."""
    phases: torch.Tensor
    """(groups, patterns, side, side) float32 [rad]."""


class Drawn(NamedTuple):
    """What a processor draws for a lesson, before anything is counted."""

    probes: np.ndarray
    """(groups, side, side) complex64."""
    electrons: np.ndarray
    """(groups,) float32."""
    objects: np.ndarray
    """(groups · patterns, side, side) float32 [rad]."""
    noise: int
    """Seed of the counts."""


@dataclass(frozen=True)
class Lessons:
    """Where lessons come from."""

    atlas: Atlas
    probes: OneProbe | ProbeFamily | AnyProbe
    doses: tuple[float, float]
    """Least and greatest mean electrons of the beam; their logarithm is even in between [e]."""
    seed: int = 0
    phase_range: tuple[float, float] = PHASE_RANGE

    def drawn(self, step: int, groups: int, patterns: int) -> Drawn:
        """Specimens, probes and doses of the lesson of a step."""
        rng = np.random.default_rng([self.seed, step])
        drawn = self.probes.draw(groups, rng)
        doses = log_uniform(self.doses, groups, rng).astype(np.float32)
        objects = self.atlas.phases(groups * patterns, drawn.shape[-1], rng, self.phase_range)
        return Drawn(drawn, doses, objects, int(rng.integers(1 << 62)))

    def lesson(self, step: int, groups: int, patterns: int, device: str = "cpu") -> Lesson:
        """The lesson of a step: ``groups`` probes and doses with ``patterns`` specimens each."""
        return counted(self.drawn(step, groups, patterns), device)


def counted(drawn: Drawn, device: str = "cpu") -> Lesson:
    """Count the patterns of what was drawn."""
    noise = torch.Generator(device).manual_seed(drawn.noise)
    phases = torch.from_numpy(drawn.objects).to(device)
    probes, electrons = (
        torch.from_numpy(one).to(device) for one in (drawn.probes, drawn.electrons)
    )
    groups = len(probes)
    patterns = len(phases) // groups
    each = probes.repeat_interleave(patterns, dim=0)
    roots = counted_roots(intensity(phases, each), electrons.repeat_interleave(patterns), noise)
    return Lesson(
        roots.unflatten(0, (groups, patterns)), electrons, probes,
        phases.unflatten(0, (groups, patterns)),
    )  # fmt: skip


def lit_loss(answers: torch.Tensor, lesson: Lesson) -> torch.Tensor:
    """Mean of |answer − truth|, weighted with |P|², the weighted mean difference taken away [rad].

    The L1 norm, because with the squares of errors a network learns the few strong objects. Groups
    count by the fourth root of their electrons, or the large errors of few electrons, which nothing
    can avoid, would decide all.
    """
    size = answers.shape[-1]
    light = central(lesson.probes, size).abs().square()
    weight = (light / light.sum(dim=(-2, -1), keepdim=True))[:, None]
    wrong = answers - central(lesson.phases, size)
    each = (weighted_demeaned(wrong, weight).abs() * weight).sum(dim=(-2, -1)).mean(dim=1)
    share = lesson.electrons**0.25
    return (each * share).sum() / share.sum()


class Score(NamedTuple):
    """How well phases are retrieved, over the lit pixels and without their mean."""

    l1: float
    """Mean |answer − truth| [rad]."""
    relative: float
    """The same over the mean |truth|."""
    correlation: float


def score(network: PatchNetwork, lesson: Lesson) -> Score:
    """Test a network.

    Parameters
    ----------
    network : PatchNetwork
        In evaluation mode or not; it is left as it was.
    lesson : Lesson
        Of objects that it has not seen.
    """
    was_training = network.training
    network.eval()
    with torch.no_grad():
        answers = network(lesson.roots, lesson.electrons, lesson.probes)
    network.train(was_training)
    size = answers.shape[-1]
    light = central(lesson.probes, size).abs().square()
    lit = (light > SUPPORT_THRESHOLD * light.amax(dim=(-2, -1), keepdim=True)).double()[:, None]
    weight = lit / lit.sum(dim=(-2, -1), keepdim=True)
    found, truth = (
        weighted_demeaned(field.double(), weight)
        for field in (answers, central(lesson.phases, size))
    )
    l1, zero, square_a, square_b, product = (
        float((field * weight).sum(dim=(-2, -1)).mean())
        for field in ((found - truth).abs(), truth.abs(), found**2, truth**2, found * truth)
    )
    return Score(l1, l1 / zero, product / max((square_a * square_b) ** 0.5, 1e-30))
