"""LiberTEM's raw_csr: the events of a sparse matrix, and no read outside of it."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from tasks.formats.detect import open_recording
from tasks.formats.recording import RecordingError
from tasks.store.source import fingerprint

SCAN, DETECTOR = (3, 4), (5, 6)


def dense():
    return np.random.default_rng(0).poisson(1.5, (*SCAN, *DETECTOR))


def write(folder, counts, *, nav=SCAN, sig=DETECTOR, kinds=("<i8", "<u4", "<u1"), change=None):
    matrix = csr_array(counts.reshape(-1, DETECTOR[0] * DETECTOR[1]))
    arrays = {"indptr": matrix.indptr, "indices": matrix.indices, "data": matrix.data}
    arrays = {name: a.astype(k) for (name, a), k in zip(arrays.items(), kinds, strict=True)}
    if change:
        change(arrays)
    lines = ["[params]", 'filetype = "raw_csr"', f"nav_shape = {list(nav)}",
             f"sig_shape = {list(sig)}", "[raw_csr]"]  # fmt: skip
    for (name, array), kind in zip(arrays.items(), kinds, strict=True):
        array.tofile(folder / f"{name}.raw")
        lines += [f'{name}_file = "{name}.raw"', f'{name}_dtype = "{kind}"']
    path = folder / "scan.toml"
    path.write_text("\n".join(lines))
    return path


def expected(counts):
    flat = counts.reshape(len(counts) * counts.shape[1], -1)
    return [np.repeat(np.arange(row.size), row).tolist() for row in flat]


@pytest.mark.parametrize(
    "kinds", [("<i8", "<u4", "<u1"), ("<i4", "<i4", "<f4"), (">u8", "<u2", "<i2")]
)
def test_events_are_those_of_the_dense_counts(tmp_path, events_of, kinds):
    recording = open_recording(write(tmp_path, dense(), kinds=kinds))
    assert (recording.scan_shape, recording.detector_shape) == (SCAN, DETECTOR)
    assert events_of(recording) == expected(dense())


def test_rows_read_alone_are_those_read_together(tmp_path):
    recording = open_recording(write(tmp_path, dense()))
    parts = [recording.read_rows(n, n + 1).indices for n in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts), recording.read_rows(0, 3).indices)


def test_dropped_column_is_the_last_of_each_row(tmp_path, events_of):
    recording = open_recording(write(tmp_path, dense()), drop_flyback=True)
    assert events_of(recording) == expected(dense()[:, :3])


def test_frames_in_a_row_need_the_shape_of_the_scan(tmp_path, events_of):
    path = write(tmp_path, dense(), nav=(12,))
    with pytest.raises(RecordingError, match="scan_shape must say"):
        open_recording(path)
    assert events_of(open_recording(path, scan_shape=SCAN)) == expected(dense())


def test_empty_frame_among_bright_ones_is_missing(tmp_path):
    counts = dense() + 2
    counts[1, 2] = 0
    block = open_recording(write(tmp_path, counts)).read_rows(0, 3)
    np.testing.assert_array_equal(np.flatnonzero(block.frames_present == 0), [6])


def outside(arrays):
    arrays["indices"][7] = 30


def falling(arrays):
    arrays["indptr"][3] = 0


def beyond(arrays):
    arrays["indptr"][-1] += 5


def short_offsets(arrays):
    arrays["indptr"] = arrays["indptr"][:-1]


def short_counts(arrays):
    arrays["data"] = arrays["data"][:-1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (outside, "frame 0 has pixel 30, outside the detector of 5 x 6"),
        (falling, "offset 3 is 0, below the one before"),
        (beyond, "one of the two is cut short"),
        (short_offsets, "12 offsets for a scan of 12 positions; 13 are needed"),
        (short_counts, "one of the two is cut short"),
    ],
)
def test_what_leaves_the_arrays_or_the_detector_is_refused(tmp_path, change, says):
    path = write(tmp_path, dense(), change=change)
    with pytest.raises(RecordingError, match=says):
        open_recording(path).read_rows(0, 3)


def test_events_outside_are_dropped_where_asked(tmp_path):
    recording = open_recording(write(tmp_path, dense(), change=outside), out_of_range="drop")
    assert recording.read_rows(0, 3).indices.max() < 30


def test_values_that_are_no_counts_are_refused_with_their_place(tmp_path):
    def halves(arrays):
        arrays["data"][0] = 0.5

    path = write(tmp_path, dense(), kinds=("<i8", "<u4", "<f4"), change=halves)
    with pytest.raises(RecordingError, match=r"frame 0 has 0\.5 in pixel"):
        open_recording(path).read_rows(0, 1)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("indptr.raw", "../indptr.raw", "leaves the folder"),
        ('"<u4"', '"O"', "holds no whole numbers"),
        ('"<u4"', '"<,4"', "'<,4' is no type"),
        ('"<u4"', '"u9"', "'u9' is no type"),
        ("[3, 4]", "[3, 0]", "one or two sizes are needed"),
        ("[raw_csr]", "[other]", "needs indptr_file"),
        ("[params]", "[params", "cannot be read as TOML"),
        ("data.raw", "gone.raw", "cannot be read: No such file"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(tmp_path, old, new, says):
    path = write(tmp_path, dense())
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RecordingError, match=says):
        open_recording(path)


def test_fingerprint_is_that_of_the_arrays_too(tmp_path):
    path = write(tmp_path, dense())
    before = fingerprint(path, tmp_path / "s.json").sha256
    write(tmp_path, dense() + 1)
    assert fingerprint(path, tmp_path / "s.json").sha256 != before
