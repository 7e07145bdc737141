"""Ragged rows copied out of the heap are those that h5py reads, in any order and batch."""

from itertools import pairwise

import h5py
import numpy as np
import pytest

from tasks.formats import ragged
from tasks.formats.ragged import describe, read_ragged, row_lengths
from tasks.formats.recording import RecordingError

ROWS = 500


@pytest.fixture
def ragged_file(tmp_path):
    """Rows of 0 to 3,000 items, written out of order, among other data of the file."""
    rng = np.random.default_rng(0)
    path = tmp_path / "ragged.h5"
    lengths = rng.integers(0, 60, ROWS)
    lengths[[3, 77]], lengths[10:14] = 3000, 0
    with h5py.File(path, "w") as file:
        data = file.create_dataset("rows", (ROWS,), h5py.vlen_dtype(np.uint32))
        for at, row in enumerate(rng.permutation(ROWS)):
            data[row] = rng.integers(0, 2**32, lengths[row], dtype=np.uint32)
            if at % 50 == 0:
                file[f"other/{at}"] = np.arange(2000)
    return path


def described(path):
    with h5py.File(path) as file:
        return describe(str(path), file, "rows")


def by_h5py(path):
    with h5py.File(path) as file:
        return [row.tolist() for row in file["rows"][:]]


ORDERS = {
    "all": np.arange(ROWS),
    "backwards": np.arange(ROWS)[::-1],
    "shuffled": np.random.default_rng(1).permutation(ROWS),
    "some": np.array([3, 499, 12, 11, 77, 3]),
    "empty ones": np.array([10, 11, 12]),
    "none": np.zeros(0, np.int64),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("batch", [100, 1 << 22])
@pytest.mark.parametrize("gap", [0, 1 << 20])
def test_rows_are_those_of_h5py_in_the_order_asked_for(ragged_file, monkeypatch, order, batch, gap):
    monkeypatch.setattr(ragged, "BYTES_AT_ONCE", batch)
    monkeypatch.setattr(ragged, "GAP", gap)
    found = described(ragged_file)
    assert found.offset is not None
    indptr, items = read_ragged(str(ragged_file), found, ORDERS[order])
    rows = by_h5py(ragged_file)
    assert [
        items[a:b].tolist() for a, b in pairwise(indptr)
    ] == [rows[n] for n in ORDERS[order]]  # fmt: skip


def test_lengths_are_those_of_the_rows(ragged_file):
    found = described(ragged_file)
    expected = [len(row) for row in by_h5py(ragged_file)]
    assert row_lengths(str(ragged_file), found).tolist() == expected
    assert row_lengths(str(ragged_file), found._replace(offset=None)).tolist() == expected


@pytest.mark.parametrize("order", ["all", "shuffled", "some"])
def test_rows_that_lie_too_far_apart_are_left_to_h5py(ragged_file, monkeypatch, order):
    monkeypatch.setattr(ragged, "ROOM_FOR_GAPS", -(10**9))
    indptr, items = read_ragged(str(ragged_file), described(ragged_file), ORDERS[order])
    rows = by_h5py(ragged_file)
    assert items.tolist() == [item for n in ORDERS[order] for item in rows[n]]
    assert indptr[-1] == items.size


@pytest.mark.parametrize("layout", ["chunks", "user block"])
def test_files_that_are_laid_out_otherwise_are_left_to_h5py(tmp_path, layout):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=512 if layout == "user block" else 0) as file:
        chunks = (2,) if layout == "chunks" else None
        data = file.create_dataset("rows", (3,), h5py.vlen_dtype(np.uint32), chunks=chunks)
        data[0], data[1] = [1, 2, 3], [4]
    found = described(path)
    assert found.offset is None
    assert row_lengths(str(path), found).tolist() == [3, 1, 0]
    assert read_ragged(str(path), found, np.array([1, 0]))[1].tolist() == [4, 1, 2, 3]


def damage(path, **changes):
    """Change the table's entry of row 20."""
    found = described(path)
    data = bytearray(path.read_bytes())
    table = np.frombuffer(data, ragged.ROW, count=ROWS, offset=found.offset)
    for name, value in changes.items():
        if name == "SAME":
            table[20] = table[value]
        else:
            table[name][20] = value
    path.write_bytes(data)
    return found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 2**31}, "frames 0 to 499 say that they hold .* the whole file has"),
        ({"length": 5000}, "frame 20 cannot be read: its object .* is not of its size"),
        ({"length": 1}, "frame 20 cannot be read: its object .* is not of its size"),
        ({"SAME": 21}, "frame 2[01] cannot be read: .*is said to be the same object"),
        ({"address": 2**62}, "frame 20 cannot be read: its heap reaches beyond"),
        ({"address": 2**64 - 1}, "frame 20 cannot be read: its heap reaches beyond"),
        ({"address": 96}, "frame 20 cannot be read: there is no heap"),
        ({"object": 60_000}, "frame 20 cannot be read: its heap has no such object"),
    ],
)
def test_damaged_entry_is_named_by_its_row(ragged_file, changes, message):
    found = damage(ragged_file, **changes)
    with pytest.raises(RecordingError, match=message):
        read_ragged(str(ragged_file), found, np.arange(ROWS))


def test_table_beyond_the_end_of_the_file_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("rows", (2**40,), h5py.vlen_dtype(np.uint32))
    with pytest.raises(RecordingError, match="1099511627776 rows, but their table is not"):
        described(path)
