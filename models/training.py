"""How a network learns: the recipe, the loop, and what is needed to go on after an interruption."""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from models.lessons import (
    VALIDATION_SEED,
    Drawn,
    Lesson,
    Lessons,
    Score,
    counted,
    lit_loss,
    score,
)
from models.networks import LinearPatch, PatchNetwork
from models.unrolled import UnrolledPatch

EARLIER_STAGES = 0.3
"""Weight of the loss of every answer before the last, so that each step is a good one."""
TRIAL_STEPS = 12
"""Steps by which the speed is measured where a time is given; the first few do not count."""
TIME_SHARE = 0.8
"""Part of the given time that is planned for; the rest is for validation and a busy machine."""


@dataclass(frozen=True)
class Recipe:
    """How to train."""

    steps: int = 1500
    groups: int = 8
    """Probes and doses in a step."""
    patterns: int = 32
    """Specimens of each group."""
    optimiser: str = "adamw"
    """``adamw`` with one cycle of the learning rate, or ``sgd`` at a constant one."""
    learning_rate: float = 3e-3
    """The greatest."""
    weight_decay: float = 1e-2
    warm_up: float = 0.15
    """Part of the steps in which the learning rate rises."""
    clip: float | None = 1.0
    """Greatest norm of a gradient."""
    half: bool = False
    """Convolutions and products of matrices in bfloat16; weights and transforms stay float32."""
    validations: int = 20
    patience: int = 8
    """Stop after so many validations without a better one, and keep the best."""
    validation_patterns: int = 1024

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        if self.optimiser == "sgd":
            return self.learning_rate
        at = step / max(1, self.steps)
        if at < self.warm_up:
            low, share = 1 / 25, (1 - math.cos(math.pi * at / self.warm_up)) / 2
        else:
            low = 1e-4
            share = (1 + math.cos(math.pi * (at - self.warm_up) / (1 - self.warm_up))) / 2
        return self.learning_rate * (low + (1 - low) * share)


PAPER = Recipe(
    steps=296_875, groups=1, patterns=16, optimiser="sgd", learning_rate=1e-4, weight_decay=0.0,
    clip=None, validations=20, patience=20,
)  # fmt: skip
"""Chang et al.: 95 % of 250,000 patterns, sixteen at a time, the weights after 20 of 100 epochs."""


class Mark(NamedTuple):
    """A validation."""

    step: int
    loss: float
    """Mean training loss since the one before [rad]."""
    score: Score
    rate: float
    seconds: float


@dataclass
class State:
    """A training as it stands: everything that decides how it goes on."""

    step: int
    network: PatchNetwork
    optimiser: torch.optim.Optimizer
    best: dict[str, torch.Tensor]
    marks: list[Mark]


