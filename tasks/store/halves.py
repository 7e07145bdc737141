"""Halves of an event store: two stores like any other, without a copy of the events.

A half says of which store it is half, and by which coin; reading it reads the whole and leaves out
the other half. So whatever can be made from a store can be made from each half of it.
"""

import os
from pathlib import Path
from typing import Any

import zarr
from distributed import Client

from gpu_kernels.split import events_of_halves
from tasks.store import layout
from tasks.store.events import FORMAT, EventStore, open_store, read_array
from tasks.store.publish import Manifest, published
from tasks.units import run_units

VERSION = 1


def publish_half(
    whole: EventStore, identity: str, work: Path, seed: int, number: int, client: Client | None
) -> Manifest:
    """Publish one half of a store.

    Parameters
    ----------
    whole : EventStore
        Of all electrons.
    identity : str
        Of the whole store.
    work : Path
        Folder in which the half gets its event store.
    seed : int
        Of the coins.
    number : int
        0 or 1: which half.
    client : distributed.Client, optional
        Where the coins are counted.

    Returns
    -------
    Manifest
        Of the half.
    """

    def write(aside: Path) -> dict[str, Any]:
        units = [(whole.path, seed, slab) for slab in range(whole.slabs)]
        events = sum(both[number] for both in run_units("split", _count, units, client))
        group = zarr.open_group(str(aside), mode="a")
        group.attrs.update(
            {
                "event_store_format": FORMAT,
                "scan_shape": list(whole.scan_shape),
                "detector_shape": list(whole.detector_shape),
                "slab_rows": whole.slab_rows,
                "events": events,
                "metadata": whole.metadata,
                "half": {
                    "of": os.path.relpath(whole.path, layout.event_store(work)),
                    "seed": seed,
                    "number": number,
                },
            }
        )
        return {"events": events}

    manifest, _ = published(
        layout.event_store(work),
        step="half",
        version=VERSION,
        inputs={"events": identity},
        parameters={"seed": seed, "number": number},
        write=write,
    )
    return manifest


def _count(path: str, seed: int, slab: int) -> tuple[int, int]:
    indptr = read_array(open_store(path).data, f"{layout.slab_group(slab)}/indptr")
    return events_of_halves(int(indptr[-1]), seed, slab)
