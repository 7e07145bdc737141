"""Train: a network for one probe or for all, with its checkpoint, its card and a page of curves."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.forward import unit_probe
from models.images import (
    USUAL_PHOTOGRAPHS,
    Atlas,
    check_photographs,
    held_out_atlas,
    training_atlas,
)
from models.lessons import VALIDATION_SEED, Lessons, score
from models.networks import LinearPatch, PatchNetwork
from models.probe_family import AnyProbe, OneProbe
from models.training import (
    PAPER,
    Mark,
    Recipe,
    State,
    begin,
    fit_ridge,
    rank_of_process,
    steps_within,
    train,
)
from models.weights import NETWORKS, load_network, load_state, save_network, save_state
from tasks.pictures import read_pictures
from tasks.report.training import write_training_page
from tasks.store.files import hash_file

WITHOUT_PROBE = "any probe of the seven aberrations"
RIDGE_PATTERNS = 20_000
ANY_HEAD = 16
"""Patch of a network for all probes while it is trained [px]; answers take what a probe lights."""


class TrainError(ValueError):
    """A training that cannot be begun."""


@dataclass(frozen=True)
class TrainSettings:
    """What is trained on what."""

    network: str = "compact"
    """A key of ``NETWORKS``."""
    probe: np.ndarray | None = None
    """(side, side) complex, in real space, centred; None: a network for all probes."""
    doses: tuple[float, float] = (300.0, 100_000.0)
    """Least and greatest electrons of a pattern [e]."""
    seed: int = 0
    images: str | None = None
    """A folder or Zarr array of pictures that are added to those that come along."""
    photographs: tuple[str, ...] = USUAL_PHOTOGRAPHS
    """Libraries whose photographs come along."""
    paper: bool = False
    """Train as Chang et al. did."""
    half: bool = False
    """Convolutions and products of matrices in bfloat16."""
    steps: int | None = None
    minutes: float | None = None
    """Train for about so long, where the steps are not given."""
    device: str = "cpu"
    start: str | None = None
    """A network of the same kind to begin with."""
    learning_rate: float | None = None
    """The greatest; None: the recipe's, which is for a network that knows nothing."""
    patience: int | None = None
    """Validations without a better one after which it stops; None: the recipe's."""


@dataclass(frozen=True)
class Trained:
    """A network that is ready, and how it became so."""

    network: PatchNetwork
    card: dict[str, Any]
    marks: list[Mark]


def train_network(
    settings: TrainSettings,
    checkpoint: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_mark: Callable[[State], None] | None = None,
    start: PatchNetwork | None = None,
) -> Trained:
    """Train a network, or go on with a training that was interrupted.

    Parameters
    ----------
    settings : TrainSettings
        What is trained.
    checkpoint : Path, optional
        Written at each validation; where it is of the same training, that goes on.
    on_step : callable, optional
        Is told the steps done, and those in all.
    on_mark : callable, optional
        Is given the state after each validation.
    start : PatchNetwork, optional
        Weights to begin with, of the same kind.

    Returns
    -------
    Trained

    Raises
    ------
    TrainError
        If the settings contradict each other.
    """
    network = _network(settings, start)
    lessons, tests = _lessons(settings)
    if isinstance(network, LinearPatch):
        return _ridge(network, settings, lessons, tests)
    recipe = _recipe(settings, network, lessons)
    about = _about(settings, recipe)
    state = None
    if checkpoint is not None and checkpoint.exists():
        state = load_state(checkpoint, recipe, about)
    if state is None:
        state = begin(network, recipe)

    def mark(now: State) -> None:
        if checkpoint is not None and rank_of_process() == 0:
            save_state(checkpoint, now, about)
        if on_mark is not None:
            on_mark(now)

    train(
        state, lessons, tests, recipe, device=settings.device, on_mark=mark,
        on_step=None if on_step is None else lambda done: on_step(done, recipe.steps),
    )  # fmt: skip
    best = min(state.marks, key=lambda one: one.score.l1)
    card = about | {
        "parameters": sum(p.numel() for p in state.network.parameters()),
        "patterns": state.step * recipe.groups * recipe.patterns,
        "validation": best.score._asdict() | {"step": best.step},
        "torch": version("torch"),
    }
    return Trained(state.network.cpu(), card, state.marks)


