"""Rows come out of heap collections as they were put in, and nothing false is followed."""

import numpy as np
import pytest

from gpu_kernels.codec_ragged import FAULTS, gather_rows


def collection(objects, spare=0):
    """A heap collection by the definition of the file format; objects are (number, bytes)."""
    body = b""
    for number, data in objects:
        head = number.to_bytes(2, "little") + b"\1\0" + bytes(4) + len(data).to_bytes(8, "little")
        body += head + data + bytes(-len(data) % 8)
    body += (bytes(8) + (spare + 16).to_bytes(8, "little") + bytes(spare)) if spare else b""
    return b"GCOL\1\0\0\0" + (len(body) + 16).to_bytes(8, "little") + body


def gather(heap, rows):
    places, objects, lengths = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    data = np.empty(starts[-1], np.uint8)
    row, fault = gather_rows(np.frombuffer(heap, np.uint8), places, objects, starts, data)
    return data.tobytes(), row, FAULTS[fault]


FIRST = collection([(1, b"abc"), (2, b"defghijkl"), (7, b"m")], spare=64)
HEAP = FIRST + collection([(1, b"second")])


def test_rows_come_in_the_order_that_is_asked_for():
    second = len(FIRST)
    rows = [(0, 7, 1), (0, 1, 3), (second, 1, 6), (-1, 0, 0), (0, 2, 9)]
    assert gather(HEAP, rows) == (b"mabcseconddefghijkl", -1, "")


@pytest.mark.parametrize("length", [2, 4])
def test_row_that_is_not_as_long_as_its_object_has_lost_or_found_events(length):
    assert gather(HEAP, [(0, 1, 3), (0, 1, length)])[1:] == (1, FAULTS[4])


@pytest.mark.parametrize(
    ("place", "number", "fault"),
    [(8, 1, 1), (-5, 1, 1), (10**12, 1, 1), (len(HEAP) - 8, 1, 1), (0, 3, 3), (0, 0, 3)],
)
def test_what_is_not_in_the_heap_is_said_to_be_missing(place, number, fault):
    assert gather(HEAP, [(place, number, 1)])[1:] == (0, FAULTS[fault])


@pytest.mark.parametrize("size", [0, 15, len(FIRST) + 1, 2**40, 2**63, 2**64 - 1])
def test_collection_of_absurd_size_is_not_followed(size):
    heap = FIRST[:8] + size.to_bytes(8, "little") + FIRST[16:]
    assert gather(heap, [(0, 1, 3)])[1:] == (0, FAULTS[2])


@pytest.mark.parametrize("size", [2**20, 2**62, 2**63, 2**64 - 1])
def test_object_of_absurd_size_is_not_followed(size):
    heap = FIRST[:24] + size.to_bytes(8, "little") + FIRST[32:]
    assert gather(heap, [(0, 2, 3)])[1:] == (0, FAULTS[3])