def begin(network: PatchNetwork, recipe: Recipe) -> State:
    """A training before its first step.

    Raises
    ------
    ValueError
        If the recipe names no known optimiser.
    """
    makers: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD,
    }  # fmt: skip
    if recipe.optimiser not in makers:
        raise ValueError(f"no optimiser {recipe.optimiser!r}; there are {', '.join(makers)}")
    optimiser = makers[recipe.optimiser](
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    return State(0, network, optimiser, _copied(network), [])


def train(
    state: State,
    lessons: Lessons,
    tests: Lessons,
    recipe: Recipe,
    *,
    device: str = "cpu",
    until: int | None = None,
    on_step: Callable[[int], None] | None = None,
    on_mark: Callable[[State], None] | None = None,
) -> State:
    """Train until the recipe's steps are done, or nothing gets better any more.

    Parameters
    ----------
    state : State
        From ``begin`` or a checkpoint; it is changed.
    lessons, tests : Lessons
        To learn from, and of unseen pictures to validate with.
    recipe : Recipe
        How.
    device : str
        Where; several processes of ``torch.distributed`` share the groups of a step.
    until : int, optional
        Stop before this step, with the recipe's schedule unchanged.
    on_step : callable, optional
        Is told the number of steps done.
    on_mark : callable, optional
        Is given the state after each validation.

    Returns
    -------
    State
        Its network has the weights of the best validation if the training is over.
    """
    network = state.network.to(device).train()
    many, rank = shared(), rank_of_process()
    objective: nn.Module = _Objective(network)
    if many:
        objective = DistributedDataParallel(objective)
    test = tests.lesson(VALIDATION_SEED, recipe.groups,
                        -(-recipe.validation_patterns // recipe.groups), device)  # fmt: skip
    every = -(-recipe.steps // recipe.validations)
    end = recipe.steps if until is None else min(until, recipe.steps)
    losses: list[float] = []
    start = time.monotonic()
    teacher = _Teacher(lessons, recipe, device)
    while state.step < end and not _stale(state, recipe):
        own = state.step if rank == 0 else state.step + rank * (VALIDATION_SEED >> 8)
        losses.append(_learn(objective, state, teacher, recipe, own, device))
        if on_step is not None:
            on_step(state.step)
        if state.step % every == 0 or state.step == recipe.steps:
            mean = sum(losses) / len(losses)
            seconds = time.monotonic() - start
            mark = Mark(state.step, mean, score(network, test), recipe.rate(state.step), seconds)
            if mark.score.l1 <= min((m.score.l1 for m in state.marks), default=math.inf):
                state.best = _copied(network)
            state.marks.append(mark)
            losses = []
            if on_mark is not None:
                on_mark(state)
    if state.step == recipe.steps or _stale(state, recipe):
        network.load_state_dict(state.best)
    network.eval()
    return state


def shared() -> bool:
    """Whether several processes of ``torch.distributed`` train together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def rank_of_process() -> int:
    """Number of this process among those that train together; the first one writes."""
    return torch.distributed.get_rank() if shared() else 0


def steps_within(
    network: PatchNetwork, lessons: Lessons, recipe: Recipe, minutes: float, device: str = "cpu"
) -> Recipe:
    """The recipe with as many steps as the time allows, by the speed of some steps on a copy.

    Processes that train together take the steps that the slowest of them can do.
    """
    state = begin(deepcopy(network).to(device).train(), recipe)
    objective, teacher = _Objective(state.network), _Teacher(lessons, recipe, device)
    times = []
    for step in range(TRIAL_STEPS):
        before = time.monotonic()
        _learn(objective, state, teacher, recipe, step, device)
        times.append(time.monotonic() - before)
    one = sum(times[TRIAL_STEPS // 3 :]) / (TRIAL_STEPS - TRIAL_STEPS // 3)
    if shared():
        slowest = torch.tensor(one, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(slowest, torch.distributed.ReduceOp.MAX)
        one = float(slowest)
    return replace(recipe, steps=max(recipe.validations, int(60 * minutes * TIME_SHARE / one)))


def fit_ridge(network: LinearPatch, lesson: Lesson, penalty: float = 1e3) -> LinearPatch:
    """Find the matrix of a linear network by ridge regression on one lesson of one dose."""
    roots, phases = lesson.roots.flatten(0, 1), lesson.phases.flatten(0, 1)
    low = network.side // 2 - network.head // 2
    box = slice(low, low + network.head)
    target = phases[:, box, box]
    target = (target - target.mean(dim=(-2, -1), keepdim=True)).flatten(1).double()
    each = lesson.electrons.repeat_interleave(lesson.roots.shape[1])
    seen = network.signal(roots, each).double()
    normal = seen.T @ seen + penalty * torch.eye(seen.shape[1], dtype=seen.dtype)
    with torch.no_grad():
        network.matrix.copy_(torch.linalg.solve(normal, seen.T @ target))
    return network


class _Objective(nn.Module):
    """The loss of a lesson, as one module that several processes can share."""

    def __init__(self, network: PatchNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, lesson: Lesson) -> torch.Tensor:
        network = self.network
        if not isinstance(network, UnrolledPatch):
            return lit_loss(network(lesson.roots, lesson.electrons, lesson.probes), lesson)
        answers = network.stages(lesson.roots, network.sight(lesson.probes, lesson.electrons))
        last = lit_loss(answers[-1], lesson)
        return last + EARLIER_STAGES * sum(lit_loss(answer, lesson) for answer in answers[:-1])


class _Teacher:
    """Lessons of a recipe; beside a GPU a thread draws the next one while it learns this one."""

    def __init__(self, lessons: Lessons, recipe: Recipe, device: str) -> None:
        self.seed = lessons.seed
        self._draw = partial(lessons.drawn, groups=recipe.groups, patterns=recipe.patterns)
        self._device = device
        self._aside = None if device == "cpu" else ThreadPoolExecutor(1)
        self._next: tuple[int, Future[Drawn]] | None = None

    def lesson(self, step: int) -> Lesson:
        """The lesson of a step, whatever was asked for before."""
        ahead, self._next = self._next, None
        found = ahead[1] if ahead is not None and ahead[0] == step else None
        if self._aside is not None:
            self._next = step + 1, self._aside.submit(self._draw, step + 1)
        return counted(self._draw(step) if found is None else found.result(), self._device)


def _learn(
    objective: nn.Module, state: State, lessons: _Teacher, recipe: Recipe, lesson: int, device: str
) -> float:
    for group in state.optimiser.param_groups:
        group["lr"] = recipe.rate(state.step)
    # Dropout draws from here, so that it too depends on the step alone.
    torch.manual_seed(lessons.seed * 1_000_003 + lesson)
    taught = lessons.lesson(lesson)
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.half):
        loss = objective(taught)
    state.optimiser.zero_grad()
    loss.backward()
    if recipe.clip is not None:
        nn.utils.clip_grad_norm_(objective.parameters(), recipe.clip)
    state.optimiser.step()
    state.step += 1
    return float(loss.detach())


def _copied(network: PatchNetwork) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _stale(state: State, recipe: Recipe) -> bool:
    scores = [mark.score.l1 for mark in state.marks]
    return bool(scores) and len(scores) - 1 - scores.index(min(scores)) >= recipe.patience
