"""Chunks of Zarr arrays, written and read at once, with Zarr's words and Zarr's codecs.

Zarr's own pipeline hands every chunk from thread to thread and copies it between its codecs, which
takes several times as long as the codecs do.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.blosc import Blosc

CODEC: dict[str, Any] = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": 1 << 20}
"""The fastest to read of those tried (benchmarks/codecs.py) that need less than 1.6 bytes an event
at 2,000 events a frame; zstd after the same shuffle is 10 % smaller and takes 1.7 times as long."""
CHECKSUM = 4
"""Bytes of the crc32c behind each chunk."""


def write_chunk(
    array: Path,
    index: tuple[int, ...],
    data: np.ndarray,
    shape: tuple[int, ...] | None = None,
    flat: bool = False,
) -> Path:
    """Write one chunk of an array.

    Parameters
    ----------
    array : Path
        Folder of the array.
    index : tuple of int
        Which chunk.
    data : np.ndarray
        What is in it, of the array's type.
    shape : tuple of int, optional
        Of the array's chunks; one at an edge is filled up with zeros.
    flat : bool
        Whether all chunks lie in the array's own folder, as ``create_array`` was told: folders take
        longer to make, and to take away, than small chunks.

    Returns
    -------
    Path
        The file.
    """
    if shape is not None and data.shape != shape:
        whole = np.zeros(shape, data.dtype)
        whole[tuple(map(slice, data.shape))] = data
        data = whole
    place = _place(array, index, flat)
    if not flat:
        place.parent.mkdir(parents=True, exist_ok=True)
    packed = _codec(data.dtype.itemsize).encode(
        np.ascontiguousarray(data, data.dtype.newbyteorder("<"))
    )
    with place.open("wb") as file:
        file.write(packed)
        file.write(google_crc32c.value(packed).to_bytes(CHECKSUM, "little"))
    return place


def read_chunk(
    array: Path,
    index: tuple[int, ...],
    dtype: np.dtype,
    shape: tuple[int, ...],
    flat: bool = False,
) -> np.ndarray:
    """Read one chunk of an array, its checksum checked.

    Parameters
    ----------
    array : Path
        Folder of the array.
    index : tuple of int
        Which chunk.
    dtype : np.dtype
        Of the array.
    shape : tuple of int
        Of the array's chunks.
    flat : bool
        As it was written.

    Raises
    ------
    OSError
        If it is missing.
    ValueError, RuntimeError
        If its checksum is wrong, or it holds something else.
    """
    place = _place(array, index, flat)
    with place.open("rb") as file:
        packed = file.read(place.stat().st_size - CHECKSUM)
        if google_crc32c.value(packed) != int.from_bytes(file.read(CHECKSUM), "little"):
            raise ValueError(f"{place}: its checksum is wrong")
    # Into an array of its own, which may be written to; kernels are compiled for such.
    chunk: np.ndarray = np.empty(shape, dtype)
    _codec(dtype.itemsize).decode(packed, out=chunk)
    return chunk


def _place(array: Path, index: tuple[int, ...], flat: bool) -> Path:
    key = "c", *map(str, index)
    return array / ".".join(key) if flat else array.joinpath(*key)


@lru_cache(maxsize=8)
def _codec(itemsize: int) -> Blosc:
    named = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE}
    return Blosc(**CODEC | {"shuffle": named[CODEC["shuffle"]]}, typesize=itemsize)
