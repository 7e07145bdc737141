"""Dense frames in array files: HDF5 (plain, EMD, py4DSTEM, ARINA), Zarr and npy."""

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tasks.formats.bitshuffle import check_chunks, check_settings
from tasks.formats.dense import DenseRecording
from tasks.formats.hdf5 import (
    attributes,
    chunks_missing,
    first_line,
    open_hdf5,
    refuse_lost_chunks,
)
from tasks.formats.recording import RecordingError, check_scan_shape, times

MOST_CHUNK_BYTES = 1 << 30
"""A chunk is read whole; a larger one would not fit beside the others in a worker."""
LARGEST_RATIO = 1 << 14
"""By which data of frames were ever compressed; with less in the file, data are missing."""
DECTRIS, DECTRIS_MASK = "entry/data", "entry/instrument/detector/detectorSpecific/pixel_mask"
Arrays = dict[str, tuple[int, ...]]


class Hdf5Recording(DenseRecording):
    """A dense array in an HDF5 file, or the stacks that a Dectris master file links together."""

    def __init__(
        self, path: str, *, array: str | None = None, scan_shape: Any = None, **options: Any
    ) -> None:
        self._opened(path)
        self._mask: np.ndarray | None = None
        with open_hdf5(path) as file:
            parts = _dectris_parts(path, file) if array is None else []
            parts = parts or [_hdf5_array(path, file, array)]
            shapes = [_readable_hdf5(path, name, file[name]) for name in parts]
            self.metadata = attributes(file.get("metadata"))
            scan_shape = self._scan_of(file, parts[0], scan_shape)
            dtype = file[parts[0]].dtype
            self._guarded = [check_settings(path, file[name]) for name in parts]
            self._note_missing_chunks(path, [file[name] for name in parts])
            if len(parts) > 1 or parts[0].startswith(DECTRIS):
                self._mask_dead_pixels(file, shapes[0])
        if len({shape[1:] for shape in shapes}) > 1:
            raise RecordingError(f"{path}: its parts {', '.join(parts)} differ in shape.")
        self.array, self._parts = parts[0], parts
        self._ends = np.cumsum([shape[0] for shape in shapes])
        shape = (int(self._ends[-1]), *shapes[0][1:]) if len(parts) > 1 else shapes[0]
        self.format = f"dense HDF5, {self.array}"
        super().__init__(path, shape, dtype, scan_shape=scan_shape, **options)

    def _note_missing_chunks(self, path: str, parts: list[h5py.Dataset]) -> None:
        missing_of = [chunks_missing(path, data) for data in parts]
        self._has_all = [
            bool(data.chunks) and not data.is_virtual and not missing
            for data, missing in zip(parts, missing_of, strict=True)
        ]
        if missing := sum(missing_of):
            self.notes.append(
                f"{missing} chunks are not in the file; HDF5 reads them as {parts[0].fillvalue}"
            )

    def _scan_of(self, file: h5py.File, name: str, told: Any) -> Any:
        """Scan shape of stempy's raw stacks, which have it as attribute (width, height)."""
        size = np.asarray(file[name].attrs.get("scan_dimensions", np.zeros(0)))
        if name.strip("/") == "datacube":
            self.notes.append("stempy writes /datacube as [scan_x, scan_y]; it was read as [y, x]")
        if size.size != 2 or size.dtype.kind not in "ui" or file[name].ndim != 3:
            return told
        check_scan_shape(self.path, told, (int(size[1]), int(size[0])))
        return int(size[1]), int(size[0])

    def _mask_dead_pixels(self, file: h5py.File, shape: tuple[int, ...]) -> None:
        mask = file.get(DECTRIS_MASK)
        if isinstance(mask, h5py.Dataset) and mask.shape == shape[-2:]:
            self._mask = mask[...] != 0
            self.notes.append(
                f"{int(self._mask.sum())} dead pixels of the detector's mask have no electrons"
            )

    def _frames(self, first: int, last: int) -> np.ndarray:
        with open_hdf5(self.path) as file:
            if len(self._parts) == 1:
                frames = self._frames_of_one(file[self._parts[0]], first, last)
            else:
                begins = [0, *self._ends[:-1].tolist()]
                pieces = []
                for n, (begin, end) in enumerate(zip(begins, self._ends.tolist(), strict=True)):
                    if begin < last and end > first:
                        data = file[self._parts[n]]
                        span = (max(0, first - begin), min(last, end) - begin)
                        if self._guarded[n]:
                            check_chunks(data.file.filename, data, [span])
                        pieces.append(data[slice(*span)])
                frames = np.concatenate(pieces)
        if self._mask is not None:
            frames[:, self._mask] = 0
        return frames

    def _check_empty(self, frames: np.ndarray) -> None:
        stacked = self._is_stack
        part = np.searchsorted(self._ends, frames if stacked else 0 * frames, side="right")
        with open_hdf5(self.path) as file:
            for n in np.unique(part):
                if not self._has_all[n]:
                    continue
                own = frames[part == n]
                if stacked:
                    places = (own - (self._ends[n - 1] if n else 0))[:, None]
                else:
                    places = np.stack(np.divmod(own, self._stored_scan[1]), axis=1)
                refuse_lost_chunks(file[self._parts[n]], places)

    def _frames_of_one(self, data: h5py.Dataset, first: int, last: int) -> np.ndarray:
        if self._guarded[0]:
            cols = 1 if self._is_stack else self._stored_scan[1]
            top, bottom = first // cols, -(-last // cols)
            within = [(first - top * cols, last - top * cols)] if bottom - top == 1 else []
            check_chunks(data.file.filename, data, [(top, bottom), *(within if cols > 1 else [])])
        return self._from_array(data, first, last)


