"""Halves of an event store: two stores like any other, without a copy of the events.

A half says of which store it is half, and by which coin; reading it reads the whole and leaves out
the other half. So whatever can be made from a store can be made from each half of it.
"""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import zarr
from distributed import Client

from gpu_kernels.split import events_of_halves
from tasks.store import layout
from tasks.store.events import FORMAT, EventStore, open_store, read_array
from tasks.store.publish import Manifest, published
from tasks.units import run_units

VERSION = 2


def publish_halves(
    whole: EventStore, identity: str, works: Sequence[Path], seed: int, client: Client | None
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
    client : distributed.Client, optional
        Where the coins are counted.

    Returns
    -------
    list of Manifest
        Of the halves.
    """

    @cache
    def events() -> list[int]:
        units = [(whole.path, seed, slab) for slab in range(whole.slabs)]
        return [sum(each) for each in zip(*run_units("split", _count, units, client), strict=True)]

    def publish(number: int, work: Path) -> Manifest:
        def write(aside: Path) -> dict[str, Any]:
            of = os.path.relpath(whole.path, layout.event_store(work))
            group = zarr.open_group(str(aside), mode="a")
            group.attrs.update(
                {
                    "event_store_format": FORMAT,
                    "scan_shape": list(whole.scan_shape),
                    "detector_shape": list(whole.detector_shape),
                    "slab_rows": whole.slab_rows,
                    "events": events()[number],
                    "metadata": whole.metadata,
                    "half": {"of": of, "seed": seed, "number": number},
                }
            )
            return {"events": events()[number]}

        manifest, _ = published(
            layout.event_store(work),
            step="half",
            version=VERSION,
            inputs={"events": identity},
            parameters={"seed": seed, "number": number},
            write=write,
        )
        return manifest

    return [publish(number, work) for number, work in enumerate(works)]


def _count(path: str, seed: int, slab: int) -> tuple[int, int]:
    store = open_store(path)
    indptr = read_array(store.data, f"{layout.slab_group(slab)}/indptr")
    return events_of_halves(indptr, seed, store.rows(slab)[0] * store.scan_shape[1])
