"""Raw sector files: every frame is put together, every loss is seen, every electron counted."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.raw_scan import write_sector_files
from gpu_kernels.count_frames import count_frames, levels_of
from models.camera import Camera, dark_frame, raw_frame
from tasks.array_files import ArrayFile, read_reference
from tasks.formats.detect import open_recording
from tasks.formats.raw_sectors import Counting
from tasks.formats.recording import RecordingError
from tasks.formats.sector_files import RECORD, scan_files
from tasks.ingest import ReaderOptions, ingest
from tasks.store import layout
from tasks.store.events import open_store
from tasks.store.source import fingerprint

SIDE, SCAN = 576, (3, 4)
CAMERA = Camera()
KNOWN = {"background_threshold": 30.0, "xray_threshold": 500.0}


@pytest.fixture(scope="module")
def scene():
    """Twelve frames, their true electrons and the camera's dark frame."""
    rng = np.random.default_rng(0)
    dark = dark_frame(CAMERA, (SIDE, SIDE), rng)
    truth = [np.sort(rng.choice(SIDE**2, 800, replace=False)) for _ in range(12)]
    ones = np.ones_like(dark)
    return [raw_frame(one, dark, ones, CAMERA, rng) for one in truth], truth, dark


def counted_alone(frame, gain=None):
    gain = np.ones(frame.shape) if gain is None else gain
    return count_frames(frame[None], levels_of(np.zeros(frame.shape), gain, 30.0, 500.0))[
        1
    ].tolist()


@pytest.mark.parametrize("kind", [5, 4])
@pytest.mark.parametrize("files", [1, 3])
def test_frames_are_put_together_from_their_sectors(scene, events_of, tmp_path, kind, files):
    write_sector_files(tmp_path, scene[0], SCAN, layout=kind, files=files)
    recording = open_recording(tmp_path, counting=Counting(layout=kind, **KNOWN))
    assert recording.scan_shape == SCAN
    assert events_of(recording) == [counted_alone(frame) for frame in scene[0]]


def test_rows_read_alone_are_those_read_together(scene, tmp_path):
    write_sector_files(tmp_path, scene[0], SCAN)
    recording = open_recording(tmp_path, counting=Counting(**KNOWN))
    whole = recording.read_rows(0, 3)
    parts = [recording.read_rows(n, n + 1) for n in range(3)]
    np.testing.assert_array_equal(np.concatenate([p.indices for p in parts]), whole.indices)


