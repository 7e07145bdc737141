"""Raw frames of the 4D Camera as a recording: its electrons are counted while it is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gpu_kernels.count_frames import SHOULDER, Levels, count_frames, levels_of
from gpu_kernels.frames import merge_frames, regular_events
from tasks.array_files import ArrayFile, ArrayFileError, read_reference
from tasks.formats.noise import NoiseError, Thresholds, thresholds_of
from tasks.formats.recording import EventBlock, Recording, RecordingError, check_scan_shape, times
from tasks.formats.sector_files import (
    SECTORS,
    SIDE,
    ScanMap,
    frame_reader,
    read_map,
    scan_files,
    state_of_scan,
)

FRAMES_AT_ONCE = 16
"""Raw frames held at a time: 10 MB."""
SHAPE = (SIDE, SIDE)


@dataclass(frozen=True)
class Counting:
    """How electrons are counted in raw frames."""

    layout: int = 5
    """5: sectors are rows of the detector; 4: columns. The files do not say which."""
    dark: ArrayFile | None = None
    """Raw values without electrons."""
    gain: ArrayFile | None = None
    """Response of each pixel, which makes neighbours comparable."""
    background_sigmas: float = 5.0
    xray_sigmas: float = 175.0
    shoulders: bool = True
    """Also take a second electron that has no gap between itself and a first."""
    background_threshold: float | None = None
    """Known threshold, in place of the fitted one."""
    xray_threshold: float | None = None
    samples: int = 64
    """Frames that the thresholds are taken from."""
    seed: int = 0
    """Which frames these are."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the events, wherever the references lie."""
        files = {"dark": self.dark, "gain": self.gain}
        return vars(self) | {name: one and one.parameters for name, one in files.items()}


