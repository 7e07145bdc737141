"""Electron-event files of Thermo Fisher, written by hand bit by bit, give back their electrons."""

import pickle
import struct
from itertools import pairwise

import numpy as np
import pytest

from tasks.formats.detect import open_recording
from tasks.formats.recording import RecordingError

SCAN, SHAPE = (2, 3), (16, 24)
PIXELS = SHAPE[0] * SHAPE[1]
XML = b"<metadata><item name='exposureTime' unit='s'>1.5</item></metadata>"
CODES = {65000: (8, 2, 2), 65001: (7, 2, 2), 65002: (9, 1, 1)}


def coded(pixels, code=(7, 2, 2), places=None):
    """Bits of a frame by the definition: skip, column's place, row's place, least first."""
    skip_bits, col_bits, row_bits = code
    full = (1 << skip_bits) - 1
    value = at = pixel = 0

    def put(number, bits):
        nonlocal value, at
        value |= number << at
        at += bits

    def skip(gap):
        while gap >= full:
            put(full, skip_bits)
            gap -= full
        put(gap, skip_bits)

    for n, index in enumerate(pixels):
        skip(index - pixel)
        row, col = (0, 0) if places is None else places[n]
        put(col ^ ((1 << col_bits) >> 1), col_bits)
        put(row ^ ((1 << row_bits) >> 1), row_bits)
        pixel = index + 1
    skip(PIXELS - pixel)
    size = -(-at // 8)
    return value.to_bytes(size + size % 2, "little")


def write_eer(path, pages, shape=SHAPE, tags=(), strips=1):
    """A BigTIFF of pages (compression, bytes), each with its directory behind it."""
    out = bytearray(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
    link = 8
    for compression, data in pages:
        begin = len(out)
        out += data + bytes(-len(data) % 8)
        cuts = [len(data) * k // strips for k in range(strips + 1)]
        parts = [(begin + a, b - a) for a, b in pairwise(cuts)]
        where = []
        for column in zip(*parts, strict=True):  # offsets, then sizes
            where.append(len(out))
            out += struct.pack(f"<{strips}Q", *column)
        xml = len(out)
        out += XML + bytes(-len(XML) % 8)
        values = [(256, 4, 1, shape[1]), (257, 4, 1, shape[0]), (258, 3, 1, 8),
                  (259, 3, 1, compression), (262, 3, 1, 1),
                  (273, 16, strips, parts[0][0] if strips == 1 else where[0]), (277, 3, 1, 1),
                  (278, 4, 1, -(-shape[0] // strips)),
                  (279, 16, strips, parts[0][1] if strips == 1 else where[1]),
                  (65001, 7, len(XML), xml), *tags]  # fmt: skip
        directory = len(out)
        out[link : link + 8] = struct.pack("<Q", directory)
        out += struct.pack("<Q", len(values))
        for tag, kind, count, value in sorted(values):
            out += struct.pack("<HHQQ", tag, kind, count, value)
        link = len(out)
        out += bytes(8)
    path.write_bytes(out)
    return path


def frames(seed=0, mean=8):
    rng = np.random.default_rng(seed)
    chosen = [np.flatnonzero(rng.random(PIXELS) < mean / PIXELS).tolist() for _ in range(6)]
    chosen[1] = [0, 127, 128, PIXELS - 1]
    return chosen


@pytest.mark.parametrize("compression", CODES)
@pytest.mark.parametrize("strips", [1, 3])
def test_electrons_are_those_that_the_bits_spell(tmp_path, events_of, compression, strips):
    code = CODES[compression]
    tags = [(65007 + k, 3, 1, bits) for k, bits in enumerate(code)] if compression == 65002 else []
    pages = [(compression, coded(f, code)) for f in frames()]
    path = write_eer(tmp_path / "a.tif", pages, tags=tags, strips=strips)  # told by content
    recording = open_recording(path, scan_shape=SCAN)
    assert events_of(recording) == frames()
    assert recording.detector_shape == SHAPE
    assert recording.frames_total == 6
    assert recording.metadata["exposureTime"] == 1.5


def test_pages_mean_to_tifffile_what_they_mean_here(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("imagecodecs")
    path = write_eer(tmp_path / "a.eer", [(65001, coded(f)) for f in frames()])
    dense = tifffile.imread(path).reshape(6, -1)
    block = open_recording(path, scan_shape=SCAN).read_rows(0, 2)
    for n, row in enumerate(dense):
        np.testing.assert_array_equal(
            np.flatnonzero(row), block.indices[block.indptr[n] : block.indptr[n + 1]]
        )


def test_finer_pixels_come_from_the_place_within_the_pixel(tmp_path, events_of):
    pages = [(65001, coded([26, 30], places=[(3, 0), (1, 2)]))] * 6  # row 1, columns 2 and 6
    path = write_eer(tmp_path / "a.eer", pages)
    recording = open_recording(path, scan_shape=SCAN, upsampling=4)
    assert recording.detector_shape == (64, 96)
    assert events_of(recording)[0] == sorted([(4 + 3) * 96 + 8 + 0, (4 + 1) * 96 + 24 + 2])
    halves = open_recording(path, scan_shape=SCAN, upsampling=2)
    assert events_of(halves)[0] == sorted([(2 + 1) * 48 + 4 + 0, (2 + 0) * 48 + 12 + 1])
    with pytest.raises(RecordingError, match="upsampling is 8.*1 to 4"):
        open_recording(path, scan_shape=SCAN, upsampling=8)


def test_first_page_with_the_sum_of_all_frames_is_left_out(tmp_path, events_of):
    pages = [(1, bytes(PIXELS))] + [(65000, coded(f, CODES[65000])) for f in frames()]
    recording = open_recording(write_eer(tmp_path / "a.eer", pages), scan_shape=SCAN)
    assert events_of(recording) == frames()
    assert any("sum of all frames" in note for note in recording.notes)


def test_rows_are_read_alone_and_after_a_journey(tmp_path):
    path = write_eer(tmp_path / "a.eer", [(65001, coded(f)) for f in frames()])
    recording = pickle.loads(pickle.dumps(open_recording(path, scan_shape=SCAN)))
    block = recording.read_rows(1, 2)
    assert block.indices.tolist() == [e for f in frames()[3:] for e in f]
    assert block.frames_present.tolist() == [1, 1, 1]


def test_column_is_dropped_by_position(tmp_path, events_of):
    path = write_eer(tmp_path / "a.eer", [(65001, coded(f)) for f in frames()])
    recording = open_recording(path, scan_shape=SCAN, drop_flyback=True)
    assert events_of(recording) == [frames()[n] for n in (0, 1, 3, 4)]


def test_empty_frame_among_bright_ones_is_missing(tmp_path):
    bright = frames(mean=40)
    bright[1], bright[4] = list(range(40)), []
    path = write_eer(tmp_path / "a.eer", [(65001, coded(f)) for f in bright])
    present = open_recording(path, scan_shape=SCAN).read_rows(0, 2).frames_present
    assert present.tolist() == [1, 1, 1, 1, 0, 1]


def test_scan_shape_must_be_given_and_fit(tmp_path):
    path = write_eer(tmp_path / "a.eer", [(65001, coded(f)) for f in frames()])
    with pytest.raises(RecordingError, match="6 frames.*give scan_shape"):
        open_recording(path)
    with pytest.raises(RecordingError, match="6 frames do not make a scan of 2 x 2"):
        open_recording(path, scan_shape=(2, 2))
    with pytest.raises(RecordingError, match="threshold"):
        open_recording(path, scan_shape=SCAN, threshold=1.0)
    with pytest.raises(RecordingError, match="16 x 24 pixels; detector_shape says 24 x 16"):
        open_recording(path, scan_shape=SCAN, detector_shape=(24, 16))


@pytest.mark.parametrize("last", [False, True], ids=["in a frame", "at the end of the file"])
def test_mark_of_a_compression_error_is_refused(tmp_path, last):
    mark = b"ThermoFisherECComprERR00"
    pages = [(65001, coded(f)) for f in frames()]
    if not last:
        pages[2] = (65001, pages[2][1] + mark)
    path = write_eer(tmp_path / "a.eer", pages)
    if last:
        path.write_bytes(path.read_bytes() + mark)
    with pytest.raises(RecordingError, match="ThermoFisherECComprERR"):
        open_recording(path, scan_shape=SCAN).read_rows(0, 2)


def test_mark_of_success_is_no_part_of_the_electrons(tmp_path, events_of):
    pages = [(65001, coded(f) + b"ThermoFisherECComprOK000") for f in frames()]
    path = write_eer(tmp_path / "a.eer", pages)
    assert events_of(open_recording(path, scan_shape=SCAN)) == frames()


def test_frame_whose_bits_end_early_is_named(tmp_path):
    pages = [(65001, coded(f)) for f in frames()]
    pages[4] = (65001, pages[4][1][:4])
    path = write_eer(tmp_path / "a.eer", pages)
    with pytest.raises(RecordingError, match="frame 4 cannot be decoded: .*before its last pixel"):
        open_recording(path, scan_shape=SCAN).read_rows(0, 2)


def test_page_that_is_no_electrons_among_those_that_are_is_named(tmp_path):
    pages = [(65001, coded(f)) for f in frames()]
    pages[3] = (1, bytes(PIXELS))
    with pytest.raises(RecordingError, match="page 3 has compression 1"):
        open_recording(write_eer(tmp_path / "a.eer", pages), scan_shape=SCAN)
    pages[3] = (65000, coded(frames()[3], CODES[65000]))
    with pytest.raises(RecordingError, match="page 3 has .*65000, 16, 24.*65001, 16, 24"):
        open_recording(write_eer(tmp_path / "a.eer", pages), scan_shape=SCAN)


def test_impossible_bits_in_the_tags_are_refused(tmp_path):
    tags = [(65007, 3, 1, 40), (65008, 3, 1, 2), (65009, 3, 1, 2)]
    path = write_eer(tmp_path / "a.eer", [(65002, coded(f)) for f in frames()], tags=tags)
    with pytest.raises(RecordingError, match="40 bits for skips"):
        open_recording(path, scan_shape=SCAN)


def test_frames_of_absurd_size_are_refused_before_memory_is_taken(tmp_path):
    path = write_eer(
        tmp_path / "a.eer", [(65001, coded(f)) for f in frames()], shape=(2**31, 2**31)
    )
    with pytest.raises(RecordingError, match=r"no camera's"):
        open_recording(path, scan_shape=SCAN)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.99])
def test_truncated_file_is_refused(tmp_path, part):
    path = write_eer(tmp_path / "a.eer", [(65001, coded(f)) for f in frames()])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(RecordingError, match="a.eer"):
        open_recording(path, scan_shape=SCAN)
