"""Dense arrays in HDF5, Zarr and npy files become the events that their counts say."""

import json
import pickle

import h5py
import numpy as np
import pytest
import zarr

from tasks.formats.detect import open_recording
from tasks.formats.recording import RecordingError
from tests.tasks.formats.arrays import DETECTOR, SCAN, counts, expected_events, save

KINDS = ["npy", "fortran npy", "hdf5", "gzip", "bitshuffle", "zarr 2", "zarr 3"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_count_of_n_is_n_events_in_every_container(tmp_path, events_of, kind):
    data = counts()
    recording = open_recording(save(kind, tmp_path / "data.any", data))
    assert (recording.scan_shape, recording.detector_shape) == (SCAN, DETECTOR)
    assert events_of(recording) == expected_events(data)
    assert recording.frames_total == 15


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "u4", "u8", "i2", ">i4", "i8", "f4", ">f8"])
def test_counts_of_every_type_are_the_same_counts(tmp_path, events_of, dtype):
    data = counts(dtype)
    assert events_of(open_recording(save("npy", tmp_path / "a.npy", data))) == expected_events(data)


def test_truths_are_counts_of_one(tmp_path, events_of):
    data = counts() > 0
    recording = open_recording(save("npy", tmp_path / "a.npy", data))
    assert events_of(recording) == expected_events(data)


@pytest.mark.parametrize("kind", ["npy", "gzip", "zarr 3"])
def test_rows_and_small_batches_make_no_difference(tmp_path, events_of, monkeypatch, kind):
    data = counts()
    recording = open_recording(save(kind, tmp_path / "data.any", data))
    monkeypatch.setattr("tasks.formats.dense.BYTES_AT_ONCE", 3 * 48)  # three frames, across rows
    assert events_of(recording) == expected_events(data)
    block = recording.read_rows(1, 2)
    assert block.indices.tolist() == [e for p in expected_events(data)[5:10] for e in p]
    assert recording.read_rows(2, 2).indptr.tolist() == [0]


@pytest.mark.parametrize("kind", ["npy", "hdf5", "zarr 3"])
def test_recording_reads_on_after_a_journey_to_another_process(tmp_path, kind):
    recording = open_recording(save(kind, tmp_path / "data.any", counts()))
    there = pickle.loads(pickle.dumps(recording))
    np.testing.assert_array_equal(there.read_rows(0, 3).indices, recording.read_rows(0, 3).indices)


def test_stack_of_frames_needs_a_scan_shape_that_fits(tmp_path, events_of):
    data = counts()
    path = save("npy", tmp_path / "a.npy", data.reshape(15, *DETECTOR))
    with pytest.raises(RecordingError, match="15 frames.*give scan_shape"):
        open_recording(path)
    with pytest.raises(RecordingError, match="15 frames do not make a scan of 4 x 4 = 16"):
        open_recording(path, scan_shape=(4, 4))
    assert events_of(open_recording(path, scan_shape=SCAN)) == expected_events(data)


def test_shapes_that_the_array_contradicts_are_refused(tmp_path):
    path = save("npy", tmp_path / "a.npy", counts())
    with pytest.raises(RecordingError, match="scan of 3 x 5 positions, scan_shape says 5 x 3"):
        open_recording(path, scan_shape=(5, 3))
    with pytest.raises(RecordingError, match="frames of 6 x 4 pixels; detector_shape says 4 x 6"):
        open_recording(path, detector_shape=(4, 6))


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 2, 2, 2, 2), (3, 0, 2, 2)])
def test_arrays_of_other_dimensions_are_refused(tmp_path, shape):
    with pytest.raises(RecordingError, match="4D data"):
        open_recording(save("npy", tmp_path / "a.npy", np.zeros(shape, "u1")))


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, -1.0])
def test_values_that_are_no_counts_are_refused_with_their_place(tmp_path, value):
    data = counts("f4")
    data[1, 2, 3, 1] = value
    path = save("npy", tmp_path / "a.npy", data)
    with pytest.raises(RecordingError, match=r"scan position \(1, 2\), detector pixel \(3, 1\)"):
        open_recording(path).read_rows(0, 3)


