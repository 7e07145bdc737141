"""Dense frames, in whatever container, turned into events: a count of n is n events."""

from abc import abstractmethod
from typing import Any

import numpy as np

from gpu_kernels.frames import electrons_of_counts, events_of_counts
from tasks.formats.hdf5 import first_line
from tasks.formats.recording import (
    IMPOSSIBLE,
    MOST_EVENTS,
    EventBlock,
    Recording,
    RecordingError,
    check_frame_count,
    check_scan_shape,
    times,
)

BYTES_AT_ONCE = 32 << 20
"""Dense data held at a time while they become events."""
SAMPLE_PLACES, SAMPLE_FRAMES = 8, 8
"""Frames that are looked at, in so many places of the scan, to know their dose."""
MOST_PIXELS = 1 << 27
"""Of a frame: more than the largest camera has."""
LARGEST_COUNT = 2**31 - 1
"""Of one pixel; anything larger marks a dead pixel, or is damage."""


class DenseRecording(Recording):
    """Frames of counts: (scan_y, scan_x, rows, cols), or (frames, rows, cols) and a scan shape.

    Parameters
    ----------
    path : str
        The file.
    shape : tuple of int
        Of the array in it.
    dtype : numpy dtype
        Of the array.
    scan_shape, detector_shape : (rows, columns), optional
        The scan's for a stack of frames; else both must agree with the array.
    drop_flyback : bool
        Leave out the last column of the scan.
    threshold : float, optional
        Values from here on are one electron each; without it, they must be whole counts.
    """

    def __init__(
        self,
        path: str,
        shape: tuple[int, ...],
        dtype: Any,
        *,
        scan_shape: tuple[int, int] | None = None,
        detector_shape: tuple[int, int] | None = None,
        drop_flyback: bool = False,
        threshold: float | None = None,
    ) -> None:
        self.threshold, self._is_stack = threshold, len(shape) == 3
        self._check_type(np.dtype(dtype))
        self._stored_scan, self.detector_shape = self._shapes(shape, scan_shape)
        if detector_shape is not None and tuple(detector_shape) != self.detector_shape:
            raise RecordingError(
                f"{path}: frames of {times(self.detector_shape)} pixels; detector_shape says "
                f"{times(detector_shape)}."
            )
        rows, cols = self._stored_scan
        if drop_flyback and cols < 2:
            raise RecordingError(f"{path}: the scan is {cols} wide; no column can be dropped.")
        self.scan_shape = (rows, cols - 1 if drop_flyback else cols)
        self.frames_total = rows * cols
        self._bytes_per_frame = self.pixels * np.dtype(dtype).itemsize
        if drop_flyback:
            self.notes.append("the last column of the scan was dropped because the job says so")
        if threshold is not None:
            self.notes.append(f"values from {threshold:g} on were taken as one electron each")
        self._sample()

    @abstractmethod
    def _frames(self, first: int, last: int) -> np.ndarray:
        """Frames ``first`` to ``last - 1`` as they are stored, (frames, rows, cols)."""

    def _read(self, first: int, last: int) -> EventBlock:
        stored, cols = self._stored_scan[1], self.scan_shape[1]
        begin, end = first * stored, last * stored
        step = max(1, BYTES_AT_ONCE // self._bytes_per_frame)
        lengths, parts, total = [np.zeros(1, np.int64)], [np.zeros(0, np.uint32)], 0
        for at in range(begin, end, step):
            frames = np.arange(at, min(at + step, end))
            counts = self._counts(at, min(at + step, end))
            if cols < stored:
                kept = frames % stored < cols
                frames, counts = frames[kept], counts[kept]
            electrons = electrons_of_counts(counts)
            if not electrons.all():
                self._check_empty(frames[electrons == 0])
            total += int(electrons.sum())
            self._refuse_floods(total, first, last)
            parts.append(events_of_counts(counts, electrons)[1])
            lengths.append(electrons)
        each = np.concatenate(lengths)
        present = (each[1:] > 0) | (np.exp(-self._dose) >= IMPOSSIBLE)
        return EventBlock(np.cumsum(each), np.concatenate(parts), present.astype(np.uint16))

    def _check_empty(self, frames: np.ndarray) -> None:
        """Refuse frames that have no electron because their data were not found."""

    def _counts(self, first: int, last: int) -> np.ndarray:
        """Electrons of some frames, (frames, pixels), checked; of a type that kernels know."""
        try:
            frames = self._frames(first, last)
        except RecordingError:
            raise
        except Exception as error:  # each container's library has its own ways to say so
            raise RecordingError(
                f"{self.path}: frames {first} to {last - 1} cannot be read "
                f"({type(error).__name__}: {first_line(error)}); the file is cut short or damaged."
            ) from error
        if len(frames) != last - first:
            raise RecordingError(
                f"{self.path}: frames {first} to {last - 1} were asked for, {len(frames)} came; "
                "the file is cut short."
            )
        flat = np.ascontiguousarray(frames).reshape(len(frames), -1)
        flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
        if self.threshold is not None:
            return (flat >= self.threshold).astype(np.uint8)
        if flat.dtype.kind == "b":
            return flat.view(np.uint8)
        if flat.dtype.kind == "f":
            self._refuse(flat, flat != np.rint(flat), first, "is not a whole number of electrons")
        if flat.dtype.kind in "fi":
            self._refuse(flat, flat < 0, first, "is negative")
        if flat.dtype.itemsize >= 4:
            self._refuse(flat, flat > LARGEST_COUNT, first, "is no count of electrons")
        return flat.astype(np.int32) if flat.dtype.kind == "f" else flat

    def _refuse(self, flat: np.ndarray, bad: np.ndarray, first: int, why: str) -> None:
        if not bad.any():
            return
        frame, pixel = np.argwhere(bad)[0]
        row, col = divmod(int(pixel), self.detector_shape[1])
        y, x = divmod(first + int(frame), self._stored_scan[1])
        raise RecordingError(
            f"{self.path}: scan position ({y}, {x}), detector pixel ({row}, {col}): "
            f"{flat[frame, pixel]!s} {why}. Data that are not electron counts need 'threshold' in "
            "the job: values from there on count as one electron each."
        )

    def _refuse_floods(self, events: int, first: int, last: int) -> None:
        if events > MOST_EVENTS:
            raise RecordingError(
                f"{self.path}: scan rows {first} to {last - 1} hold {events} counts or more, above "
                f"the {MOST_EVENTS} events that are held at once. If these are not electron counts "
                "but camera values, give 'threshold' in the job."
            )

    def _check_type(self, dtype: np.dtype) -> None:
        if dtype.kind not in "buif" or dtype.itemsize > 8:
            raise RecordingError(
                f"{self.path}: the array holds {dtype}; counts of electrons are needed."
            )
        if self.threshold is not None and not 0 < self.threshold < np.inf:
            raise RecordingError(
                f"{self.path}: threshold is {self.threshold:g}; it must be above 0, or every empty "
                "pixel would be an electron."
            )

    def _shapes(
        self, shape: tuple[int, ...], scan_shape: tuple[int, int] | None
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        if len(shape) not in (3, 4) or 0 in shape:
            raise RecordingError(
                f"{self.path}: the array is {times(shape) or 'a single number'}; 4D data (scan_y, "
                "scan_x, rows, columns) or a stack of frames are needed."
            )
        if shape[-1] * shape[-2] > MOST_PIXELS:
            raise RecordingError(
                f"{self.path}: frames of {times(shape[-2:])} pixels are larger than any camera's; "
                "the file is damaged, or the array is not of frames."
            )
        detector = (int(shape[-2]), int(shape[-1]))
        if len(shape) == 3:
            return check_frame_count(self.path, shape[0], scan_shape), detector
        check_scan_shape(self.path, scan_shape, (shape[0], shape[1]))
        return (int(shape[0]), int(shape[1])), detector

    def _sample(self) -> None:
        """Estimate the dose from frames all over the scan."""
        size = min(SAMPLE_FRAMES, self.frames_total, max(1, BYTES_AT_ONCE // self._bytes_per_frame))
        places = np.unique(np.linspace(0, self.frames_total - size, SAMPLE_PLACES).astype(int))
        electrons = [electrons_of_counts(self._counts(at, at + size)) for at in places.tolist()]
        self.events_per_position_estimate = float(np.mean(electrons))
        # The dimmest place decides whether an empty frame can be one that no electron hit.
        doses = [one[one > 0].mean() for one in electrons if one.any()]
        self._dose = float(min(doses, default=0.0))
        if np.exp(-self._dose) < IMPOSSIBLE:
            self.notes.append(
                f"a frame without any electron is taken as missing: even dim frames have about "
                f"{self._dose:.3g}"
            )

    def _from_array(self, array: Any, first: int, last: int) -> np.ndarray:
        """Frames of anything that slices like an array, in the order of the scan."""
        if self._is_stack:
            return self._fetch(array[first:last])
        cols = self._stored_scan[1]
        top, bottom = first // cols, -(-last // cols)
        if bottom - top == 1:  # part of one row: read no more of it than is wanted
            return self._fetch(array[top, first - top * cols : last - top * cols])
        rows = self._fetch(array[top:bottom]).reshape(-1, *self.detector_shape)
        return rows[first - top * cols : last - top * cols]

    def _fetch(self, part: Any) -> np.ndarray:
        return np.asarray(part)
