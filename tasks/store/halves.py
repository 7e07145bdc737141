"""Halves of an event store: two stores like any other, without a copy of the events.

A half says of which store it is half, and by which coin; reading it reads the whole and leaves out
the other half. So whatever can be made from a store can be made from each half of it.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.store import layout
from tasks.store.events import FORMAT, EventStore
from tasks.store.publish import Manifest, published, step_identity
from tasks.store.zarr_json import write_group

STEP, VERSION = "half", 2


def identity_of_half(identity: str, seed: int, number: int) -> str:
    """Identity of a half of a store, which needs not be there yet."""
    return step_identity(STEP, VERSION, {"events": identity}, {"seed": seed, "number": number})


def publish_halves(
    whole: EventStore, identity: str, works: Sequence[Path], seed: int, events: Sequence[int]
) -> list[Manifest]:
    """Publish both halves of a store.

    Parameters
    ----------
    whole : EventStore
        Of all electrons.
    identity : str
        Of the whole store.
    works : two Paths
        Folders in which the halves get their event stores.
    seed : int
        Of the coins.
    events : two ints
        Electrons of each half.

    Returns
    -------
    list of Manifest
        Of the halves.
    """

    def publish(number: int, work: Path) -> Manifest:
        def write(aside: Path) -> dict[str, Any]:
            of = os.path.relpath(whole.path, layout.event_store(work))
            write_group(
                aside,
                event_store_format=FORMAT,
                scan_shape=list(whole.scan_shape),
                detector_shape=list(whole.detector_shape),
                slab_rows=whole.slab_rows,
                events=events[number],
                metadata=whole.metadata,
                half={"of": of, "seed": seed, "number": number},
            )
            return {"events": events[number]}

        manifest, _ = published(
            layout.event_store(work),
            step=STEP,
            version=VERSION,
            inputs={"events": identity},
            parameters={"seed": seed, "number": number},
            write=write,
        )
        return manifest

    return [publish(number, work) for number, work in enumerate(works)]