@pytest.mark.parametrize("kind", [5, 4])
def test_lost_sectors_are_kept_as_a_mask_and_lost_frames_as_missing(scene, tmp_path, kind):
    gone = {(2, 0), (5, 1), (5, 3), *((7, sector) for sector in range(4))}
    write_sector_files(tmp_path, scene[0], SCAN, layout=kind, lost=frozenset(gone))
    recording = open_recording(tmp_path, counting=Counting(layout=kind, **KNOWN))
    block = recording.read_rows(0, 3)
    expected = np.zeros(12, np.uint8)
    expected[[2, 5]] = 0b0001, 0b1010
    np.testing.assert_array_equal(block.sectors_lost, expected)
    np.testing.assert_array_equal(np.flatnonzero(block.frames_present == 0), [7])
    assert any("sector 0: 1, sector 1: 1, sector 3: 1" in note for note in recording.notes)
    rows, cols = np.divmod(block.indices[block.indptr[5] : block.indptr[6]], SIDE)
    assert set((rows if kind == 5 else cols) // 144) == {0, 2}


def test_frames_of_one_position_are_summed(scene, events_of, tmp_path):
    write_sector_files(tmp_path, scene[0], (2, 3), frames_at=2, lost=frozenset({(1, 2)}))
    recording = open_recording(tmp_path, counting=Counting(**KNOWN))
    block = recording.read_rows(0, 2)
    assert (block.frames_present == 2).all()
    assert block.sectors_lost.tolist() == [0b0100, 0, 0, 0, 0, 0]
    both = sorted(counted_alone(scene[0][2]) + counted_alone(scene[0][3]))
    assert events_of(recording)[1] == both


def test_most_electrons_are_found_and_little_else_with_fitted_thresholds(scene, tmp_path):
    frames, truth, dark = scene
    np.save(tmp_path / "dark.npy", dark)
    write_sector_files(tmp_path / "raw", frames, SCAN)
    reference = ArrayFile.at(str(tmp_path / "dark.npy"), read_reference)
    recording = open_recording(tmp_path / "raw", counting=Counting(dark=reference))
    block = recording.read_rows(0, 3)
    found = false = 0
    for (begin, end), true in zip(pairwise(block.indptr), truth, strict=True):
        near = np.zeros((SIDE + 2, SIDE + 2), bool)
        true_row, true_col = np.divmod(true, SIDE)
        hit = np.zeros((SIDE + 2, SIDE + 2), bool)
        row, col = np.divmod(block.indices[begin:end].astype(int), SIDE)
        for y in (0, 1, 2):
            for x in (0, 1, 2):
                near[true_row + y, true_col + x] = True
                hit[row + y, col + x] = True
        found += int(hit[true_row + 1, true_col + 1].sum())
        false += int((~near[row + 1, col + 1]).sum())
    assert found > 0.97 * 12 * 800
    assert false < 0.01 * 12 * 800
    noise = recording.metadata["electron_counting/optimized_std_dev"]
    assert abs(noise - np.hypot(CAMERA.noise, 0.29)) < 0.1


@pytest.mark.parametrize(("spread", "twice"), [(0.35, 0), (0.7, 0.001)])
def test_electrons_far_from_each_other_are_counted_once(spread, twice):
    camera = replace(CAMERA, diffusion=spread, deposit=90.0, xrays=0.0)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[8:SIDE:16, 8:SIDE:16]
    dark, ones = np.full((SIDE, SIDE), 20.0), np.ones((SIDE, SIDE))
    frames = np.stack([raw_frame((y * SIDE + x).ravel(), dark, ones, camera, rng)] * 2)
    found = np.diff(count_frames(frames, levels_of(dark, ones, 10, 500))[0])
    assert (np.abs(found / y.size - 1) <= twice).all()


def test_thresholds_are_the_same_on_every_run_and_follow_the_seed(scene, tmp_path):
    write_sector_files(tmp_path, scene[0], SCAN)
    counting = [Counting(samples=3, seed=seed) for seed in (1, 1, 2)]
    found = [open_recording(tmp_path, counting=one).metadata for one in counting]
    assert found[0] == found[1] != found[2]
    assert found[0]["electron_counting/seed"] == 1


def test_gain_makes_neighbours_comparable(scene, events_of, tmp_path):
    frames = scene[0][:4]
    gain = np.where(np.indices((SIDE, SIDE))[1] % 2, 2.0, 1.0)
    np.save(tmp_path / "gain.npy", gain)
    frames = [frame * gain.astype(np.uint16) for frame in frames]
    write_sector_files(tmp_path / "raw", frames, (2, 2))
    reference = ArrayFile.at(str(tmp_path / "gain.npy"), read_reference)
    recording = open_recording(tmp_path / "raw", counting=Counting(gain=reference, **KNOWN))
    assert events_of(recording) == [counted_alone(frame, gain) for frame in frames]
    assert events_of(recording) != [counted_alone(frame) for frame in frames]


def test_a_dropped_column_is_the_last_of_each_row(scene, events_of, tmp_path):
    write_sector_files(tmp_path, scene[0], SCAN)
    recording = open_recording(tmp_path, counting=Counting(**KNOWN), drop_flyback=True)
    kept = [counted_alone(frame) for n, frame in enumerate(scene[0]) if n % 4 != 3]
    assert recording.scan_shape == (3, 3)
    assert events_of(recording) == kept


def test_one_file_stands_for_all_of_its_scan(scene, events_of, tmp_path):
    write_sector_files(tmp_path, scene[0][:2], (1, 2), scan=1)
    write_sector_files(tmp_path, scene[0][2:4], (1, 2), scan=2)
    path = next(file for file in sorted(tmp_path.iterdir()) if "0002_module3" in file.name)
    assert len(scan_files(path)) == 8
    recording = open_recording(path, counting=Counting(**KNOWN))
    assert events_of(recording) == [counted_alone(frame) for frame in scene[0][2:4]]
    with pytest.raises(RecordingError, match="raw files of 2 scans"):
        open_recording(tmp_path)


def cut(files):
    files[0].write_bytes(files[0].read_bytes()[:-100])


def rescanned(files):
    edit(files[1], "scan", 9)


def off_the_scan(files):
    edit(files[0], "at", (9, 0))


def doubled(files):
    files[0].write_bytes(files[0].read_bytes() * 2)


def emptied(files):
    for file in files:
        file.write_bytes(b"")


def renamed(files):
    files[0].rename(files[0].with_name(files[0].name.replace("module0", "module7")))


def edit(file, name, value):
    records = np.fromfile(file, RECORD)
    records[name][0] = value
    records.tofile(file)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (cut, r"whole number of records of 165904 bytes"),
        (rescanned, r"record 0 has the scan number 9, other files have 147"),
        (off_the_scan, r"scan position \(0, 9\), outside the scan of 1 x 2"),
        (doubled, r"is a copy"),
        (emptied, r"hold no record"),
        (renamed, r"module 7 in its name"),
    ],
)
def test_damaged_raw_files_are_refused_with_their_place(scene, tmp_path, damage, says):
    write_sector_files(tmp_path, scene[0][:2], (1, 2), files=1)
    damage(sorted(tmp_path.iterdir()))
    with pytest.raises(RecordingError, match=says):
        open_recording(tmp_path, counting=Counting(**KNOWN))


