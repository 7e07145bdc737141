"""Modes of a scan: units of noise, the right frequencies, blocks that do not matter."""

import numpy as np
import pytest

from gpu_kernels.backend import to_host
from gpu_kernels.scan_modes import (
    block_modes,
    collect_modes,
    scan_power,
    scan_window,
    strongest_modes,
    window_correlation,
)

SHAPE, STEP = (40, 48), (0.5, 0.4)


def waves(seed=0):
    """Poisson counts of 12 pixels that share one wave of the scan."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(SHAPE)
    wave = 1 + 0.5 * np.cos(2 * np.pi * (5 * y / SHAPE[0] + 7 * x / SHAPE[1]))
    return rng.poisson(wave * rng.uniform(5, 40, (12, 1, 1))).astype(np.uint16)


def test_modes_are_the_windowed_transform_over_the_noise(twin):
    counts = waves()
    missing = np.random.default_rng(1).random(SHAPE) < 0.05
    window = scan_window(SHAPE, missing)
    found, mean = block_modes(twin(counts), window, 20)
    present = counts[:, ~missing].astype(np.float64)
    np.testing.assert_allclose(mean, present.mean(axis=1), rtol=1e-6)
    for pixel in range(len(counts)):
        level = present[pixel].mean()
        expected = np.fft.rfft2((counts[pixel] - level) * window)[:, :20] / np.sqrt(level)
        np.testing.assert_allclose(to_host(found)[pixel], expected, atol=2e-5)


def test_noise_alone_has_a_power_of_one():
    counts = np.random.default_rng(2).poisson(7.0, (64, *SHAPE))
    power = scan_power([counts[:30], counts[30:]], scan_window(SHAPE), 20)
    assert power[3:-3, 3:].mean() == pytest.approx(1, abs=0.02)


def test_strongest_mode_is_the_wave_that_is_there():
    power = scan_power([waves()], scan_window(SHAPE), 25)
    modes = strongest_modes(power, SHAPE, STEP, (0.1, 2.0), 8)
    assert (modes.row[0], modes.col[0]) == (5, 7)
    assert modes.q_y[0] == pytest.approx(5 / (40 * 0.5))
    assert modes.q_x[0] == pytest.approx(7 / (48 * 0.4))
    assert (np.diff(modes.power) <= 0).all()


def test_one_of_each_pair_of_frequencies_is_chosen():
    power = np.ones((SHAPE[0], SHAPE[1] // 2 + 1))
    modes = strongest_modes(power, SHAPE, STEP, (0.05, 9.0), 10**6)
    pairs = {(y % SHAPE[0], x % SHAPE[1]) for y, x in zip(modes.row, modes.col, strict=True)}
    opposite = {(-y % SHAPE[0], -x % SHAPE[1]) for y, x in pairs}
    assert not pairs & opposite


def test_blocks_do_not_matter():
    window, counts = scan_window(SHAPE), waves()
    modes = strongest_modes(scan_power([counts], window, 25), SHAPE, STEP, (0.1, 2.0), 9)
    whole, mean = collect_modes([counts], window, modes)
    parts, means = collect_modes([counts[:5], counts[5:]], window, modes)
    np.testing.assert_allclose(whole, parts, rtol=1e-6)  # the transform works on some at once
    np.testing.assert_array_equal(mean, means)
    assert whole.shape == (9, 12)


def test_window_counts_how_many_frequencies_share_one_noise():
    assert window_correlation(np.full(SHAPE, 1 / np.sqrt(SHAPE[0] * SHAPE[1]))) == pytest.approx(1)
    assert 1.3 < window_correlation(scan_window(SHAPE)) < 4


def test_scan_without_anything_is_refused():
    with pytest.raises(ValueError, match="all positions"):
        scan_window(SHAPE, np.ones(SHAPE, bool))
    with pytest.raises(ValueError, match="no pixel"):
        scan_power([np.zeros((3, *SHAPE))], scan_window(SHAPE), 20)
    with pytest.raises(ValueError, match="no spatial frequency"):
        strongest_modes(np.ones((40, 25)), SHAPE, STEP, (9.0, 10.0), 3)
