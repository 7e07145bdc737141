"""The small recordings in all of stempy's layouts: exact to the reductions, and faults named.

``stempy_reference.json`` holds what stempy itself makes of them (``make_stempy_reference.py``).
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tasks.detectors import Annulus, RadialSettings
from tasks.ingest import ReaderOptions, ingest
from tasks.reduce import ReduceSettings, reduce
from tasks.store import layout
from tasks.store.events import open_store, read_array
from tasks.store.publish import DamagedResultError, verify
from tasks.store.source import fingerprint

REFERENCE = json.loads(Path(__file__).with_name("stempy_reference.json").read_text("utf-8"))
FILES = [name for name in REFERENCE if name != "stempy"]
ANNULI = tuple(Annulus(f"{a}-{b}", a, b) for a, b in [(0, 60), (60, 100), (100, 150), (150, 250)])
SETTINGS = ReduceSettings(
    (576, 576),
    center=(300.0, 270.0),
    radius=np.nextafter(110.0, 111),  # stempy counts a pixel at exactly the radius as inside
    annuli=ANNULI,
    disk_bins=24,
    radial=RadialSettings(width=1.0, rings=288, full=True),
)


@pytest.fixture(scope="module")
def milled(shared_data, tmp_path_factory):
    """A function that ingests and reduces a recording once: its store and its reductions."""
    done = {}

    def mill(name):
        if name not in done:
            work = tmp_path_factory.mktemp(name)
            file = shared_data / "stempy_small" / f"small_{name}.h5"
            ingest(fingerprint(file, work / "source.json"), work, ReaderOptions())
            manifest, _ = reduce(str(layout.event_store(work)), work, "id", SETTINGS)
            done[name] = work, open_store(layout.event_store(work)), manifest
        return done[name]

    return mill


def digest(numbers):
    return hashlib.sha256(np.ascontiguousarray(numbers.astype(np.int64)).tobytes()).hexdigest()


@pytest.mark.parametrize("name", FILES)
def test_sums_counts_and_virtual_images_are_stempys_bit_for_bit(milled, name):
    work, events, _ = milled(name)
    expected, folder = REFERENCE[name], layout.step_folder(work, "reduce")
    assert list(events.scan_shape) == expected["scan_shape"]
    assert digest(events.array("frame_sum")) == expected["frame_sum"]
    assert digest(events.array("electrons")) == expected["electrons"]
    images = [digest(image) for image in read_array(folder, "virtual")]
    assert images == expected["virtual"]


@pytest.mark.parametrize("name", FILES)
def test_centre_of_mass_is_stempys(milled, name):
    work, _, _ = milled(name)
    folder, expected = layout.step_folder(work, "reduce"), REFERENCE[name]
    electrons = read_array(folder, "com_electrons").astype(np.float64)
    electrons[electrons == 0] = np.nan  # empty: no centre, where stempy is told to fill nothing in
    row, col = np.moveaxis(read_array(folder, "com_sums"), -1, 0) / electrons
    for found, theirs in ((row, expected["com_row"]), (col, expected["com_col"])):
        np.testing.assert_allclose(found.ravel()[::37], np.array(theirs, float), rtol=1e-6)
    np.testing.assert_allclose([np.nanmean(row), np.nanmean(col)], expected["com_mean"], rtol=1e-6)


@pytest.mark.parametrize("name", FILES)
def test_no_electron_is_dropped(milled, name):
    _, events, manifest = milled(name)
    kept = manifest.summary["kept"]
    for reduction, (inside, outside) in kept.items():
        assert inside + outside == events.events, reduction
    assert kept["radial"] == kept["rings"] == kept["all"] == [events.events, 0]
    assert events.array("electrons").sum() == events.array("frame_sum").sum() == events.events


def test_planted_faults_are_all_found_and_no_more(milled, shared_data):
    truth = np.load(shared_data / "stempy_small" / "small_truth.npz")
    _, events, _ = milled("64x64_v3")
    present, mask = events.array("frames_present").ravel(), events.array("sector_mask").ravel()
    np.testing.assert_array_equal(np.flatnonzero(present == 0), truth["missing"])
    notes = " ".join(events.metadata["notes"])
    # At 100 electrons a frame the outer sectors have too few for an empty one to be a loss: the
    # store says so, and in all others each loss is found.
    blind = [n for n in range(4) if f"sector {n} (" in notes]
    expected = np.zeros_like(mask)
    for position, sector in zip(truth["partial"], truth["partial_sector"], strict=True):
        expected[position] = 0 if sector in blind else 1 << sector
    np.testing.assert_array_equal(mask, expected)
    assert (mask != 0).sum() == 7
    assert blind == [0, 3]
    assert "12 frames without any electron are taken as missing" in notes


def test_flyback_column_is_named_and_kept_until_the_job_drops_it(milled, shared_data, tmp_path):
    _, events, _ = milled("64x65_flyback_v3")
    assert events.metadata["flyback_suspected"]
    assert any("a flyback column, which is kept" in note for note in events.metadata["notes"])
    file = shared_data / "stempy_small" / "small_64x65_flyback_v3.h5"
    source = fingerprint(file, tmp_path / "source.json")
    ingest(source, tmp_path, ReaderOptions(drop_flyback=True))
    cropped = open_store(layout.event_store(tmp_path))
    assert cropped.scan_shape == (64, 64)
    whole = events.array("electrons")
    np.testing.assert_array_equal(cropped.array("electrons"), whole[:, :64])


@pytest.mark.parametrize("array", ["indices", "indptr"])
def test_flipped_bit_in_the_store_is_named(milled, tmp_path, array):
    work, _, _ = milled("64x64_v3")
    store = layout.event_store(tmp_path)
    shutil.copytree(layout.event_store(work), store)
    chunk = store / layout.slab_group(0) / array / "c.0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 4
    chunk.write_bytes(data)
    with pytest.raises(DamagedResultError, match=rf"slabs/00000/{array} cannot be read.*checksum"):
        open_store(store).read(0)
    with pytest.raises(DamagedResultError, match=f"slabs/00000/{array}/c.0 has SHA-256"):
        verify(store)
