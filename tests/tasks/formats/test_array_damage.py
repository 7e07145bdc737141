"""Arrays whose chunks or headers are damaged or not there: noted, refused, or read as they are."""

import struct

import h5py
import numpy as np
import pytest
import zarr

from tasks.formats.detect import open_recording
from tasks.formats.recording import RecordingError
from tests.tasks.formats.arrays import DETECTOR, SCAN, counts, expected_events, save


def test_zarr_chunks_that_are_not_there_are_noted_and_their_frames_missing(tmp_path):
    path = tmp_path / "a.zarr"
    data = np.full((*SCAN, *DETECTOR), 2, "u2")
    save("zarr 3", path, data)
    (path / "c" / "1" / "0" / "0" / "0").unlink()
    recording = open_recording(path)
    assert any("1 of 3 chunks are not in the file" in note for note in recording.notes)
    assert recording.read_rows(0, 3).frames_present.tolist() == [1] * 5 + [0] * 5 + [1] * 5


def test_zarr_array_with_chunks_of_nothing_is_refused(tmp_path):
    path = save("zarr 2", tmp_path / "a.zarr", counts())
    words = (path / ".zarray").read_text()
    changed = words.replace('"chunks": [\n    1,', '"chunks": [\n    0,')
    assert changed != words, words
    (path / ".zarray").write_text(changed)
    with pytest.raises(RecordingError, match=r"chunks of 0 x .* hold nothing"):
        open_recording(path)


def test_zarr_array_that_was_only_laid_out_is_refused(tmp_path):
    zarr.create_array(str(tmp_path / "a.zarr"), shape=(2, 2, 4, 4), dtype="u2", chunks=(1, 1, 4, 4))
    with pytest.raises(RecordingError, match="none of its 4 chunks"):
        open_recording(tmp_path / "a.zarr")


def test_hdf5_array_that_was_only_laid_out_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", (9000, 9000, 512, 512), "u2", chunks=(1, 1, 512, 512))
    with pytest.raises(RecordingError, match="only 0 bytes of it are in the file"):
        open_recording(tmp_path / "a.h5")


def test_hdf5_chunks_that_were_never_written_are_noted_and_their_frames_missing(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        shape = (4, 5, 6, 4)
        data = file.create_dataset("data", shape, "u1", chunks=(2, 5, 6, 4), compression="gzip")
        data[:2] = 3
    recording = open_recording(tmp_path / "a.h5")
    assert "1 chunks are not in the file; HDF5 reads them as 0" in recording.notes
    assert recording.read_rows(0, 4).frames_present.tolist() == [1] * 10 + [0] * 10


def test_index_that_leads_two_chunks_to_the_same_bytes_is_refused(tmp_path):
    path = save("gzip", tmp_path / "a.h5", counts())
    with h5py.File(path) as file:
        one, other = (file["experiment/data"].id.get_chunk_info(n).byte_offset for n in (0, 1))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(struct.pack("<Q", other), struct.pack("<Q", one)))
    with pytest.raises(RecordingError, match="the index of its 9 chunks"):
        open_recording(path)


def lose_chunk(path, name, number):
    """Damage the key of a chunk: its size, its filters, its place, and 0 within an item."""
    with h5py.File(path) as file:
        info = file[name].id.get_chunk_info(number)
    key = struct.pack(f"<II{len(info.chunk_offset)}Q", info.size, 0, *info.chunk_offset)
    whole = path.read_bytes()
    assert whole.count(key + bytes(8)) == 1
    path.write_bytes(whole.replace(key + bytes(8), key + struct.pack("<Q", 512)))


def test_chunk_that_the_index_lists_and_does_not_find_is_refused(tmp_path):
    path = save("gzip", tmp_path / "a.h5", counts())
    lose_chunk(path, "experiment/data", 1)
    with h5py.File(path) as file:
        assert file["experiment/data"].id.get_num_chunks() == 9
        assert not file["experiment/data"][0, 2:4].any()  # what HDF5 makes of it
    recording = open_recording(path)
    with pytest.raises(RecordingError, match=r"chunk at \(0, 2, 0, 0\) is in the index and is not"):
        recording.read_rows(0, 3)


