"""Export to EMD 1.0, which py4DSTEM reads: images as arrays, patterns as a DataCube.

A file is a tree of HDF5 groups that bear ``emd_group_type`` and ``python_class``; an array has its
``data`` and a ``dim`` vector for each axis (https://github.com/py4dstem/emdfile).
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tasks.export.taken import Taken, blocks
from tasks.store.files import hash_of

UNITS = {"Å": "A", "1/Å": "A^-1"}
"""As py4DSTEM writes them."""


def write_emd(taken: Taken, path: Path) -> None:
    """Write images or patterns as an EMD file.

    Parameters
    ----------
    taken : Taken
        Images, or patterns over (y, x, ky, kx), which are written chunk by chunk.
    path : Path
        File to write.
    """
    with h5py.File(path, "w") as file:
        file.attrs.update(
            emd_group_type="file", version_major=1, version_minor=0,
            authoring_program="phasemill", authoring_user="", UUID=hash_of(taken.about)[:32],
        )  # fmt: skip
        root = _group(file, taken.title, "root", "Root")
        _describe(root, taken)
        for name, unit, array in zip(taken.names, taken.units, taken.arrays, strict=True):
            if len(taken.axes) == 4:
                _cube(root, unit, array, taken)
            else:
                group = _group(root, name, "array", "Array")
                group.create_dataset("data", data=np.asarray(array)).attrs["units"] = unit
                _axes(group, taken)


def _cube(root: h5py.Group, unit: str, array: Any, taken: Taken) -> None:
    group = _group(root, "datacube", "array", "DataCube")
    data = group.create_dataset(
        "data", shape=array.shape, dtype=array.dtype, chunks=array.chunks, compression="gzip",
        compression_opts=1, shuffle=True,
    )  # fmt: skip
    data.attrs["units"] = unit
    for at, block in blocks(array):
        data[at] = block
    _axes(group, taken)


def _axes(group: h5py.Group, taken: Taken) -> None:
    for number, axis in enumerate(taken.axes):
        data = axis.offset + axis.scale * np.arange(axis.size)
        vector = group.create_dataset(f"dim{number}", data=data)
        vector.attrs["name"], vector.attrs["units"] = axis.name, UNITS.get(axis.unit, axis.unit)


def _describe(root: h5py.Group, taken: Taken) -> None:
    bundle = _group(root, "metadatabundle", "metadatabundle", None)
    flat = dict(_flat("", taken.about))
    flat |= {f"label {n}": label for n, label in zip(taken.names, taken.labels, strict=True)}
    _metadata(bundle, "phasemill", "Metadata", flat)
    if len(taken.axes) == 4:
        # py4DSTEM looks for the calibration of a cube at its root.
        rows, _, k_rows, _ = taken.axes
        calibration = {
            "R_pixel_size": rows.scale, "R_pixel_units": "A", "Q_pixel_size": k_rows.scale,
            "Q_pixel_units": "A^-1", "_root_treepath": "",
        }  # fmt: skip
        if (angle := taken.calibrated("semiangle_mrad")) is not None:
            calibration["convergence_semiangle_mrad"] = angle
        group = _metadata(bundle, "calibration", "Calibration", calibration)
        # Without being told that the cube listens, py4DSTEM shows its axes in pixels.
        targets = group.create_group("_target_paths")
        targets.attrs.update({"type": "list_of_strings", "length": 1})
        targets.create_dataset("0", data=b"/datacube")


def _metadata(bundle: h5py.Group, name: str, kind: str, values: dict[str, Any]) -> h5py.Group:
    """A Metadata group: each value a dataset with the name of its Python type."""
    group = _group(bundle, name, "metadata", kind)
    for key, value in values.items():
        said = "string" if isinstance(value, str) else "number"
        said = "bool" if isinstance(value, bool) else said
        data = value.encode() if isinstance(value, str) else value
        group.create_dataset(key.replace("/", " per "), data=data).attrs["type"] = said.encode()
    return group


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    """Values of nested mappings by their path; lists as text."""
    if isinstance(value, dict):
        return [pair for k, v in value.items() for pair in _flat(f"{prefix} {k}".strip(), v)]
    if value is None:
        return []
    return [(prefix, value if isinstance(value, str | bool | int | float) else str(value))]


def _group(parent: h5py.Group, name: str, kind: str, python_class: str | None) -> h5py.Group:
    group = parent.create_group(name.replace("/", "_") or "phasemill")
    group.attrs["emd_group_type"] = kind
    if python_class is not None:
        group.attrs["python_class"] = python_class
    return group
