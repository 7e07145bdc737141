"""Large arrays of a step inside a published result, without a second copy of their chunks."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr


def link_array(
    source: Path,
    name: str,
    target: Path,
    as_name: str,
    dims: tuple[str, ...],
    attrs: Mapping[str, Any],
) -> None:
    """Let a published group have an array of a step without another copy of its chunks.

    Files are hard-linked where the filesystem can, and copied where it cannot.

    Parameters
    ----------
    source, name : Path, str
        Folder of the step and its array.
    target, as_name : Path, str
        Folder of the Zarr group and the array's name there.
    dims : tuple of str
        Names of its axes, which xarray needs.
    attrs : mapping
        Its attributes.
    """
    array = zarr.open_array(str(source), path=name, mode="r")
    zarr.create_array(
        str(target),
        name=as_name,
        shape=array.shape,
        dtype=array.dtype,
        chunks=array.chunks,
        serializer=array.serializer,
        compressors=array.compressors,
        fill_value=0,
        dimension_names=dims,
        attributes=dict(attrs),
        overwrite=True,
    )
    shutil.copytree(
        source / name / "c", target / as_name / "c", copy_function=_link, dirs_exist_ok=True
    )


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
