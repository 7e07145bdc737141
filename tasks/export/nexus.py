"""Export to NeXus: each image, or the patterns, as an ``NXdata`` that any NeXus reader plots.

A file is a tree of HDF5 groups with an ``NX_class``; ``default`` leads from the root to what is to
be plotted (https://www.nexusformat.org, finding plottable data, version 3). The application
definition NXem describes a session at a microscope, its parts and the samples, which a dataset's
results do not know; nothing of it is claimed here.
"""

import json
from pathlib import Path

import h5py
import numpy as np

from tasks.export.taken import Axis, Taken, blocks

UNITS = {"Å": "angstrom", "1/Å": "1/angstrom", "1": ""}
"""As NeXus writes them."""


def write_nexus(taken: Taken, path: Path) -> None:
    """Write images or patterns as a NeXus file.

    Parameters
    ----------
    taken : Taken
        Images, or patterns over (y, x, ky, kx), which are written chunk by chunk.
    path : Path
        File to write.
    """
    with h5py.File(path, "w") as file:
        file.attrs.update(NX_class="NXroot", default="entry")
        entry = _group(file, "entry", "NXentry")
        entry.attrs["default"] = taken.names[0]
        entry["title"] = taken.title
        entry["program_name"] = "phasemill"
        _say_how(entry, taken)
        for number, name in enumerate(taken.names):
            _plottable(_group(entry, name, "NXdata"), taken, number)


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _say_how(entry: h5py.Group, taken: Taken) -> None:
    """Calibration, dose, source and identity, as they are in the results."""
    process = _group(entry, "process", "NXprocess")
    process["program"] = "phasemill"
    note = _group(process, "note", "NXnote")
    note["type"] = "application/json"
    note["data"] = json.dumps(taken.about, sort_keys=True, ensure_ascii=False)
    voltage = taken.about.get("calibration", {}).get("voltage_kv", {}).get("value")
    if voltage is not None:
        instrument = _group(entry, "instrument", "NXinstrument")
        energy = _group(instrument, "beam", "NXbeam").create_dataset(
            "incident_energy", data=1e3 * float(voltage)
        )
        energy.attrs["units"] = "eV"


def _plottable(group: h5py.Group, taken: Taken, number: int) -> None:
    array, names = taken.arrays[number], [axis.name for axis in taken.axes]
    if isinstance(array, np.ndarray):
        data = group.create_dataset("data", data=array)
    else:
        data = group.create_dataset(
            "data", shape=array.shape, dtype=array.dtype, chunks=array.chunks, compression="gzip",
            compression_opts=1, shuffle=True,
        )  # fmt: skip
        for at, block in blocks(array):
            data[at] = block
    data.attrs["units"] = UNITS.get(taken.units[number], taken.units[number])
    data.attrs["long_name"] = taken.labels[number]
    group.attrs["signal"] = "data"
    group.attrs["axes"] = names
    for place, axis in enumerate(taken.axes):
        group.attrs[f"{axis.name}_indices"] = place
        _axis(group, axis)


def _axis(group: h5py.Group, axis: Axis) -> None:
    values = group.create_dataset(axis.name, data=axis.offset + axis.scale * np.arange(axis.size))
    values.attrs["units"] = UNITS.get(axis.unit, axis.unit)
