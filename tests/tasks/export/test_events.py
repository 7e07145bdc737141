"""Events that leave and come back are the same events."""

import numpy as np
import pytest
import tifffile

from tasks.export.events import write_eer
from tasks.export.export import ExportError, export
from tasks.export.taken import take_events
from tasks.ingest import ReaderOptions, ingest
from tasks.store import layout
from tasks.store.events import open_store
from tasks.store.source import fingerprint


def read_back(path, folder, **options):
    ingest(fingerprint(path, folder / "source.json"), folder, ReaderOptions(**options))
    return open_store(layout.event_store(folder))


def all_events(store):
    parts = [store.read(slab) for slab in range(store.slabs)]
    lengths = np.concatenate([np.diff(part.indptr) for part in parts])
    return lengths, np.concatenate([part.indices for part in parts])


def sparse_store(folder, mean, shape=(5, 4, 18, 22)):
    """A store whose pixels have one electron in a frame at most; one position has no frame."""
    counts = np.random.default_rng(2).random(shape) < mean
    counts[3, 1] = False
    folder.mkdir()
    np.save(folder / "scan.npy", counts.astype(np.uint8))
    return read_back(folder / "scan.npy", folder)


def test_stempy_file_gives_back_every_electron(night, tmp_path):
    store = take_events(night)
    facts = export(night, tmp_path / "scan.h5")
    assert facts["events"] == store.events
    again = read_back(tmp_path / "scan.h5", tmp_path / "work")
    assert (again.scan_shape, again.detector_shape) == (store.scan_shape, store.detector_shape)
    for found, expected in zip(all_events(again), all_events(store), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_stempy_itself_reads_the_same_electrons(night, tmp_path):
    io = pytest.importorskip("stempy.io")
    store = take_events(night)
    export(night, tmp_path / "scan.h5")
    found = io.load_electron_counts(str(tmp_path / "scan.h5"))
    assert tuple(found.scan_shape) == store.scan_shape
    lengths, indices = all_events(store)
    frames = np.split(indices, np.cumsum(lengths)[:-1])
    for position, expected in enumerate(frames):
        (one,) = found.data[position]
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize(("mean", "compression"), [(0.004, 65000), (0.06, 65001), (0.9, 65001)])
def test_eer_gives_back_every_electron(tmp_path, mean, compression):
    store = sparse_store(tmp_path / "work", mean)
    facts = export(tmp_path / "work" / "events.zarr", tmp_path / "scan.eer")
    assert facts["events"] == store.events
    again = read_back(tmp_path / "scan.eer", tmp_path / "again", scan_shape=store.scan_shape)
    assert again.detector_shape == store.detector_shape
    for found, expected in zip(all_events(again), all_events(store), strict=True):
        np.testing.assert_array_equal(found, expected)
    export(tmp_path / "work" / "events.zarr", tmp_path / "twice.eer")
    assert (tmp_path / "twice.eer").read_bytes() == (tmp_path / "scan.eer").read_bytes()
    with tifffile.TiffFile(tmp_path / "scan.eer") as file:
        assert {int(page.compression) for page in file.pages} == {compression}
        assert len(file.pages) == 20
        assert file.pages[0].eer_tags["scanRows"] == 5


def test_tifffile_decodes_the_same_frames(tmp_path):
    pytest.importorskip("imagecodecs")
    store = sparse_store(tmp_path / "work", 0.05)
    write_eer(store, tmp_path / "scan.eer")
    lengths, indices = all_events(store)
    with tifffile.TiffFile(tmp_path / "scan.eer") as file:
        for page, expected in zip(file.pages, np.split(indices, np.cumsum(lengths)[:-1]),
                                  strict=True):  # fmt: skip
            np.testing.assert_array_equal(np.flatnonzero(page.asarray()), expected)


def test_two_electrons_in_a_pixel_are_refused_with_their_position(tmp_path):
    counts = np.zeros((3, 4, 8, 8), np.uint8)
    counts[2, 1, 5, 5] = 2
    counts[0, 0, 0, 0] = 1
    np.save(tmp_path / "scan.npy", counts)
    read_back(tmp_path / "scan.npy", tmp_path / "work")
    with pytest.raises(ExportError, match=r"position \(2, 1\) cannot be written as \.eer.*\.h5"):
        export(tmp_path / "work" / "events.zarr", tmp_path / "scan.eer")
    assert not (tmp_path / "scan.eer").exists()
