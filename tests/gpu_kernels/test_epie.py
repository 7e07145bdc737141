"""ePIE equals its equations on both sides, and finds what made the patterns."""

from dataclasses import replace

import numpy as np
import pytest

from gpu_kernels import epie_gpu
from gpu_kernels.counted_root import counted_root, root_gain
from gpu_kernels.epie import epie, illumination
from gpu_kernels.epie_gauge import settle
from gpu_kernels.epie_rounds import Rounds
from gpu_kernels.epie_settings import Epie

SIDE = 16


def small_probe(side=SIDE, electrons=3000.0, defocus=2.0):
    """A slightly defocused probe whose disk fills half of the window."""
    k = np.fft.fftfreq(side, 1 / side)
    q2 = (k[:, None] ** 2 + k**2) / (side / 4) ** 2
    wave = np.where(q2 < 1, np.exp(-1j * (defocus * q2 + 0.3 * k[:, None] / (side / 4))), 0)
    probe = np.fft.fftshift(np.fft.ifft2(wave, norm="ortho"))
    return probe * np.sqrt(electrons / np.sum(np.abs(probe) ** 2))


def small_object(shape, seed=0, strength=0.4):
    rng = np.random.default_rng(seed)
    k = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
    phase = np.fft.ifft2(np.fft.fft2(rng.normal(size=shape)) * np.exp(-((k / 0.12) ** 2))).real
    return np.exp(1j * strength * phase / phase.std())


def raster(count, step, jitter=0.0, seed=1):
    at = np.stack(np.meshgrid(*[np.arange(count) * step] * 2, indexing="ij"), -1).reshape(-1, 2)
    return at + np.random.default_rng(seed).uniform(-jitter, jitter, at.shape)


def shifted(probe, fraction):
    k = np.fft.fftfreq(len(probe), 1 / len(probe))
    turn = k[:, None] * fraction[0] + k * fraction[1]
    return np.fft.ifft2(np.fft.fft2(probe) * np.exp(-2j * np.pi * turn / len(probe)))


def windows(positions, origin, side):
    corners = np.floor(positions - origin + 0.5).astype(int) - side // 2
    return corners, positions - origin - side // 2 - corners


def simulate(positions, probe, obj, origin):
    """Intensities by the definition, zero frequency first."""
    side, patterns = len(probe), []
    for (y, x), fraction in zip(*windows(positions, origin, side), strict=True):
        wave = shifted(probe, fraction) * obj[y : y + side, x : x + side]
        patterns.append(np.abs(np.fft.fft2(wave, norm="ortho")) ** 2)
    return np.array(patterns)


def by_definition(patterns, positions, probe, obj, origin, batches, settings, weight=1.0):
    """One round in double precision, as the papers write it."""
    side, lit = len(probe), illumination(positions, probe, obj.shape, origin).max()
    obj, velocity, residual = obj.astype(complex), np.zeros(obj.shape, complex), 0.0
    brightest, peak = (np.abs(obj) ** 2).max(), np.abs(probe).max() ** 2
    corners, fractions = windows(positions, origin, side)
    for batch in batches:
        numerator, denominator = np.zeros(obj.shape, complex), np.zeros(obj.shape)
        change = np.zeros_like(probe)
        for p in batch:
            at = tuple(slice(c, c + side) for c in corners[p])
            here = shifted(probe, fractions[p])
            wave = np.fft.fft2(here * obj[at], norm="ortho")
            root, slope, variance = counted_root(np.abs(wave) ** 2)
            rest = weight * (np.sqrt(patterns[p]) - root)
            gain = rest * root_gain(slope, variance, settings.doubt)
            residual += (rest**2).sum()
            difference = np.fft.ifft2(gain * wave, norm="ortho")
            numerator[at] += here.conj() * difference
            denominator[at] += np.abs(here) ** 2
            change += shifted(obj[at].conj() * difference, -fractions[p])
        floor = peak if len(batch) == 1 else lit * len(batch) / len(positions)
        gamma = settings.regularisation
        step = numerator / ((1 - gamma) * denominator + gamma * floor)
        touched = denominator > 0
        velocity[touched] *= settings.momentum
        velocity += settings.object_step * step
        obj = obj + np.where(touched, velocity, 0)
        probe = probe + settings.probe_step / len(batch) / brightest * change
    return obj, probe, residual / patterns.sum()


@pytest.fixture(scope="module")
def scan():
    positions = raster(6, 2.37) + 20.3
    probe = small_probe()
    origin = (9, 9)
    obj = small_object((32, 32))
    counts = np.random.default_rng(2).poisson(simulate(positions, probe, obj, origin))
    return counts.astype(np.uint16), positions, probe, obj, origin


