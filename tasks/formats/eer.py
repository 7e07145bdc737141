"""Thermo Fisher's electron-event representation (.eer): a BigTIFF with one page a frame.

Each page holds its electrons as run lengths (compression 65000: 8 bits, 65001: 7 bits, 65002: as
its tags say), which go straight to linear indices: no dense frame is made. A first page that is not
run-length coded is the sum of all frames and is left out. The file does not say how its frames lie
on a scan.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import tifffile

from gpu_kernels.codecs import CodecError, RunLength, decode_run_length, finer_indices
from gpu_kernels.frames import regular_events
from tasks.formats.hdf5 import first_line, json_value
from tasks.formats.recording import (
    IMPOSSIBLE,
    MOST_EVENTS,
    EventBlock,
    Recording,
    RecordingError,
    check_frame_count,
    times,
)

COMPRESSIONS = {65000: RunLength(8, 2, 2), 65001: RunLength(7, 2, 2), 65002: RunLength(7, 2, 2)}
SKIP_BITS, COL_BITS, ROW_BITS = 65007, 65008, 65009
"""Tags with the bits of compression 65002."""
FOOTER, FOOTER_OK = b"ThermoFisherECComprERR", b"ThermoFisherECCompr"
"""A camera that could not write a frame says so at its end."""
SAMPLE_FRAMES = 32
MOST_PIXELS = 1 << 27


class Pages(NamedTuple):
    """Where the frames of a file are."""

    offsets: np.ndarray
    """(frames,) int64: first byte."""
    sizes: np.ndarray
    """(frames,) int64: bytes."""
    shape: tuple[int, int]
    """(rows, columns) of the detector."""
    code: RunLength
    metadata: dict[str, Any]
    notes: tuple[str, ...]


class EerRecording(Recording):
    """A scan of ``.eer`` frames.

    Parameters
    ----------
    path : str
        The file.
    scan_shape : (rows, columns)
        The file does not hold it.
    detector_shape : (rows, columns), optional
        Must agree with the file.
    drop_flyback : bool
        Leave out the last column of the scan.
    upsampling : int
        Finer pixels along each pixel (1, 2 or 4), from where in it the electron hit.
    """

    def __init__(
        self,
        path: str,
        *,
        scan_shape: tuple[int, int] | None = None,
        detector_shape: tuple[int, int] | None = None,
        drop_flyback: bool = False,
        upsampling: int = 1,
    ) -> None:
        self._opened(path)
        pages = self._pages
        if detector_shape is not None and tuple(detector_shape) != pages.shape:
            raise RecordingError(
                f"{path}: frames of {times(pages.shape)} pixels; detector_shape says "
                f"{times(detector_shape)}."
            )
        finest = 1 << min(pages.code.row_bits, pages.code.col_bits)
        if upsampling not in (1, 2, 4, 8, 16) or upsampling > finest:
            raise RecordingError(
                f"{path}: upsampling is {upsampling}; its places within a pixel allow 1 to {finest}"
                " in powers of two."
            )
        self.upsampling = upsampling
        self.detector_shape = (pages.shape[0] * upsampling, pages.shape[1] * upsampling)
        self.frames_total = len(pages.offsets)
        rows, self._stored_cols = check_frame_count(path, self.frames_total, scan_shape)
        if drop_flyback and self._stored_cols < 2:
            raise RecordingError(f"{path}: the scan has one column; it cannot be dropped.")
        self.scan_shape = (rows, self._stored_cols - 1 if drop_flyback else self._stored_cols)
        code = pages.code
        self.format = f"EER, {code.skip_bits} + {code.col_bits} + {code.row_bits} bits"
        self.metadata, self.notes = dict(pages.metadata), list(pages.notes)
        if drop_flyback:
            self.notes.append("the last column of the scan was dropped because the job says so")
        self._sample()

    @property
    def _pages(self) -> Pages:
        return _read_pages(self.path, self._state)

    def _read(self, first: int, last: int) -> EventBlock:
        at = np.arange(first, last)[:, None] * self._stored_cols + np.arange(self.scan_shape[1])
        indptr, indices = self._events(at.ravel())
        lengths = np.diff(indptr)
        present = (lengths > 0) | (np.exp(-self._dose) >= IMPOSSIBLE)
        return EventBlock(indptr, indices, present.astype(np.uint16))

    def _events(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pages = self._pages
        shortest = pages.code.skip_bits + pages.code.col_bits + pages.code.row_bits
        if int(pages.sizes[frames].sum()) * 8 // shortest > 16 * MOST_EVENTS:
            raise RecordingError(f"{self.path}: {frames.size} frames are too large to hold at once")
        stream, offsets = self._stream(pages, frames)
        pixels = pages.shape[0] * pages.shape[1]
        try:
            indptr, indices, places = decode_run_length(offsets, stream, pixels, pages.code)
        except CodecError as error:
            raise RecordingError(
                f"{self.path}: frame {int(frames[error.frame])} cannot be decoded: {error.why}. "
                "The file is damaged, or its tags name another compression."
            ) from error
        if self.upsampling > 1:
            cols = pages.shape[1]
            indices = finer_indices(indices, places, cols, pages.code, self.upsampling)
            regular_events(indptr, indices)
        return indptr, indices

    def _stream(self, pages: Pages, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The coded bytes of some frames, and where each begins."""
        sizes = pages.sizes[frames]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        stream = np.empty(int(offsets[-1]), np.uint8)
        with open(self.path, "rb") as file:
            for n, frame in enumerate(frames.tolist()):
                file.seek(int(pages.offsets[frame]))
                part = stream[offsets[n] : offsets[n + 1]]
                if file.readinto(part) != part.size:  # type: ignore[arg-type]
                    raise RecordingError(f"{self.path}: the file ends within frame {frame}.")
                if part[-24:].tobytes().startswith(FOOTER):
                    raise RecordingError(
                        f"{self.path}: frame {frame} ends with the mark of a compression error "
                        f"({FOOTER.decode()}): the camera could not write it whole."
                    )
        return stream, offsets

    def _sample(self) -> None:
        count = min(SAMPLE_FRAMES, self.frames_total)
        frames = np.unique(np.linspace(0, self.frames_total - 1, count).astype(np.int64))
        electrons = np.diff(self._events(frames)[0])
        self.events_per_position_estimate = float(electrons.mean())
        filled = electrons[electrons > 0]
        self._dose = float(np.median(filled)) if filled.size else 0.0


