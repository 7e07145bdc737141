"""Electron-counted files: every layout, every fault that they come with."""

import pickle

import h5py
import numpy as np
import pytest

from tasks.formats.detect import open_recording
from tasks.formats.recording import RecordingError

SMALL = ["v3", "2frames_v3", "v2", "v1"]
BRIGHT = [np.arange(n, n + 30) for n in range(16)]
"""Frames that leave no doubt that an empty one between them is missing."""


def plain_events(path):
    """Events of each position of a file, by a loop over plain h5py: the format's definition."""
    with h5py.File(path) as file:
        rows, at = file["electron_events/frames"][:], file["electron_events/scan_positions"]
        count = int(at.attrs["Nx"]) * int(at.attrs["Ny"])
        where = at[:]
        if file.attrs.get("version") == 3:
            where = np.arange(len(rows)) // (len(rows) // count)
    found = [[] for _ in range(count)]
    for position, row in zip(where, rows, strict=True):
        found[position] += row.tolist()
    return [sorted(events) for events in found]


@pytest.mark.parametrize("name", [f"64x64_{n}" for n in SMALL] + ["64x65_flyback_v3"])
def test_events_equal_a_plain_loop_over_the_file(shared_data, events_of, name):
    path = shared_data / "stempy_small" / f"small_{name}.h5"
    assert events_of(open_recording(path)) == plain_events(path)


def test_all_layouts_of_one_recording_give_the_same_events(shared_data, events_of):
    paths = [shared_data / "stempy_small" / f"small_64x64_{n}.h5" for n in SMALL[1:]]
    first, *others = (events_of(open_recording(path)) for path in paths)
    for other in others:
        assert other == first


@pytest.mark.parametrize("name", SMALL)
def test_missing_frames_are_those_that_the_simulation_left_out(shared_data, name):
    folder = shared_data / "stempy_small"
    truth = np.load(folder / "small_truth.npz")
    present = open_recording(folder / f"small_64x64_{name}.h5").read_rows(0, 64).frames_present
    np.testing.assert_array_equal(np.flatnonzero(present == 0), truth["missing"])
    if name in ("v2", "2frames_v3"):
        np.testing.assert_array_equal(np.flatnonzero(present == 1), np.sort(truth["single"]))
        assert present.max() == 2


def test_rows_read_alone_are_those_read_together(shared_data):
    recording = open_recording(shared_data / "stempy_small" / "small_64x64_v2.h5")
    whole = recording.read_rows(0, 64)
    parts = [recording.read_rows(a, min(a + 7, 64)) for a in range(0, 64, 7)]
    np.testing.assert_array_equal(np.concatenate([p.indices for p in parts]), whole.indices)
    lengths = np.concatenate([np.diff(p.indptr) for p in parts])
    np.testing.assert_array_equal(lengths, np.diff(whole.indptr))
    assert (whole.indptr.dtype, whole.indices.dtype) == (np.int64, np.uint32)


def test_flyback_column_is_reported_and_kept(shared_data):
    recording = open_recording(shared_data / "stempy_small" / "small_64x65_flyback_v3.h5")
    assert recording.flyback_suspected
    assert recording.scan_shape == (64, 65)
    assert any("flyback" in note and "kept" in note for note in recording.notes)


def test_dropped_flyback_column_is_the_last_of_each_row(shared_data, events_of):
    path = shared_data / "stempy_small" / "small_64x65_flyback_v3.h5"
    recording = open_recording(path, drop_flyback=True)
    kept = [e for n, e in enumerate(plain_events(path)) if n % 65 != 64]
    assert recording.scan_shape == (64, 64)
    assert events_of(recording) == kept
    assert any("dropped" in note for note in recording.notes)


def test_no_flyback_is_suspected_in_a_scan_without_one(shared_data):
    for name in SMALL:
        recording = open_recording(shared_data / "stempy_small" / f"small_64x64_{name}.h5")
        assert not recording.flyback_suspected


def test_one_column_too_many_is_no_flyback_where_it_is_as_bright_as_the_others(write_counted):
    path = write_counted(BRIGHT[:6], scan=(2, 3), detector=(8, 8))
    assert not open_recording(path).flyback_suspected


