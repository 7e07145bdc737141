"""A simulated recording is what its settings say, whichever way it was computed."""

import json
import tracemalloc
from dataclasses import replace
from math import pi

import numpy as np
import pytest

from models.aberrations import Aberrations
from tasks.formats.stempy_hdf5 import StempyRecording
from tasks.simulate import losses_of, simulate, simulated_rows, specimen_of, truth_path
from tasks.simulation import Simulation, SimulationError, as_json, from_json, small_simulation


def recorded(settings, **options):
    """All events of a scan: offsets and pixels."""
    slabs = list(simulated_rows(settings, **options))
    lengths = np.concatenate([np.diff(slab.indptr) for slab in slabs])
    return (
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([slab.indices for slab in slabs]),
    )


def dense(settings):
    """Counts (scan_y, scan_x, detector_y, detector_x)."""
    indptr, indices = recorded(settings)
    pixels = int(np.prod(settings.detector_shape))
    frames = np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
    counts = np.bincount(frames * pixels + indices, minlength=(indptr.size - 1) * pixels)
    return counts.reshape(*settings.scan_shape, *settings.detector_shape)


@pytest.mark.parametrize("rows_per_slab", [1, 5, 100])
@pytest.mark.parametrize("workers", [1, 3])
def test_events_depend_on_the_settings_alone(rows_per_slab, workers):
    settings = small_simulation(scan_shape=(11, 7))
    expected = recorded(settings)
    found = recorded(settings, rows_per_slab=rows_per_slab, workers=workers)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_gives_other_electrons_and_another_film():
    one, other = small_simulation(), small_simulation(seed=7)
    assert recorded(one)[1].size != recorded(other)[1].size
    images = [specimen_of(s).phase((30, 30), (0.3, 0.3)) for s in (one, other)]
    assert np.abs(images[0] - images[1]).max() > 0.05


def test_slabs_come_in_the_order_of_the_scan_with_offsets_of_their_own():
    slabs = list(simulated_rows(small_simulation(scan_shape=(11, 7)), rows_per_slab=4))
    assert [slab.first_row for slab in slabs] == [0, 4, 8]
    assert [slab.indptr.size - 1 for slab in slabs] == [28, 28, 21]
    for slab in slabs:
        assert (slab.indptr[0], slab.indptr[-1]) == (0, slab.indices.size)
        assert (slab.indptr.dtype, slab.indices.dtype) == (np.int64, np.uint32)


def test_counts_scatter_like_poisson_numbers_around_the_forward_model():
    settings = small_simulation(
        scan_shape=(12, 12), electrons=4000.0, missing_fraction=0.0, lost_sectors=0
    )
    counts = dense(settings).reshape(144, 32, 32)
    model = settings.forward_model
    rows, cols = np.divmod(np.arange(144), 12)
    canvas = model.canvas(specimen_of(settings), settings.scan_shape)
    means = 4000 * model.patterns(canvas, model.positions(rows, cols)).astype(float)
    bright = means > 5
    deviates = ((counts - means) / np.sqrt(np.maximum(means, 1e-9)))[bright]
    assert deviates.mean() == pytest.approx(0, abs=5 / np.sqrt(deviates.size))
    assert deviates.std() == pytest.approx(1, abs=5 / np.sqrt(2 * deviates.size))


def test_missing_frames_are_empty_and_a_lost_sector_has_no_electron():
    settings = small_simulation(missing_fraction=0.02, lost_sectors=3, electrons=2000.0)
    losses = losses_of(settings)
    counts = dense(settings).reshape(-1, 4, 8, 32).sum(axis=(2, 3))
    np.testing.assert_array_equal(np.flatnonzero(counts.sum(axis=1) == 0), losses.missing)
    assert len(losses.missing) == round(0.02 * 576)
    assert len(losses.sectors) == 3
    partial = set(map(tuple, losses.sectors))
    disk = counts[:, 1:3]  # both sectors that the disk lies on
    found = {(p, s + 1) for p, s in np.argwhere(disk == 0) if p not in losses.missing}
    assert found == partial


def test_losses_leave_the_other_electrons_as_they_are():
    whole = dense(small_simulation(missing_fraction=0.0, lost_sectors=0)).reshape(576, -1)
    settings = small_simulation()
    lossy, losses = dense(settings).reshape(576, -1), losses_of(settings)
    hit = np.union1d(losses.missing, losses.sectors[:, 0])
    np.testing.assert_array_equal(np.delete(lossy, hit, axis=0), np.delete(whole, hit, axis=0))


