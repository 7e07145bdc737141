"""Positions that change sides leave two halves of the same electrons."""

import numpy as np
import pytest

from tasks import ingest
from tasks.halved import reduce_halves
from tasks.ingest import ReaderOptions
from tasks.reduce import Annulus, ReduceSettings
from tasks.store import layout
from tasks.store.events import open_store, read_array
from tasks.store.halves import identity_of_half, publish_halves
from tasks.store.source import fingerprint
from tasks.swapped import SWAPPED, swapped_halves

SETTINGS = ReduceSettings((9, 8), (4.0, 3.5), 3.0, (Annulus("virtual_bf", 0.0, 2.5),), 6)


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swapped")
    counts = np.random.default_rng(0).poisson(1.5, size=(6, 5, 9, 8)).astype(np.uint8)
    np.save(folder / "scan.npy", counts)
    ingest.ingest(fingerprint(folder / "scan.npy", folder / "s.json"), folder, ReaderOptions())
    whole = open_store(layout.event_store(folder))
    works = [layout.half_folder(folder, number) for number in (0, 1)]
    identities = [identity_of_half("id", 5, number) for number in (0, 1)]
    made = reduce_halves(whole, works, identities, 5, SETTINGS)
    publish_halves(whole, "id", works, 5, [m.summary["events"] for m, _ in made])
    for work in works:
        layout.step_folder(work, "calibrate").mkdir()
    return works


def sums(works):
    return {
        name: np.array([read_array(layout.step_folder(work, "reduce"), name) for work in works])
        for name in SWAPPED
    }


def test_each_position_stays_or_changes_sides_with_all_that_was_summed_there(halves):
    before = sums(halves)
    assert before["virtual"].shape == (2, 1, 6, 5)
    changes = []
    for number in range(3):
        with swapped_halves(halves, number, seed=1) as pair:
            after = sums(pair)
            assert open_store(layout.event_store(pair[0])).events > 0
        assert not any(folder.exists() for folder in pair)
        change = (after["com_sums"] == before["com_sums"][::-1]).all(axis=(0, 3))
        for name, axes in (("virtual", (0, 1)), ("com_electrons", (0,)), ("com_sums", (0, 3))):
            stays = (after[name] == before[name]).all(axis=axes)
            assert (stays | change).all(), name
            np.testing.assert_array_equal(after[name].sum(axis=0), before[name].sum(axis=0))
        assert 5 < np.count_nonzero(change) < 25
        changes.append(change)
    assert not np.array_equal(changes[0], changes[1])
    for name, values in sums(halves).items():
        np.testing.assert_array_equal(values, before[name])


def test_pair_is_the_same_whether_made_alone_or_after_others(halves):
    scan = sums(halves)["com_electrons"].shape[1:]
    rng = np.random.default_rng(2)
    for number in range(3):
        changes = rng.random(scan) < 0.5
        before = sums(halves)["com_sums"]
        with swapped_halves(halves, number, seed=2) as pair:
            expected = np.where(changes[..., None], before[::-1], before)
            np.testing.assert_array_equal(sums(pair)["com_sums"], expected)
