"""The format is told by what is in a file, and what is no recording is refused in one sentence."""

import os
import shutil
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from tasks.formats.detect import SUPPORTED, open_recording
from tasks.formats.recording import RecordingError


@pytest.mark.parametrize("suffix", [".h5", ".npy", ".dm4", ".mib", ""])
def test_suffix_does_not_matter(write_counted, suffix):
    path = write_counted([[1], [2], [3], [4]], name=f"recording{suffix}")
    assert open_recording(path).format.startswith("electron-counted HDF5")
    np.save(path.with_name("a.npy"), np.ones((2, 2, 4, 4), "u1"))
    shutil.move(path.with_name("a.npy"), path)
    assert open_recording(str(path)).format == "dense npy"


@pytest.mark.parametrize("content", [b"%PDF-1.7 report", b"\0" * 100, b"GIF89a", b"\x89HDF"])
def test_file_of_no_known_format_is_shown_with_the_formats_that_are(tmp_path, content):
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(RecordingError) as caught:
        open_recording(tmp_path / "a.h5")
    assert repr(content[:8]) in str(caught.value)
    assert SUPPORTED in str(caught.value)


def test_file_that_is_not_there_or_empty_or_a_folder_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="none.h5: cannot be read: No such file"):
        open_recording(tmp_path / "none.h5")
    (tmp_path / "empty.h5").touch()
    with pytest.raises(RecordingError, match="the file is empty"):
        open_recording(tmp_path / "empty.h5")
    with pytest.raises(RecordingError, match="this is a folder, and neither a Zarr"):
        open_recording(tmp_path)
    with pytest.raises(RecordingError, match="cannot be read"):
        open_recording("name with\0nothing")


def test_file_without_permission_is_refused(write_counted):
    path = write_counted([[1]] * 4)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(RecordingError, match="cannot be read: Permission denied"):
        open_recording(path)


def test_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RecordingError, match="no regular file"):
        open_recording(tmp_path / "pipe")


@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.999])
def test_truncated_hdf5_file_says_that_it_is_cut_short(shared_data, tmp_path, part):
    data = (shared_data / "stempy_small" / "small_64x64_v3.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: int(len(data) * part)])
    with pytest.raises(RecordingError, match="cut.h5: the file is cut short"):
        open_recording(tmp_path / "cut.h5")


def test_file_that_another_program_is_writing_is_refused(tmp_path):
    path = tmp_path / "live.h5"
    writer = textwrap.dedent(f"""
        import sys, h5py
        file = h5py.File({str(path)!r}, "w")
        file["electron_events/frames"] = [1]
        file.flush()
        print("open", flush=True)
        sys.stdin.read()
    """)
    environment = {k: v for k, v in os.environ.items() if k != "HDF5_USE_FILE_LOCKING"}
    with subprocess.Popen(
        [sys.executable, "-c", writer],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(RecordingError, match="live.h5: the file is locked or marked"):
            open_recording(path)
        process.stdin.close()


def test_file_that_changes_after_it_was_opened_is_refused(write_counted):
    path = write_counted([[1], [2], [3], [4]])
    recording = open_recording(path)
    with h5py.File(path, "r+") as file:
        file.attrs["more"] = np.arange(5000)
    with pytest.raises(RecordingError, match="changed since it was opened"):
        recording.read_rows(0, 1)


@pytest.mark.parametrize("rows", [(-1, 1), (0, 3), (2, 1), (7, 9)])
def test_rows_outside_the_scan_are_refused(write_counted, rows):
    recording = open_recording(write_counted([[1], [2], [3], [4]]))
    with pytest.raises(RecordingError, match=f"rows {rows[0]} to .*rows 0 to 1"):
        recording.read_rows(*rows)


def test_options_that_make_no_sense_are_refused(write_counted):
    path = write_counted([[1]] * 4)
    with pytest.raises(RecordingError, match="out_of_range is 'ignore'"):
        open_recording(path, out_of_range="ignore")
    with pytest.raises(RecordingError, match=r"scan_shape is \(0, 4\)"):
        open_recording(path, scan_shape=(0, 4))
    with pytest.raises(RecordingError, match="upsampling"):
        open_recording(path, upsampling=2)


def test_plain_tiff_is_no_electron_events(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 8, 8), "u1"), photometric="minisblack")
    recording = open_recording(tmp_path / "a.tif", scan_shape=(2, 2))
    assert recording.format.startswith("tiff")
    assert recording.read_rows(0, 2).indices.size == 4 * 64


def test_stack_of_velox_is_not_mistaken_for_frames_first(tmp_path):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file["Data/Image/abc/Data"] = np.zeros((8, 8, 5), "u2")  # frames on the last axis
    with pytest.raises(RecordingError, match="emd"):
        open_recording(tmp_path / "a.emd", scan_shape=(2, 4))
