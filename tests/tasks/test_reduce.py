"""Every reduction of a store equals its definition on dense frames, and accounts for all electrons.

The recording is small enough to be dense: (7, 5) positions of a detector of (12, 18) pixels, so
that no two axes can be confused. It is cut into slabs of two scan rows.
"""

import numpy as np
import pytest
import tifffile
import zarr

from gpu_kernels.dpc import radius_of_com
from tasks import dense, ingest, regions
from tasks.dense import DenseError, DenseSettings
from tasks.detectors import Annulus, MaskDetector, RadialSettings, standard_annuli
from tasks.ingest import ReaderOptions
from tasks.masks import MaskFile
from tasks.reduce import ReduceSettings, reduce
from tasks.regions import Region, RegionError
from tasks.store import layout
from tasks.store.events import open_store, read_array
from tasks.store.publish import verify
from tasks.store.source import fingerprint

SCAN, DETECTOR = (7, 5), (12, 18)
CENTER, RADIUS = (5.3, 9.6), 4.2
Y, X = np.indices(DETECTOR)
R = np.hypot(Y - CENTER[0], X - CENTER[1])


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(3)
    counts = rng.poisson(np.where(R < RADIUS, 5.0, 0.2), size=(*SCAN, *DETECTOR))
    counts[2, 3] = 0  # a missing frame
    counts[4, 1, 3:6] = 0  # a frame that lost a sector
    return counts.astype(np.uint16)


