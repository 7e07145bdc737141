"""Memory: what a step will need is known before it starts, and what cannot fit is refused.

The figures are peaks of resident memory that units of work were measured to add, rounded up.
"""

from dataclasses import dataclass

import psutil
from distributed import Client, get_worker
from distributed.system import MEMORY_LIMIT

from tasks.device import COUNTS_AT_ONCE, device_room

WORKER_ITSELF = 400 << 20
"""Bytes that a worker holds before its first unit: Python and the compiled libraries."""
USABLE = 0.75
"""Part of a worker's limit that units may fill; above, Dask pauses it and then starts it anew."""
WORKERS_WITHIN = 600
"""Seconds to wait for a worker where there is none at the moment."""
INGEST_PER_EVENT = 12
REDUCE_PER_EVENT, REDUCE_PER_VALUE = 8, 4
SSB_PER_POSITION, SSB_GATHERED_PER_POSITION = 600, 800
DPC_PER_POSITION = 350
PARTED_AGAIN = 2**18
"""Positions of the largest scan whose electrons are parted more than once, for its resolution."""
CALIBRATE, CALIBRATE_PER_POSITION = 30 << 20, 100
"""Trials and images of parts of the disk; and a block of pixels, its transforms and their power."""
CALIBRATE_PER_VALUE, FREQUENCIES = 48, 4000
"""The strongest frequencies of all pixels, as they are gathered, sorted and scaled."""
DEVICE_REDUCE_PER_EVENT, DEVICE_REDUCE_PER_VALUE = 4, 6
"""Indices as they are read; counts of each bin, and of some classes of pixels beside them."""
DEVICE_SSB_PER_COUNT, DEVICE_SSB_PER_POSITION = 28, 80
"""Of the counts that are transformed at a time: raw, scaled, joined, in single precision, their
half plane and the transform's workspace; and the ten sums of each frequency."""


class MemoryPlanError(RuntimeError):
    """A step that cannot fit into the memory that there is."""


@dataclass(frozen=True)
class Demand:
    """Memory that a step adds at its peak [bytes]."""

    step: str
    unit: int
    """In a worker, for each unit that it runs at a time."""
    here: int = 0
    """In the process of the flow."""
    device: int = 0
    """On the device of a worker that has one. The worker's own memory is asked for all the same,
    though it needs less then: how much less was not measured."""


def demands(
    positions: int, slab_positions: int, slab_events: float, pixels: int, steps: tuple[str, ...]
) -> list[Demand]:
    """What the steps of a dataset will need.

    Parameters
    ----------
    positions : int
        Of the scan.
    slab_positions : int
        Scan positions of a slab.
    slab_events : float
        Electrons of a slab.
    pixels : int
        Binned pixels of the disk's window.
    steps : tuple of str
        That the job asks for.

    Returns
    -------
    list of Demand
    """
    values = slab_positions * pixels
    on_device = DEVICE_REDUCE_PER_EVENT * slab_events + DEVICE_REDUCE_PER_VALUE * values
    unit = int(REDUCE_PER_EVENT * slab_events + REDUCE_PER_VALUE * values)
    found = [
        Demand("reduce", unit, device=int(on_device)),
        Demand(
            "calibrate",
            CALIBRATE
            + CALIBRATE_PER_POSITION * positions
            + CALIBRATE_PER_VALUE * pixels * min(FREQUENCIES, positions // 2),
        ),
    ]
    if "dpc" in steps:
        found.append(Demand("dpc", 0, DPC_PER_POSITION * positions))
    if "frc" in steps:
        found.append(Demand("frc", DPC_PER_POSITION * min(positions, PARTED_AGAIN)))
    if "ssb" in steps:
        gathered = SSB_GATHERED_PER_POSITION * positions
        counts = max(2 * positions, COUNTS_AT_ONCE)
        on_device = DEVICE_SSB_PER_COUNT * counts + DEVICE_SSB_PER_POSITION * positions
        found.append(Demand("ssb", SSB_PER_POSITION * positions, gathered, on_device))
    return found


def room_of_unit(client: Client | None) -> int:
    """Bytes that one unit may fill: the least over the workers, shared by their threads."""
    if client is None:
        return room_here()
    if not (workers := client.scheduler_info(n_workers=-1)["workers"].values()):
        # Those that a dataset before killed are not back yet.
        client.wait_for_workers(1, timeout=WORKERS_WITHIN)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
    rooms = [
        (USABLE * (worker["memory_limit"] or MEMORY_LIMIT) - WORKER_ITSELF) / worker["nthreads"]
        for worker in workers
    ]
    return max(0, int(min(rooms, default=0)))


def room_on_device(client: Client | None) -> int | None:
    """Bytes that one unit may fill on its worker's device; None where workers have none.

    One worker is asked: those of a cluster are alike.
    """
    if client is None:
        return device_room()
    room = client.submit(device_room, pure=False).result()
    return None if room is None else room // max(1, *client.nthreads().values())


def room_of_this_unit() -> int:
    """Bytes that a unit may still take that runs already, in a worker or in this process."""
    try:
        worker = get_worker()
    except ValueError:
        return room_here()
    limit = worker.memory_manager.memory_limit or MEMORY_LIMIT
    used = psutil.Process().memory_info().rss
    return max(0, min(room_here(), int(USABLE * limit) - used))


def room_here() -> int:
    """Bytes that this process may still take: what is free, within the limit of its group."""
    own = psutil.Process().memory_info().rss
    return max(0, min(psutil.virtual_memory().available, MEMORY_LIMIT - own))


def refuse_what_cannot_fit(needed: list[Demand], client: Client | None) -> None:
    """Refuse a plan before it starts.

    Raises
    ------
    MemoryPlanError
        With the numbers, and what would mend it.
    """
    unit, here, device = room_of_unit(client), room_here(), room_on_device(client)
    for demand in needed:
        if device is not None and demand.device > device:
            raise MemoryPlanError(
                f"the step {demand.step} needs {_gib(demand.device)} on a GPU for each unit of "
                f"work, and {_gib(device)} are free for each of a worker's threads; give the "
                "workers fewer threads, sum scan positions with scan_bin, or take cluster: local."
            )
        if demand.unit > unit:
            raise MemoryPlanError(
                f"the step {demand.step} needs {_gib(demand.unit)} for each unit of work, and a "
                f"worker has {_gib(unit)} for each of its threads; give the workers more "
                "memory_gib or fewer threads, or sum scan positions with scan_bin."
            )
        if demand.here > here:
            raise MemoryPlanError(
                f"the step {demand.step} gathers {_gib(demand.here)} in the flow's own process, "
                f"and {_gib(here)} are free; close other programs, or sum scan positions with "
                "scan_bin."
            )


def _gib(amount: float) -> str:
    return f"{amount / 2**30:.2f} GiB"
