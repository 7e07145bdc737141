"""Files of detectors, made by hand or by rosettasciio, are told by content and read lazily."""

import numpy as np
import pytest

from tasks.formats.detect import open_recording
from tasks.formats.recording import RecordingError

SCAN = (3, 4)


def expected_events(data):
    flat = data.reshape(-1, data.shape[-2] * data.shape[-1]).astype(int)
    return [np.repeat(np.arange(row.size), row).tolist() for row in flat]


def write_merlin(path, data):
    """Merlin's file: a header of text before each frame, big-endian counts, bottom row first."""
    rows, cols = data.shape[-2:]
    with open(path, "wb") as file:
        for n, frame in enumerate(data.reshape(-1, rows, cols)):
            second = 10 * (n // SCAN[1]) + n % SCAN[1]  # a pause after each line of the scan
            head = (
                f"MQ1,{n + 1:06d},00384,01,{cols:04d},{rows:04d},U16,   1x1,01,"
                f"2024-01-01 00:00:00.000000,0.001,0,0,0,1.2E2,"
                f"MQ1A,2024-01-01T00:00:{second:02d}.000000000Z,1000000ns,12,"
            )
            file.write(head.encode().ljust(384))
            file.write(frame[::-1].astype(">u2").tobytes())
    return path


def write_empad(folder, data):
    """EMPAD's pair of files: 128 rows of float32 and two rows of other numbers a frame."""
    frames = np.zeros((len(data), 130, 128), "<f4")
    frames[:, :128] = data
    frames.tofile(folder / "scan_x4_y3.raw")
    path = folder / "acquisition.xml"
    path.write_text(
        "<root><raw_file filename='scan_x4_y3.raw'/><pix_x>4</pix_x><pix_y>3</pix_y></root>"
    )
    return path


def counts(shape, seed=0):
    return np.random.default_rng(seed).poisson(0.3, (*SCAN, *shape)).astype("u2")


def test_merlin_file_is_told_by_its_mark_and_its_scan_by_the_job(tmp_path, events_of):
    data = counts((8, 8))
    path = write_merlin(tmp_path / "a.mib", data)
    recording = open_recording(path, scan_shape=SCAN)
    assert events_of(recording) == expected_events(data)
    with pytest.raises(RecordingError, match="12 frames do not make a scan of 3 x 3"):
        open_recording(path, scan_shape=(3, 3))


def test_guess_of_merlins_scan_is_noted(tmp_path, events_of):
    data = counts((8, 8))
    recording = open_recording(write_merlin(tmp_path / "a.mib", data))
    assert recording.scan_shape == SCAN
    assert events_of(recording) == expected_events(data)
    assert any("guessed" in note and "0 of 12 frames" in note for note in recording.notes)


def test_merlin_file_of_another_name_is_to_be_renamed(tmp_path):
    write_merlin(tmp_path / "unnamed", counts((8, 8)))
    with pytest.raises(RecordingError, match="Merlin file; its reader needs the suffix .mib"):
        open_recording(tmp_path / "unnamed", scan_shape=SCAN)


def test_header_beside_a_merlin_file_leads_to_it(tmp_path):
    write_merlin(tmp_path / "a.mib", counts((8, 8)))
    (tmp_path / "a.hdr").write_text(
        "HDR,\t\nFrames in Acquisition (Number):\t12\nFrames per Trigger (Number):\t4\nEnd\t\n"
    )
    recording = open_recording(tmp_path / "a.hdr")
    assert recording.path.endswith("a.mib")
    assert recording.scan_shape == SCAN


def test_empad_counts_are_read_without_the_rows_that_are_none(tmp_path, events_of):
    data = counts((128, 128)).reshape(12, 128, 128)
    recording = open_recording(write_empad(tmp_path, data))
    assert (recording.scan_shape, recording.detector_shape) == (SCAN, (128, 128))
    assert events_of(recording) == expected_events(data)


def test_truncated_merlin_file_is_refused_by_its_number_of_frames(tmp_path):
    path = write_merlin(tmp_path / "a.mib", counts((8, 8)))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(RecordingError, match="10 frames do not make a scan of 3 x 4"):
        open_recording(path, scan_shape=SCAN)


# MRC's reader leaves its file open when it fails; Python closes it, and says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.dm4", b"\0\0\0\4" + b"\0" * 60),
        ("a.mib", b"MQ1,0001,broken"),
        ("a.xml", b"<root><nothing/></root>"),
        ("a.mrc", b"\0" * 208 + b"MAP " + b"\0" * 60),
        ("a.ser", b"II\x97\x01" + b"\xff" * 60),
    ],
)
def test_damaged_file_names_its_reader_and_shows_no_traceback_of_it(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=f"{name}: "):
        open_recording(tmp_path / name, scan_shape=(2, 2))
