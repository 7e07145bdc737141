"""A binned scan is the sum of its squares, and says what it leaves out."""

import numpy as np
import pytest

from tasks.formats.binning import BinnedRecording, binned
from tasks.formats.detect import open_recording
from tasks.formats.recording import RecordingError

SCAN, DETECTOR = (7, 5), (4, 6)


@pytest.fixture
def counts():
    counts = np.random.default_rng(0).poisson(8.0, size=(*SCAN, *DETECTOR)).astype(np.uint8)
    counts[1, 2] = 0  # a missing frame, in a square of the first row
    counts[2, 0, 1] = 0  # a frame that lost a sector
    return counts


@pytest.fixture
def recording(counts, tmp_path):
    np.save(tmp_path / "scan.npy", counts)
    return open_recording(tmp_path / "scan.npy")


def dense_of(block, shape):
    found = np.zeros((len(block.indptr) - 1, DETECTOR[0] * DETECTOR[1]), int)
    for p, (a, b) in enumerate(zip(block.indptr[:-1], block.indptr[1:], strict=True)):
        assert (np.diff(block.indices[a:b].astype(int)) >= 0).all()
        np.add.at(found[p], block.indices[a:b], 1)
    return found.reshape(*shape, *DETECTOR)


@pytest.mark.parametrize("side", [2, 3, 5])
def test_square_holds_the_events_of_its_positions(recording, counts, side):
    found = BinnedRecording(recording, side)
    rows, cols = SCAN[0] // side, SCAN[1] // side
    inner = counts[: rows * side, : cols * side].astype(int)
    expected = inner.reshape(rows, side, cols, side, *DETECTOR).sum(axis=(1, 3))
    assert found.scan_shape == (rows, cols)
    np.testing.assert_array_equal(dense_of(found.read_rows(0, rows), (rows, cols)), expected)
    parts = [dense_of(found.read_rows(r, r + 1), (1, cols)) for r in range(rows)]
    np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_frames_are_counted_and_those_left_out_are_named(recording, counts):
    found = BinnedRecording(recording, 2)
    block = found.read_rows(0, 3)
    assert block.frames_present.tolist() == [4, 3, 4, 4, 4, 4]
    assert found.positions_left_out == 7 * 5 - 6 * 4
    assert any("11 scan positions" in note and "1 rows and 1 columns" in note
               for note in found.notes)  # fmt: skip
    kept, dropped = block.indices.size, counts[6].sum() + counts[:6, 4].sum()
    assert kept + dropped == counts.sum()


def test_sector_that_one_frame_lost_is_known_after_binning(recording):
    block = BinnedRecording(recording, 2).read_rows(0, 3)
    assert block.sectors_lost.tolist() == [0, 0, 2, 0, 0, 0]


def test_bin_of_one_is_the_recording_itself(recording):
    assert binned(recording, 1) is recording


def test_bin_larger_than_the_scan_is_refused(recording):
    with pytest.raises(RecordingError, match="scan_bin 6 is larger than the scan of 7 x 5"):
        BinnedRecording(recording, 6)
