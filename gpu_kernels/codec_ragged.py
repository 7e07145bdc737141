"""Ragged rows out of HDF5's global heap, where electron-counted files keep the events of frames.

The heap is made of collections: ``GCOL``, version, size, then objects of number, size and data,
padded to 8 bytes. A row names the collection and the number of its object. HDF5 makes a Python
object of every row; here the rows of a stretch of the file are copied into one flat array, which
is several times faster, and every number in the heap is checked before it is followed.

HDF5 File Format Specification 3.0, section III.E. It runs on the host, where files are read.
"""

import numpy as np
from numba import njit

HEADER = 16
"""Bytes before the first object of a collection, and before the data of an object."""
FAULTS = (
    "",
    "there is no heap where its row says",
    "its heap reaches beyond the file",
    "its heap has no such object",
    "its object in the heap is not of its size",
)
"""What a fault of ``gather_rows`` means."""


def gather_rows(
    heap: np.ndarray,
    places: np.ndarray,
    objects: np.ndarray,
    starts: np.ndarray,
    data: np.ndarray,
) -> tuple[int, int]:
    """Copy rows out of heap collections into one flat array.

    Parameters
    ----------
    heap : (bytes,) uint8
        Stretches of the file that hold the collections.
    places : (rows,) int64
        Byte of ``heap`` where the collection of each row begins.
    objects : (rows,) int64
        Number of each row's object in its collection.
    starts : (rows + 1,) int64
        Bytes before each row in the result.
    data : (starts[-1],) uint8
        Filled with the rows, one after the other.

    Returns
    -------
    row : int
        First row that cannot be read, or -1.
    fault : int
        What is wrong with it, in ``FAULTS``.
    """
    return _gather(heap, places, objects, starts, data)


@njit(nogil=True, cache=True)
def _gather(heap, places, objects, starts, data):
    place, end, cursor = -1, 0, 0
    for row in range(places.size):
        length = starts[row + 1] - starts[row]
        if length == 0:
            continue
        if places[row] != place:
            place = places[row]
            if place < 0 or place + HEADER > heap.size or not _is_collection(heap, place):
                return row, 1
            size = _number(heap, place + 8)
            if size < HEADER or size > heap.size - place:
                return row, 2
            end, cursor = place + size, place + HEADER
        # Rows come mostly in the order of their objects: go on from the last, else begin again.
        found = _find(heap, cursor, end, objects[row])
        if found < 0:
            found = _find(heap, place + HEADER, end, objects[row])
        if found < 0:
            return row, 3
        cursor = found
        if _number(heap, found + 8) != length:
            return row, 4
        source = heap[found + HEADER : found + HEADER + length]
        target = data[starts[row] : starts[row + 1]]
        for byte in range(target.size):  # as slices: so the compiler copies 32 bytes at a time
            target[byte] = source[byte]
    return -1, 0


@njit(nogil=True, cache=True)
def _find(heap, cursor, end, wanted):
    """Byte where an object begins, or -1; what it finds lies before ``end``."""
    while cursor + HEADER <= end:
        number = np.int64(heap[cursor]) | np.int64(heap[cursor + 1]) << 8
        size = _number(heap, cursor + 8)
        if number == 0 or size < 0 or size > end - cursor - HEADER:
            return -1  # free space, which is last; or a size that cannot be
        if number == wanted:
            return cursor
        cursor += HEADER + (size + 7) // 8 * 8
    return -1


@njit(nogil=True, cache=True)
def _is_collection(heap, place):
    return (
        heap[place] == ord("G")
        and heap[place + 1] == ord("C")
        and heap[place + 2] == ord("O")
        and heap[place + 3] == ord("L")
        and heap[place + 4] == 1
    )


@njit(nogil=True, cache=True)
def _number(heap, place):
    """A number of 8 bytes; negative where it is too large for any file."""
    value = np.int64(0)
    for byte in range(8):
        value |= np.int64(heap[place + byte]) << (8 * byte)
    return value
