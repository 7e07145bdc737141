"""Images by parts of the disk shift by the slope of the aberration function."""

import numpy as np
import pytest
import scipy.fft

from gpu_kernels.scan_modes import scan_window
from gpu_kernels.subaperture import PatchSums, decompose, fit_shifts
from models.aberrations import Aberrations, phase_shift

WAVELENGTH, APERTURE, STEP = 0.0197, 0.052, (31.0, 25.0)


def pixels_of_disk():
    at = (np.arange(13) - 6) / 6 * APERTURE
    rows, cols = (k.ravel() for k in np.meshgrid(at, at, indexing="ij"))
    inside = np.hypot(rows, cols) < APERTURE
    return rows[inside], cols[inside]


def shifted_images(rotation, flip, aberrations, noise=0.0):
    """A rough image, seen by each pixel at −∇χ/2π turned to the scan."""
    rng = np.random.default_rng(0)
    shape = (64, 80)
    rows, cols = pixels_of_disk()
    k_y, k_x = (cols, rows) if flip else (rows, cols)
    h = 1e-5
    slope = [
        (phase_shift(k_y + d, k_x + e, WAVELENGTH, aberrations)
         - phase_shift(k_y - d, k_x - e, WAVELENGTH, aberrations)) / (2 * h) / (2 * np.pi)
        for d, e in ((h, 0), (0, h))
    ]  # fmt: skip
    c, s = np.cos(rotation), np.sin(rotation)
    shift_y, shift_x = -(c * slope[0] - s * slope[1]), -(s * slope[0] + c * slope[1])
    q_y = scipy.fft.fftfreq(shape[0], STEP[0])[:, None]
    q_x = scipy.fft.rfftfreq(shape[1], STEP[1])
    spectrum = scipy.fft.rfft2(rng.normal(size=shape))
    spectrum *= np.exp(-(q_y**2 + q_x**2) * 60**2)
    images = []
    for dy, dx in zip(shift_y, shift_x, strict=True):
        moved = spectrum * np.exp(-2j * np.pi * (q_y * dy + q_x * dx))
        image = scipy.fft.irfft2(moved, s=shape)
        images.append(100 + 15 * image / image.std() + noise * 10 * rng.normal(size=shape))
    patches = PatchSums(rows, cols, APERTURE, shape)
    for first in range(0, len(images), 10):
        patches.add(np.array(images[first : first + 10], np.float32))
    return patches.finish()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_shifts_give_rotation_mirror_and_defocus(flip, noise):
    truth = Aberrations(C10=-130_000, C12=9000, phi12=0.5)
    patches = shifted_images(np.deg2rad(120), flip, truth, noise)
    found = fit_shifts(patches, scan_window((64, 80)), STEP, WAVELENGTH)
    assert found.reliable
    assert found.flip == flip
    assert np.rad2deg(found.rotation) == pytest.approx(120, abs=1.5)
    assert pytest.approx(-130_000, rel=0.03) == found.C10
    second = 9000 * np.exp(2j * 0.5)
    assert abs(found.C12a + 1j * found.C12b - second) < 3000


def test_images_that_do_not_shift_together_are_not_reliable():
    rng = np.random.default_rng(1)
    rows, cols = pixels_of_disk()
    patches = PatchSums(rows, cols, APERTURE, (64, 64))
    patches.add(rng.poisson(50, (rows.size, 64, 64)).astype(np.float32))
    assert not fit_shifts(patches.finish(), scan_window((64, 64)), STEP, WAVELENGTH).reliable


def test_decomposition_undoes_what_made_the_matrix():
    c10, a, b, turn = -500.0, 40.0, -70.0, 2.1
    s = np.array([[c10 - a, b], [b, c10 + a]])
    r = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    for flip in (False, True):
        matrix = -WAVELENGTH * r @ s
        matrix = matrix[:, ::-1] if flip else matrix
        mirror, rotation, second = decompose(matrix, WAVELENGTH)
        assert mirror == flip
        np.testing.assert_allclose([rotation, *second], [turn, c10, a, b], rtol=1e-9)


def test_unfinished_sums_are_refused():
    rows, cols = pixels_of_disk()
    patches = PatchSums(rows, cols, APERTURE, (8, 8))
    with pytest.raises(ValueError, match="0 of"):
        patches.finish()
