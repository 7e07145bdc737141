"""``zarr.json`` of groups and arrays, as Zarr writes it, put there at once.

Zarr takes 2 ms of CPU to make or to open one of them on a disk, and a small recording has a
hundred. So it writes each kind of document once, in memory; the file is then this program's.
"""

import hashlib
import json
import os
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from tasks.store.chunks import CODEC, FOLDERS, NO_FOLDERS

NAME = "zarr.json"


def write_group(path: str | Path, **attributes: Any) -> tuple[Path, str]:
    """Make a group, or add attributes to the one that is there; gives its file and the SHA-256."""
    place = Path(path, NAME)
    place.parent.mkdir(parents=True, exist_ok=True)
    words = json.loads(place.read_bytes() if place.exists() else _group())
    words["attributes"] |= attributes
    return put_words(place.parent, words)


def put_words(folder: Path, words: dict[str, Any]) -> tuple[Path, str]:
    """Write what the file of a group or an array is to say; gives its file and the SHA-256."""
    return _put(folder / NAME, json.dumps(words, indent=2))


def group_attributes(path: str | Path) -> dict[str, Any]:
    """Attributes of a group.

    Raises
    ------
    OSError, ValueError, KeyError, TypeError
        If there is none, or it is damaged.
    """
    found: dict[str, Any] = json.loads(Path(path, NAME).read_bytes())["attributes"]
    return found


def lay_out_array(
    path: str | Path,
    name: str,
    shape: tuple[int, ...],
    dtype: Any,
    chunks: tuple[int, ...] | None = None,
    together: int = 0,
) -> tuple[Path, str]:
    """Lay out a Zarr array whose chunks will be written whole by independent units of work.

    Parameters
    ----------
    path, name : Path, str
        Folder of the group, and the array's name in it; one that is there is deleted.
    shape, dtype
        Of the array.
    chunks : tuple of int, optional
        Shape of a chunk; all of the array when absent, and then ``NO_FOLDERS``.
    together : int
        So many chunks along the first axis lie together in each shard; 0 for no shards.

    Returns
    -------
    file : Path
    sha256 : str
        Of what was written there.
    """
    folder = Path(path, name)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    separator = NO_FOLDERS if chunks is None else FOLDERS
    words = _array_text(shape, np.dtype(dtype), chunks or shape, together, separator).encode()
    place = folder / NAME
    place.write_bytes(words)  # nothing was there that it could leave damaged
    return place, hashlib.sha256(words).hexdigest()


def array_words(
    shape: tuple[int, ...],
    dtype: np.dtype,
    chunks: tuple[int, ...],
    together: int = 0,
    separator: str = FOLDERS,
) -> dict[str, Any]:
    """What the file of an array says; see ``lay_out_array``."""
    words: dict[str, Any] = json.loads(_array(dtype.str, len(shape), bool(together)))
    chunk = [max(1, n) for n in chunks]
    words["shape"] = list(shape)
    words["chunk_key_encoding"]["configuration"]["separator"] = separator
    grid = words["chunk_grid"]["configuration"]
    grid["chunk_shape"] = chunk
    if together:
        words["codecs"][0]["configuration"]["chunk_shape"] = chunk
        grid["chunk_shape"] = [together * chunk[0], *chunk[1:]]
    return words


@lru_cache(maxsize=64)
def _array_text(
    shape: tuple[int, ...],
    dtype: np.dtype,
    chunks: tuple[int, ...],
    together: int,
    separator: str,
) -> str:
    return json.dumps(array_words(shape, dtype, chunks, together, separator), indent=2)


@lru_cache(maxsize=64)
def _array(dtype: str, axes: int, sharded: bool) -> bytes:
    """Of an array of one element, whose shape is then replaced."""
    array = zarr.create_array(
        MemoryStore(),
        shape=(1,) * axes,
        dtype=dtype,
        chunks=(1,) * axes,
        shards=(1,) * axes if sharded else None,
        serializer=BytesCodec(),
        compressors=(BloscCodec(typesize=np.dtype(dtype).itemsize, **CODEC), Crc32cCodec()),
        fill_value=0,
    )
    return array.metadata.to_buffer_dict(default_buffer_prototype())[NAME].to_bytes()


@lru_cache(maxsize=1)
def _group() -> bytes:
    """Of a group without attributes."""
    group = zarr.create_group(MemoryStore())
    return group.metadata.to_buffer_dict(default_buffer_prototype())[NAME].to_bytes()


def _put(place: Path, text: str) -> tuple[Path, str]:
    """Whole or not at all, as Zarr does."""
    aside, words = place.with_name(f"{NAME}.{os.getpid()}.partial"), text.encode()
    aside.write_bytes(words)
    aside.replace(place)
    return place, hashlib.sha256(words).hexdigest()
