"""Dense 4D data, in whatever container, turned into events: a count of n is n events."""

from abc import abstractmethod
from typing import Any

import h5py
import numpy as np

from gpu_kernels.frames import events_of_counts
from tasks.formats.hdf5 import open_hdf5
from tasks.formats.recording import EventBlock, Recording, RecordingError

BYTES_AT_ONCE = 64 << 20
"""Dense data held at a time while they become events."""
SAMPLE_FRAMES = 64


class DenseRecording(Recording):
    """Frames of counts: (scan_y, scan_x, rows, cols), or (frames, rows, cols) and a scan shape."""

    def __init__(
        self,
        path: str,
        shape: tuple[int, ...],
        dtype: Any,
        *,
        scan_shape: tuple[int, int] | None,
        threshold: float | None,
    ) -> None:
        self.path, self.threshold = path, threshold
        self.scan_shape, self.detector_shape = self._shapes(shape, scan_shape)
        self._frames_3d = len(shape) == 3
        self._refuse_fractions(np.dtype(dtype))
        self.frames_total = self.scan_shape[0] * self.scan_shape[1]
        self.metadata, self.notes = {}, []
        if threshold is not None:
            self.notes.append(f"counts from {threshold:g} on were taken as one electron each")
        self.events_per_position_estimate = self._estimate()

    @abstractmethod
    def _frames(self, first: int, last: int) -> np.ndarray:
        """Frames ``first`` to ``last - 1`` of the scan in row order, (frames, rows, cols)."""

    def read_rows(self, first: int, last: int) -> EventBlock:
        """Read scan rows, a bounded number of dense frames at a time."""
        begin, end = first * self.scan_shape[1], last * self.scan_shape[1]
        step = max(1, BYTES_AT_ONCE // (8 * self.pixels))
        starts, parts, offset = [np.zeros(1, np.int64)], [], 0
        for at in range(begin, end, step):
            upto = min(at + step, end)
            indptr, indices = events_of_counts(self._counts(at, upto))
            starts.append(indptr[1:] + offset)
            parts.append(indices)
            offset += int(indptr[-1])
        indices = np.concatenate(parts) if parts else np.zeros(0, np.uint32)
        return EventBlock(np.concatenate(starts), indices, np.ones(end - begin, np.uint16))

    def _counts(self, first: int, last: int) -> np.ndarray:
        try:
            frames = self._frames(first, last)
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            if isinstance(error, RecordingError):
                raise
            raise RecordingError(
                f"{self.path}: frames {first} to {last - 1} cannot be read ({error}); the file is "
                "cut short or damaged."
            ) from error
        flat = np.ascontiguousarray(frames).reshape(len(frames), -1)
        if self.threshold is not None:
            return (flat >= self.threshold).astype(np.uint8)
        if flat.dtype.kind == "f":
            self._refuse(flat, flat != np.rint(flat), first, "is not a whole number of electrons")
            self._refuse(flat, flat > 1e9, first, "is no count of electrons")
        if flat.dtype.kind in "fi":
            self._refuse(flat, ~(flat >= 0), first, "is negative")
        return flat.astype(np.int64) if flat.dtype.kind == "f" else flat

    def _refuse(self, flat: np.ndarray, bad: np.ndarray, first: int, why: str) -> None:
        if bad.any():
            frame, pixel = np.argwhere(bad)[0]
            row, col = divmod(int(pixel), self.detector_shape[1])
            y, x = divmod(first + int(frame), self.scan_shape[1])
            raise RecordingError(
                f"{self.path}: scan position ({y}, {x}), detector pixel ({row}, {col}): "
                f"{flat[frame, pixel]!s} {why}. Data that are not electron counts need 'threshold' "
                "in the job: from there on a pixel counts as one electron."
            )

    def _shapes(
        self, shape: tuple[int, ...], scan_shape: tuple[int, int] | None
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        if 0 in shape:
            raise RecordingError(f"{self.path}: the array is {_times(shape)}: it holds nothing.")
        if len(shape) == 4:
            if scan_shape is not None and tuple(scan_shape) != shape[:2]:
                raise RecordingError(
                    f"{self.path}: the array has a scan of {_times(shape[:2])}, the job says "
                    f"{_times(scan_shape)}."
                )
            return (shape[0], shape[1]), (shape[2], shape[3])
        if len(shape) == 3:
            if scan_shape is None:
                raise RecordingError(
                    f"{self.path}: {shape[0]} frames without a scan shape; give scan_shape: "
                    "[rows, columns] in the job."
                )
            if scan_shape[0] * scan_shape[1] != shape[0]:
                raise RecordingError(
                    f"{self.path}: {shape[0]} frames do not make a scan of {_times(scan_shape)} = "
                    f"{scan_shape[0] * scan_shape[1]} positions."
                )
            return (scan_shape[0], scan_shape[1]), (shape[1], shape[2])
        raise RecordingError(
            f"{self.path}: the array is {_times(shape)}; 4D data (scan_y, scan_x, rows, columns) "
            "or a stack of frames are needed."
        )

    def _refuse_fractions(self, dtype: np.dtype) -> None:
        if dtype.kind not in "uif":
            raise RecordingError(
                f"{self.path}: the array holds {dtype}, counts of electrons are needed."
            )

    def _estimate(self) -> float:
        count = min(SAMPLE_FRAMES, self.frames_total, max(1, BYTES_AT_ONCE // (8 * self.pixels)))
        middle = (self.frames_total - count) // 2
        return float(self._counts(middle, middle + count).sum(dtype=np.float64) / count)

    def _from_array(self, array: Any, first: int, last: int) -> np.ndarray:
        """Frames of anything that slices like an array, in scan order."""
        if self._frames_3d:
            return np.asarray(array[first:last])
        cols = self.scan_shape[1]
        top, bottom = first // cols, -(-last // cols)
        if bottom - top == 1:  # part of one row: read no more of it than is wanted
            return np.asarray(array[top, first - top * cols : last - top * cols])
        rows = np.asarray(array[top:bottom]).reshape(-1, *self.detector_shape)
        return rows[first - top * cols : last - top * cols]


class Hdf5Recording(DenseRecording):
    """A dense array in an HDF5 file: plain, EMD, py4DSTEM, ARINA and the like."""

    def __init__(self, path: str, *, array: str | None, **options: Any) -> None:
        with open_hdf5(path) as file:
            self.array = array or _only_array(path, _arrays_of_hdf5(file))
            data = file.get(self.array)
            if not isinstance(data, h5py.Dataset):
                raise RecordingError(
                    f"{path}: there is no array {self.array}; there are "
                    f"{_listed(_arrays_of_hdf5(file))}."
                )
            shape, dtype = data.shape, data.dtype
        self.format = f"dense HDF5, {self.array}"
        super().__init__(path, shape, dtype, **options)

    def _frames(self, first: int, last: int) -> np.ndarray:
        with open_hdf5(self.path) as file:
            return self._from_array(file[self.array], first, last)


class ZarrRecording(DenseRecording):
    """A dense array in a Zarr group or array."""

    def __init__(self, path: str, *, array: str | None, **options: Any) -> None:
        opened = self._open(path, array)
        self.array = opened.path
        self.format = f"dense Zarr, {self.array or 'the root'}"
        super().__init__(path, opened.shape, opened.dtype, **options)

    @staticmethod
    def _open(path: str, array: str | None) -> Any:
        import zarr

        try:
            root = zarr.open(path, mode="r")
            if isinstance(root, zarr.Array):
                return root
            found = {n: a for n, a in root.members(max_depth=None) if isinstance(a, zarr.Array)}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordingError(f"{path}: Zarr cannot open it ({error}).") from error
        wide = {n: a.shape for n, a in found.items() if a.ndim in (3, 4)}
        name = (array or "").strip("/") or _only_array(path, wide)
        if name not in found:
            raise RecordingError(f"{path}: there is no array {name}; there are {_listed(wide)}.")
        return found[name]

    def _frames(self, first: int, last: int) -> np.ndarray:
        return self._from_array(self._open(self.path, self.array), first, last)


class NpyRecording(DenseRecording):
    """A dense array in a ``.npy`` file, read through a memory map."""

    def __init__(self, path: str, **options: Any) -> None:
        opened = self._open(path)
        self.format = "dense npy"
        super().__init__(path, opened.shape, opened.dtype, **options)

    @staticmethod
    def _open(path: str) -> np.ndarray:
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise RecordingError(
                f"{path}: NumPy cannot open it ({error}); the file is cut short or damaged."
            ) from error

    def _frames(self, first: int, last: int) -> np.ndarray:
        return self._from_array(self._open(self.path), first, last)


class RosettaRecording(DenseRecording):
    """Whatever rosettasciio reads: MIB, DM4, EMPAD, BLO, and more."""

    def __init__(self, path: str, plugin: str, **options: Any) -> None:
        self.plugin = plugin
        data = self._open()
        self.format = f"{plugin} (rosettasciio)"
        super().__init__(path, data.shape, data.dtype, **options)

    def _open(self) -> Any:
        from importlib import import_module

        reader = import_module(f"rsciio.{self.plugin}").file_reader
        try:
            signals = reader(self.path, lazy=True)
        except Exception as error:  # its readers raise whatever their formats bring
            raise RecordingError(
                f"{self.path}: rosettasciio's reader {self.plugin} cannot open it "
                f"({type(error).__name__}: {error})."
            ) from error
        wide = [s["data"] for s in signals if s["data"].ndim in (3, 4)]
        if not wide:
            raise RecordingError(f"{self.path}: it holds no stack of frames.")
        return max(wide, key=lambda data: data.size)

    def _frames(self, first: int, last: int) -> np.ndarray:
        return self._from_array(self._open(), first, last)


def _arrays_of_hdf5(file: h5py.File) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}

    def look(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset) and thing.ndim in (3, 4) and thing.dtype.kind in "uif":
            found["/" + name] = thing.shape

    file.visititems(look)
    return found


def _only_array(path: str, arrays: dict[str, tuple[int, ...]]) -> str:
    four = [name for name, shape in arrays.items() if len(shape) == 4] or list(arrays)
    if len(four) == 1:
        return four[0]
    raise RecordingError(
        f"{path}: it holds {'several arrays' if four else 'no 4D array'}: {_listed(arrays)}; give "
        "'array' in the job."
        if four
        else f"{path}: it holds no array of frames."
    )


def _listed(arrays: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} ({_times(shape)})" for name, shape in arrays.items()) or "none"


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
