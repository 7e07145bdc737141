"""A half of a store is a store: complete with its other half, and without a copy of the events."""

import os

import numpy as np
import pytest

from tasks import ingest
from tasks.ingest import ReaderOptions
from tasks.store import layout
from tasks.store.events import open_store
from tasks.store.halves import publish_halves
from tasks.store.source import fingerprint


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("halves")
    counts = np.random.default_rng(0).poisson(1.5, size=(6, 5, 9, 8)).astype(np.uint8)
    counts[2, 3] = 0
    np.save(folder / "scan.npy", counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "EVENTS_PER_SLAB", int(counts.sum()) // 3)
        ingest.ingest(fingerprint(folder / "scan.npy", folder / "s.json"), folder, ReaderOptions())
    return open_store(layout.event_store(folder))


def half(whole, folder, seed, number):
    works = [folder / str(n) for n in (0, 1)]
    parted = [whole.read_halves(slab, seed) for slab in range(whole.slabs)]
    events = [sum(pair[n].indices.size for pair in parted) for n in (0, 1)]
    publish_halves(whole, "id", works, seed, events)
    return open_store(layout.event_store(works[number]))


def test_every_electron_is_in_exactly_one_half(whole, tmp_path):
    halves = [half(whole, tmp_path, 5, n) for n in (0, 1)]
    assert sum(one.events for one in halves) == whole.events
    assert whole.slabs > 2
    for slab in range(whole.slabs):
        indptr, indices = whole.read(slab)
        parts = [one.read(slab) for one in halves]
        for p in range(indptr.size - 1):
            found = [ix[ptr[p] : ptr[p + 1]] for ptr, ix in parts]
            expected = np.sort(indices[indptr[p] : indptr[p + 1]])
            np.testing.assert_array_equal(np.sort(np.concatenate(found)), expected)
    for one in halves:
        assert sum(one.read(slab).indices.size for slab in range(one.slabs)) == one.events
        # A fair coin, to five standard deviations.
        assert abs(one.events - whole.events / 2) < 2.5 * np.sqrt(whole.events)


def test_halves_depend_on_the_seed_and_repeat(whole, tmp_path):
    one, again, other = (
        half(whole, tmp_path / name, seed, 0) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    np.testing.assert_array_equal(one.read(0).indices, again.read(0).indices)
    assert not np.array_equal(one.read(0).indices, other.read(0).indices)


def test_half_takes_no_space_and_shares_what_is_missing(whole, tmp_path):
    one = half(whole, tmp_path, 0, 1)
    size = sum(f.stat().st_size for f in (tmp_path / "1" / "events.zarr").rglob("*") if f.is_file())
    assert size < 5000
    np.testing.assert_array_equal(one.unusable(), whole.unusable())
    assert one.scan_shape == whole.scan_shape
    with pytest.raises(KeyError, match="no 'frame_sum' of its own"):
        one.array("frame_sum")


def test_halves_move_with_their_whole(whole, tmp_path):
    folder = tmp_path / "moved"
    (folder / "steps").mkdir(parents=True)
    os.symlink(whole.path, folder / "events.zarr")
    moved = open_store(folder / "events.zarr")
    half(moved, folder / "steps" / "half", 0, 0)
    folder.rename(tmp_path / "elsewhere")
    found = open_store(layout.event_store(tmp_path / "elsewhere" / "steps" / "half" / "0"))
    assert found.read(0).indices.size > 0