@pytest.mark.parametrize("version", [1, 2])
def test_column_is_dropped_by_scan_position_in_layouts_that_reorder(
    write_counted, events_of, version
):
    frames = [[5], [4], [3], [2], [1], [0]]
    path = write_counted(frames, scan=(2, 3), version=version, positions=[5, 4, 3, 2, 1, 0])
    assert events_of(open_recording(path)) == [[0], [1], [2], [3], [4], [5]]
    assert events_of(open_recording(path, drop_flyback=True)) == [[0], [1], [3], [4]]


def test_all_frames_of_a_position_count_in_layout_2_with_a_dropped_column(write_counted, events_of):
    frames = [[1], [2], [3], [4], [5], [6], [7], [8]]
    path = write_counted(frames, scan=(2, 2), version=2, positions=[0, 0, 1, 1, 2, 2, 3, 3])
    recording = open_recording(path, drop_flyback=True)
    assert events_of(recording) == [[1, 2], [5, 6]]
    assert recording.read_rows(0, 2).frames_present.tolist() == [2, 2]


def test_positions_that_repeat_are_frames_and_positions_that_are_absent_are_missing(
    write_counted, events_of
):
    path = write_counted([[3], [1], [2]], version=2, positions=[2, 0, 2])
    recording = open_recording(path)
    assert events_of(recording) == [[1], [], [2, 3], []]
    assert recording.read_rows(0, 2).frames_present.tolist() == [1, 0, 2, 0]
    assert any("2 positions are missing" in note for note in recording.notes)
    assert any("not in the order" in note for note in recording.notes)


def test_repeated_pixels_without_a_version_are_layout_1(write_counted):
    path = write_counted([[1, 4, 1], [2], [3], [0]], version=None)
    assert open_recording(path).format.endswith("layout 1")
    path = write_counted([[1, 4], [2], [3], [0]], version=None)
    assert open_recording(path).format.endswith("layout 2")


def test_repeated_positions_without_a_version_are_layout_2(write_counted):
    path = write_counted([[1, 1], [2], [3], [0]], version=None, positions=[0, 0, 1, 2])
    assert open_recording(path).format.endswith("layout 2")


def test_repeated_pixels_of_one_frame_are_electrons_and_their_rate_is_noted(
    write_counted, events_of
):
    recording = open_recording(write_counted([[0, 2, 2], [1], [1], [1]]))
    assert events_of(recording)[0] == [0, 2, 2]
    assert any("17 % of the events repeat" in note for note in recording.notes)


def test_events_of_shifted_files_are_sorted(write_counted, events_of):
    frames = [[9, 3, 7, 3], [2, 1], [63, 0, 62, 1, 61, 2], [5]]
    assert events_of(open_recording(write_counted(frames))) == [sorted(f) for f in frames]


def test_padding_of_positions_with_fewer_frames_costs_nothing(write_counted):
    frames = [f for n in range(16) for f in (BRIGHT[n], BRIGHT[n] if n != 3 else [])]
    block = open_recording(write_counted(frames, scan=(4, 4))).read_rows(0, 4)
    assert block.frames_present.tolist() == [2, 2, 2, 1] + [2] * 12
    assert np.diff(block.indptr).tolist() == [60, 60, 60, 30] + [60] * 12


def test_empty_frame_among_bright_ones_is_missing_and_among_dim_ones_it_is_not(write_counted):
    bright = open_recording(write_counted([BRIGHT[0], [], BRIGHT[1], BRIGHT[2]]))
    assert bright.read_rows(0, 2).frames_present.tolist() == [1, 0, 1, 1]
    assert any("1 frames" in note and "missing" in note for note in bright.notes)
    dim = open_recording(write_counted([[1], [], [2], [3, 4]]))
    assert dim.read_rows(0, 2).frames_present.tolist() == [1, 1, 1, 1]


def test_index_outside_the_detector_fails_with_its_frame(write_counted):
    path = write_counted([[1], [2, 64], [3], [4]])
    with pytest.raises(RecordingError, match=r"1 events.*8 x 8.*63; frame 1 has 64"):
        open_recording(path).read_rows(0, 2)


