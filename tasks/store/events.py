"""The event store: a recording as slabs of scan rows, each read, computed and checksummed alone.

A Zarr v3 group. Per slab the flat ``indices`` of its electrons and ``indptr`` (where each scan
position begins), one chunk each, so that reading a slab is one contiguous read; beside them the
sum of the slab's frames and the number of frames at each position. Root attributes hold the shapes,
the cuts between slabs and where the recording came from.
"""

import json
import os
import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr

from gpu_kernels.split import halves_of_events
from tasks.store.chunks import NO_FOLDERS, read_chunk, write_chunk
from tasks.store.layout import slab_group
from tasks.store.publish import DamagedResultError
from tasks.store.zarr_json import NAME as GROUP_OR_ARRAY
from tasks.store.zarr_json import array_words, group_attributes, lay_out_array, write_group

FORMAT = 1
SHARED = ("frames_present", "sector_mask")
"""Arrays that hold for the halves of a store as for the whole."""


class Events(NamedTuple):
    """The electrons of one slab."""

    indptr: np.ndarray
    """(positions + 1,) int64: where each scan position's electrons begin."""
    indices: np.ndarray
    """(events,) uint16 or uint32: row · width + col on the detector, sorted within a frame."""


@dataclass(frozen=True)
class Half:
    """That a store is half of another: each electron by a fair coin, tossed when it is read."""

    of: str
    """Path of the whole store."""
    seed: int
    number: int
    """0 or 1."""


