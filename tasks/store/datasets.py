"""Datasets of results on disk: Zarr v3 that xarray opens, the same bytes every time.

Written at once, with the words of xarray and Zarr: these take 3 ms of CPU for each variable, and a
small recording has sixty.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tasks.store.chunks import write_chunk
from tasks.store.zarr_json import NAME, array_words, put_words, write_group

NAN = "AAAAAAAA+H8="
"""NaN as the attribute ``_FillValue`` has it: base64 of a float64."""


def write_zarr(dataset: xr.Dataset, path: Path, group: str | None = None) -> None:
    """Write a dataset with checksums, one chunk a variable.

    Parameters
    ----------
    dataset : xarray.Dataset
        In memory; real, complex and bool variables.
    path : Path
        The store; it is made where it is not there, and replaced where no group is named.
    group : str, optional
        Group of the store to write into, beside what is there.

    Raises
    ------
    TypeError
        If a variable is of another type.
    """
    if group is None:
        shutil.rmtree(path, ignore_errors=True)
        folder = path
    else:
        folder = path / group
        shutil.rmtree(folder, ignore_errors=True)
    variables, attributes = xr.conventions.encode_dataset_coordinates(dataset)
    write_group(folder, **_plain(attributes))
    for name, variable in variables.items():
        _write(folder / str(name), variable)
    consolidate(path)


def consolidate(path: Path) -> None:
    """Keep the metadata of all arrays in one place, so that opening reads one file."""
    nodes = {}
    for found in path.rglob(NAME):
        words = json.loads(found.read_bytes())
        if words["node_type"] == "group":
            words = _consolidated(words, {})
        nodes[found.parent.relative_to(path).as_posix()] = words
    root = nodes.pop(".")
    inside = dict(sorted(nodes.items(), key=lambda node: (node[0].count("/"), node[0])))
    put_words(path, _consolidated(root, inside))


def _consolidated(group: dict[str, Any], inside: dict[str, Any]) -> dict[str, Any]:
    """What the file of a group says, with what those of all nodes inside of it say."""
    together = {"kind": "inline", "must_understand": False, "metadata": inside}
    first = {name: group[name] for name in ("attributes", "zarr_format")}
    return first | {"consolidated_metadata": together, "node_type": "group"}


def _write(folder: Path, variable: xr.Variable) -> None:
    data, attributes = np.asarray(variable.values), _plain(variable.attrs)
    kind, fill = data.dtype.kind, np.zeros((), data.dtype)
    if kind not in "fiubc":
        raise TypeError(f"{folder}: {data.dtype} is no type of results; give numbers or bool.")
    if kind == "f":
        fill, attributes = fill + np.nan, attributes | {"_FillValue": NAN}
    words = {}
    for name, value in array_words(data.shape, data.dtype, data.shape).items():
        if name == "fill_value" and kind == "f":
            value = "NaN"
        if name == "attributes":
            value = attributes
        words[name] = value
        if name == "attributes" and variable.dims:
            words["dimension_names"] = list(variable.dims)
    folder.mkdir(parents=True)
    put_words(folder, words)
    # A chunk that has nothing but the value of missing ones is not written, as Zarr has it.
    if not np.array_equal(data, np.broadcast_to(fill, data.shape), equal_nan=kind == "f"):
        write_chunk(folder, (0,) * data.ndim, data)


def _plain(attributes: dict[Any, Any]) -> dict[str, Any]:
    """Attributes as JSON has them."""
    arrays = (np.ndarray, np.generic)
    return {
        str(name): value.tolist() if isinstance(value, arrays) else value
        for name, value in attributes.items()
    }
