"""The encodings of electron events: linear index, run length, and binary bitmap.

*Linear index*: each electron is ``row · width + col``, 4 bytes (2 where the frame is small).
*Run length*: the pixels that are skipped until the next electron, in 7, 8 or another number of
bits, then where in its pixel the electron hit; Thermo Fisher's EER. *Bitmap*: one bit a pixel.
Guo et al., "Electron-event representation data enable efficient cryoEM file storage with full
preservation of spatial and temporal resolution", IUCrJ 7 (2020), doi:10.1107/S205225252000929X.

Run length and bitmap know an electron or none, so they refuse frames that are not sorted or that
have two electrons in one pixel. Encoding runs on the host; decoding where the data live.
"""

from typing import NamedTuple

import numpy as np

from gpu_kernels import codec_bits, codec_run_length
from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host

FAULTS = {
    -1: "its data end before its last pixel",
    -2: "its electrons reach beyond its last pixel",
}


class CodecError(ValueError):
    """Events that cannot be encoded, or data that cannot be decoded; ``frame`` is the first."""

    def __init__(self, frame: int, why: str) -> None:
        self.frame, self.why = frame, why
        super().__init__(f"frame {frame}: {why}")


class RunLength(NamedTuple):
    """Bits of a run-length code."""

    skip_bits: int = 7
    """Of the pixels skipped; all ones means: so many, and go on."""
    col_bits: int = 2
    """Of the place within the pixel, along the row."""
    row_bits: int = 2
    """Of the place within the pixel, along the column."""


EER_8_BIT, EER_7_BIT = RunLength(8, 2, 2), RunLength(7, 2, 2)
"""Compressions 65000 and 65001 of Thermo Fisher's files."""


def encode_linear(indptr: np.ndarray, indices: np.ndarray, pixels: int) -> np.ndarray:
    """Write events as linear indices, little-endian.

    Parameters
    ----------
    indptr : (frames + 1,) int64
        Where each frame's events begin.
    indices : (events,) integer
        Detector pixels.
    pixels : int
        Pixels of the detector; up to 65,536 of them need 2 bytes an event, else 4.

    Returns
    -------
    (bytes,) uint8

    Raises
    ------
    CodecError
        If an event is not on the detector.
    """
    _refuse_outside(indptr, indices, pixels)
    return indices.astype("<u2" if pixels <= 1 << 16 else "<u4").view(np.uint8)


def decode_linear(indptr: Array, stream: Array, pixels: int) -> Array:
    """Read linear indices.

    Parameters
    ----------
    indptr : (frames + 1,) int64
        Where each frame's events begin; the encoding does not hold it.
    stream : (bytes,) uint8
        From ``encode_linear``.
    pixels : int
        Pixels of the detector.

    Returns
    -------
    (events,) uint32
        Detector pixels. They live where ``stream`` lives.

    Raises
    ------
    CodecError
        If there are not as many as ``indptr`` says, or one is not on the detector.
    """
    width = 2 if pixels <= 1 << 16 else 4
    offsets = to_host(indptr)
    events = int(offsets[-1])
    if stream.size != events * width:
        raise CodecError(
            len(offsets) - 2, f"{stream.size} bytes are not {events} events of {width} bytes each"
        )
    if on_gpu(stream):
        indices, first = codec_bits.linear_on_gpu(stream, width, events, pixels)
    else:
        indices = stream.view(f"<u{width}").astype(np.uint32)
        first = int(np.argmax(indices >= pixels)) if (indices >= pixels).any() else -1
    if first >= 0:
        frame = int(np.searchsorted(offsets, first, side="right")) - 1
        raise CodecError(frame, f"event {first} is outside the {pixels} pixels of the detector")
    return indices


