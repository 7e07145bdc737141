"""An event store at a glance, for notebooks: what is known of each position and of each pixel."""

import numpy as np
import xarray as xr

from tasks.store.events import EventStore

SAID = {
    "electrons": ("electrons at each scan position", "e"),
    "frames_present": ("frames recorded at each position", "1"),
    "sector_mask": ("detector sectors that lost their data, one bit each", "1"),
    "frame_sum": ("electrons of each detector pixel, all frames together", "e"),
}


def overview(store: EventStore) -> xr.Dataset:
    """What a whole store knows without its electrons being read.

    Parameters
    ----------
    store : EventStore
        From ``open_store``.

    Returns
    -------
    xarray.Dataset
        ``electrons`` uint32 [e], ``frames_present`` uint16 and ``sector_mask`` uint8 over
        (scan_y, scan_x), ``frame_sum`` uint64 [e] over (detector_y, detector_x); coordinates are
        numbers of positions and pixels, as a store knows no lengths.

    Raises
    ------
    KeyError
        If it is half of a store, which has no sums of its own.
    DamagedResultError
        If an array cannot be read.
    """
    scan, detector = ("scan_y", "scan_x"), ("detector_y", "detector_x")
    variables = {
        name: (
            detector if name == "frame_sum" else scan,
            store.array(name),
            {"long_name": long_name, "units": units},
        )
        for name, (long_name, units) in SAID.items()
    }
    sizes = dict(zip(scan + detector, store.scan_shape + store.detector_shape, strict=True))
    axes = {
        name: (name, np.arange(size), {"units": "1" if name in scan else "px"})
        for name, size in sizes.items()
    }
    return xr.Dataset(variables, axes, {"path": store.path, "notes": store.metadata["notes"]})
