"""A file is laid out as the electron counter lays it out, and is whole or not there."""

import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.formats.stempy_hdf5 import StempyRecording
from tasks.store.stempy_file import write_stempy_file
from tests.flows.test_faults import small_disk

ROOT = Path(__file__).resolve().parents[3]
FRAMES = [[3, 3, 11], [], [0, 23], [7], [5, 6, 7, 8], [22]]


def slab(frames):
    lengths = [len(frame) for frame in frames]
    return np.concatenate([[0], np.cumsum(lengths)]), np.concatenate(frames).astype(np.uint32)


def slabs():
    return [slab(FRAMES[:2]), slab(FRAMES[2:5]), slab(FRAMES[5:])]


def test_layout_is_the_third_of_stempy(tmp_path):
    path = tmp_path / "new" / "scan.h5"
    events = write_stempy_file(path, slabs(), (3, 2), (4, 6), {"user": {"threshold": 4.0}, "a": 1})
    assert events == 11
    with h5py.File(path) as file:
        assert file.attrs["version"] == 3
        assert file.attrs["version"].dtype == np.int64
        frames = file["electron_events/frames"]
        positions = file["electron_events/scan_positions"]
        assert h5py.check_vlen_dtype(frames.dtype) == np.uint32
        assert frames.chunks is None
        assert [list(frame) for frame in frames] == FRAMES
        assert (frames.attrs["Nx"], frames.attrs["Ny"]) == (6, 4)
        assert (positions.attrs["Nx"], positions.attrs["Ny"]) == (2, 3)
        np.testing.assert_array_equal(positions, np.arange(6))
        assert file["metadata"].attrs["a"] == 1
        assert file["metadata/user"].attrs["threshold"] == 4.0


def test_same_attributes_as_a_file_that_stempy_wrote(shared_data, tmp_path):
    write_stempy_file(tmp_path / "scan.h5", slabs(), (3, 2), (4, 6))
    with (
        h5py.File(tmp_path / "scan.h5") as ours,
        h5py.File(shared_data / "stempy_small" / "small_64x64_v3.h5") as theirs,
    ):
        for name in ("/", "electron_events/frames", "electron_events/scan_positions"):
            for key in theirs[name].attrs:
                assert key in ours[name].attrs, (name, key)
        for name in ("frames", "scan_positions"):
            one, other = ours[f"electron_events/{name}"], theirs[f"electron_events/{name}"]
            assert h5py.check_vlen_dtype(one.dtype) == h5py.check_vlen_dtype(other.dtype)
            assert (one.chunks, one.compression) == (other.chunks, other.compression)


def test_reader_gives_the_events_back(tmp_path):
    path = tmp_path / "scan.h5"
    write_stempy_file(path, slabs(), (3, 2), (4, 6))
    block = StempyRecording(str(path), detector_shape=(4, 6)).read_rows(0, 3)
    indptr, indices = slab(FRAMES)
    np.testing.assert_array_equal(block.indptr, indptr)
    np.testing.assert_array_equal(block.indices, indices)


def test_same_events_give_the_same_bytes_at_another_time_and_in_other_slabs(tmp_path):
    write_stempy_file(tmp_path / "a.h5", slabs(), (3, 2), (4, 6))
    time.sleep(1.1)  # HDF5 keeps times in whole seconds
    write_stempy_file(tmp_path / "b.h5", [slab(FRAMES)], (3, 2), (4, 6))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (slabs()[:2], "5 positions for a scan of 3 x 2"),
        ([*slabs(), slab([[1]])], "positions 6 to 6 do not fit: the scan has 6"),
        ([(np.array([0, 2]), np.array([1, 2, 3]))], "run from 0 to 2 for 3 events"),
        ([slab([[1, 24]])], "index 24, the detector ends at 23"),
        ([(np.array([0, 1]), np.array([-1]))], "the detector ends at 23"),
    ],
)
def test_events_that_are_no_scan_are_refused_and_nothing_is_left(tmp_path, parts, message):
    path = tmp_path / "scan.h5"
    with pytest.raises(ValueError, match=message):
        write_stempy_file(path, parts, (3, 2), (4, 6))
    assert list(tmp_path.iterdir()) == []


def test_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "scan.h5"
    write_stempy_file(path, slabs(), (3, 2), (4, 6))
    before = path.read_bytes()

    def broken():
        yield slabs()[0]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_stempy_file(path, broken(), (3, 2), (4, 6))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("megabytes", [1, 3, 5])
def test_disk_that_fills_is_named_and_left_as_it_was(tmp_path, megabytes):
    """HDF5 itself ends the whole process there."""
    code = (
        "import numpy as np, sys\n"
        "from pathlib import Path\n"
        "from tasks.store.stempy_file import write_stempy_file\n"
        "slabs = [(np.arange(0, 400_001, 400), np.arange(400_000) % 24)] * 4\n"
        "write_stempy_file(Path(sys.argv[1]), slabs, (40, 100), (4, 6))\n"
    )
    with small_disk(tmp_path / "disk", f"{megabytes}m") as disk:
        ran = subprocess.run(
            [sys.executable, "-c", code, str(disk / "scan.h5")],
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
        assert ran.returncode == 1
        assert f"No space left on device: '{disk / 'scan.h5'}'" in ran.stderr
        assert list(disk.iterdir()) == []
