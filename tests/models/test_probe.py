"""The probe has the size, the place and the norm that optics gives it."""

from math import pi

import numpy as np
import pytest

from models.aberrations import NAMES, Aberrations, phase_shift
from models.probe import aperture, aperture_function, probe_wave, probe_width, turned

ENERGY, SEMIANGLE, LAM = 80e3, 0.025, 0.0417572
K0 = SEMIANGLE / LAM
SHAPE, SAMPLING = (192, 160), (0.25, 0.3)


def probe(**changes):
    values = {"shape": SHAPE, "sampling": SAMPLING, "energy": ENERGY, "semiangle": SEMIANGLE}
    return probe_wave(**(values | changes))


def coordinates():
    y, x = ((np.arange(n) - n // 2) * d for n, d in zip(SHAPE, SAMPLING, strict=True))
    return y[:, None], x[None]


def test_norm_is_the_number_of_electrons():
    assert np.sum(np.abs(probe()) ** 2) == pytest.approx(1.0)
    lens = Aberrations(C10=80.0, C21=500.0)
    assert np.sum(np.abs(probe(electrons=2000.0, aberrations=lens)) ** 2) == pytest.approx(2000.0)


def test_unnormalised_transform_holds_pixels_times_the_electrons():
    # As in the published deep-learning data: 1024 Σ|P|² electrons on 32 × 32 pixels.
    wave = probe(electrons=27.228)
    counts = np.abs(np.fft.fft2(wave)) ** 2
    assert counts.sum() == pytest.approx(wave.size * 27.228)


def test_ideal_probe_is_as_wide_as_an_airy_disk():
    wave = probe(shape=(512, 512), sampling=(0.05, 0.05))
    line = np.abs(wave[256]) ** 2
    half = np.interp(0.5 * line.max(), line[256:280][::-1], 0.05 * np.arange(24)[::-1])
    assert 2 * half == pytest.approx(0.5145 * LAM / SEMIANGLE, rel=0.02)


def test_probe_stands_on_the_middle_pixel_or_on_the_first():
    assert np.unravel_index(np.abs(probe()).argmax(), SHAPE) == (96, 80)
    np.testing.assert_array_equal(np.fft.ifftshift(probe()), probe(centred=False))
    assert np.abs(probe(centred=False)).argmax() == 0


def test_defocused_probe_is_the_focus_carried_on_through_free_space():
    # Huygens and Fresnel in real space: ψ(r) = ∫ ψ0(r') e^(iπ|r − r'|²/λz) dr' / (iλz), z = C10.
    z, step = 250.0, 0.35
    n = np.arange(-40, 41) * step
    focus = probe(shape=(81, 81), sampling=(step, step), edge=0.2, centred=True)
    beyond = probe(shape=(81, 81), sampling=(step, step), edge=0.2, aberrations=Aberrations(C10=z))
    at = np.array([[0.0, 0.0], [2.1, -1.4], [4.2, 3.5]])
    spread = (at[:, 0, None, None] - n[:, None]) ** 2 + (at[:, 1, None, None] - n) ** 2
    carried = (np.exp(1j * pi * spread / (LAM * z)) * focus).sum(axis=(1, 2))
    carried *= step**2 / (1j * LAM * z)
    index = np.round(at / step).astype(int) + 40
    np.testing.assert_allclose(carried, beyond[tuple(index.T)], atol=0.01 * np.abs(beyond).max())


def test_coma_moves_the_probe_along_its_azimuth():
    # Rays land where ∇χ/2π puts them; over the disk coma's mean is C21 α²/3 along φ21.
    size, azimuth = 2400.0, 0.8
    wave = probe(aberrations=Aberrations(C21=size, phi21=azimuth), edge=0.1)
    plain = probe(edge=0.1)
    y, x = coordinates()
    moved = [
        (np.abs(wave) ** 2 * along).sum() - (np.abs(plain) ** 2 * along).sum() for along in (y, x)
    ]
    expected = size * SEMIANGLE**2 / 3 * np.array([np.sin(azimuth), np.cos(azimuth)])
    np.testing.assert_allclose(moved, expected, rtol=0.03)


def test_hard_aperture_is_open_inside_and_shut_outside():
    k = np.array([0.0, 0.999 * K0, 1.001 * K0])
    np.testing.assert_array_equal(aperture(k, 0 * k, K0), [1, 1, 0])


@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.31, -0.42), (0.5, 0.5)])
def test_soft_aperture_passes_the_area_of_the_disk_wherever_its_centre_lies(centre):
    ky, kx = np.meshgrid(np.arange(-20, 21) - centre[0], np.arange(-20, 21) - centre[1])
    passed = (aperture(ky, kx, 13.3, edge=1.0) ** 2).sum()
    assert passed == pytest.approx(pi * 13.3**2, rel=2e-3)


def test_wave_in_the_aperture_is_late_by_the_aberration_phase():
    lens = Aberrations(C10=60.0, C12=20.0, phi12=0.4, C21=700.0, phi21=1.0)
    ky, kx = np.array([0.2, -0.3]), np.array([0.1, 0.35])
    wave = aperture_function(ky, kx, ENERGY, SEMIANGLE, lens)
    chi = phase_shift(ky, kx, LAM, lens)
    np.testing.assert_allclose(wave, np.cos(chi) - 1j * np.sin(chi), rtol=1e-5)


def test_aperture_wider_than_the_grid_is_refused_with_the_sampling_it_needs():
    with pytest.raises(ValueError, match=r"ends at 0.500 1/Å; a sampling below 0.835 Å"):
        probe(sampling=(0.3, 1.0))


def random_lens():
    rng = np.random.default_rng(5)
    return Aberrations(**{name: rng.uniform(-1, 1) * (1 if name.startswith("phi") else 300)
                          for name in NAMES})  # fmt: skip


@pytest.mark.parametrize("rotation", [0.0, 0.7, -2.5])
@pytest.mark.parametrize("flip", [False, True])
def test_turned_lens_gives_the_same_wave_the_same_phase(rotation, flip):
    ky, kx = np.random.default_rng(0).uniform(-K0, K0, (2, 40))
    row, col = (kx, ky) if flip else (ky, kx)
    c, s = np.cos(rotation), np.sin(rotation)
    found = phase_shift(c * row - s * col, s * row + c * col, LAM,
                        turned(random_lens(), rotation, flip))  # fmt: skip
    np.testing.assert_allclose(found, phase_shift(ky, kx, LAM, random_lens()), rtol=1e-9)


def test_turning_there_and_back_changes_nothing():
    there = turned(random_lens(), 0.9)
    np.testing.assert_allclose(turned(there, -0.9).cartesian(), random_lens().cartesian())


@pytest.mark.parametrize(
    ("lens", "width"),
    [
        # Rays land at C10 θ, on both sides; along the longer axis of astigmatism at (C10 + C12) θ.
        (Aberrations(C10=-120.0), 2 * 0.02 * 120),
        (Aberrations(C10=120.0, C12=40.0), 2 * 0.02 * 160),
        (Aberrations(C30=1e5), 2 * 0.02**3 * 1e5),
        # Coma draws a comet's tail: C21 (θ² + 2 θx²)/3 along its axis, on one side only.
        (Aberrations(C21=3000.0), 3000.0 * 0.02**2),
    ],
)
def test_probe_is_as_wide_as_its_rays_land_apart(lens, width):
    assert probe_width(80e3, 0.02, lens) == pytest.approx(width, rel=1e-3)