@pytest.mark.parametrize("index", [64, 10**6, 10**9, 2**32 - 1])
def test_index_outside_the_detector_is_dropped_and_counted_when_asked(
    write_counted, events_of, index
):
    path = write_counted([[1], [index, 2], [3], [4, index]])
    recording = open_recording(path, out_of_range="drop")
    assert events_of(recording) == [[1], [2], [3], [4]]
    assert any(note.startswith("2 events outside") for note in recording.notes)
    assert recording.metadata["events_outside_detector"] == 2


def test_negative_index_is_refused_by_its_value(write_counted):
    path = write_counted([[1], [2], [-3, 5], [4]], kind="i4")
    with pytest.raises(RecordingError, match="frame 2 has -3"):
        open_recording(path).read_rows(0, 2)


@pytest.mark.parametrize("kind", ["u1", "u2", ">u4", "i8", "u8"])
def test_indices_of_other_widths_are_widened(write_counted, events_of, kind):
    frames = [[1], [2, 63], [3], [4]]
    assert events_of(open_recording(write_counted(frames, kind=kind))) == frames


def test_indices_too_narrow_for_the_detector_are_refused(write_counted):
    path = write_counted([[1]] * 4, detector=(576, 576), kind="u2")
    with pytest.raises(RecordingError, match="uint16, which ends at 65535.*331775"):
        open_recording(path)


def test_rows_in_compressed_chunks_are_read_too(write_counted, events_of):
    path = write_counted(BRIGHT[:4], chunks=(2,), compression="gzip")
    assert events_of(open_recording(path)) == [frame.tolist() for frame in BRIGHT[:4]]


def test_detector_that_is_not_square_needs_its_shape(write_counted, events_of):
    path = write_counted([[2 * 6 + 5]] * 4, detector=(4, 6))
    with pytest.raises(RecordingError, match="Nx, Ny = 6, 4.*detector_shape"):
        open_recording(path)
    for told in ((4, 6), (6, 4)):  # both have been written
        recording = open_recording(path, detector_shape=told)
        assert recording.detector_shape == told
        assert events_of(recording) == [[17]] * 4
    with pytest.raises(RecordingError, match="5 x 5"):
        open_recording(path, detector_shape=(5, 5))


def test_width_and_height_of_the_scan_are_not_exchanged(write_counted):
    assert open_recording(write_counted(BRIGHT[:6], scan=(3, 2))).scan_shape == (3, 2)


