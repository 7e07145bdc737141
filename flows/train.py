"""Train: settings from the command line, live progress, and what came of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from flows.progress import step_lines
from models.training import State
from tasks.device import DEVICES
from tasks.files import why_unreadable, why_unwritable
from tasks.train import TrainError, TrainSettings, train_to_file
from tasks.units import report


def train_file(
    path: Path, settings: dict[str, Any], probe: Path | None, console: Console, quiet: bool
) -> dict[str, Any]:
    """Train a network as the command line asks for.

    Parameters
    ----------
    path : Path
        The safetensors file to write.
    settings : dict
        Fields of ``TrainSettings``; what is None has its default.
    probe : Path, optional
        An ``.npy`` file with a complex probe; without it the network is for all probes.
    console, quiet
        Where to show progress, and whether to show none.

    Returns
    -------
    dict
        The card of the network, and paths.

    Raises
    ------
    ValueError
        If the settings contradict each other, or a file cannot be used.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    check_device(given.get("device", "cpu"))
    if probe is not None:
        given["probe"] = read_probe(probe)
    if path.suffix != ".safetensors":
        raise TrainError("the network's file must end with .safetensors")
    if (why := why_unwritable(path)) is not None:
        raise TrainError(why)

    def say(state: State) -> None:
        mark = state.marks[-1]
        if not quiet:
            console.print(
                f"  step {mark.step}: error {1e3 * mark.score.l1:.2f} mrad, correlation "
                f"{mark.score.correlation:.4f}",
                highlight=False,
            )

    with several_processes(settings.get("device") == "cuda"), step_lines(console, quiet):
        return train_to_file(
            TrainSettings(**given), path, lambda done, steps: report("train", done, steps), say
        )


def check_device(name: str) -> None:
    """Refuse a device that this process cannot train on.

    Raises
    ------
    TrainError
        Where there is none of that name, or fewer GPUs than ``torchrun`` started processes.
    """
    if name not in DEVICES:
        raise TrainError(f"there is no device '{name}'; there are {' and '.join(DEVICES)}")
    if name != "cuda":
        return
    if not torch.cuda.is_available():
        raise TrainError("--device cuda needs a GPU, its driver, and a build of torch for CUDA")
    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if processes > gpus:
        raise TrainError(f"{processes} processes on this machine, and {gpus} GPUs; one for each")


@contextmanager
def several_processes(on_gpus: bool) -> Iterator[None]:
    """Join the processes that ``torchrun`` started, one for each GPU or core."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if on_gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group()
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def read_probe(path: Path) -> np.ndarray:
    """Read a probe.

    Returns
    -------
    (side, side) complex128
        In real space.

    Raises
    ------
    TrainError
        If the file holds something else.
    """
    if (why := why_unreadable(path)) is not None:
        raise TrainError(f"{path}: {why}")
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise TrainError(f"{path}: cannot be read as .npy ({error})") from None
    if not (np.iscomplexobj(found) and found.ndim == 2 and found.shape[0] == found.shape[1]):
        raise TrainError(
            f"{path}: holds {found.dtype} of shape {found.shape}; expected a square complex probe "
            "in real space, centred"
        )
    return found
