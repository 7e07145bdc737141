"""Where the probe stood at each position of a scan: on its raster, or where a file says."""

import numpy as np

from models.geometry import Geometry
from tasks.array_files import ArrayFile, ArrayFileError, read_positions
from tasks.store.events import EventStore


def scan_places(
    events: EventStore, geometry: Geometry, given: ArrayFile | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Places of all positions along the axes of the scan.

    Parameters
    ----------
    events, geometry
        Of the dataset.
    given : ArrayFile, optional
        A file with the places; the raster of the scan's steps where it is absent.

    Returns
    -------
    y, x : (scan_y, scan_x) float64 each
        [Å]; those of the raster take no memory, and cannot be written to.

    Raises
    ------
    ArrayFileError
        If the file is of another scan, or has changed since the work began.
    """
    rows, cols = events.scan_shape
    if given is None:
        y = np.arange(rows)[:, None] * geometry.scan_step[0]
        x = np.arange(cols) * geometry.scan_step[1]
        return np.broadcast_to(y, (rows, cols)), np.broadcast_to(x, (rows, cols))
    places = given.read(read_positions)
    if places.shape[:-1] not in ((rows, cols), (rows * cols,)):
        found = " x ".join(map(str, places.shape[:-1]))
        raise ArrayFileError(
            f"{given.path}: positions of {found}, the scan has {rows} x {cols}; give one for each, "
            "in the order of the recording."
        )
    places = places.reshape(rows, cols, 2)
    return places[..., 0], places[..., 1]