def encode_run_length(
    indptr: np.ndarray,
    indices: np.ndarray,
    pixels: int,
    code: RunLength = EER_7_BIT,
    places: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Write events as run lengths, bits in order of significance (LSB first).

    Parameters
    ----------
    indptr : (frames + 1,) int64
        Where each frame's events begin.
    indices : (events,) integer
        Detector pixels, ascending within a frame, each at most once.
    pixels : int
        Pixels of the detector.
    code : RunLength
        How many bits for what.
    places : (events, 2) uint8, optional
        (row, col) of each electron within its pixel, in steps of 2^-row_bits and 2^-col_bits from
        its upper left corner; without it, the pixel's middle.

    Returns
    -------
    offsets : (frames + 1,) int64
        Bytes before each frame; each has an even number of them.
    stream : (bytes,) uint8

    Raises
    ------
    CodecError
        If a frame has events that are not on the detector, not sorted, or twice in a pixel.
    ValueError
        If the code is none that is known, or has no bits for the places.
    """
    _check_code(code)
    _refuse_repeats(indptr, indices, pixels)
    if places is None:
        middle = [(1 << bits) >> 1 for bits in (code.row_bits, code.col_bits)]
        places = np.broadcast_to(np.array(middle, np.uint8), (indices.size, 2))
    elif (places >= [1 << code.row_bits, 1 << code.col_bits]).any():
        raise ValueError(f"places reach {places.max(axis=0)}; {code} has no bits for that")
    return codec_run_length.encode(indptr, indices, pixels, code, places)


def decode_run_length(
    offsets: Array, stream: Array, pixels: int, code: RunLength = EER_7_BIT
) -> tuple[Array, Array, Array]:
    """Read run lengths straight to linear indices, without a dense frame.

    Parameters
    ----------
    offsets : (frames + 1,) int64
        Bytes before each frame.
    stream : (bytes,) uint8
        All frames.
    pixels : int
        Pixels of the detector.
    code : RunLength
        How many bits for what.

    Returns
    -------
    indptr : (frames + 1,) int64
    indices : (events,) uint32
        Ascending within a frame.
    places : (events, 2) uint8
        (row, col) within the pixel, as ``encode_run_length`` has it. All live where ``stream``
        lives.

    Raises
    ------
    CodecError
        If a frame does not end exactly at its last pixel.
    """
    _check_code(code)
    gpu = on_gpu(stream)
    decode = codec_run_length.decode_on_gpu if gpu else codec_run_length.decode_on_cpu
    frames = offsets.size - 1
    counts = device_zeros(frames, np.int64) if gpu else np.zeros(frames, np.int64)
    decode(offsets, stream, pixels, code, counts, None)
    electrons = to_host(counts)
    bad = np.flatnonzero(electrons < 0)
    if bad.size:
        raise CodecError(int(bad[0]), FAULTS[int(electrons[bad[0]])])
    indptr = np.concatenate([[0], np.cumsum(electrons)])
    events = int(indptr[-1])
    if gpu:
        indices, places = device_zeros(events, np.uint32), device_zeros((events, 2), np.uint8)
        indptr = to_device(indptr)
    else:
        indices, places = np.empty(events, np.uint32), np.empty((events, 2), np.uint8)
    if events:
        decode(offsets, stream, pixels, code, counts, (indptr, indices, places))
    return indptr, indices, places


def finer_indices(
    indices: np.ndarray, places: np.ndarray, cols: int, code: RunLength, factor: int
) -> np.ndarray:
    """Linear indices on a detector of finer pixels, from where in its pixel each electron hit.

    Parameters
    ----------
    indices, places : arrays
        From ``decode_run_length``.
    cols : int
        Columns of the detector.
    code : RunLength
        What ``places`` are counted in.
    factor : int
        Finer pixels along a pixel: 1, 2, 4, …, up to what both sub-pixel codes hold.

    Returns
    -------
    (events,) uint32
        ``row · factor · cols + col`` on the finer detector; no longer sorted within a frame.

    Raises
    ------
    ValueError
        If the code has no such places.
    """
    bits = factor.bit_length() - 1
    if factor != 1 << bits or bits > min(code.row_bits, code.col_bits):
        raise ValueError(
            f"factor {factor} is not one of 1, 2, … {1 << min(code.row_bits, code.col_bits)}"
        )
    row, col = np.divmod(indices, np.uint32(cols))
    row = row * np.uint32(factor) + (places[:, 0] >> (code.row_bits - bits))
    col = col * np.uint32(factor) + (places[:, 1] >> (code.col_bits - bits))
    return (row * np.uint32(factor * cols) + col).astype(np.uint32)


def encode_bitmap(indptr: np.ndarray, indices: np.ndarray, pixels: int) -> np.ndarray:
    """Write events as one bit a pixel, the first pixel in the least significant bit.

    Returns
    -------
    (frames, ⌈pixels / 8⌉) uint8

    Raises
    ------
    CodecError
        As for ``encode_run_length``.
    """
    _refuse_repeats(indptr, indices, pixels)
    return codec_bits.set_bits(indptr, indices, -(-pixels // 8))


def decode_bitmap(bitmap: Array, pixels: int) -> tuple[Array, Array]:
    """Read bitmaps.

    Parameters
    ----------
    bitmap : (frames, ⌈pixels / 8⌉) uint8
        One bit a pixel.
    pixels : int
        Pixels of the detector.

    Returns
    -------
    indptr : (frames + 1,) int64
    indices : (events,) uint32
        Ascending within a frame. Both live where ``bitmap`` lives.

    Raises
    ------
    CodecError
        If bits are set beyond the last pixel.
    ValueError
        If the bitmaps have another size.
    """
    if bitmap.ndim != 2 or bitmap.shape[1] != -(-pixels // 8):
        raise ValueError(f"bitmaps of {bitmap.shape[1:]} bytes; {pixels} pixels need another size")
    gpu = on_gpu(bitmap)
    frames = bitmap.shape[0]
    counts = device_zeros(frames, np.int64) if gpu else np.zeros(frames, np.int64)
    (codec_bits.count_on_gpu if gpu else codec_bits.count_on_cpu)(bitmap, pixels, counts)
    electrons = to_host(counts)
    if (electrons < 0).any():
        raise CodecError(int(np.argmax(electrons < 0)), FAULTS[-2])
    indptr = np.concatenate([[0], np.cumsum(electrons)])
    events = int(indptr[-1])
    indptr = to_device(indptr) if gpu else indptr
    indices = device_zeros(events, np.uint32) if gpu else np.empty(events, np.uint32)
    if events:
        (codec_bits.list_on_gpu if gpu else codec_bits.list_on_cpu)(bitmap, indptr, indices)
    return indptr, indices


def _check_code(code: RunLength) -> None:
    if not (1 <= code.skip_bits <= 16 and 0 <= code.col_bits <= 4 and 0 <= code.row_bits <= 4):
        raise ValueError(f"{code}: 1 to 16 bits for the skip and 0 to 4 for each place are known")


def _refuse_outside(indptr: np.ndarray, indices: np.ndarray, pixels: int) -> None:
    outside = (indices < 0) | (indices >= pixels)
    if outside.any():
        event = int(np.argmax(outside))
        frame = int(np.searchsorted(indptr, event, side="right")) - 1
        raise CodecError(frame, f"index {indices[event]} is not on the {pixels} pixels")


def _refuse_repeats(indptr: np.ndarray, indices: np.ndarray, pixels: int) -> None:
    _refuse_outside(indptr, indices, pixels)
    event = codec_bits.first_not_ascending(indptr, indices)
    if event >= 0:
        frame = int(np.searchsorted(indptr, event, side="right")) - 1
        raise CodecError(
            frame,
            f"index {indices[event]} follows {indices[event - 1]}; this encoding needs sorted "
            "events and holds one electron a pixel at most",
        )