def test_negative_counts_are_refused(tmp_path):
    data = counts("i2")
    data[2, 4, 5, 3] = -7
    with pytest.raises(RecordingError, match=r"position \(2, 4\).*\(5, 3\): -7 is negative"):
        open_recording(save("npy", tmp_path / "a.npy", data)).read_rows(0, 3)


def test_value_that_marks_a_dead_pixel_is_no_count(tmp_path):
    data = counts("u4")
    data[0, 0, 0, 0] = 2**32 - 1
    with pytest.raises(RecordingError, match="4294967295 is no count"):
        open_recording(save("npy", tmp_path / "a.npy", data))


def test_threshold_makes_one_electron_of_each_value_from_it_on(tmp_path, events_of):
    data = np.random.default_rng(1).normal(0, 1, (*SCAN, *DETECTOR))
    recording = open_recording(save("npy", tmp_path / "a.npy", data), threshold=0.75)
    assert events_of(recording) == expected_events(data >= 0.75)
    assert any("0.75 on were taken as one electron" in note for note in recording.notes)


@pytest.mark.parametrize("threshold", [0.0, -1.0, np.nan, np.inf])
def test_threshold_that_makes_every_pixel_or_none_an_electron_is_refused(tmp_path, threshold):
    with pytest.raises(RecordingError, match="threshold is"):
        open_recording(save("npy", tmp_path / "a.npy", counts()), threshold=threshold)


@pytest.mark.parametrize("dtype", ["c8", "U3", "M8[s]"])
def test_arrays_of_other_types_are_refused(tmp_path, dtype):
    data = np.zeros((2, 2, 2, 2), dtype)
    with pytest.raises(RecordingError, match="counts of electrons are needed"):
        open_recording(save("npy", tmp_path / "a.npy", data))


@pytest.mark.parametrize("how", ["filter", "compressor", "codec"])
def test_zarr_of_pickled_chunks_is_never_unpickled(tmp_path, how):
    class Evil:
        def __reduce__(self):
            return (tmp_path / "made").touch, ()

    shape, pickled = [2, 2, 4, 4], [{"id": "pickle"}]
    two = {"zarr_format": 2, "shape": shape, "chunks": shape, "dtype": "|u1", "order": "C",
           "fill_value": 0, "filters": pickled if how == "filter" else None,
           "compressor": pickled[0] if how == "compressor" else None}  # fmt: skip
    codecs = [{"name": "bytes"}, {"name": "numcodecs.pickle", "configuration": {}}]
    three = {"zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "uint8",
             "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
             "chunk_key_encoding": {"name": "default"}, "fill_value": 0,
             "codecs": codecs}  # fmt: skip
    path, name = tmp_path / "a.zarr", "zarr.json" if how == "codec" else ".zarray"
    chunk = path / ("c/0/0/0/0" if how == "codec" else "0.0.0.0")
    chunk.parent.mkdir(parents=True)
    (path / name).write_text(json.dumps(three if how == "codec" else two))
    chunk.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(RecordingError, match="Zarr cannot open it"):
        open_recording(path).read_rows(0, 2)
    assert not (tmp_path / "made").exists()


