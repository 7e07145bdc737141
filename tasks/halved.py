"""Halved: the reductions of both halves of the electrons, in one pass over the events."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distributed import Client

from tasks.reduce import ReduceSettings, publish_reductions, reduce_slabs, summary_of
from tasks.store.events import EventStore
from tasks.store.publish import Manifest


def reduce_halves(
    whole: EventStore,
    works: Sequence[Path],
    identities: Sequence[str],
    seed: int,
    settings: ReduceSettings,
    client: Client | None = None,
) -> list[tuple[Manifest, bool]]:
    """Reduce both halves of the electrons, or the one that is not there.

    Parameters
    ----------
    whole : EventStore
        Of all electrons.
    works : two Paths
        Folders of the halves' steps.
    identities : two str
        Of the halves' event stores.
    seed : int
        Of the coins by which the electrons are parted.
    settings : ReduceSettings
        What to compute; no rings, and no regions.
    client
        As for every step.

    Returns
    -------
    list of (Manifest, bool)
        As of ``reduce``, for each half.
    """
    done: dict[int, tuple[Manifest, bool]] = {}

    def reduced(asides: dict[int, Path]) -> list[dict[str, Any]]:
        start = time.monotonic()
        sums = reduce_slabs(whole, asides, settings, client, seed)
        each = {"seconds": round((time.monotonic() - start) / len(asides), 3)}
        return [summary_of(whole, kept, {}) | each for kept in sums]

    def publish(number: int, begun: dict[int, Path]) -> list[dict[str, Any]]:
        """Publish a half inside of that before it; returns the facts of those begun before."""
        facts: list[dict[str, Any]] = []

        def write(aside: Path) -> dict[str, Any]:
            asides = begun | {number: aside}
            facts.extend(reduced(asides) if number else publish(1, asides) or reduced(asides))
            return facts.pop()

        done[number] = publish_reductions(works[number], identities[number], settings, write)
        return facts

    publish(0, {})
    if 1 not in done:
        publish(1, {})
    return [done[0], done[1]]