def train_to_file(
    settings: TrainSettings,
    path: Path,
    on_step: Callable[[int, int], None] | None = None,
    on_mark: Callable[[State], None] | None = None,
) -> dict[str, Any]:
    """Train a network and write it, with a page of its curves beside it.

    Returns
    -------
    dict
        The card, with the paths of the network and of the page.
    """
    checkpoint = path.with_name(path.name + ".checkpoint")
    start = None if settings.start is None else load_network(Path(settings.start))[0]
    done = train_network(settings, checkpoint, on_step, on_mark, start)
    if rank_of_process() != 0:
        return done.card | {"network": str(path), "page": ""}
    save_network(path, done.network, done.card)
    page = write_training_page(path.with_suffix(".html"), done.card, done.marks)
    checkpoint.unlink(missing_ok=True)
    return done.card | {"network": str(path), "page": str(page)}


def _recipe(settings: TrainSettings, network: PatchNetwork, lessons: Lessons) -> Recipe:
    recipe = replace(PAPER if settings.paper else Recipe(), half=settings.half)
    if not (settings.paper or network.many_probes):
        recipe = replace(recipe, learning_rate=1.5e-3)
    told = {name: getattr(settings, name) for name in ("learning_rate", "patience")}
    recipe = replace(recipe, **{name: value for name, value in told.items() if value is not None})
    if settings.paper:
        return recipe if settings.steps is None else replace(recipe, steps=settings.steps)
    if settings.probe is None:
        recipe = replace(recipe, groups=32, patterns=16)
    if settings.steps is not None:
        return replace(recipe, steps=settings.steps)
    if settings.minutes is not None:
        return steps_within(network, lessons, recipe, settings.minutes, settings.device)
    return recipe


def _network(settings: TrainSettings, start: PatchNetwork | None) -> PatchNetwork:
    kind = NETWORKS.get(settings.network)
    if kind is None:
        raise TrainError(
            f"there is no network '{settings.network}'; there are {', '.join(NETWORKS)}"
        )
    if settings.probe is None and not kind.many_probes:
        raise TrainError(f"the network '{settings.network}' is made for one probe; give --probe")
    if not 0 < settings.doses[0] <= settings.doses[1]:
        raise TrainError(
            f"doses of {settings.doses[0]:g} to {settings.doses[1]:g} e; give the lesser first, "
            "and both above 0"
        )
    middle = float(np.sqrt(settings.doses[0] * settings.doses[1]))
    torch.manual_seed(settings.seed)
    if settings.probe is not None:
        network = kind(settings.probe, middle)
    else:
        rng = np.random.default_rng(settings.seed)
        network = kind(AnyProbe().draw(1, rng)[0], middle, ANY_HEAD)
    if start is not None and type(start) is not kind:
        raise TrainError(f"the network to begin with is no '{settings.network}'")
    if start is not None:
        network.load_state_dict(start.state_dict() | dict(network.named_buffers()))
    return network


def _lessons(settings: TrainSettings) -> tuple[Lessons, Lessons]:
    own = read_pictures(Path(settings.images)) if settings.images else []
    probes = AnyProbe() if settings.probe is None else OneProbe(unit_probe(settings.probe))

    def of(atlas: Atlas) -> Lessons:
        return Lessons(atlas, probes, settings.doses, settings.seed)

    atlas = training_atlas(settings.seed, own, photographs=settings.photographs)
    return of(atlas), of(held_out_atlas())


def _ridge(
    network: LinearPatch, settings: TrainSettings, lessons: Lessons, tests: Lessons
) -> Trained:
    fit_ridge(network, lessons.lesson(0, 1, RIDGE_PATTERNS))
    found = score(network, tests.lesson(VALIDATION_SEED, 1, 1024))
    card = _about(settings, None) | {
        "parameters": network.matrix.numel(),
        "patterns": RIDGE_PATTERNS,
        "validation": found._asdict(),
        "torch": version("torch"),
    }
    return Trained(network.eval(), card, [])


def _about(settings: TrainSettings, recipe: Recipe | None) -> dict[str, Any]:
    """What decides a training, as JSON values."""
    probe = None
    if settings.probe is not None:
        probe = sha256(unit_probe(settings.probe).tobytes()).hexdigest()
    return {
        "network": settings.network,
        "probe": WITHOUT_PROBE if probe is None else f"sha256 {probe}",
        "doses_electrons": list(settings.doses),
        "seed": settings.seed,
        "start_sha256": None if settings.start is None else hash_file(Path(settings.start)),
        "images": Path(settings.images).name if settings.images else None,
        "photographs": check_photographs(settings.photographs),
        "recipe": None if recipe is None else asdict(recipe),
    }
