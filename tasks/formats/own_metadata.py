"""What a recording's own file says of the microscope it was taken with.

Files of electrons and bare arrays say nothing; those that hyperspy, py4DSTEM or Digital Micrograph
wrote, and those of some detectors, hold voltage, convergence and the distance of the scan positions
beside the frames.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

from tasks.formats.companion import (
    Companion,
    axes_of,
    companion_of,
    instrument_of,
    length_in_angstrom,
    positive,
)
from tasks.formats.hdf5 import open_hdf5
from tasks.formats.recording import RecordingError
from tasks.formats.rosetta import reader_by_mark, reader_by_name
from tasks.roots import refuse_links_out

HDF5, BLOCK = b"\x89HDF\r\n\x1a\n", b"IMGBLO"
READERS = ("digitalmicrograph", "blockfile", "empad", "tia", "tvips")
"""Of rosettasciio's, those of formats that may say it."""
SIGNALS = "Experiments"
"""Group of hyperspy's files that holds a group for each signal."""


def own_metadata(path: str) -> Companion | None:
    """Read what a recording says of the microscope it was taken with.

    Parameters
    ----------
    path : str
        A recording of any format.

    Returns
    -------
    Companion or None
        None where it says nothing, or cannot be read: its reader says why when its turn comes.
    """
    try:
        refuse_links_out(path)
        if Path(path).is_dir():
            return _of_hyperspy(path, zarr.open_group(path, mode="r"))
        with open(path, "rb") as file:
            head = file.read(4096)
        if not head.startswith(HDF5):
            reader = reader_by_mark(head) or reader_by_name(path)
            return _of_rosettasciio(path, "blockfile" if head.startswith(BLOCK) else reader)
        with open_hdf5(path) as root:
            velox = isinstance(root.get("Data/Image"), h5py.Group)
            found = _of_hyperspy(path, root) or _of_py4dstem(path, root)
        return _of_rosettasciio(path, "emd") if velox else found
    except (RecordingError, OSError, KeyError, ValueError, TypeError):
        return None


def _said(companion: Companion) -> Companion | None:
    return companion if companion.keys else None


def _of_hyperspy(path: str, root: Any) -> Companion | None:
    """Axes and metadata of the largest signal in hyperspy's tree, of HDF5 or Zarr alike."""
    signals = [root[SIGNALS][name] for name in root[SIGNALS]] if SIGNALS in root else []
    signals = [one for one in signals if "data" in one and len(one["data"].shape) == 4]
    if not signals:
        return None
    signal = max(signals, key=lambda one: np.prod(one["data"].shape))
    axes = [dict(signal[f"axis-{n}"].attrs) for n in range(4)]
    tem: dict[str, Any] = {}
    if "metadata/Acquisition_instrument/TEM" in signal:
        tem = dict(signal["metadata/Acquisition_instrument/TEM"].attrs)
    return _said(companion_of(path, tem, [axis for axis in axes if axis.get("navigate")]))


def _of_py4dstem(path: str, root: h5py.File) -> Companion | None:
    """The calibration of an EMD 1.0 tree (https://github.com/py4dstem/emdfile)."""
    for group in _calibrations(root):
        told = {key: group[key][()] for key in group if group[key].shape == ()}
        unit = told.get("R_pixel_units", b"")
        size = positive(told.get("R_pixel_size"))
        factor = length_in_angstrom(unit.decode() if isinstance(unit, bytes) else str(unit))
        step = None if size is None or factor is None else (size * factor, size * factor)
        angles = [positive(told.get(f"{n}convergence_semiangle_mrad")) for n in ("probe_", "")]
        found = Companion(path, None, next(filter(None, angles), None), step, None)
        if found.keys:
            return found
    return None


def _calibrations(root: h5py.File) -> Iterator[h5py.Group]:
    found: list[h5py.Group] = []

    def look(_: str, thing: Any) -> None:
        if isinstance(thing, h5py.Group) and thing.attrs.get("python_class") == "Calibration":
            found.append(thing)

    root.visititems(look)
    yield from found


def _of_rosettasciio(path: str, reader: str | None) -> Companion | None:
    """Navigation axes and instrument of the largest signal with a scan."""
    if reader not in (*READERS, "emd"):
        return None
    try:
        signals = import_module(f"rsciio.{reader}").file_reader(path, lazy=True)
    except Exception:  # its readers raise whatever their formats bring
        return None
    scans = [(signal, axes_of(signal, navigate=True)) for signal in signals]
    scans = [(signal, axes) for signal, axes in scans if len(axes) == 2]
    if not scans:
        return None
    signal, axes = max(scans, key=lambda one: np.prod(one[0]["data"].shape))
    return _said(companion_of(path, instrument_of(signal), axes))
