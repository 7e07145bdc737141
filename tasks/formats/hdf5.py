"""Opening HDF5 files, with one clear error for everything that can be wrong with one."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  registers the filters that detectors' files use
import numpy as np

from tasks.formats.recording import RecordingError

DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
"""What h5py and other readers raise, in one place or another, where a file is damaged."""
MOST_ATTRIBUTES = 1000
"""Of a file's metadata; more would be data."""


@contextmanager
def open_hdf5(path: str) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises
    ------
    RecordingError
        If it is not there, not HDF5, cut short, still being written, or damaged.
    """
    try:
        file = h5py.File(path, "r")
    except DAMAGE as error:
        raise RecordingError(f"{path}: {_cause(path, error)}") from error
    with file:
        try:
            yield file
        except RecordingError:
            raise
        except DAMAGE as error:
            raise RecordingError(
                f"{path}: the file is damaged; HDF5 says: {first_line(error)}"
            ) from error


def attributes(thing: Any) -> dict[str, Any]:
    """All attributes of a group and of what is inside it, flat, as values that JSON knows.

    Parameters
    ----------
    thing : h5py.Group or None
        Where to look; each thing in it is visited once, however it is linked.

    Returns
    -------
    dict
        ``group/attribute``: text, number, truth or a list of them.
    """
    flat: dict[str, Any] = {}
    if not isinstance(thing, h5py.Group):
        return flat

    def add(name: str, inner: Any) -> None:
        for key in inner.attrs:
            if len(flat) < MOST_ATTRIBUTES:
                flat[f"{name}/{key}".lstrip("/")] = _attribute(inner, key)

    add("", thing)
    thing.visititems(add)
    return flat


def _attribute(thing: Any, key: str) -> Any:
    try:
        return json_value(thing.attrs[key])
    except DAMAGE as error:
        return f"unreadable: {first_line(error)}"


def json_value(value: Any) -> Any:
    """A value as JSON can hold it; what JSON does not know becomes text."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list):
        return [json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return str(value)
    return value


def _cause(path: str, error: BaseException) -> str:
    text = str(error)
    if not os.path.exists(path):
        return "there is no such file."
    if "truncated" in text:
        return f"the file is cut short; its copy or writing did not finish ({first_line(error)})."
    if "lock" in text or "errno = 11" in text or "already open for" in text:
        return (
            "the file is locked or marked as open for writing, so it is still being written; wait "
            "for its writer. Where a file system cannot lock, set HDF5_USE_FILE_LOCKING=FALSE; "
            "after a writer that crashed, h5clear -s removes the mark."
        )
    if "signature not found" in text:
        return "this is not an HDF5 file, or its beginning is damaged."
    return f"HDF5 cannot open it: {first_line(error)}."


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def chunks_missing(path: str, data: h5py.Dataset) -> int:
    """Chunks that an array's index does not have; HDF5 reads them as if nothing had been counted.

    The index has no checksum: a chunk that is listed at another place is lost as silently as one
    that was never written.

    Raises
    ------
    RecordingError
        If the index names a place that is none, or two chunks share bytes, or they lie beyond the
        end of the file, or a chunk that no filter packed has another size than its data.
    """
    if not data.chunks or data.is_virtual:
        return 0
    found: list[tuple[int, ...]] = []
    data.id.chunk_iter(
        lambda one: found.append((*one.chunk_offset, one.filter_mask, one.byte_offset, one.size))
    )
    index = np.array(found, np.uint64).reshape(len(found), len(data.chunks) + 3)
    shape, chunk = (np.array(n, np.uint64) for n in (data.shape, data.chunks))
    places, skipped = index[:, :-3], index[:, -3]
    begins, sizes = index[np.argsort(index[:, -2]), -2:].T  # in the order of the file
    filters = np.uint64((1 << data.id.get_create_plist().get_nfilters()) - 1)
    whole = int(np.prod(data.chunks)) * data.dtype.itemsize
    if (index[skipped >= filters, -1] != whole).any():  # all of them, or some that there are not
        raise RecordingError(
            f"{path}: {data.name}: the index of its {len(found)} chunks says that some are not "
            f"packed, and does not give them the {whole} bytes that they then have. The file is "
            "damaged."
        )
    damaged = (places % chunk).any() or (places >= shape).any()
    damaged |= len(np.unique(places, axis=0)) < len(places)
    limits = np.append(begins[1:], np.uint64(os.path.getsize(data.file.filename)))
    if damaged or (sizes > limits).any() or (begins > limits - sizes)[: len(found)].any():
        raise RecordingError(
            f"{path}: {data.name}: the index of its {len(found)} chunks names places that are none "
            "or the same twice. The file is damaged."
        )
    return int(np.prod((shape + chunk - np.uint64(1)) // chunk)) - len(found)


def refuse_lost_chunks(data: h5py.Dataset, places: np.ndarray) -> None:
    """Look for chunks that were read as empty, where the index has all of them.

    To list an index is to walk through it; to find a chunk is to follow its keys. One damaged key,
    and HDF5 lists a chunk that it does not find and reads as if nothing had been counted.

    Parameters
    ----------
    data : h5py.Dataset
        In chunks.
    places : (places, axes) int64
        Along the first axes of the data, of what was read as empty; all of the others.

    Raises
    ------
    RecordingError
        With the place of a chunk that is not found.
    """
    axes = places.shape[1]
    corners = np.unique(places // data.chunks[:axes], axis=0) * data.chunks[:axes]
    inner = [range(0, n, step) for n, step in zip(data.shape, data.chunks, strict=True)][axes:]
    for corner, rest in product(corners.tolist(), list(product(*inner))):
        at = (*corner, *rest)
        try:
            data.id.read_direct_chunk(at)
        except (RuntimeError, OSError, ValueError) as error:
            raise RecordingError(
                f"{data.file.filename}: {data.name}: the chunk at {at} is in the index and is not "
                f"found there ({first_line(error)}). The file is damaged."
            ) from error
