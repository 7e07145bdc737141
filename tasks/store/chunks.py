"""Chunks of Zarr arrays, written and read at once, with Zarr's words and Zarr's codecs.

Zarr's own pipeline hands every chunk from thread to thread and copies it between its codecs, which
takes several times as long as the codecs do.
"""

import hashlib
import os
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import IO, Any

import google_crc32c
import numpy as np
from numcodecs.blosc import Blosc

CODEC: dict[str, Any] = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "blocksize": 1 << 20}
"""The fastest to read of those tried (benchmarks/codecs.py) that need less than 1.6 bytes an event
at 2,000 events a frame; zstd after the same shuffle is 10 % smaller and takes 1.7 times as long."""
FOLDERS, NO_FOLDERS = "/", "."
"""Between the numbers of a chunk in its name. Where an array is one chunk, folders are left out: to
make them and to take them away takes as long as to write a small chunk."""
CHECKSUM = 4
"""Bytes of the crc32c behind each chunk."""


def write_chunk(
    array: Path,
    index: tuple[int, ...],
    data: np.ndarray,
    shape: tuple[int, ...] | None = None,
    separator: str = FOLDERS,
) -> tuple[Path, str]:
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
    separator : str
        ``FOLDERS`` or ``NO_FOLDERS``: how the array names its chunks.

    Returns
    -------
    file : Path
    sha256 : str
        Of what was written there.
    """
    return _write(_place(array, index, separator), _packed(data, shape))


def read_chunk(
    array: Path,
    index: tuple[int, ...],
    dtype: np.dtype,
    shape: tuple[int, ...],
    separator: str = FOLDERS,
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
    separator : str
        As in ``write_chunk``.

    Raises
    ------
    OSError
        If it is missing.
    ValueError, RuntimeError
        If its checksum is wrong, or it holds something else.
    """
    place = _place(array, index, separator)
    with place.open("rb") as file:
        packed = _checked(file, place.stat().st_size, place)
    return _unpacked(packed, dtype, shape)


def write_shard(
    array: Path, index: tuple[int, ...], chunks: Iterable[np.ndarray], shape: tuple[int, ...]
) -> tuple[Path, str]:
    """Write chunks one behind another into one shard, and behind them where each of them lies.

    To make a file, to hash it and to take it away takes longer than to write a small chunk.

    Parameters
    ----------
    array : Path
        Folder of an array with shards.
    index : tuple of int
        Which shard.
    chunks : iterable of np.ndarray
        All that are in it, in order; each of the array's type.
    shape : tuple of int
        Of a chunk; one at an edge is filled up with zeros.

    Returns
    -------
    file : Path
    sha256 : str
        Of what was written there.
    """
    packed = [_packed(chunk, shape) for chunk in chunks]
    sizes = np.array([len(data) + CHECKSUM for data, _ in packed], dtype="<u8")
    words = np.stack([np.cumsum(sizes) - sizes, sizes], axis=1).astype("<u8").tobytes()
    return _write(_place(array, index), (*chain.from_iterable(packed), words, _checksum(words)))


class ShardReader:
    """Reads chunks of an array with shards."""

    def __init__(
        self, array: Path, dtype: np.dtype, shape: tuple[int, ...], chunks_of_a_shard: int
    ) -> None:
        """Take the array's folder and type, the shape of its chunks, and how many are together."""
        self._array, self._dtype, self._shape = array, dtype, shape
        self._count, self._words = chunks_of_a_shard, dict[tuple[int, ...], np.ndarray]()

    def read(self, index: tuple[int, ...], number: int) -> np.ndarray:
        """Read one chunk of the shard at an index, both checksums checked.

        Raises
        ------
        OSError
            If the shard is missing.
        ValueError, RuntimeError
            If a checksum is wrong, or it holds something else.
        """
        place = _place(self._array, index)
        with place.open("rb", buffering=0) as file:
            if index not in self._words:
                size = 2 * 8 * self._count + CHECKSUM
                file.seek(-size, os.SEEK_END)
                words = np.frombuffer(_checked(file, size, place), "<u8")
                self._words[index] = words.reshape(self._count, 2)
            offset, size = self._words[index][number].tolist()
            file.seek(offset)
            packed = _checked(file, size, place)
        return _unpacked(packed, self._dtype, self._shape)


def _write(place: Path, parts: Iterable[bytes]) -> tuple[Path, str]:
    """Write a file, and hash it on the way: to read it for that makes a hash half as slow again."""
    place.parent.mkdir(parents=True, exist_ok=True)
    whole = hashlib.sha256()
    with place.open("wb") as file:
        for part in parts:
            file.write(part)
            whole.update(part)
    return place, whole.hexdigest()


def _packed(data: np.ndarray, shape: tuple[int, ...] | None) -> tuple[bytes, bytes]:
    """A chunk as it is written, and its checksum."""
    if shape is not None and data.shape != shape:
        whole = np.zeros(shape, data.dtype)
        whole[tuple(map(slice, data.shape))] = data
        data = whole
    data = np.ascontiguousarray(data, data.dtype.newbyteorder("<"))
    packed: bytes = _codec(data.dtype.itemsize).encode(data)
    return packed, _checksum(packed)


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(CHECKSUM, "little")


def _checked(file: IO[bytes], size: int, place: Path) -> bytes:
    """The next so many bytes of a file, whose last are the checksum of the others."""
    data = file.read(size - CHECKSUM)
    if _checksum(data) != file.read(CHECKSUM):
        raise ValueError(f"{place}: its checksum is wrong")
    return data


def _unpacked(packed: bytes, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    # Into an array of its own, which may be written to; kernels are compiled for such.
    chunk: np.ndarray = np.empty(shape, dtype)
    _codec(dtype.itemsize).decode(packed, out=chunk)
    return chunk


def _place(array: Path, index: tuple[int, ...], separator: str = FOLDERS) -> Path:
    return array / separator.join(["c", *map(str, index)])


@lru_cache(maxsize=8)
def _codec(itemsize: int) -> Blosc:
    named = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE}
    return Blosc(**CODEC | {"shuffle": named[CODEC["shuffle"]]}, typesize=itemsize)
