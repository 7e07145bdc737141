"""Run lengths of electron events, bit by bit: the loops behind ``gpu_kernels.codecs``.

A frame is a string of bits, least significant first: pixels to skip, then the electron's place in
its pixel along the row and along the column. A skip of all ones has no place: it is added, and
another skip follows. The frame ends where the skips have reached its last pixel. Places are stored
with their upper bit inverted (code 0 is the middle of the pixel).
"""

import numpy as np
from numba import cuda, njit

from gpu_kernels.backend import Array

THREADS_PER_BLOCK = 64
Code = tuple[int, int, int]


def encode(
    indptr: np.ndarray, indices: np.ndarray, pixels: int, code: Code, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Write all frames; see ``codecs.encode_run_length``."""
    sizes = np.zeros(indptr.size, np.int64)
    _measure(indptr, indices, pixels, *code, sizes)
    offsets = np.cumsum(sizes)
    stream = np.zeros(int(offsets[-1]), np.uint8)
    _write(indptr, indices, pixels, *code, places, offsets, stream)
    return offsets, stream


def decode_on_cpu(
    offsets: Array,
    stream: Array,
    pixels: int,
    code: Code,
    counts: Array,
    into: tuple[Array, Array, Array] | None,
) -> None:
    """Count the electrons of each frame, or, knowing where they go, write them.

    Parameters
    ----------
    offsets, stream, pixels, code
        As in ``codecs.decode_run_length``.
    counts : (frames,) int64
        Filled with electrons, or -1 where a frame has too few bits, -2 where too many pixels.
    into : (indptr, indices, places), optional
        Where to write.
    """
    indptr, indices, places = into or _nowhere(counts)
    _decode_cpu(offsets, stream, pixels, *code, indptr, indices, places, counts, into is not None)


def decode_on_gpu(
    offsets: Array,
    stream: Array,
    pixels: int,
    code: Code,
    counts: Array,
    into: tuple[Array, Array, Array] | None,
) -> None:
    """The same on the device."""
    indptr, indices, places = into or (offsets, offsets, offsets.reshape(-1, 1))
    blocks = -(-counts.size // THREADS_PER_BLOCK)
    if blocks:
        _decode_gpu[blocks, THREADS_PER_BLOCK](
            offsets, stream, pixels, *code, indptr, indices, places, counts, into is not None
        )


def _nowhere(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (np.zeros(counts.size + 1, np.int64), np.zeros(0, np.uint32), np.zeros((0, 2), np.uint8))


def _decode_frame(
    stream, bit, end, pixels, skip_bits, col_bits, row_bits, indices, places, event, write
):
    """Electrons of a frame, or a fault; they are written from ``event`` on."""
    all_ones = (1 << skip_bits) - 1
    col_turn, row_turn = (1 << col_bits) >> 1, (1 << row_bits) >> 1
    whole = skip_bits + col_bits + row_bits
    pixel, found = 0, 0
    while pixel < pixels:
        if bit + skip_bits > end:
            return -1
        # 24 bits at most, wherever they begin in a byte, lie in 4 bytes.
        byte = bit >> 3
        word = 0
        for k in range(4):
            if byte + k < stream.size:
                word |= np.int64(stream[byte + k]) << (8 * k)
        word >>= bit & 7
        skip = word & all_ones
        pixel += skip
        if skip == all_ones or pixel >= pixels:
            bit += skip_bits
            continue
        if bit + whole > end:
            return -1
        if write:
            indices[event + found] = pixel
            places[event + found, 1] = ((word >> skip_bits) & ((1 << col_bits) - 1)) ^ col_turn
            word >>= skip_bits + col_bits
            places[event + found, 0] = (word & ((1 << row_bits) - 1)) ^ row_turn
        bit += whole
        found += 1
        pixel += 1
    return found if pixel == pixels else -2


_decode_frame_cpu = njit(nogil=True, cache=True)(_decode_frame)
_decode_frame_gpu = cuda.jit(device=True)(_decode_frame)


@njit(nogil=True, cache=True)
def _decode_cpu(
    offsets, stream, pixels, skip, col, row, indptr, indices, places, counts, write
):  # fmt: skip
    for frame in range(counts.size):
        counts[frame] = _decode_frame_cpu(
            stream, offsets[frame] * 8, offsets[frame + 1] * 8, pixels, skip, col, row,
            indices, places, indptr[frame], write,
        )  # fmt: skip


@cuda.jit
def _decode_gpu(
    offsets, stream, pixels, skip, col, row, indptr, indices, places, counts, write
):  # fmt: skip
    # One thread a frame: where a code begins is known only when the one before it is read.
    frame = cuda.grid(1)
    if frame < counts.size:
        counts[frame] = _decode_frame_gpu(
            stream, offsets[frame] * 8, offsets[frame + 1] * 8, pixels, skip, col, row,
            indices, places, indptr[frame], write,
        )  # fmt: skip


@njit(nogil=True, cache=True)
def _measure(indptr, indices, pixels, skip_bits, col_bits, row_bits, sizes):
    all_ones = (1 << skip_bits) - 1
    for frame in range(indptr.size - 1):
        bits, pixel = 0, 0
        for event in range(indptr[frame], indptr[frame + 1]):
            gap = np.int64(indices[event]) - pixel
            bits += (gap // all_ones + 1) * skip_bits + col_bits + row_bits
            pixel = np.int64(indices[event]) + 1
        bits += ((pixels - pixel) // all_ones + 1) * skip_bits
        sizes[frame + 1] = (bits + 15) // 16 * 2  # whole words of 16 bits: some readers need them


@njit(nogil=True, cache=True)
def _write(indptr, indices, pixels, skip_bits, col_bits, row_bits, places, offsets, stream):
    all_ones = (1 << skip_bits) - 1
    col_turn, row_turn = (1 << col_bits) >> 1, (1 << row_bits) >> 1
    for frame in range(indptr.size - 1):
        bit, pixel = offsets[frame] * 8, 0
        for event in range(indptr[frame], indptr[frame + 1]):
            gap = np.int64(indices[event]) - pixel
            bit = _put_skips(stream, bit, gap, all_ones, skip_bits)
            bit = _put(stream, bit, np.int64(places[event, 1]) ^ col_turn, col_bits)
            bit = _put(stream, bit, np.int64(places[event, 0]) ^ row_turn, row_bits)
            pixel = np.int64(indices[event]) + 1
        _put_skips(stream, bit, pixels - pixel, all_ones, skip_bits)


@njit(nogil=True, cache=True)
def _put_skips(stream, bit, gap, all_ones, skip_bits):
    while gap >= all_ones:
        bit = _put(stream, bit, all_ones, skip_bits)
        gap -= all_ones
    return _put(stream, bit, gap, skip_bits)


@njit(nogil=True, cache=True)
def _put(stream, bit, value, bits):
    for k in range(bits):
        stream[(bit + k) >> 3] |= np.uint8(((value >> k) & 1) << ((bit + k) & 7))
    return bit + bits