class ZarrRecording(DenseRecording):
    """A dense array in a Zarr group or array, of Zarr's format 2 or 3."""

    def __init__(self, path: str, *, array: str | None = None, **options: Any) -> None:
        self._opened(path)
        opened = self._open(array)
        self.array = opened.path
        self.format = f"dense Zarr, {self.array or 'the root'}"
        if not all(opened.chunks) and all(opened.shape):
            raise RecordingError(
                f"{path}: {self.array or 'the root'}: chunks of {times(opened.chunks)} hold "
                "nothing, so its metadata are damaged."
            )
        if np.prod(opened.chunks, dtype=float) * opened.dtype.itemsize > MOST_CHUNK_BYTES:
            raise RecordingError(
                f"{path}: {self.array}: chunks of {times(opened.chunks)} are too large to read; "
                "write it again in chunks of some scan rows."
            )
        there, all_chunks = opened.nchunks_initialized, opened.nchunks
        if not there:
            raise RecordingError(f"{path}: {self.array}: none of its {all_chunks} chunks is there.")
        if there < all_chunks:
            self.notes.append(
                f"{all_chunks - there} of {all_chunks} chunks are not in the file; Zarr reads them "
                f"as {opened.fill_value}"
            )
        super().__init__(path, opened.shape, opened.dtype, **options)

    def _open(self, array: str | None) -> Any:
        import zarr

        try:
            root = zarr.open(self.path, mode="r")
            if isinstance(root, zarr.Array):
                return root
            found = {n: a for n, a in root.members(max_depth=None) if isinstance(a, zarr.Array)}
        except Exception as error:  # Zarr raises what its metadata, store and codecs raise
            raise RecordingError(
                f"{self.path}: Zarr cannot open it ({type(error).__name__}: {first_line(error)})."
            ) from error
        wide = {n: a.shape for n, a in found.items() if a.ndim in (3, 4)}
        name = (array or "").strip("/") or _only_array(self.path, wide)
        if name not in found:
            raise RecordingError(f"{self.path}: there is no array {name}; {_listed(wide)}.")
        return found[name]

    def _frames(self, first: int, last: int) -> np.ndarray:
        return self._from_array(self._open(self.array), first, last)