def test_raw_files_that_change_while_they_are_read_are_refused(scene, tmp_path):
    write_sector_files(tmp_path, scene[0][:2], (1, 2))
    recording = open_recording(tmp_path, counting=Counting(**KNOWN))
    file = sorted(tmp_path.iterdir())[0]
    file.write_bytes(file.read_bytes() * 2)
    with pytest.raises(RecordingError, match="have changed"):
        recording.read_rows(0, 1)


@pytest.mark.parametrize("name", ["dark", "gain"])
def test_references_of_another_shape_are_refused(scene, tmp_path, name):
    write_sector_files(tmp_path / "raw", scene[0][:2], (1, 2))
    np.save(tmp_path / "small.npy", np.ones((4, 4)))
    reference = ArrayFile.at(str(tmp_path / "small.npy"), read_reference)
    with pytest.raises(RecordingError, match="frames are 576 x 576"):
        open_recording(tmp_path / "raw", counting=Counting(**{name: reference}))


def test_counting_of_events_that_are_counted_is_refused(write_counted):
    with pytest.raises(RecordingError, match="counting says how"):
        open_recording(write_counted([[1], [2], [3], [4]]), counting=Counting())


def test_store_of_a_raw_scan_has_its_electrons_its_mask_and_its_thresholds(scene, tmp_path):
    folder = write_sector_files(tmp_path / "raw", scene[0], SCAN, lost=frozenset({(4, 2)}))
    options = ReaderOptions(counting=Counting(**KNOWN))
    source = fingerprint(folder, tmp_path / "source.json")
    ingest(source, tmp_path / "work", options)
    store = open_store(layout.event_store(tmp_path / "work"))
    indptr, indices = store.read(0)
    expected = counted_alone(scene[0][0])
    assert indices[indptr[0] : indptr[1]].tolist() == expected
    assert store.array("sector_mask")[1, 0] == 0b0100
    assert store.metadata["recording"]["electron_counting/background_threshold"] == 30.0
