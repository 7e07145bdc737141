"""Export to hyperspy: a signal in ``.zspy`` (Zarr) or ``.hspy`` (HDF5), with axes and metadata.

rosettasciio writes the second. Its ``.zspy`` is a tree of Zarr's format 2 and its writer needs the
library of that time, so that tree is written here: a group for each mapping, an attribute for each
value (https://hyperspy.org/rosettasciio, file format 3.3).
"""

from pathlib import Path
from typing import Any

import dask.array as da
import numcodecs
import numpy as np
import zarr
from rsciio import hspy

from tasks.export.taken import ExportError, Taken, blocks

SIGNAL_AXES = 2
FORMAT = "3.3"


def write_signal(taken: Taken, path: Path) -> None:
    """Write an image, or patterns over the scan, as a hyperspy signal.

    Parameters
    ----------
    taken : Taken
        One image, or dense patterns: (ky, kx) is the signal then, (y, x) is navigated.
    path : Path
        Ends with ``.zspy`` (a folder) or ``.hspy``.

    Raises
    ------
    ExportError
        If several images are to go into the one signal that such a file holds.
    """
    if len(taken.names) != 1:
        raise ExportError(
            f"a hyperspy file holds one signal, and {len(taken.names)} images are asked for; name "
            f"one of {', '.join(taken.names)}"
        )
    axes = [
        {
            "name": axis.name,
            "size": axis.size,
            "scale": axis.scale,
            "offset": axis.offset,
            "units": axis.unit,
            "navigate": number < len(taken.axes) - SIGNAL_AXES,
            "_type": "UniformDataAxis",
            "is_binned": False,
        }
        for number, axis in enumerate(taken.axes)
    ]
    story = {
        "metadata": _metadata(taken),
        "original_metadata": {"phasemill": _plain(taken.about)},
        "attributes": {"_lazy": False, "ragged": False},
        "learning_results": {},
    }
    (array,) = taken.arrays
    if path.suffix == ".zspy":
        _write_zspy(path, array, axes, story)
        return
    data = array if isinstance(array, np.ndarray) else da.from_zarr(array)
    rest: dict[str, Any] = {"package_info": {}, "models": {}, "tmp_parameters": {}}
    signal = story | rest | {"data": data, "axes": axes}
    hspy.file_writer(str(path), signal, show_progressbar=False)


def _write_zspy(
    path: Path, array: Any, axes: list[dict[str, Any]], story: dict[str, dict[str, Any]]
) -> None:
    root = zarr.open_group(str(path), mode="w", zarr_format=2)
    root.attrs.update({"file_format": "ZSpy", "file_format_version": FORMAT})
    title = story["metadata"]["General"]["title"].replace("/", "-")
    signal = root.require_group(f"Experiments/{title}")
    in_memory = isinstance(array, np.ndarray)
    data = signal.create_array(
        "data",
        shape=array.shape,
        dtype=array.dtype,
        chunks=array.shape if in_memory else array.chunks,
        compressors=numcodecs.Blosc(cname="zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE),
        config={"write_empty_chunks": True},
    )
    for at, block in [(..., array)] if in_memory else blocks(array):
        data[at] = block
    for number, axis in enumerate(axes):
        signal.create_group(f"axis-{number}").attrs.update(axis)
    for name, values in story.items():
        _write_tree(signal.create_group(name), values)


def _write_tree(group: zarr.Group, values: dict[str, Any]) -> None:
    attrs = {key: value for key, value in values.items() if not isinstance(value, dict)}
    group.attrs.update(attrs)
    for key in values.keys() - attrs.keys():
        _write_tree(group.create_group(key), values[key])


def _metadata(taken: Taken) -> dict[str, Any]:
    microscope = {
        name: value
        for name, key in (("beam_energy", "voltage_kv"), ("convergence_angle", "semiangle_mrad"))
        if (value := taken.calibrated(key)) is not None
    }
    return {
        "General": {"title": f"{taken.title}: {taken.labels[0]}"},
        "Signal": {"signal_type": "", "quantity": f"{taken.labels[0]} ({taken.units[0]})"},
        "Acquisition_instrument": {"TEM": microscope | {"acquisition_mode": "STEM"}},
        "_HyperSpy": {"signal_dimension": SIGNAL_AXES},
    }


def _plain(value: Any) -> Any:
    """Mappings of text and numbers: lists as text, and without what is None."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    return value if isinstance(value, str | bool | int | float) else str(value)