@dataclass(frozen=True)
class EventStore:
    """A published event store, whole or half of one; its arrays are read when asked for."""

    path: str
    scan_shape: tuple[int, int]
    detector_shape: tuple[int, int]
    slab_rows: int
    """Scan rows of every slab but the last, which may have fewer."""
    events: int
    metadata: dict[str, Any]
    half: Half | None = None

    @property
    def data(self) -> str:
        """Path of the store that holds the arrays: its own, or that of which it is half."""
        return self.path if self.half is None else self.half.of

    @property
    def slabs(self) -> int:
        """Number of slabs."""
        return -(-self.scan_shape[0] // self.slab_rows)

    def rows(self, slab: int) -> tuple[int, int]:
        """First scan row of a slab, and the one after its last."""
        first = slab * self.slab_rows
        return first, min(first + self.slab_rows, self.scan_shape[0])

    def read(self, slab: int) -> Events:
        """Read the electrons of a slab; its checksums are checked on the way.

        Raises
        ------
        DamagedResultError
            If a chunk is missing or its checksum is wrong.
        """
        first, last = self.rows(slab)
        indptr = read_array(self.data, f"{slab_group(slab)}/indptr")
        indices = read_array(self.data, f"{slab_group(slab)}/indices")
        if indptr.size != (last - first) * self.scan_shape[1] + 1 or indptr[-1] != indices.size:
            raise DamagedResultError(
                f"{self.data}: slab {slab} (scan rows {first} to {last - 1}) says that it has "
                f"{int(indptr[-1])} events at {indptr.size - 1} positions, found {indices.size} "
                "events; run the job again to make it anew."
            )
        whole = Events(indptr, indices)
        if self.half is None:
            return whole
        return self._parted(slab, whole, self.half.seed)[self.half.number]

    def read_halves(self, slab: int, seed: int) -> tuple[Events, Events]:
        """Read the electrons of a slab of a whole store, and part them by fair coins.

        Raises
        ------
        DamagedResultError
            If a chunk is missing or its checksum is wrong.
        """
        return self._parted(slab, self.read(slab), seed)

    def _parted(self, slab: int, whole: Events, seed: int) -> tuple[Events, Events]:
        position = self.rows(slab)[0] * self.scan_shape[1]
        one, other = halves_of_events(*whole, seed, position)
        return Events(*one), Events(*other)

    def unusable(self) -> np.ndarray:
        """(rows, cols) bool: positions without a frame, or where one lost a detector sector."""
        return (self.array("frames_present") == 0) | (self.array("sector_mask") != 0)

    def frame_scale(self) -> np.ndarray:
        """(rows, cols) float32: makes counts those of a position that has all its frames.

        1 everywhere in a scan with as many frames at each position; where there is none, 1 too.
        """
        frames = self.array("frames_present")
        return (frames.max(initial=1) / np.where(frames > 0, frames, frames.max(initial=1))).astype(
            np.float32
        )

    def array(self, name: str) -> np.ndarray:
        """Read an array of the whole scan or detector: ``frame_sum``, and so on.

        A half has no sums of its own; which frames are there, and which are whole, it shares.

        Raises
        ------
        KeyError
            If a sum over the electrons is asked of a half.
        """
        if self.half is not None and name not in SHARED:
            raise KeyError(f"{self.path} is half of a store and has no {name!r} of its own")
        return read_array(self.data, name)


def read_array(path: str | Path, name: str) -> np.ndarray:
    """Read a whole Zarr array, and name it where its data are damaged.

    Raises
    ------
    DamagedResultError
        If it is missing, or a checksum is wrong.
    """
    try:
        if (at_once := _read_at_once(Path(path, name))) is not None:
            return at_once
        array = zarr.open_array(str(path), path=name, mode="r")
        if array.nchunks_initialized < array.nchunks:  # Zarr would read what is missing as zeros
            raise OSError(f"{array.nchunks - array.nchunks_initialized} of its chunks are missing")
        return array[...]
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise DamagedResultError(
            f"{path}: {name} cannot be read ({error}); run the job again to make it anew."
        ) from error


def _read_at_once(folder: Path) -> np.ndarray | None:
    """Read an array whose chunks lie each in a file of its own; None where it is another."""
    words = json.loads((folder / "zarr.json").read_bytes())
    shape, dtype = tuple(words.get("shape", ())), words.get("data_type")
    if not all(shape):
        return None
    chunk = tuple(words["chunk_grid"]["configuration"]["chunk_shape"])
    separator = words["chunk_key_encoding"]["configuration"]["separator"]
    if words != array_words(shape, np.dtype(str(dtype)), chunk, separator=separator):
        return None
    if chunk == shape:
        return read_chunk(folder, (0,) * len(shape), np.dtype(dtype), shape, separator)
    whole: np.ndarray = np.empty(shape, np.dtype(dtype))
    for index in product(*(range(-(-n // c)) for n, c in zip(shape, chunk, strict=True))):
        part = whole[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunk, strict=True))]
        found = read_chunk(folder, index, whole.dtype, chunk, separator)
        part[...] = found[tuple(map(slice, part.shape))]
    return whole


def write_array(path: str | Path, name: str, data: np.ndarray) -> dict[Path, str]:
    """Write a whole Zarr array, compressed and checksummed, as one chunk.

    Returns
    -------
    dict
        Its files, with their SHA-256.
    """
    written = dict([lay_out_array(path, name, data.shape, data.dtype)])
    if data.size:
        chunk = write_chunk(Path(path, name), (0,) * data.ndim, data, separator=NO_FOLDERS)
        written |= dict([chunk])
    return written


def open_for_writing(path: str | Path, name: str) -> zarr.Array:
    """Open an array to write some of its chunks.

    Chunks of zeros are written as well: one that is missing is taken for damage.
    """
    array = zarr.open_array(str(path), path=name, mode="r+")
    return array.with_config({"write_empty_chunks": True})


def write_slab(folder: str | Path, slab: int, arrays: dict[str, np.ndarray]) -> dict[Path, str]:
    """Write the arrays of one slab into its group.

    Returns
    -------
    dict
        The files that hold them, with their SHA-256.
    """
    group = Path(folder, slab_group(slab))
    shutil.rmtree(group, ignore_errors=True)
    if not (group.parent / GROUP_OR_ARRAY).exists():
        write_group(group.parent)
    written = dict([write_group(group)])
    for name, data in arrays.items():
        written |= write_array(group, name, data)
    return written


def open_store(path: str | Path) -> EventStore:
    """Open a published event store.

    Raises
    ------
    DamagedResultError
        If there is no whole store of a known version at the path.
    """
    try:
        attributes = group_attributes(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedResultError(f"{path}: this is not an event store ({error}).") from error
    if attributes.get("event_store_format") != FORMAT or not Path(path, "manifest.json").exists():
        raise DamagedResultError(
            f"{path}: no finished event store of version {FORMAT} is here (found version "
            f"{attributes.get('event_store_format')}); run phasemill ingest again."
        )
    return EventStore(
        path=str(path),
        scan_shape=tuple(attributes["scan_shape"]),
        detector_shape=tuple(attributes["detector_shape"]),
        slab_rows=attributes["slab_rows"],
        events=attributes["events"],
        metadata=attributes["metadata"],
        half=_half_of(str(path), attributes.get("half")),
    )


def _half_of(path: str, told: dict[str, Any] | None) -> Half | None:
    if told is None:
        return None
    whole = os.path.normpath(os.path.join(path, told["of"]))
    return Half(whole, int(told["seed"]), int(told["number"]))