def test_flyback_adds_a_bright_column_and_leaves_the_scan_as_it_is(tmp_path):
    path = tmp_path / "scan.h5"
    simulate(small_simulation(), tmp_path / "plain.h5")
    summary = simulate(small_simulation(flyback=True), path)
    assert summary["scan_shape"] == [24, 25]
    assert summary["electrons_per_frame"] == pytest.approx(250, rel=0.02)
    kept, dropped = StempyRecording(str(path)), StempyRecording(str(path), drop_flyback=True)
    assert kept.flyback_suspected
    assert kept.scan_shape == (24, 25)
    lengths = np.diff(kept.read_rows(0, 24).indptr).reshape(24, 25)
    assert lengths[:, -1].mean() == pytest.approx(2 * 250, rel=0.05)
    plain = StempyRecording(str(tmp_path / "plain.h5")).read_rows(0, 24)
    for found, expected in zip(dropped.read_rows(0, 24)[:2], plain[:2], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_probe_wider_than_the_patterns_can_hold_is_refused_with_what_would_do():
    # 2 α |C10| = 0.05 · 2000 Å = 100 Å; pixels of α/(8 λ) hold 8 λ/α = 13.4 Å.
    with pytest.raises(SimulationError, match=r"probe 100 Å wide.*hold 13\.4 Å.*above 59\.9 px"):
        small_simulation(aberrations=Aberrations(C10=2000.0))


def test_file_and_truth_hold_what_was_simulated(tmp_path):
    settings, path, seen = small_simulation(), tmp_path / "scan.h5", []
    summary = simulate(settings, path, lambda done, rows: seen.append((done, rows)))
    block = StempyRecording(str(path)).read_rows(0, 24)
    indptr, indices = recorded(settings)
    np.testing.assert_array_equal(block.indptr, indptr)
    np.testing.assert_array_equal(block.indices, indices)
    assert summary["events"] == indices.size
    assert summary["electrons_per_frame"] == pytest.approx(250, rel=0.02)
    assert summary["electrons_per_angstrom2"] == pytest.approx(250 / 0.16)
    assert json.loads(json.dumps(summary)) == summary
    assert seen == [(8, 24), (16, 24), (24, 24)]
    with np.load(truth_path(path), allow_pickle=False) as truth:
        expected = specimen_of(settings).phase((24, 24), (0.4, 0.4))
        np.testing.assert_array_equal(truth["phase"], expected)
        np.testing.assert_allclose(truth["aberrations"], settings.aberrations.cartesian())
        np.testing.assert_array_equal(truth["missing"], losses_of(settings).missing)
        assert from_json(json.loads(str(truth["settings"]))) == settings
        assert (float(truth["rotation"]), float(truth["radius"])) == (settings.rotation, 8.0)


def test_same_settings_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        simulate(small_simulation(), tmp_path / f"{name}.h5")
    for kind in (".h5", "_truth.npz"):
        assert (tmp_path / f"a{kind}").read_bytes() == (tmp_path / f"b{kind}").read_bytes()


def test_nothing_is_left_of_a_simulation_that_was_broken_off(tmp_path):
    def stop(done, rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(small_simulation(), tmp_path / "scan.h5", stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("rotation", "flip"), [(-0.4, False), (2.1, True)])
def test_weak_phase_estimate_finds_the_specimen_only_the_way_the_settings_say(rotation, flip):
    settings = small_simulation(
        specimen="gold", scan_shape=(32, 30), electrons=3000.0, rotation=rotation, flip=flip,
        detector_shape=(30, 34), missing_fraction=0.0, lost_sectors=0,
    )  # fmt: skip
    counts = dense(settings)
    truth = specimen_of(settings).phase(settings.scan_shape, settings.scan_step)
    turned_over = Aberrations.from_cartesian(-settings.aberrations.cartesian())
    right = correlation(settings, counts, truth)
    assert right > 0.9
    assert correlation(replace(settings, rotation=-rotation), counts, truth) < right - 0.1
    assert correlation(replace(settings, aberrations=turned_over), counts, truth) < right - 0.2
    assert correlation(replace(settings, flip=not flip), counts, truth) < right - 0.2


def correlation(settings, counts, truth):
    """Of the weak-phase estimate Σ Γ* G / i Σ|Γ|² with the truth, from 0.06 to 1 1/Å."""
    g = settings.geometry
    rows, cols = np.indices(settings.detector_shape)
    ky, kx = g.wavevectors(rows, cols)
    inside = np.hypot(ky, kx) < 0.97 * g.aperture
    ky, kx = ky[inside][:, None, None], kx[inside][:, None, None]
    spectrum = np.fft.fft2(np.moveaxis(counts[:, :, inside], 2, 0))
    qy, qx = (np.fft.fftfreq(n, d) for n, d in zip(truth.shape, g.scan_step, strict=True))
    dy, dx = g.scan_to_detector(qy[:, None] + 0 * qx, qx + 0 * qy[:, None])
    straight = wave(settings, ky, kx)
    gamma = np.conj(straight) * wave(settings, ky - dy, kx - dx)
    gamma -= straight * np.conj(wave(settings, ky + dy, kx + dx))
    weight = (np.abs(gamma) ** 2).sum(axis=0)
    phase = (np.conj(gamma) * spectrum).sum(axis=0) / (1j * np.maximum(weight, 1e-9))
    q = np.hypot(qy[:, None], qx)
    band = (q > 0.06) & (q < 1.0)
    images = [np.fft.ifft2(s * band).real[3:-3, 3:-3] for s in (phase, np.fft.fft2(truth))]
    return np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1]


def wave(settings, ky, kx):
    """A(k) for defocus, astigmatism, coma and threefold astigmatism, written out again."""
    lam, lens = 0.041757197, settings.aberrations
    theta, phi = lam * np.hypot(ky, kx), np.arctan2(ky, kx)
    chi = (lens.C10 + lens.C12 * np.cos(2 * (phi - lens.phi12))) * theta**2 / 2
    chi += lens.C21 * np.cos(phi - lens.phi21) * theta**3 / 3
    chi += lens.C23 * np.cos(3 * (phi - lens.phi23)) * theta**3 / 3
    return np.where(theta < settings.semiangle, np.exp(-2j * pi / lam * chi), 0)


def test_memory_grows_with_the_slab_and_not_with_the_scan():
    peaks = []
    for rows in (16, 64):
        settings = small_simulation(scan_shape=(rows, 8), electrons=2000.0, scan_step=(0.05, 0.4))
        tracemalloc.start()
        for slab in simulated_rows(settings, rows_per_slab=2, workers=1):
            del slab
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_demonstration_has_seven_aberrations_losses_and_a_disk_between_pixels():
    demo = Simulation()
    sizes = [name for name in demo.aberrations.nonzero() if name.startswith("C")]
    assert len(sizes) == 7
    assert len(losses_of(demo).missing) >= 5
    assert len(losses_of(demo).sectors) == 1
    assert all(c % 1 for c in demo.center)
    assert 1e4 < demo.dose < 1e5


def test_all_wrong_settings_are_named_at_once_with_their_values():
    with pytest.raises(SimulationError) as refused:
        Simulation(specimen="cheese", scan_step=(0.2, -1.0), radius=0.0, center=(200.0, 3.0),
                   missing_fraction=2.0, seed=-3)  # fmt: skip
    for part in ("'cheese'", "mos2, hbn", "-1.0 Å", "radius of 0.0 px", "(200.0, 3.0)",
                 "fraction 2.0", "seed -3"):  # fmt: skip
        assert part in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"scan_shape": (0, 5)}, {"electrons": -1.0}, {"electrons": float("nan")},
        {"energy": 0.0}, {"detector_shape": (0, 8)}, {"lost_sectors": 1000}, {"semiangle": -0.01},
        {"pixel_points": 0},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_simulated_are_refused(changes):
    with pytest.raises(SimulationError):
        small_simulation(**changes)


def test_settings_come_back_from_json():
    settings = small_simulation(flip=True, aberrations=Aberrations(C10=3.0, C34=2.0, phi34=0.1))
    assert from_json(json.loads(json.dumps(as_json(settings)))) == settings
    wide = replace(settings, pixel_points=3)
    assert from_json(json.loads(json.dumps(as_json(wide)))) == wide
    assert "pixel_points" not in as_json(settings)


def test_detector_that_integrates_puts_electrons_on_the_rim_of_the_disk():
    points, wide = (
        dense(small_simulation(pixel_points=n, electrons=2000.0)).sum(axis=(0, 1)) for n in (1, 4)
    )
    rows, cols = np.indices(points.shape)
    away = np.hypot(rows - 15.2, cols - 16.1)
    assert wide[away < 6].mean() == pytest.approx(points[away < 6].mean(), rel=0.01)
    outer = (away > 8.5) & (away < 8.9)
    assert wide[outer].mean() > 1.05 * points[outer].mean()
