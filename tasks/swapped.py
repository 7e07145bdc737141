"""Swapped: further halves of the electrons out of two, without another look at the events.

What a half's electrons sum to at a scan position may as well be that of the other half: the coins
were fair. So positions that change sides by coins of their own give two halves that are as good as
the first two, and what chance the first parting had is averaged away over many.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tasks.store import layout
from tasks.store.events import open_for_writing, read_array

SWAPPED = ("virtual", "com_electrons", "com_sums")
"""Reductions that change sides."""


def swapped_halves(
    halves: Sequence[Path], count: int, rng: np.random.Generator
) -> Iterator[list[Path]]:
    """Give halves in which positions have changed sides, one pair after another.

    Parameters
    ----------
    halves : two Paths
        Folders of the halves' steps, with their event store, reductions and calibration.
    count : int
        Pairs to give.
    rng : numpy.random.Generator
        Of the coins.

    Yields
    ------
    list of two Paths
        Folders of copies of the halves, the same ones each time, in which the reductions
        ``SWAPPED`` are those of this pair; what else was reduced is not in them.
    """
    copies = [half.with_name(half.name + "-swapped") for half in halves]
    for half, copy in zip(halves, copies, strict=True):
        shutil.rmtree(copy, ignore_errors=True)
        for folder in (layout.event_store, _calibration):
            shutil.copytree(folder(half), folder(copy))
        for name in ("zarr.json", *SWAPPED):
            _copy(_reduced(half) / name, _reduced(copy) / name)
    scan = read_array(_reduced(halves[0]), "com_electrons").shape
    for _ in range(count):
        chosen = rng.random(scan) < 0.5
        for name in SWAPPED:
            _swap(halves, copies, name, chosen)
        yield copies


def _swap(halves: Sequence[Path], copies: Sequence[Path], name: str, chosen: np.ndarray) -> None:
    """Write a reduction of both halves into the copies, chosen positions exchanged."""
    # Read again for each pair: together the sums of a large scan are gigabytes.
    first, second = (read_array(_reduced(half), name) for half in halves)
    where = chosen[..., None] if name == "com_sums" else chosen
    if first.size:
        open_for_writing(_reduced(copies[0]), name)[...] = np.where(where, second, first)
        open_for_writing(_reduced(copies[1]), name)[...] = np.where(where, first, second)


def _reduced(half: Path) -> Path:
    return layout.step_folder(half, "reduce")


def _calibration(half: Path) -> Path:
    return layout.step_folder(half, "calibrate")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)
