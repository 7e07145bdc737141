"""The bright-field disk is found to small parts of a pixel, and its uncertainty is true."""

import numpy as np
import pytest

from gpu_kernels.disk_fit import DiskError, fit_disk


def disk(shape, center, radius, electrons, seed=None, oval=0.0, tail=0.02):
    """Expected or counted electrons of a disk on a dim, uneven surround."""
    y, x = np.indices(shape)
    r, angle = np.hypot(y - center[0], x - center[1]), np.arctan2(y - center[0], x - center[1])
    rim = radius * (1 + oval * np.cos(2 * angle))
    level = 1 / (1 + np.exp(np.clip((r - rim) / 0.4, -50, 50)))
    level += tail * np.exp(-r / radius) * (1 + 0.5 * np.cos(angle))
    level *= electrons / level.sum()
    return level if seed is None else np.random.default_rng(seed).poisson(level)


@pytest.mark.parametrize(
    ("shape", "center", "radius"),
    [((256, 256), (126.2, 130.7), 60.4), ((64, 64), (30.3, 33.6), 11.4), ((40, 90), (19, 51.5), 9)],
)
def test_strong_disk_is_found_to_a_fiftieth_of_a_pixel(shape, center, radius):
    fit = fit_disk(disk(shape, center, radius, 1e8, seed=0))
    np.testing.assert_allclose(fit.center, center, atol=0.02)
    assert fit.radius == pytest.approx(radius, abs=0.02)


def test_binning_of_a_large_detector_costs_little():
    fit = fit_disk(disk((576, 576), (288.4, 280.1), 110, 1e8, seed=0))
    np.testing.assert_allclose(fit.center, (288.4, 280.1), atol=0.02)
    assert fit.radius == pytest.approx(110, abs=0.03)


def test_2000_electrons_suffice_and_the_uncertainty_is_true():
    center, radius = (30.3, 33.6), 11.4
    pulls = []
    for seed in range(24):
        fit = fit_disk(disk((64, 64), center, radius, 2000, seed))
        off = [fit.center[0] - center[0], fit.center[1] - center[1], fit.radius - radius]
        assert np.abs(off).max() < 0.4
        pulls.append(np.divide(off, [*fit.center_sigma, fit.radius_sigma]))
    assert 0.6 < np.std(pulls) < 1.5


def test_an_oval_disk_is_seen_and_does_not_move_the_centre():
    fit = fit_disk(disk((256, 256), (120.5, 131.2), 60, 1e7, seed=1, oval=0.04))
    np.testing.assert_allclose(fit.center, (120.5, 131.2), atol=0.05)
    assert fit.ellipticity == pytest.approx(0.04, abs=0.003)


def test_lost_sector_and_gap_do_not_move_the_centre():
    frame = disk((256, 256), (126.2, 130.7), 60, 1e7, seed=2)
    frame[:64] = 0  # the quarter of the rows that one readout sector has
    frame[150:154] = 0
    fit = fit_disk(frame)
    np.testing.assert_allclose(fit.center, (126.2, 130.7), atol=0.1)
    assert fit.radius == pytest.approx(60, abs=0.1)


def test_disk_partly_off_the_detector_is_found_with_its_cover():
    fit = fit_disk(disk((200, 128), (100, 50), 60, 1e7, seed=3))
    np.testing.assert_allclose(fit.center, (100, 50), atol=0.1)
    assert 0.6 < fit.covered < 0.9


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (np.zeros((64, 64)), "0 electrons"),
        (disk((64, 64), (30, 30), 10, 300, seed=4), "at least 500"),
        (np.random.default_rng(5).poisson(20.0, (64, 64)), "disk"),
    ],
    ids=["empty", "few electrons", "flat"],
)
def test_no_disk_is_said(frame, words):
    with pytest.raises(DiskError, match=words):
        fit_disk(frame)


def test_real_disk_agrees_with_its_readme(shared_data):
    import h5py

    with h5py.File(shared_data / "rotavirus" / "rotavirus_events.h5") as file:
        frames = file["electron_events/frames"]
        counts = np.zeros(256 * 256, np.int64)
        for first in range(0, frames.shape[0], 2000):
            counts += np.bincount(np.concatenate(frames[first : first + 2000].ravel()),
                                  minlength=counts.size)  # fmt: skip
    fit = fit_disk(counts.reshape(256, 256))
    np.testing.assert_allclose(fit.center, (125.95, 127.78), atol=0.25)
    assert fit.radius == pytest.approx(60.4, abs=0.6)
    assert 0.02 < max(fit.center_sigma) < 0.2
