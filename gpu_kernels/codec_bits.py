"""Bitmaps and linear indices of electron events: the loops behind ``gpu_kernels.codecs``."""

import numpy as np
from numba import cuda, int64, njit

from gpu_kernels.backend import Array, device_zeros, to_host

THREADS_PER_BLOCK = 128


def set_bits(indptr: np.ndarray, indices: np.ndarray, width: int) -> np.ndarray:
    """Bitmaps, (frames, width) uint8, of frames whose events begin at (frames + 1,) ``indptr``."""
    bitmap = np.zeros((indptr.size - 1, width), np.uint8)
    _set_bits(indptr, indices, bitmap)
    return bitmap


def first_not_ascending(indptr: np.ndarray, indices: np.ndarray) -> int:
    """First event that is not above the one before it in its frame, or -1."""
    return int(_first_not_ascending(indptr, indices))


def count_on_cpu(bitmap: Array, pixels: int, counts: Array) -> None:
    """Fill (frames,) int64 with the electrons of (frames, width) uint8 bitmaps.

    It is -2 where a bit is set beyond the last pixel.
    """
    _count_cpu(*_words(bitmap), pixels, counts)


def list_on_cpu(bitmap: Array, indptr: Array, indices: Array) -> None:
    """Write the pixels of each frame's electrons, uint32, from its (frames + 1,) ``indptr`` on."""
    _list_cpu(*_words(bitmap), indptr, indices)


def count_on_gpu(bitmap: Array, pixels: int, counts: Array) -> None:
    """The same as ``count_on_cpu`` on the device."""
    if counts.size:
        _count_gpu[counts.size, THREADS_PER_BLOCK](bitmap, pixels, counts)


def list_on_gpu(bitmap: Array, indptr: Array, indices: Array) -> None:
    """The same as ``list_on_cpu`` on the device."""
    _list_gpu[bitmap.shape[0], THREADS_PER_BLOCK](bitmap, indptr, indices)


def linear_on_gpu(stream: Array, width: int, events: int, pixels: int) -> tuple[Array, int]:
    """Indices, (events,) uint32 on the device, and the first one outside the detector, or -1.

    The stream is (events · width,) uint8: little-endian numbers of ``width`` bytes.
    """
    indices = device_zeros(events, np.uint32)
    first = device_zeros(1, np.int64)
    if events:
        blocks = -(-events // THREADS_PER_BLOCK)
        _linear_gpu[blocks, THREADS_PER_BLOCK](stream, width, pixels, indices, first)
    return indices, events - int(to_host(first)[0]) if int(to_host(first)[0]) else -1


def _words(bitmap: np.ndarray) -> tuple[np.ndarray, int]:
    """The same memory in words, 8 bytes each if it divides: most words are empty."""
    bitmap = np.ascontiguousarray(bitmap)
    if bitmap.shape[1] % 8:
        return bitmap, 8
    return bitmap.view("<u8"), 64


@njit(nogil=True, cache=True)
def _set_bits(indptr, indices, bitmap):
    for frame in range(indptr.size - 1):
        for event in range(indptr[frame], indptr[frame + 1]):
            pixel = np.int64(indices[event])
            bitmap[frame, pixel >> 3] |= np.uint8(1 << (pixel & 7))


@njit(nogil=True, cache=True)
def _first_not_ascending(indptr, indices):
    for frame in range(indptr.size - 1):
        for event in range(indptr[frame] + 1, indptr[frame + 1]):
            if indices[event] <= indices[event - 1]:
                return event
    return -1


@njit(nogil=True, cache=True)
def _count_cpu(words, bits, pixels, counts):
    for frame in range(words.shape[0]):
        total = 0
        for at in range(words.shape[1]):
            word = np.uint64(words[frame, at])
            while word:
                word &= word - np.uint64(1)  # clears the lowest bit that is set
                total += 1
        counts[frame] = total
        last = np.uint64(words[frame, words.shape[1] - 1])
        used = pixels - (words.shape[1] - 1) * bits
        if used < bits and last >> np.uint64(used):
            counts[frame] = -2


@njit(nogil=True, cache=True)
def _list_cpu(words, bits, indptr, indices):
    for frame in range(words.shape[0]):
        event = indptr[frame]
        for at in range(words.shape[1]):
            word = np.uint64(words[frame, at])
            if not word:
                continue
            for bit in range(bits):
                if (word >> np.uint64(bit)) & np.uint64(1):
                    indices[event] = at * bits + bit
                    event += 1


@cuda.jit
def _count_gpu(bitmap, pixels, counts):
    # A block a frame: its bytes are read side by side by its threads. Sums of whole numbers do not
    # depend on their order.
    frame, thread = cuda.blockIdx.x, cuda.threadIdx.x
    part = cuda.shared.array(THREADS_PER_BLOCK, int64)
    total = 0
    for at in range(thread, bitmap.shape[1], THREADS_PER_BLOCK):
        byte = int64(bitmap[frame, at])
        while byte:
            byte &= byte - 1
            total += 1
    part[thread] = total
    cuda.syncthreads()
    if thread == 0:
        total = 0
        for k in range(THREADS_PER_BLOCK):
            total += part[k]
        last = bitmap.shape[1] - 1
        if int64(bitmap[frame, last]) >> (pixels - 8 * last):
            total = -2
        counts[frame] = total


@cuda.jit
def _list_gpu(bitmap, indptr, indices):
    # A block a frame, a stretch of its bytes for each thread: the electrons before the stretch say
    # where its own go, so that they come out sorted and no two threads write to one place.
    frame, thread = cuda.blockIdx.x, cuda.threadIdx.x
    part = cuda.shared.array(THREADS_PER_BLOCK, int64)
    stretch = (bitmap.shape[1] + THREADS_PER_BLOCK - 1) // THREADS_PER_BLOCK
    first = min(thread * stretch, bitmap.shape[1])
    last = min(first + stretch, bitmap.shape[1])
    total = 0
    for at in range(first, last):
        byte = int64(bitmap[frame, at])
        while byte:
            byte &= byte - 1
            total += 1
    part[thread] = total
    cuda.syncthreads()
    event = indptr[frame]
    for k in range(thread):
        event += part[k]
    for at in range(first, last):
        byte = int64(bitmap[frame, at])
        for bit in range(8):
            if (byte >> bit) & 1:
                indices[event] = at * 8 + bit
                event += 1


@cuda.jit
def _linear_gpu(stream, width, pixels, indices, first):
    # One thread an event. The first bad one is kept as its distance from the end, by maximum.
    event = cuda.grid(1)
    if event < indices.size:
        index = int64(0)
        for k in range(width):
            index |= int64(stream[event * width + k]) << (8 * k)
        indices[event] = index
        if index >= pixels:
            cuda.atomic.max(first, 0, indices.size - event)
