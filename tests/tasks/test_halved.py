"""Halves that are reduced in one pass are those that would be reduced apart."""

import shutil

import numpy as np
import pytest

from tasks import ingest, reduce
from tasks.halved import reduce_halves
from tasks.ingest import ReaderOptions
from tasks.reduce import ReduceSettings
from tasks.store import layout
from tasks.store.events import open_store
from tasks.store.halves import identity_of_half, publish_halves
from tasks.store.source import fingerprint

SEED = 5
SETTINGS = ReduceSettings((9, 8), (4.0, 3.5), 3.0, (), 6)


@pytest.fixture
def whole(tmp_path, monkeypatch):
    counts = np.random.default_rng(0).poisson(1.5, size=(6, 5, 9, 8)).astype(np.uint8)
    np.save(tmp_path / "scan.npy", counts)
    monkeypatch.setattr(ingest, "EVENTS_PER_SLAB", int(counts.sum()) // 3)
    source = fingerprint(tmp_path / "scan.npy", tmp_path / "s.json")
    ingest.ingest(source, tmp_path, ReaderOptions())
    return open_store(layout.event_store(tmp_path))


@pytest.fixture
def works(tmp_path):
    return [tmp_path / "one", tmp_path / "other"]


def reduced(whole, works):
    identities = [identity_of_half("id", SEED, number) for number in (0, 1)]
    return reduce_halves(whole, works, identities, SEED, SETTINGS)


def test_one_pass_gives_what_each_half_gives_alone(whole, works, tmp_path):
    made = [manifest for manifest, _ in reduced(whole, works)]
    events = [manifest.summary["events"] for manifest in made]
    assert sum(events) == whole.events
    apart = [tmp_path / "a", tmp_path / "b"]
    stores = publish_halves(whole, "id", apart, SEED, events)
    for manifest, store, work in zip(made, stores, apart, strict=True):
        events_of_half = str(layout.event_store(work))
        alone, _ = reduce.reduce(events_of_half, work, store.identity, SETTINGS)
        assert (manifest.identity, manifest.digest) == (alone.identity, alone.digest)
        told = [{k: v for k, v in m.summary.items() if k != "seconds"} for m in (manifest, alone)]
        assert told[0] == told[1]


@pytest.mark.parametrize("lost", [0, 1])
def test_only_the_half_that_is_lost_is_made_again(whole, works, lost):
    before = reduced(whole, works)
    assert [reused for _, reused in before] == [False, False]
    assert [reused for _, reused in reduced(whole, works)] == [True, True]
    shutil.rmtree(layout.step_folder(works[lost], "reduce"))
    after = reduced(whole, works)
    assert [reused for _, reused in after] == [number != lost for number in (0, 1)]
    assert [one.digest for one, _ in after] == [one.digest for one, _ in before]


def test_pass_goes_on_with_the_slabs_and_halves_that_are_left(whole, works, monkeypatch):
    expected = [manifest.digest for manifest, _ in reduced(whole, works)]
    for work in works:
        shutil.rmtree(work)
    real, calls = reduce._reduce_part, []

    def fails_at_fourth(recording, aside, slab, *more):
        calls.append((aside.parents[1].name, slab))
        if len(calls) == 4:
            raise OSError("the disk is gone")
        return real(recording, aside, slab, *more)

    monkeypatch.setattr(reduce, "_reduce_part", fails_at_fourth)
    with pytest.raises(OSError, match="the disk is gone"):
        reduced(whole, works)
    assert [manifest.digest for manifest, _ in reduced(whole, works)] == expected
    # The slab of which one half was written gets its other half only.
    assert calls[:5] == [("one", 0), ("other", 0), ("one", 1), ("other", 1), ("other", 1)]
    assert calls[5] == ("one", 2)