class NpyRecording(DenseRecording):
    """A dense array in a ``.npy`` file, read through a memory map."""

    def __init__(self, path: str, **options: Any) -> None:
        self._opened(path)
        opened = self._open()
        size, end = Path(path).stat().st_size, opened.offset + opened.nbytes
        if size != end:
            raise RecordingError(
                f"{path}: it has {size} bytes, and {end} by its header (shape {opened.shape}, "
                f"{opened.dtype}); the header is damaged, or more than one array is in the file."
            )
        self.format = "dense npy"
        super().__init__(path, opened.shape, opened.dtype, **options)

    def _open(self) -> np.memmap:
        try:
            return np.load(self.path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # its header is parsed as Python, and may raise anything
            why = first_line(error)
            raise RecordingError(
                f"{self.path}: NumPy cannot open it ({why}); the file is cut short, damaged, or "
                "holds objects instead of numbers."
            ) from error

    def _frames(self, first: int, last: int) -> np.ndarray:
        return self._from_array(self._open(), first, last)


def _hdf5_array(path: str, file: h5py.File, array: str | None) -> str:
    """Name of the array to read: the one that is asked for, or the only one."""
    if array is None:
        return _only_array(path, _arrays_of_hdf5(file))
    found = file.get(array)
    if isinstance(found, h5py.Group) and isinstance(found.get("data"), h5py.Dataset):
        return f"{array.rstrip('/')}/data"  # EMD: the group is the array's name
    if not isinstance(found, h5py.Dataset):
        raise RecordingError(
            f"{path}: there is no array {array}; {_listed(_arrays_of_hdf5(file))}."
        )
    return array


def _readable_hdf5(path: str, name: str, data: h5py.Dataset) -> tuple[int, ...]:
    """Shape of an array whose data are there, in chunks that can be read."""
    shape = data.shape or ()
    stored = data.id.get_storage_size()
    linked = data.is_virtual or data.external
    if data.chunks and np.prod(data.chunks, dtype=float) * data.dtype.itemsize > MOST_CHUNK_BYTES:
        raise RecordingError(f"{path}: {name}: chunks of {times(data.chunks)} are too large.")
    need = np.prod(shape, dtype=float) * data.dtype.itemsize
    if not linked and ((need and not stored) or need > (stored + 1024) * LARGEST_RATIO):
        raise RecordingError(
            f"{path}: {name} says that it is {times(shape)}, but only {stored} bytes of it are in "
            "the file; writing it did not finish, or it is damaged."
        )
    if not linked and data.chunks is None and stored != need:
        raise RecordingError(
            f"{path}: {name} says that it is {times(shape)}, {need:.0f} bytes, but has {stored} "
            "bytes in the file; it is damaged."
        )
    return shape


def _dectris_parts(path: str, file: h5py.File) -> list[str]:
    """Stacks that a Dectris master file links together, in their order."""
    group = file.get(DECTRIS)
    if not isinstance(group, h5py.Group):
        return []
    names = sorted(name for name in group if re.fullmatch(r"data_\d+", name))
    for name in names:
        if group.get(name) is None:
            link = group.get(name, getlink=True)
            raise RecordingError(
                f"{path}: {DECTRIS}/{name} is in the file "
                f"{getattr(link, 'filename', '?')}, which is not there; copy it beside this one."
            )
    return [f"{DECTRIS}/{name}" for name in names]


def _arrays_of_hdf5(file: h5py.File) -> Arrays:
    found: Arrays = {}

    def look(name: str, thing: Any) -> None:
        many = isinstance(thing, h5py.Dataset) and len(thing.shape or ()) in (3, 4)
        if many and thing.dtype.kind in "buif":
            found["/" + name] = thing.shape

    file.visititems(look)
    return found


def _only_array(path: str, arrays: Arrays) -> str:
    four = [name for name, shape in arrays.items() if len(shape) == 4] or list(arrays)
    if len(four) == 1:
        return four[0]
    if four:
        raise RecordingError(
            f"{path}: it holds several arrays: {_listed(arrays)}; name one with 'array' in the job."
        )
    raise RecordingError(
        f"{path}: it holds no array of frames: neither electron events nor an array of 3 or 4 "
        "dimensions."
    )


def _listed(arrays: Arrays) -> str:
    known = ", ".join(f"{name} ({times(shape)})" for name, shape in list(arrays.items())[:20])
    return f"arrays of frames in it: {known or 'none'}"