class RawRecording(Recording):
    """A scan in raw sector files.

    Parameters
    ----------
    path : str
        A folder with the files of one scan, or any one of its files.
    counting : Counting
        How electrons are counted.
    scan_shape : (rows, columns), optional
        Must agree with the files.
    detector_shape : (rows, columns), optional
        Must be the camera's.
    drop_flyback : bool
        Leave out the last column of the scan.
    """

    def __init__(
        self,
        path: str,
        counting: Counting,
        *,
        scan_shape: tuple[int, int] | None = None,
        detector_shape: tuple[int, int] | None = None,
        drop_flyback: bool = False,
    ) -> None:
        self._opened(path)
        self._files = state_of_scan(scan_files(path))
        self.counting, self.detector_shape = counting, SHAPE
        self.format = f"raw sectors of layout {counting.layout}"
        scan = self._map
        check_scan_shape(path, scan_shape, scan.scan_shape)
        if detector_shape is not None and tuple(detector_shape) != SHAPE:
            raise RecordingError(
                f"{path}: detector_shape says {times(detector_shape)}; this camera's frames are "
                f"{times(SHAPE)}."
            )
        rows, cols = scan.scan_shape
        if drop_flyback and cols < 2:
            raise RecordingError(f"{path}: the scan is {cols} wide; no column can be dropped.")
        self.scan_shape = (rows, cols - 1 if drop_flyback else cols)
        if drop_flyback:
            self.notes.append("the last column of the scan was dropped because the job says so")
        self.frames_total = len(scan.file)
        self._find_thresholds()
        self._note_losses(scan)

    @property
    def _map(self) -> ScanMap:
        return read_map(self.path, self._files)

    @property
    def _levels(self) -> Levels:
        found = self._thresholds
        thresholds = found.background, found.xray, found.block, found.pedestal
        return _levels(self.path, self.counting, *thresholds)

    def _read(self, first: int, last: int) -> EventBlock:
        if state_of_scan(scan_files(self.path)) != self._files:
            raise RecordingError(f"{self.path}: raw files have changed since they were opened.")
        scan, levels = self._map, self._levels
        at = (np.arange(first, last)[:, None] * scan.scan_shape[1]
              + np.arange(self.scan_shape[1])).ravel()  # fmt: skip
        counts = scan.starts[at + 1] - scan.starts[at]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1] if ends.size else 0) - np.repeat(ends - counts, counts)
        frames = np.repeat(scan.starts[at], counts) + within
        lengths, events = [np.zeros(1, np.int64)], [np.zeros(0, np.uint32)]
        for raw in self._raw(frames):
            indptr, indices = count_frames(raw, levels)
            lengths.append(np.diff(indptr))
            events.append(indices)
        offsets = merge_frames(np.cumsum(np.concatenate(lengths)), counts)
        lost = np.zeros(at.size, np.uint8)
        np.bitwise_or.at(lost, np.repeat(np.arange(at.size), counts), scan.lost[frames])
        present = np.minimum(counts, 65_535).astype(np.uint16)
        return EventBlock(offsets, regular_events(offsets, np.concatenate(events)), present, lost)

    def _raw(self, frames: np.ndarray) -> Iterator[np.ndarray]:
        """Raw frames, some at a time; one array is used for all."""
        room = np.empty((min(FRAMES_AT_ONCE, frames.size), *SHAPE), np.uint16)
        with frame_reader(self._map, self.counting.layout) as read:
            for begin in range(0, frames.size, FRAMES_AT_ONCE):
                some = frames[begin : begin + FRAMES_AT_ONCE]
                read(some, room[: some.size])
                yield room[: some.size]

    def _find_thresholds(self) -> None:
        """Take the thresholds, and the dose, from frames drawn all over the scan."""
        told, scan = self.counting, self._map
        whole = np.flatnonzero(scan.lost == 0)
        size = min(max(1, told.samples), whole.size)
        if not size:
            raise RecordingError(f"{self.path}: every frame has lost a sector.")
        drawn = np.sort(np.random.default_rng(told.seed).choice(whole, size, replace=False))
        dark = _levels(self.path, told, -np.inf, np.inf, np.inf, 0.0).dark
        values = (raw - dark for some in self._raw(drawn) for raw in some.astype(np.float32))
        try:
            self._thresholds: Thresholds = thresholds_of(
                values, told.background_sigmas, told.xray_sigmas,
                told.background_threshold, told.xray_threshold,
            )  # fmt: skip
        except NoiseError as error:
            raise RecordingError(
                f"{self.path}: {error}. Check the dark and gain references, or give "
                "background_threshold and xray_threshold."
            ) from error
        found = self._thresholds
        some = drawn[:: -(-size // FRAMES_AT_ONCE)]
        electrons = sum(count_frames(raw, self._levels)[1].size for raw in self._raw(some))
        per_position = self.frames_total / (scan.scan_shape[0] * scan.scan_shape[1])
        self.events_per_position_estimate = electrons / some.size * per_position
        self.metadata = {f"electron_counting/{k}": v for k, v in self._described(size).items()}
        self.metadata["scan_number"] = scan.scan_number
        four = f" (or {found.block:.4g} as the sum of a square of four)"
        self.notes.append(
            f"electrons were counted: raw values, less dark where it was given, above "
            f"{found.background:.4g}{four if told.background_threshold is None else ''}, below "
            f"{found.xray:.4g} and above their neighbours; thresholds from {size} frames, noise "
            f"{found.noise_mean:.4g} ± {found.noise_std:.3g}"
        )

    def _described(self, size: int) -> dict[str, Any]:
        """The thresholds by the names that stempy's files have for them."""
        found, told = self._thresholds, self.counting
        fitted = told.background_threshold is None
        blocks = {"block_threshold": found.block, "block_optimized_std_dev": found.block_std}
        return (blocks if fitted else {}) | {
            "threshold_calculated": fitted,
            "background_threshold": found.background,
            "x_ray_threshold": found.xray,
            "number_of_samples": size,
            "mean": found.mean,
            "variance": found.std**2,
            "std_dev": found.std,
            "x_ray_threshold_n_sigma": told.xray_sigmas,
            "background_threshold_n_sigma": told.background_sigmas,
            "optimized_mean": found.noise_mean,
            "optimized_std_dev": found.noise_std,
            "seed": told.seed,
            "shoulders": told.shoulders,
        }

    def _note_losses(self, scan: ScanMap) -> None:
        each = np.diff(scan.starts)
        if each.max() > 1:
            self.notes.append(f"up to {each.max()} frames at a position")
        if (each == 0).any():
            self.notes.append(f"{int((each == 0).sum())} scan positions have no frame in the files")
        broken = (scan.file < 0).sum(axis=0)
        if broken.any():
            shown = ", ".join(f"sector {n}: {broken[n]}" for n in range(SECTORS) if broken[n])
            self.notes.append(f"frames whose sectors are in no file: {shown}")


@lru_cache(maxsize=4)
def _levels(
    path: str, counting: Counting, background: float, xray: float, block: float, pedestal: float
) -> Levels:
    """Levels of each pixel; a worker finds them once for all its reads."""
    try:
        dark, gain = (
            np.full(SHAPE, default, np.float32) if file is None else file.read(read_reference)
            for file, default in ((counting.dark, 0.0), (counting.gain, 1.0))
        )
        shoulder = SHOULDER if counting.shoulders else np.inf
        return levels_of(dark, gain, background, xray, block, pedestal, shoulder)
    except ArrayFileError as error:
        raise RecordingError(str(error)) from error
    except ValueError as error:
        raise RecordingError(f"{path}: {error}; frames are {times(SHAPE)}.") from error
