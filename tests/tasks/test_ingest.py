"""A recording is hashed while it is read, and what is read is the same as if it had been before."""

import os

import numpy as np
import pytest

from tasks import ingest as module
from tasks.formats.recording import RecordingError
from tasks.ingest import ReaderOptions, ingest, source_of
from tasks.store import layout
from tasks.store.files import hash_file
from tasks.store.source import fingerprint


@pytest.fixture
def recording(tmp_path, monkeypatch):
    counts = np.random.default_rng(0).poisson(1.5, size=(6, 5, 9, 8)).astype(np.uint8)
    monkeypatch.setattr(module, "EVENTS_PER_SLAB", int(counts.sum()) // 3)
    np.save(tmp_path / "scan.npy", counts)
    return tmp_path / "scan.npy"


def test_store_is_that_of_a_recording_hashed_before(recording, tmp_path):
    before, _ = ingest(fingerprint(recording, tmp_path / "s.json"), tmp_path / "a", ReaderOptions())
    beside, _ = ingest(recording, tmp_path / "b", ReaderOptions())
    assert (beside.identity, beside.digest) == (before.identity, before.digest)
    found = source_of(recording, tmp_path / "b", beside)
    assert found.sha256 == hash_file(recording) == beside.inputs["recording"]
    again, reused = ingest(recording, tmp_path / "b", ReaderOptions())
    assert (again, reused) == (beside, True)


def test_store_is_found_again_for_a_recording_that_moved(recording, tmp_path):
    before, _ = ingest(recording, tmp_path / "work", ReaderOptions())
    moved = recording.rename(tmp_path / "elsewhere.npy")
    after, reused = ingest(moved, tmp_path / "work", ReaderOptions())
    assert (after, reused) == (before, True)
    assert source_of(moved, tmp_path / "work", after).path == str(moved)


def test_recording_that_changes_while_it_is_read_is_refused(recording, tmp_path, monkeypatch):
    real = module.run_units

    def touched_afterwards(*told, **how):
        answers = real(*told, **how)
        os.utime(recording, ns=(1, 1))
        return answers

    monkeypatch.setattr(module, "run_units", touched_afterwards)
    with pytest.raises(RecordingError, match=r"scan\.npy: the recording changed while"):
        ingest(recording, tmp_path / "work", ReaderOptions())
    assert not layout.event_store(tmp_path / "work").exists()


def test_another_recording_of_the_same_name_is_read_anew(recording, tmp_path):
    before, _ = ingest(recording, tmp_path / "work", ReaderOptions())
    np.save(recording, np.ones((3, 4, 9, 8), np.uint8))
    with pytest.raises(RecordingError, match="changed"):
        source_of(recording, tmp_path / "work", before)
    after, reused = ingest(recording, tmp_path / "work", ReaderOptions())
    assert not reused
    assert after.summary["events"] == 3 * 4 * 9 * 8


@pytest.mark.parametrize("fails_at", [2, 3])
def test_half_read_recording_is_read_on(recording, tmp_path, monkeypatch, fails_at):
    whole, _ = ingest(recording, tmp_path / "whole", ReaderOptions())
    real, slabs = module._ingest_slab, []

    def fails(reader, folder, slab, *rows):
        slabs.append(slab)
        if len(slabs) == fails_at:
            raise OSError("the disk is gone")
        return real(reader, folder, slab, *rows)

    monkeypatch.setattr(module, "_ingest_slab", fails)
    with pytest.raises(OSError, match="the disk is gone"):
        ingest(recording, tmp_path / "work", ReaderOptions())
    done, _ = ingest(recording, tmp_path / "work", ReaderOptions())
    assert done.digest == whole.digest
    assert slabs == [*range(fails_at), *range(fails_at - 1, max(slabs) + 1)]