@pytest.mark.parametrize(
    ("size", "doubt"), [(1, 0.5), (9, 0.05), (36, 30.0)],
    ids=["sequential", "batches", "all at once"],
)  # fmt: skip
def test_round_equals_its_definition(twin, scan, size, doubt, monkeypatch):
    monkeypatch.setattr(epie_gpu, "PATTERNS_A_SUM", 10)  # so that there are several sums
    counts, positions, probe, _, origin = scan
    counts = counts[:9] if size == 1 else counts
    positions = positions[: len(counts)]
    settings = Epie(
        iterations=1, batch_size=size, probe_step=0.2, probe_from=0, momentum=0.6, doubt=doubt
    )
    start = small_object((32, 32), seed=5, strength=0.1)
    found = epie(twin(counts), positions, probe, settings, start=(start, origin))
    order = np.random.default_rng(0).permutation(len(counts)).reshape(-1, size)
    obj, new_probe, residual = by_definition(
        counts.astype(float), positions, probe, start, origin, order, settings
    )
    obj, new_probe, _ = settle(obj, origin, new_probe, positions, probe)
    touched = illumination(positions, probe, obj.shape, origin) > 1
    np.testing.assert_allclose(found.obj[touched], obj[touched], atol=2e-5)
    np.testing.assert_allclose(found.probe, new_probe, atol=3e-5 * np.abs(probe).max())
    np.testing.assert_allclose(found.residuals, [residual], rtol=1e-5)


def test_dead_pixels_leave_the_wave_alone(twin, scan):
    counts, positions, probe, _, origin = scan
    weight = np.ones((SIDE, SIDE))
    weight[3:5, 1:4] = 0
    spoilt = counts.copy()
    spoilt[:, weight == 0] = 60_000
    settings = Epie(iterations=1, batch_size=36, doubt=0.5)
    start = small_object((32, 32), seed=5, strength=0.1)
    found = epie(twin(spoilt), positions, probe, settings, start=(start, origin), weight=weight)
    obj, _, _ = by_definition(
        counts.astype(float), positions, probe, start, origin, [range(36)], settings, weight
    )
    lit = illumination(positions, probe, obj.shape, origin) > 1
    np.testing.assert_allclose(found.obj[lit], obj[lit], atol=2e-5)


def test_subset_of_positions_gives_what_they_alone_would(twin, scan):
    counts, positions, probe, *_ = scan
    chosen = np.flatnonzero((positions < 26).all(axis=1))
    settings = Epie(iterations=3, batch_size=chosen.size, probe_step=0.3, probe_from=1)
    part = epie(twin(counts), positions, probe, settings, chosen=chosen)
    alone = epie(twin(counts[chosen]), positions[chosen], probe, settings)
    assert part.origin == alone.origin
    np.testing.assert_allclose(part.obj, alone.obj, atol=1e-4)
    np.testing.assert_allclose(part.residuals, alone.residuals, rtol=1e-5)


def test_seed_decides_the_order_and_repeats_to_the_bit(large_twin, scan):
    counts, positions, probe, *_ = scan
    runs = [
        epie(large_twin(counts), positions, probe, Epie(iterations=2, batch_size=9, seed=seed))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0].obj, runs[1].obj)
    assert np.abs(runs[0].obj - runs[2].obj).max() > 1e-4


def test_stops_when_noise_alone_is_left(scan):
    counts, positions, probe, *_ = scan
    told = []
    found = epie(
        counts, positions, probe, Epie(iterations=60, settled_rad=0.05),
        on_round=lambda *facts: told.append(facts),
    )  # fmt: skip
    assert 2 <= len(found.residuals) < 60
    assert found.residuals[-1] <= found.noise
    assert told == [
        (number, residual, found.noise) for number, residual in enumerate(found.residuals, 1)
    ]


@pytest.mark.parametrize("seed", [0, 3])
def test_round_that_overshot_is_made_again(large_twin, scan, monkeypatch, seed):
    counts, positions, probe, *_ = scan
    hasty = Epie(iterations=16, batch_size=36, object_step=1.6, momentum=0.97, probe_step=0.5)
    found = epie(large_twin(counts), positions, probe, replace(hasty, seed=seed)).residuals
    assert (np.diff(found) < 0).all()
    monkeypatch.setattr(Rounds, "_again", lambda self, last, i, order, *now: now)
    left = epie(large_twin(counts), positions, probe, replace(hasty, seed=seed)).residuals
    rise = np.flatnonzero(np.diff(left) > 0)[0]
    np.testing.assert_array_equal(found[: rise + 1], left[: rise + 1])
    assert found[-1] < left[-1]