@pytest.mark.parametrize("mask", [1, 2])
def test_chunk_that_is_packed_and_marked_as_plain_is_refused(tmp_path, mask):
    path = save("gzip", tmp_path / "a.h5", counts())
    with h5py.File(path) as file:
        info = file["experiment/data"].id.get_chunk_info(1)
    size, place = struct.pack("<I", info.size), struct.pack("<4Q", *info.chunk_offset)
    key, whole = size + bytes(4) + place, path.read_bytes()
    assert whole.count(key) == 1
    path.write_bytes(whole.replace(key, size + struct.pack("<I", mask) + place))
    with pytest.raises(RecordingError, match="are not packed, and does not give them the 96 bytes"):
        open_recording(path)


def test_chunks_that_no_filter_packed_are_read(tmp_path, events_of):
    data = counts()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("plain", data=data, chunks=(1, 2, 6, 4))
        some = file.create_dataset("some", data.shape, "u2", chunks=(1, 5, 6, 4), compression=9)
        some[1:] = data[1:]
        some.id.write_direct_chunk((0, 0, 0, 0), data[0].tobytes(), filter_mask=1)
    for name in ("plain", "some"):
        recording = open_recording(tmp_path / "a.h5", array=name)
        assert events_of(recording) == expected_events(data)


def test_chunks_that_are_found_and_empty_are_empty(tmp_path, events_of):
    data = counts()
    data[0, 2:4] = 0
    path = save("gzip", tmp_path / "a.h5", data)
    assert events_of(open_recording(path)) == expected_events(data)
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        frames = data.reshape(15, *DETECTOR)
        file.create_dataset("frames", data=frames, chunks=(1, 3, 4), compression="gzip")
    recording = open_recording(tmp_path / "stack.h5", scan_shape=SCAN)
    assert events_of(recording) == expected_events(data)


def test_chunk_of_one_of_several_stacks_is_looked_for_in_that_stack(tmp_path, events_of):
    data = counts("u4").reshape(15, *DETECTOR)
    data[8] = 0
    with h5py.File(tmp_path / "x_master.h5", "w") as file:
        for n, part in enumerate((data[:6], data[6:]), start=1):
            name = f"x_data_{n:06d}.h5"
            with h5py.File(tmp_path / name, "w") as other:
                other.create_dataset(
                    "entry/data/data", data=part, chunks=(1, *DETECTOR), compression="gzip"
                )
            file[f"entry/data/data_{n:06d}"] = h5py.ExternalLink(name, "entry/data/data")
    path = tmp_path / "x_master.h5"
    assert events_of(open_recording(path, scan_shape=SCAN)) == expected_events(data)
    lose_chunk(tmp_path / "x_data_000002.h5", "entry/data/data", 3)
    with pytest.raises(RecordingError, match=r"x_data_000002.h5.*chunk at \(3, 0, 0\) is in the"):
        open_recording(path, scan_shape=SCAN).read_rows(0, 3)


def test_chunks_that_do_not_fit_into_memory_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (64, 64, 512, 512), "u2", chunks=(64, 64, 512, 512))
        assert data.chunks
    with pytest.raises(RecordingError, match="chunks of 64 x 64 x 512 x 512 are too large"):
        open_recording(tmp_path / "a.h5")


def test_damaged_chunk_is_named_by_its_frames(tmp_path):
    path = save("gzip", tmp_path / "a.h5", counts())
    with h5py.File(path) as file:
        info = file["experiment/data"].id.get_chunk_info(4)
    data = bytearray(path.read_bytes())
    data[info.byte_offset : info.byte_offset + info.size] = bytes(info.size)
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="frames .* cannot be read|damaged"):
        open_recording(path).read_rows(0, 3)


def test_npy_whose_header_says_less_than_the_file_holds_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((3, 5, 6, 4), np.uint16))
    damaged = path.read_bytes().replace(b"(3, 5, 6, 4)", b"(3, 5, 4, 4)")
    path.write_bytes(damaged)
    with pytest.raises(RecordingError, match=r"848 bytes, and 608 by its header .shape \(3, 5, 4"):
        open_recording(path)


def test_hdf5_array_whose_shape_is_not_that_of_its_bytes_is_refused(tmp_path):
    path = save("hdf5", tmp_path / "a.h5", np.ones((3, 5, 6, 4), np.uint16))
    shape, smaller = (np.array(one, "<u8").tobytes() for one in ((3, 5, 6, 4), (3, 5, 4, 4)))
    path.write_bytes(path.read_bytes().replace(shape, smaller, 1))
    with pytest.raises(RecordingError, match="480 bytes, but has 720 bytes in the file"):
        open_recording(path)