def ingested(folder, counts):
    """Folder of the work on dense counts, their store cut into slabs of about two rows."""
    np.save(folder / "scan.npy", counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "EVENTS_PER_SLAB", 2 * counts.sum() // SCAN[0])
        ingest.ingest(fingerprint(folder / "scan.npy", folder / "s.json"), folder, ReaderOptions())
    return folder


@pytest.fixture(scope="module")
def work(counts, tmp_path_factory):
    return ingested(tmp_path_factory.mktemp("reduce"), counts)


def settings(**more):
    return ReduceSettings(
        DETECTOR, CENTER, RADIUS, more.pop("annuli", standard_annuli(RADIUS, DETECTOR)),
        disk_bins=4, **more,
    )  # fmt: skip


def reduced(work, **more):
    """Folder of the finished step and its summary."""
    manifest, _ = reduce(str(layout.event_store(work)), work, "id", settings(**more), force=True)
    folder = layout.step_folder(work, "reduce")
    verify(folder)
    return folder, manifest.summary


def save_mask(path, mask):
    if path.suffix == ".npy":
        np.save(path, mask)
    else:
        tifffile.imwrite(path, mask.astype(np.uint8) * 255)
    return MaskFile.at(str(path))


exact = np.testing.assert_array_equal


def test_recording_is_cut_into_several_slabs(work):
    assert open_store(layout.event_store(work)).slabs == 4


def test_annuli_count_inner_edge_and_not_outer(work, counts):
    annuli = (Annulus("virtual_a", 0, 3), Annulus("virtual_b", 3, 99), Annulus("virtual_c", 1, 5))
    folder, summary = reduced(work, annuli=annuli)
    images = read_array(folder, "virtual")
    for annulus, image in zip(annuli, images, strict=True):
        mask = (annulus.inner <= R) & (annulus.outer > R)
        exact(image, (counts * mask).sum(axis=(2, 3)))
        kept = int(image.sum())
        assert summary["kept"][annulus.name] == [kept, int(counts.sum()) - kept]
    exact(images[0] + images[1], counts.sum(axis=(2, 3)))  # one begins where the other ends


def test_slab_without_an_electron_is_written_as_zeros(counts, tmp_path):
    dark = counts.copy()
    dark[2:4] = 0
    everything = {
        "radial": RadialSettings(1.0, 9, full=True),
        "regions": (Region("all", (0, 7, 0, 5)),),
        "export": DenseSettings(CENTER, 2, (2, 2), "uint16"),
    }
    folder, summary = reduced(ingested(tmp_path, dark), **everything)
    for name in ("virtual", "com_electrons", "dense", "radial", "radial_overflow", "export"):
        read_array(folder, name)
    assert summary["events"] == dark.sum()


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_detector_of_any_shape_counts_the_pixels_of_its_mask(work, counts, tmp_path, suffix):
    mask = np.random.default_rng(0).random(DETECTOR) < 0.3
    file = save_mask(tmp_path / f"m{suffix}", mask)
    folder, summary = reduced(work, annuli=(MaskDetector("virtual_m", file),))
    exact(read_array(folder, "virtual")[0], (counts * mask).sum(axis=(2, 3)))
    assert sum(summary["kept"]["virtual_m"]) == counts.sum()


def test_moments_of_the_disk_are_exact(work, counts):
    folder, summary = reduced(work)
    disk = counts * (radius_of_com(RADIUS) > R)
    exact(read_array(folder, "com_electrons"), disk.sum(axis=(2, 3)))
    sums = read_array(folder, "com_sums")
    exact(sums[..., 0], (disk * Y).sum(axis=(2, 3)))
    exact(sums[..., 1], (disk * X).sum(axis=(2, 3)))
    assert summary["kept"]["disk"][0] == disk.sum()


def test_disk_binned_for_the_transforms_keeps_and_drops_all_electrons(work, counts):
    folder, summary = reduced(work)
    kept, dropped = summary["kept"]["dense"]
    assert kept == read_array(folder, "dense").sum()
    assert kept + dropped == counts.sum()


@pytest.mark.parametrize(("width", "rings"), [(1.0, 6), (0.7, 3), (2.5, 40)])
def test_rings_and_overflow_hold_every_electron(work, counts, width, rings):
    folder, summary = reduced(work, radial=RadialSettings(width, rings, full=True))
    ring = np.minimum((R / width).astype(int), rings)
    expected = np.stack([(counts * (ring == n)).sum(axis=(2, 3)) for n in range(rings + 1)], -1)
    exact(read_array(folder, "radial"), expected[..., :-1])
    exact(read_array(folder, "radial_overflow"), expected[..., -1])
    exact(read_array(folder, "ring_electrons"), expected.sum(axis=(0, 1)))
    exact(read_array(folder, "ring_pixels"), np.bincount(ring.ravel(), minlength=rings + 1))
    assert summary["kept"]["radial"] == summary["kept"]["rings"] == [counts.sum(), 0]


def test_rings_of_the_whole_scan_alone_need_no_array_of_all_positions(work, counts):
    radial = RadialSettings.to_the_corner(DETECTOR, CENTER, 1.0, full=False)
    folder, _ = reduced(work, radial=radial)
    assert not (folder / "radial").exists()
    electrons = read_array(folder, "ring_electrons")
    assert electrons.sum() == counts.sum()
    assert electrons[-1] == 0  # they reach into the farthest corner


def test_region_is_the_sum_of_its_frames(work, counts, tmp_path):
    inside = np.random.default_rng(1).random(SCAN) < 0.4
    inside[2, 3] = True  # the missing frame counts as a position, not as a frame
    file = save_mask(tmp_path / "grain.tif", inside)
    areas = (Region("low", (1, 6, 2, 5)), Region("grain", mask=file), Region("all", (0, 7, 0, 5)))
    folder, summary = reduced(work, regions=areas)
    exact(read_array(folder, "region_low"), counts[1:6, 2:5].sum(axis=(0, 1)))
    exact(read_array(folder, "region_grain"), counts[inside].sum(axis=0))
    exact(read_array(folder, "region_all"), counts.sum(axis=(0, 1)))
    assert summary["regions"]["grain"]["positions"] == inside.sum()
    assert summary["regions"]["grain"]["frames"] == inside.sum() - 1
    assert summary["regions"]["all"]["electrons"] == counts.sum()
    assert not (folder / "parts").exists()


def test_vacuum_leaves_out_frames_that_are_missing_or_lost_a_sector(work, counts):
    events = open_store(layout.event_store(work))
    assert events.array("sector_mask")[4, 1] == 2
    folder, summary = reduced(work, regions=(Region("vacuum", (2, 5, 0, 5)),))
    whole = np.ones((3, 5), bool)
    whole[0, 3] = whole[2, 1] = False
    exact(read_array(folder, "region_vacuum"), counts[2:5][whole].sum(axis=0))
    assert summary["regions"]["vacuum"]["frames"] == 13


def test_region_without_a_frame_is_refused(work):
    with pytest.raises(RegionError, match="region 'hole': none of its scan positions has"):
        reduced(work, regions=(Region("hole", (2, 3, 3, 4)),))


def test_window_beyond_the_scan_is_refused_with_both_sizes():
    with pytest.raises(RegionError, match="'far'.*row 8, column 5.*7 x 5"):
        Region("far", (0, 8, 0, 5)).inside(SCAN)


@pytest.mark.parametrize("bin_", [1, 2, 5])
@pytest.mark.parametrize("bins", [(2, 3), (1, 1), (5, 4)])
def test_dense_array_keeps_what_lies_in_its_window_and_counts_the_rest(work, counts, bin_, bins):
    export = DenseSettings(CENTER, bin_, bins, "uint16")
    folder, summary = reduced(work, export=export)
    rows, cols = dense.bin_centres(export, DETECTOR)
    found = read_array(folder, "export")
    assert found.shape == (*SCAN, *bins)
    half = (bin_ - 1) / 2
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            inside = (abs(row - Y) <= half) & (abs(col - X) <= half)
            exact(found[:, :, i, j], (counts * inside).sum(axis=(2, 3)))
    kept, dropped = summary["kept"]["export"]
    assert kept == found.sum()
    assert kept + dropped == counts.sum()


def test_whole_detector_in_bins_of_one_is_the_recording(work, counts):
    middle = ((DETECTOR[0] - 1) / 2, (DETECTOR[1] - 1) / 2)
    folder, _ = reduced(work, export=DenseSettings(middle, 1, DETECTOR, "uint8"))
    exact(read_array(folder, "export"), counts)


@pytest.mark.parametrize(("chunk_bytes", "at_once"), [(1, 5), (700, 60_000), (1 << 20, 7)])
def test_dense_array_does_not_depend_on_chunks_and_tables(work, monkeypatch, chunk_bytes, at_once):
    export = DenseSettings(CENTER, 2, (5, 7), "uint8")
    first = read_array(reduced(work, export=export)[0], "export")
    monkeypatch.setattr(dense, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(dense, "BINS_AT_ONCE", at_once)
    dense._plans.cache_clear()
    again = read_array(reduced(work, export=export)[0], "export")
    dense._plans.cache_clear()
    exact(first, again)


def test_dense_count_beyond_its_type_is_refused_with_what_to_give(work, monkeypatch):
    export = DenseSettings(CENTER, 12, (1, 1), "uint8")
    with pytest.raises(DenseError, match=r"counts \d+ electrons.*uint8.*dtype: uint32"):
        reduced(work, export=export)


def test_dense_array_larger_than_the_disk_is_refused(tmp_path):
    export = DenseSettings(CENTER, 1, (50_000, 50_000), "uint32")
    with pytest.raises(DenseError, match="GiB before compression.*are free.*crop or bin more"):
        dense.check_size(export, (4096, 4096), tmp_path)


def test_result_does_not_depend_on_where_a_mask_lies(work, tmp_path):
    mask = np.eye(*DETECTOR, dtype=bool)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    one, other = (save_mask(tmp_path / folder / "m.npy", mask) for folder in ("a", "b"))
    store = str(layout.event_store(work))
    first, _ = reduce(store, work, "i", settings(annuli=(MaskDetector("virtual_m", one),)))
    second, reused = reduce(store, work, "i", settings(annuli=(MaskDetector("virtual_m", other),)))
    assert reused
    assert first.identity == second.identity


def test_half_finished_pass_goes_on_where_it_stopped(work, counts, monkeypatch):
    more = {"regions": (Region("all", (0, 7, 0, 5)),), "radial": RadialSettings(1.0, 99, full=True)}
    from tasks import reduce as module

    real, calls = module._reduce_slab, []

    def fails_at_third(events, folder, slab, *chosen):
        calls.append(slab)
        if len(calls) == 3:
            raise OSError("the disk is gone")
        return real(events, folder, slab, *chosen)

    monkeypatch.setattr(module, "_reduce_slab", fails_at_third)
    with pytest.raises(OSError, match="the disk is gone"):
        reduced(work, **more)
    folder, summary = reduced(work, **more)
    assert calls == [0, 1, 2, 2, 3]
    exact(read_array(folder, "region_all"), counts.sum(axis=(0, 1)))
    exact(read_array(folder, "radial").sum(-1), counts.sum(axis=(2, 3)))
    assert summary["kept"]["all"] == [counts.sum(), 0]


def test_vacuum_is_found_where_nothing_deflects_the_beam(tmp_path):
    """A specimen that moves the disk fills the scan but for one corner."""
    scan, rng = (24, 24), np.random.default_rng(7)
    y, x = np.indices((32, 32))
    specimen = np.ones(scan, bool)
    specimen[12:, :12] = False
    counts = np.empty((*scan, 32, 32), np.uint8)
    for p in np.ndindex(scan):
        shift = rng.normal(0, 2, 2) if specimen[p] else (0, 0)
        inside = np.hypot(y - 15.5 - shift[0], x - 15.5 - shift[1]) < 7
        counts[p] = rng.poisson(np.where(inside, 2.0, 0.05 if specimen[p] else 0.01))
    np.save(tmp_path / "s.npy", counts)
    ingest.ingest(fingerprint(tmp_path / "s.npy", tmp_path / "s.json"), tmp_path, ReaderOptions())
    chosen = ReduceSettings((32, 32), (15.5, 15.5), 8.0, (), 8, pick_vacuum=True)
    manifest, _ = reduce(str(layout.event_store(tmp_path)), tmp_path, "id", chosen)
    facts = manifest.summary["regions"]["vacuum"]
    y0, y1, x0, x1 = facts["window"]
    assert not specimen[y0:y1, x0:x1].any()
    assert facts["plain"]
    assert facts["scattered"] < facts["scattered_elsewhere"]
    pattern = read_array(layout.step_folder(tmp_path, "reduce"), "region_vacuum")
    exact(pattern, counts[y0:y1, x0:x1].sum(axis=(0, 1)))


def test_scan_without_vacuum_is_said_to_have_none():
    rng = np.random.default_rng(0)
    disk = np.full((16, 16), 400)
    sums = np.stack([disk * (10 + rng.normal(0, 2, disk.shape)) for _ in range(2)], axis=-1)
    picked = regions.pick_vacuum(disk + 20, disk, sums, 8.0, np.ones(disk.shape, bool))
    assert not picked.plain
    assert picked.deflection > 10


def test_scan_without_whole_frames_has_no_vacuum_to_pick():
    none = np.zeros((8, 8))
    with pytest.raises(RegionError, match="no square of 4 x 4 scan positions has whole frames"):
        regions.pick_vacuum(none, none, np.zeros((8, 8, 2)), 4.0, none.astype(bool))


def test_chunks_are_written_with_checksums(work):
    folder, _ = reduced(work, export=DenseSettings(CENTER, 2, (2, 2), "uint16"))
    array = zarr.open_array(str(folder), path="export", mode="r")
    assert "crc32c" in str(array.metadata.codecs).lower()
