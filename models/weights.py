"""Networks and trainings as safetensors files: numbers and a card of text, nothing that can run.

The card says for what a network was made and how good it was; the probe lies in the file too, so
that a file is all that it takes to use a network.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from models.lessons import Score
from models.networks import DensePatch, LinearPatch, PatchNetwork
from models.training import Mark, Recipe, State, begin
from models.unet import PaperUNet
from models.unrolled import UnrolledPatch

NETWORKS: dict[str, type[PatchNetwork]] = {
    "compact": UnrolledPatch,
    "unet": PaperUNet,
    "dense": DensePatch,
    "ridge": LinearPatch,
}
"""Networks by the names that jobs and the command line use."""


class WeightsError(ValueError):
    """A file that is no network of ours, or not the wanted one."""


def name_of(network: PatchNetwork) -> str:
    """Name of a network's kind."""
    return next(name for name, kind in NETWORKS.items() if type(network) is kind)


def save_network(path: Path, network: PatchNetwork, card: dict[str, Any]) -> None:
    """Write a network with its card, whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    network : PatchNetwork
        What is written.
    card : dict
        What is to be known of it, as JSON values.
    """
    tensors = {f"network.{name}": one for name, one in network.state_dict().items()}
    about = {"kind": name_of(network), "options": network.options, "card": card}
    _write(path, tensors, about)


def load_network(path: Path) -> tuple[PatchNetwork, dict[str, Any]]:
    """Read a network.

    Returns
    -------
    network : PatchNetwork
        Ready to answer.
    card : dict
        What was written with it.

    Raises
    ------
    WeightsError
        If the file is not one of ours or does not fit together.
    """
    tensors, about = _read(path)
    return _network_of(path, tensors, about).eval(), dict(about.get("card", {}))


def save_state(path: Path, state: State, about: dict[str, Any]) -> None:
    """Write a checkpoint, from which a training goes on to the same result.

    Parameters
    ----------
    path : Path
        The file.
    state : State
        Of the training.
    about : dict
        What decides the training, as JSON values; ``load_state`` compares it.
    """
    tensors = {f"network.{name}": one for name, one in state.network.state_dict().items()}
    tensors |= {f"best.{name}": one for name, one in state.best.items()}
    for number, values in state.optimiser.state_dict()["state"].items():
        tensors |= {
            f"optimiser.{number}.{name}": torch.as_tensor(one)
            for name, one in values.items()
            if one is not None
        }
    facts = {
        "kind": name_of(state.network),
        "options": state.network.options,
        "step": state.step,
        "marks": [[*mark[:2], list(mark.score), *mark[3:]] for mark in state.marks],
        "about": about,
    }
    _write(path, tensors, facts)


def load_state(path: Path, recipe: Recipe, about: dict[str, Any]) -> State | None:
    """Read a checkpoint, or None where it is of another training.

    Raises
    ------
    WeightsError
        If the file is not a checkpoint.
    """
    tensors, facts = _read(path)
    if facts.get("about") != json.loads(json.dumps(about)):
        return None
    state = begin(_network_of(path, tensors, facts).train(), recipe)
    kept: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part == "best":
            state.best[rest] = tensor
        elif part == "optimiser":
            number, _, key = rest.partition(".")
            kept.setdefault(int(number), {})[key] = tensor
    state.optimiser.load_state_dict(state.optimiser.state_dict() | {"state": kept})
    state.step = int(facts["step"])
    state.marks = [Mark(m[0], m[1], Score(*m[2]), *m[3:]) for m in facts["marks"]]
    return state


def _network_of(
    path: Path, tensors: dict[str, torch.Tensor], about: dict[str, Any]
) -> PatchNetwork:
    kind, own = about.get("kind"), "network."
    if kind not in NETWORKS or "network.probe" not in tensors:
        raise WeightsError(
            f"{path}: holds no network of Phasemill (kind {kind!r}, known are "
            f"{', '.join(NETWORKS)}); it is written by phasemill train."
        )
    probe = tensors["network.probe"].numpy().astype(np.complex64)
    network = NETWORKS[kind](probe, **about["options"])
    try:
        network.load_state_dict(
            {name.removeprefix(own): t for name, t in tensors.items() if name.startswith(own)}
        )
    except RuntimeError as error:
        raise WeightsError(f"{path}: its weights do not fit its kind '{kind}': {error}") from None
    return network


def _write(path: Path, tensors: dict[str, torch.Tensor], about: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(about, sort_keys=True)
    aside = path.with_name(path.name + ".partial")
    aside.write_bytes(save(ready, {"phasemill": text}))
    aside.replace(path)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        with safe_open(str(path), framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("phasemill", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path}: is no readable safetensors file: {error}") from None
