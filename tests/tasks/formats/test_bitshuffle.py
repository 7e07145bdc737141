"""Numbers that would end the program inside bitshuffle's decoder are refused before it."""

import h5py
import hdf5plugin
import numpy as np
import pytest

from tasks.formats.bitshuffle import FILTER, check_chunks, check_settings
from tasks.formats.detect import open_recording
from tasks.formats.recording import RecordingError

COUNTS = np.random.default_rng(0).poisson(0.4, (3, 4, 16, 16)).astype("u2")


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "data", data=COUNTS, chunks=(1, 2, 16, 16), **hdf5plugin.Bitshuffle(cname="lz4")
        )
    return path


def chunk_at(path, corner):
    with h5py.File(path) as file:
        return file["data"].id.get_chunk_info_by_coord(corner).byte_offset


def overwrite(path, at, content):
    data = bytearray(path.read_bytes())
    data[at : at + len(content)] = content
    path.write_bytes(data)


def test_sound_chunks_are_read(packed):
    with h5py.File(packed) as file:
        assert check_settings("a", file["data"])
        check_chunks(str(packed), file["data"], [(0, 3)])
    block = open_recording(packed).read_rows(0, 3)
    np.testing.assert_array_equal(np.diff(block.indptr), COUNTS.sum(axis=(2, 3)).ravel())


@pytest.mark.parametrize("size", [0, 1023, 2**24, 2**63])
def test_chunk_of_false_size_is_named_by_its_place(packed, size):
    overwrite(packed, chunk_at(packed, (2, 2, 0, 0)), size.to_bytes(8, "big"))
    with pytest.raises(RecordingError, match=r"chunk at \(2, 2, 0, 0\) says that it has"):
        open_recording(packed)  # which looks at frames from all over the scan


@pytest.mark.parametrize("block", [0, 1, 15, 2**32 - 16])
def test_chunk_of_impossible_blocks_is_named_by_its_place(packed, block):
    overwrite(packed, chunk_at(packed, (0, 0, 0, 0)) + 8, block.to_bytes(4, "big"))
    with pytest.raises(RecordingError, match=r"chunk at \(0, 0, 0, 0\)"):
        open_recording(packed)


def test_settings_that_contradict_the_array_are_refused(tmp_path):
    path = tmp_path / "a.h5"
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, 2, 16, 16))
    plist.set_filter(FILTER, h5py.h5z.FLAG_MANDATORY, (0, 4, 2, 0, 2))
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple(COUNTS.shape)
        h5py.Dataset(h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT16, space, plist))[
            ...
        ] = COUNTS
    data = path.read_bytes()
    at = data.index(b"bitshuffle")
    settings = data.index((2).to_bytes(4, "little"), at + 40)  # version 0.4, then items of 2 bytes
    overwrite(path, settings, bytes(4))
    with pytest.raises(RecordingError, match="set to items of 0 bytes .* has items of 2"):
        open_recording(path)
