"""Swapped: further halves of the electrons out of two, without another look at the events.

What a half's electrons sum to at a scan position may as well be that of the other half: the coins
were fair. So positions that change sides by coins of their own give two halves that are as good as
the first two, and what chance the first parting had is averaged away over many.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tasks.store import layout
from tasks.store.events import read_array, write_array
from tasks.store.zarr_json import write_group

SWAPPED = ("virtual", "com_electrons", "com_sums")
"""Reductions that change sides."""


@contextmanager
def swapped_halves(halves: Sequence[Path], number: int, seed: int) -> Iterator[list[Path]]:
    """Make halves in which positions have changed sides, for as long as the block runs.

    Parameters
    ----------
    halves : two Paths
        Folders of the halves' steps, with their event store, reductions and calibration.
    number : int
        Which of all such pairs, from 0 on; each may be made alone.
    seed : int
        Of the coins.

    Yields
    ------
    list of two Paths
        Folders of copies of the halves, in which the reductions ``SWAPPED`` are those of this pair;
        what else was reduced is not in them.
    """
    copies = [half.with_name(f"{half.name}-swapped-{number}") for half in halves]
    for half, copy in zip(halves, copies, strict=True):
        shutil.rmtree(copy, ignore_errors=True)
        for folder in (layout.event_store, _calibration):
            shutil.copytree(folder(half), folder(copy))
        write_group(_reduced(copy))
    scan = read_array(_reduced(halves[0]), "com_electrons").shape
    coins = np.random.PCG64(seed).advance(number * scan[0] * scan[1])
    chosen = np.random.Generator(coins).random(scan) < 0.5
    for name in SWAPPED:
        first, second = (read_array(_reduced(half), name) for half in halves)
        where = chosen[..., None] if name == "com_sums" else chosen
        write_array(_reduced(copies[0]), name, np.where(where, second, first))
        write_array(_reduced(copies[1]), name, np.where(where, first, second))
    try:
        yield copies
    finally:
        for copy in copies:
            shutil.rmtree(copy, ignore_errors=True)


def _reduced(half: Path) -> Path:
    return layout.step_folder(half, "reduce")


def _calibration(half: Path) -> Path:
    return layout.step_folder(half, "calibrate")