def test_both_sides_step_back_alike(twin, scan):
    counts, positions, probe = scan[0][:4], scan[1][:4], scan[2]
    hasty = Epie(iterations=4, batch_size=4, object_step=2.0, momentum=0.97)
    found = epie(twin(counts), positions, probe, hasty)
    expected = epie(counts, positions, probe, hasty)
    assert (np.diff(expected.residuals) < 0).all()
    np.testing.assert_allclose(found.residuals, expected.residuals, rtol=1e-5)
    np.testing.assert_allclose(found.obj, expected.obj, atol=1e-4)


def test_no_batch_is_left_over(scan):
    # 34 positions in elevens: a batch of the last one would divide by next to nothing.
    counts, positions, probe, *_ = scan
    settings = Epie(iterations=12, batch_size=11, momentum=0.3)
    found = epie(counts[:34], positions[:34], probe, settings)
    assert np.abs(found.obj).max() < 1.5
    assert found.residuals[-1] < found.residuals[0]


def test_positions_that_were_off_come_closer(large_twin):
    true = raster(7, 1.9, jitter=0.3) + 20.3
    told = true + np.random.default_rng(4).normal(0, 0.25, true.shape)
    probe, obj = small_probe(electrons=3e5), small_object((36, 36))
    counts = simulate(true, probe, obj, (9, 9)).round().astype(np.float32)
    settings = Epie(iterations=25, batch_size=49, positions_from=4, object_step=1.0)
    found = epie(large_twin(counts), told, probe, settings)
    before, after = (spread(p - true) for p in (told, found.positions))
    assert after < 0.6 * before
    np.testing.assert_allclose(found.positions.mean(axis=0), told.mean(axis=0), atol=1e-9)


def test_positions_move_alike_on_both_sides(twin):
    true = raster(2, 1.9, jitter=0.3) + 20.3
    told = true + np.random.default_rng(4).normal(0, 0.25, true.shape)
    probe, obj = small_probe(electrons=3e5), small_object((36, 36))
    counts = simulate(true, probe, obj, (2, 2)).round().astype(np.float32)
    settings = Epie(iterations=2, batch_size=4, positions_from=1)
    found = epie(twin(counts), told, probe, settings).positions
    expected = epie(counts, told, probe, settings).positions
    assert np.abs(expected - told).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-3)


def spread(errors):
    """Of positions; a common shift is free."""
    return np.sqrt(((errors - errors.mean(axis=0)) ** 2).mean())


def test_probe_that_wandered_is_put_back_and_no_pattern_notices():
    side, positions, obj = 32, raster(3, 2.3) + 24, small_object((56, 56))
    k = np.arange(side) - side // 2
    start = np.exp(-(k[:, None] ** 2 + k**2) / 20) * (1 + 0.2j * k / side)
    probe = 1.2 * shifted(start * np.exp(0.3j * k[:, None] - 0.2j * k), (0.4, -0.3))
    new, back, moved = settle(obj, (0, 0), probe, positions, start)
    before, after = (
        simulate(p, w, o, (0, 0)) for p, w, o in ((positions, probe, obj), (moved, back, new))
    )
    np.testing.assert_allclose(after, before, atol=1e-4 * before.max())
    np.testing.assert_allclose((np.abs(back) ** 2).sum(), (np.abs(start) ** 2).sum(), rtol=1e-5)
    overlap = np.vdot(back, start) / np.vdot(start, start)
    assert abs(overlap) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(moved - positions, [(0.4, -0.3)] * 9, atol=1e-2)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"probe": np.ones((8, 8), complex)}, "must have the shape of a pattern"),
        ({"probe": np.zeros((SIDE, SIDE), complex)}, "not empty"),
        ({"positions": np.zeros((5, 2))}, "36 patterns"),
        ({"positions": np.full((36, 2), np.nan)}, "finite"),
        ({"chosen": np.array([], int)}, "no position"),
        ({"start": (np.ones((20, 20)), (9, 9))}, "does not cover"),
    ],
)
def test_what_does_not_fit_together_is_refused(scan, change, reason):
    counts, positions, probe, *_ = scan
    given = {"patterns": counts, "positions": positions, "probe": probe} | change
    with pytest.raises(ValueError, match=reason):
        epie(**given)
