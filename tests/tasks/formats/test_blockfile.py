"""Block files become the events that their bytes count, and frames out of place are found."""

import struct

import numpy as np
import pytest

from tasks.formats.detect import open_recording
from tasks.formats.recording import RecordingError

SCAN, SIZE, OFFSET = (3, 4), 10, 4096
COUNTS = np.random.default_rng(0).poisson(0.3, (*SCAN, SIZE, SIZE)).astype("u1")


@pytest.fixture
def block_file(tmp_path):
    return write_block_file(tmp_path / "unnamed")  # its format is told by its first bytes


def write_block_file(path):
    head = struct.pack("<6sHIIIHHHHH", b"IMGBLO", 0x0102, 1024, OFFSET, 0, SIZE, 0, 4, 3, 250)
    head += struct.pack("<ddIHI", 0.5, 0.25, 200_000, 0, 7)
    with open(path, "wb") as file:
        file.write(head.ljust(OFFSET, b"\0"))
        for n, frame in enumerate(COUNTS.reshape(-1, SIZE, SIZE)):
            file.write(struct.pack("<HI", 0x55AA, n) + frame.tobytes())
    return path


def test_counts_become_events(block_file, events_of):
    recording = open_recording(block_file)
    assert (recording.scan_shape, recording.detector_shape) == (SCAN, (SIZE, SIZE))
    assert events_of(recording) == [
        np.repeat(np.arange(row.size), row).tolist() for row in COUNTS.reshape(12, -1)
    ]
    assert recording.metadata["beam_energy_v"] == 200_000
    assert recording.metadata["scan_step_y_nm"] == 0.25


def test_header_is_that_of_rosettasciio():
    blockfile = pytest.importorskip("rsciio.blockfile._api", exc_type=ImportError)
    from tasks.formats.blockfile import HEADER

    theirs = np.dtype(blockfile.get_header_dtype_list())
    assert [HEADER.fields[n][1] for n in HEADER.names] == [
        theirs.fields[n][1] for n in theirs.names[: len(HEADER.names)]
    ]


def test_truncated_file_is_refused_with_its_sizes(block_file):
    data = block_file.read_bytes()
    block_file.write_bytes(data[:-300])
    with pytest.raises(RecordingError, match=f"needs {len(data)} bytes, the file has"):
        open_recording(block_file)


@pytest.mark.parametrize("content", [b"IMGBLO", b"IMGBLO\1\2" + bytes(4096)])
def test_damaged_header_is_refused(tmp_path, content):
    (tmp_path / "a.blo").write_bytes(content)
    with pytest.raises(RecordingError, match="header is damaged"):
        open_recording(tmp_path / "a.blo")


def test_frame_without_its_mark_is_named(block_file):
    data = bytearray(block_file.read_bytes())
    data[OFFSET + 5 * (6 + SIZE * SIZE)] = 0
    block_file.write_bytes(data)
    with pytest.raises(RecordingError, match="frame 5 begins with 5500"):
        open_recording(block_file).read_rows(0, 3)