@lru_cache(maxsize=4)
def _read_pages(path: str, state: tuple[int, int]) -> Pages:
    """Find the frames of a file.

    Raises
    ------
    RecordingError
        If it is no whole EER file.
    """
    with open(path, "rb") as file:
        file.seek(max(0, state[0] - 24))
        if file.read().startswith(FOOTER):
            raise RecordingError(
                f"{path}: it ends with {FOOTER.decode()}: the camera could not write it whole."
            )
    try:
        with open(path, "rb") as file, tifffile.TiffFile(file) as tiff:
            return _pages(path, tiff, state[0])
    except RecordingError:
        raise
    except Exception as error:  # whatever damage does to the parsing of a TIFF
        raise RecordingError(
            f"{path}: its pages cannot be read ({type(error).__name__}: {first_line(error)}); the "
            "file is cut short or damaged."
        ) from error


def _pages(path: str, tiff: tifffile.TiffFile, size: int) -> Pages:
    offsets, sizes, notes = [], [], []
    first: Any = None
    for number, page in enumerate(tiff.pages):
        assert isinstance(page, tifffile.TiffPage)  # lists of pages, unless told otherwise
        if int(page.compression) not in COMPRESSIONS:
            if number:
                raise RecordingError(
                    f"{path}: page {number} has compression {int(page.compression)}, the pages "
                    f"before it hold electrons (one of {', '.join(map(str, COMPRESSIONS))})."
                )
            notes.append("the first page is the sum of all frames, and is left out")
            continue
        first = first or page
        _refuse_other(path, number, page, first)
        begin, length = _bytes_of(path, number, page, size)
        offsets.append(begin)
        sizes.append(length)
    if first is None:
        raise RecordingError(f"{path}: no page of it holds electrons in EER's compressions.")
    shape = (int(first.imagelength), int(first.imagewidth))
    if not 0 < shape[0] * shape[1] <= MOST_PIXELS:
        raise RecordingError(f"{path}: frames of {times(shape)} pixels are no camera's.")
    tags = getattr(tiff.pages.first, "eer_tags", None) or first.eer_tags or {}
    metadata = {str(key): json_value(value) for key, value in tags.items()}
    at, long = np.array(offsets, np.int64), np.array(sizes, np.int64)
    return Pages(at, long, shape, _code(path, first), metadata, tuple(notes))


def _code(path: str, page: tifffile.TiffPage) -> RunLength:
    code = COMPRESSIONS[int(page.compression)]
    if int(page.compression) == 65002:
        bits = [page.tags.valueof(tag, default) for tag, default in
                zip((SKIP_BITS, COL_BITS, ROW_BITS), code, strict=True)]  # fmt: skip
        code = RunLength(*(int(b) for b in bits))
    if not (1 <= code.skip_bits <= 16 and 0 <= code.col_bits <= 4 and 0 <= code.row_bits <= 4):
        raise RecordingError(
            f"{path}: its tags say {code.skip_bits} bits for skips and {code.col_bits}, "
            f"{code.row_bits} for places; 1 to 16 and 0 to 4 are known."
        )
    return code


def _refuse_other(path: str, number: int, page: tifffile.TiffPage, first: Any) -> None:
    ours = (int(page.compression), page.imagelength, page.imagewidth)
    others = (int(first.compression), first.imagelength, first.imagewidth)
    if ours != others:
        raise RecordingError(
            f"{path}: page {number} has (compression, rows, columns) = {ours}, the others "
            f"{others}; frames of one recording are alike."
        )


def _bytes_of(path: str, number: int, page: tifffile.TiffPage, size: int) -> tuple[int, int]:
    """First byte and number of bytes of a page's strips, which follow one another."""
    begins, counts = page.dataoffsets, page.databytecounts
    follow = all(b + c == n for b, c, n in zip(begins, counts, begins[1:], strict=False))
    if not begins or len(begins) != len(counts) or not follow:
        raise RecordingError(f"{path}: page {number}: its strips do not follow one another.")
    begin, length = int(begins[0]), int(sum(counts))
    if begin < 0 or length < 1 or begin + length > size:
        raise RecordingError(
            f"{path}: page {number} lies at bytes {begin} to {begin + length}, the file ends at "
            f"{size}; its copy or writing did not finish."
        )
    return begin, length