def test_npy_of_python_objects_is_never_unpickled(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(RecordingError, match="objects instead of numbers"):
        open_recording(path)


def test_last_column_is_dropped_when_the_job_says_so(tmp_path, events_of):
    data = counts()
    recording = open_recording(save("gzip", tmp_path / "a.h5", data), drop_flyback=True)
    assert recording.scan_shape == (3, 4)
    assert events_of(recording) == expected_events(data[:, :4])


def test_blank_frame_among_bright_ones_is_missing(tmp_path):
    data = np.full((*SCAN, *DETECTOR), 2, "u1")
    data[1, 3] = 0
    recording = open_recording(save("npy", tmp_path / "a.npy", data))
    present = recording.read_rows(0, 3).frames_present
    assert np.flatnonzero(present == 0).tolist() == [8]
    assert any("taken as missing" in note for note in recording.notes)


def test_dim_frames_without_electrons_are_frames(tmp_path):
    data = np.zeros((*SCAN, *DETECTOR), "u1")
    data[0, 0, 0, 0] = 1
    recording = open_recording(save("npy", tmp_path / "a.npy", data))
    assert recording.read_rows(0, 3).frames_present.tolist() == [1] * 15


def test_camera_values_that_would_flood_the_memory_are_refused(tmp_path):
    data = np.full((2, 2, 64, 64), 2**20, "u4")
    with pytest.raises(RecordingError, match="rows 0 to 1 hold .* camera values"):
        open_recording(save("npy", tmp_path / "a.npy", data)).read_rows(0, 2)


def test_several_arrays_are_listed_and_one_is_chosen_by_name(tmp_path, events_of):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["one/data"], file["two/data"] = counts(seed=1), counts(seed=2)
        file["virtual"] = np.zeros((3, 5))
    with pytest.raises(RecordingError, match=r"/one/data \(3 x 5 x 6 x 4\), /two/data"):
        open_recording(path)
    for name in ("/two/data", "two/data", "two", "/two/"):  # EMD names the group
        assert events_of(open_recording(path, array=name)) == expected_events(counts(seed=2))
    with pytest.raises(RecordingError, match="no array three; arrays of frames in it: /one"):
        open_recording(path, array="three")
    with pytest.raises(RecordingError, match="4D data"):
        open_recording(path, array="virtual")


def test_the_only_4d_array_is_taken_before_stacks(tmp_path, events_of):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["4DSTEM_experiment/data/datacubes/datacube_0/data"] = counts()
        file["images"] = np.zeros((7, 3, 5), "u2")
    recording = open_recording(path)
    assert "datacube_0" in recording.format
    assert events_of(recording) == expected_events(counts())


def test_arrays_of_a_zarr_group_are_listed_and_chosen(tmp_path, events_of):
    path = tmp_path / "a.zarr"
    group = zarr.create_group(str(path))
    for n, name in enumerate(("a", "b/c")):
        group.create_array(name, data=counts(seed=n))
    with pytest.raises(RecordingError, match="several arrays.*b/c"):
        open_recording(path)
    assert events_of(open_recording(path, array="/b/c")) == expected_events(counts(seed=1))
    with pytest.raises(RecordingError, match="no array d"):
        open_recording(path, array="d")


def test_stacks_of_a_dectris_master_file_are_joined_and_dead_pixels_masked(tmp_path, events_of):
    data = counts("u4").reshape(15, *DETECTOR)
    mask = np.zeros(DETECTOR, "u4")
    mask[2, 3] = 1
    data[:, 2, 3] = 2**32 - 1
    for n, part in enumerate((data[:4], data[4:13], data[13:]), start=1):
        with h5py.File(tmp_path / f"x_data_{n:06d}.h5", "w") as file:
            file["entry/data/data"] = part
    path = tmp_path / "x_master.h5"
    with h5py.File(path, "w") as file:
        for n in (1, 2, 3):
            file[f"entry/data/data_{n:06d}"] = h5py.ExternalLink(
                f"x_data_{n:06d}.h5", "entry/data/data"
            )
        file["entry/instrument/detector/detectorSpecific/pixel_mask"] = mask
    recording = open_recording(path, scan_shape=SCAN)
    assert events_of(recording) == expected_events(np.where(mask, 0, data))
    assert any("1 dead pixels" in note for note in recording.notes)
    (tmp_path / "x_data_000002.h5").unlink()
    with pytest.raises(RecordingError, match="x_data_000002.h5, which is not there"):
        open_recording(path, scan_shape=SCAN)


def test_raw_stack_of_stempy_says_its_scan_as_width_and_height(tmp_path, events_of):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["frames"] = counts().reshape(15, *DETECTOR)
        file["frames"].attrs["scan_dimensions"] = (SCAN[1], SCAN[0])
    assert events_of(open_recording(path)) == expected_events(counts())
    with pytest.raises(RecordingError, match="scan of 3 x 5"):
        open_recording(path, scan_shape=(5, 3))


def test_file_without_frames_says_so(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["text"] = "no data"
    with pytest.raises(RecordingError, match="no array of frames"):
        open_recording(tmp_path / "a.h5")
