"""Export to OME: images as channels of an OME-Zarr (NGFF 0.5) or an OME-TIFF, in ångströms."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from zarr.codecs import BloscCodec

from tasks.export.taken import Taken
from tasks.store.files import hash_of

NGFF = "0.5"
SMALLEST_LEVEL = 256
"""A pyramid ends where its longer side is no more than this [px]."""
COLOURS = ("FFFFFF",)
"""Phases are shown in grey."""


def write_ome_zarr(taken: Taken, path: Path) -> None:
    """Write images as one multiscale image over (c, y, x); only the first channel is switched on.

    Parameters
    ----------
    taken : Taken
        Images of one grid.
    path : Path
        Folder to write, a Zarr v3 group (https://ngff.openmicroscopy.org/0.5).
    """
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    levels, level = [], taken.stack
    while True:
        levels.append(level)
        if max(level.shape[1:]) <= SMALLEST_LEVEL or min(level.shape[1:]) < 4:
            break
        level = _halved(level)
    datasets = []
    for number, level in enumerate(levels):
        array = zarr.create_array(
            str(path), name=str(number), shape=level.shape, dtype=np.float32,
            chunks=(1, *level.shape[1:]), compressors=(BloscCodec(typesize=4, cname="lz4"),),
            dimension_names=("c", "y", "x"), fill_value=np.nan,
        )  # fmt: skip
        array[...] = level
        scale, offset = (1.0, *_scales(taken, number)), (0.0, *_offsets(taken, number))
        datasets.append(
            {
                "path": str(number),
                "coordinateTransformations": [
                    {"type": "scale", "scale": list(scale)},
                    {"type": "translation", "translation": list(offset)},
                ],
            }
        )
    group.attrs["ome"] = {
        "version": NGFF,
        "multiscales": [
            {
                "name": taken.title,
                "axes": [{"name": "c", "type": "channel"}]
                + [{"name": n, "type": "space", "unit": "angstrom"} for n in ("y", "x")],
                "datasets": datasets,
                "type": "mean",
            }
        ],
        "omero": {"channels": [_channel(taken, number) for number in range(len(taken.names))]},
    }
    group.attrs["phasemill"] = taken.about


def write_ome_tiff(taken: Taken, path: Path) -> None:
    """Write images as channels of one float32 OME-TIFF, the same bytes every time.

    Parameters
    ----------
    taken : Taken
        Images of one grid.
    path : Path
        File to write.
    """
    rows, cols = taken.axes
    about = hash_of({"names": list(taken.names), "about": taken.about})
    metadata = {
        "axes": "CYX",
        "Name": taken.title,
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, about)),
        "PhysicalSizeX": cols.scale,
        "PhysicalSizeXUnit": "Å",
        "PhysicalSizeY": rows.scale,
        "PhysicalSizeYUnit": "Å",
        "Channel": {"Name": [_label(taken, n) for n in range(len(taken.names))]},
        "MapAnnotation": {"Results": taken.about["results"]},
    }
    tifffile.imwrite(
        path, taken.stack, ome=True, photometric="minisblack", metadata=metadata,
        compression="zlib",  # without a predictor: readers of floating-point ones are few
    )  # fmt: skip


def _label(taken: Taken, number: int) -> str:
    return f"{taken.names[number]} [{taken.units[number]}]"


def _channel(taken: Taken, number: int) -> dict[str, Any]:
    known = taken.arrays[number][np.isfinite(taken.arrays[number])]
    low, high = (float(v) for v in np.percentile(known, (0.5, 99.5))) if known.size else (0.0, 1.0)
    ends = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return {
        "label": _label(taken, number),
        "color": COLOURS[number % len(COLOURS)],
        "active": number == 0,
        "window": {"start": low, "end": high, "min": ends[0], "max": ends[1]},
    }


def _halved(level: np.ndarray) -> np.ndarray:
    """(c, rows // 2, columns // 2) float32: means of 2 × 2 pixels; an odd last one is left out."""
    c, rows, cols = level.shape
    even = level[:, : rows // 2 * 2, : cols // 2 * 2]
    return even.reshape(c, rows // 2, 2, cols // 2, 2).mean(axis=(2, 4), dtype=np.float32)


def _scales(taken: Taken, level: int) -> tuple[float, ...]:
    return tuple(axis.scale * 2**level for axis in taken.axes)


def _offsets(taken: Taken, level: int) -> tuple[float, ...]:
    # A pixel's place is its middle, and that of a mean of 2 × 2 lies between them.
    return tuple(axis.offset + axis.scale * (2**level - 1) / 2 for axis in taken.axes)
