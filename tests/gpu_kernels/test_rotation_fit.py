"""The rotation of least curl is that by which a gradient was turned."""

import numpy as np
import pytest

from gpu_kernels.rotation_fit import fit_rotation

STEP = (0.4, 0.3)


def gradient(angle, flip=False, shape=(60, 72), noise=0.0):
    """A gradient seen on a detector whose axes are turned by −angle against the scan."""
    rng = np.random.default_rng(3)
    y, x = np.arange(shape[0])[:, None] * STEP[0], np.arange(shape[1]) * STEP[1]
    g_y, g_x = np.zeros(shape), np.zeros(shape)
    for _ in range(20):
        q_y = rng.integers(-8, 9) / (shape[0] * STEP[0])
        q_x = rng.integers(1, 9) / (shape[1] * STEP[1])
        wave = rng.normal() * np.cos(2 * np.pi * (q_y * y + q_x * x) + 6 * rng.random())
        g_y += q_y * wave
        g_x += q_x * wave
    c, s = np.cos(angle), np.sin(angle)
    row, col = c * g_y + s * g_x, -s * g_y + c * g_x
    if flip:
        row, col = col, row
    return [g + noise * np.std(g_y) * rng.normal(size=shape) for g in (row, col)]


@pytest.mark.parametrize("band", [None, (0.05, 0.6)], ids=["real space", "band"])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [-14, 0, 30, 89, 120.3])
def test_gradient_is_turned_back(degrees, flip, band):
    found = fit_rotation(*gradient(np.deg2rad(degrees), flip), STEP, band)
    apart = (np.rad2deg(found.rotation) - degrees + 90) % 180 - 90
    assert abs(apart) < 1.0
    assert found.flip == flip
    assert found.ratio < 0.05
    assert found.other_ratio > 0.3
    assert found.reliable


def test_uncertainty_grows_with_noise_and_covers_the_truth():
    for noise in (0.3, 1.0, 3.0):
        found = fit_rotation(*gradient(0.4, noise=noise), STEP, (0.05, 0.6))
        assert abs(found.rotation - 0.4) < 4 * found.sigma
    assert found.sigma > 3 * fit_rotation(*gradient(0.4, noise=0.3), STEP, (0.05, 0.6)).sigma


def test_missing_positions_are_left_out():
    row, col = gradient(0.4)
    holes = np.random.default_rng(0).random(row.shape) < 0.02
    row[holes], col[holes] = np.nan, 1e6
    found = fit_rotation(row, col, STEP, (0.05, 0.6), missing=holes)
    assert found.rotation == pytest.approx(0.4, abs=0.05)


def test_noise_alone_is_not_reliable():
    rng = np.random.default_rng(1)
    assert not fit_rotation(*rng.normal(size=(2, 64, 64)), STEP, (0.05, 0.6)).reliable


def test_known_mirror_is_kept():
    assert fit_rotation(*gradient(0.4, flip=True), STEP, flip=False).flip is False


@pytest.mark.parametrize(
    ("row", "col", "words"),
    [
        (np.zeros((8, 8)), np.zeros((8, 9)), "both must be 2-D"),
        (np.full((8, 8), np.nan), np.zeros((8, 8)), "only 0 positions of 64"),
    ],
)
def test_fields_that_cannot_be_fitted_are_refused(row, col, words):
    with pytest.raises(ValueError, match=words):
        fit_rotation(row, col, STEP)