FAULTS = {
    "positions of layout 3 out of order": ({"positions": [1, 0, 2, 3]}, "not 0 to 3 in order"),
    "too few positions in layout 3": ({"positions": [0, 1, 2]}, "not 0 to 3 in order"),
    "frames that do not fill the scan": ({"frames": [[1]] * 3}, "3 frames for a scan of 4"),
    "frames that do not divide": ({"frames": [[1]] * 6}, "6 frames for a scan of 4"),
    "no frames": ({"frames": []}, "no rows"),
    "position outside": ({"version": 2, "positions": [0, 1, 2, 4]}, "first is 4, of frame 3"),
    "negative position": ({"version": 2, "positions": [0, 1, -2, 3]}, "first is -2, of frame 2"),
    "positions too few": ({"version": 2, "positions": [0, 1, 2]}, "3 entries.*4 frames"),
    "positions with fractions": ({"positions": [0.0, 1, 2, 3]}, "float64, not whole numbers"),
    "unknown layout": ({"version": 4}, "version is.*4"),
    "version as text": ({"version": "three"}, "version is 'three'"),
    "huge scan": ({"version": 2, "scan": (60000, 60000), "positions": [0] * 4}, "do not belong"),
    "scan of nothing": ({"scan": (0, 4), "positions": [0, 1, 2, 3]}, "expected 1 to 65535"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_file_that_contradicts_itself_is_refused_with_the_numbers(write_counted, fault):
    changes, message = FAULTS[fault]
    options = {"frames": [[1], [2], [3], [4]], **changes}
    path = write_counted(options.pop("frames"), **options)
    with pytest.raises(RecordingError, match=message) as caught:
        open_recording(path)
    assert str(path) in str(caught.value)


def test_attributes_that_are_absent_or_no_numbers_are_named(write_counted):
    path = write_counted([[1]] * 4)
    with h5py.File(path, "r+") as file:
        file["electron_events/frames"].attrs["Nx"] = "wide"
    with pytest.raises(RecordingError, match="frames needs a whole number Nx.*wide"):
        open_recording(path)
    with h5py.File(path, "r+") as file:
        file["electron_events/frames"].attrs["Nx"] = 8
        del file["electron_events/scan_positions"].attrs["Ny"]
    with pytest.raises(RecordingError, match="Ny as attribute; found none"):
        open_recording(path)


def test_scan_shape_fills_in_for_a_file_that_lost_it_and_must_else_agree(write_counted):
    path = write_counted([[1]] * 6, scan=(2, 3))
    assert open_recording(path, scan_shape=(2, 3)).scan_shape == (2, 3)
    with pytest.raises(RecordingError, match="2 x 3 positions, scan_shape says 3 x 2"):
        open_recording(path, scan_shape=(3, 2))
    with h5py.File(path, "r+") as file:
        del file["electron_events/scan_positions"].attrs["Ny"]
        del file["electron_events/scan_positions"].attrs["Nx"]
    assert open_recording(path, scan_shape=(3, 2)).scan_shape == (3, 2)


def test_files_of_2019_with_pairs_are_refused_by_name(tmp_path):
    path = tmp_path / "old.h5"
    pair = h5py.vlen_dtype(np.dtype([("x", "u4"), ("y", "u4")]))
    with h5py.File(path, "w") as file:
        file.create_dataset("electron_events/frames", (4,), pair)
        file.create_dataset("electron_events/scan_positions", data=np.arange(4))
    with pytest.raises(RecordingError, match="whole numbers.*April 2019"):
        open_recording(path)


@pytest.mark.parametrize("gone", ["frames", "scan_positions"])
def test_missing_dataset_is_named(write_counted, gone):
    path = write_counted([[1]] * 4)
    with h5py.File(path, "r+") as file:
        del file[f"electron_events/{gone}"]
    with pytest.raises(RecordingError, match=f"electron_events/{gone} is not there"):
        open_recording(path)


def test_metadata_are_flat_and_json_can_hold_them(write_counted):
    path = write_counted([[1]] * 4)
    with h5py.File(path, "r+") as file:
        group = file.create_group("metadata/electron_counting")
        group.attrs.update({"mean": np.float64(20.5), "bad": np.nan, "on": True, "t": b"x"})
        file["metadata/loop"] = file["metadata"]  # a group that holds itself
        file.create_group("user").attrs["threshold sigma"] = 4.5
    assert open_recording(path).metadata == {
        "electron_counting/mean": 20.5,
        "electron_counting/bad": "nan",
        "electron_counting/on": True,
        "electron_counting/t": "x",
        "user/threshold sigma": 4.5,
    }


def test_recording_travels_small_and_reads_on_after_the_journey(shared_data):
    recording = open_recording(shared_data / "stempy_small" / "small_64x64_v2.h5")
    packed = pickle.dumps(recording)
    assert len(packed) < 4096
    there = pickle.loads(packed).read_rows(3, 5)
    np.testing.assert_array_equal(there.indices, recording.read_rows(3, 5).indices)


def test_estimate_is_the_mean_of_the_scan(write_counted):
    recording = open_recording(write_counted([[1, 2, 3], [4], [], [5]]))
    assert recording.events_per_position_estimate == 5 / 4


def test_threshold_and_array_are_not_silently_ignored(write_counted):
    path = write_counted([[1]] * 4)
    with pytest.raises(RecordingError, match="threshold.*leave threshold out"):
        open_recording(path, threshold=3)
    with pytest.raises(RecordingError, match="no array data"):
        open_recording(path, array="data")


def test_one_column_cannot_be_dropped(write_counted):
    path = write_counted([[1]] * 4, scan=(4, 1))
    with pytest.raises(RecordingError, match="1 wide"):
        open_recording(path, drop_flyback=True)
