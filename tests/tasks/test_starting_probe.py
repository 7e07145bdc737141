"""The wave that was found, on the pixels of another step."""

import numpy as np
import pytest

from models.aberrations import Aberrations, phase_shift
from models.geometry import Geometry
from tasks.patterns import PatternError, PatternGrid, modelled_probe, with_electrons
from tasks.starting_probe import given_probe, moved_wave, probe_grid

LENS = Aberrations(C10=60.0, C12=15.0, phi12=0.4, C21=900.0, phi21=-0.5)


def geometry(flip=False):
    return Geometry(80e3, 0.025, (0.3, 0.3), (60.3, 58.8), 30.0, 0.2, flip)


def wave_on(grid, known):
    """A soft aperture with the lens's aberrations and a departure of its own, centred."""
    ky, kx = (np.fft.fftshift(k) for k in grid.wavevectors)
    rho = np.hypot(ky, kx) / known.aperture
    size = 1 / (1 + np.exp((rho - 1) / 0.08))
    chi = phase_shift(ky, kx, known.wavelength, LENS) + 0.3 * (ky / known.aperture) ** 3
    return size * np.exp(-1j * chi)


@pytest.mark.parametrize("flip", [False, True])
def test_a_wave_on_coarser_pixels_is_the_same_probe(flip):
    known = geometry(flip)
    fine = probe_grid(known, (120, 120))
    coarse = PatternGrid((120, 120), known.center, 4, 32, 4 * known.pixel_wavevector, flip)
    moved = moved_wave(wave_on(fine, known), fine, coarse, known, LENS)
    wanted = np.fft.ifftshift(wave_on(coarse, known))
    overlap = np.abs(np.vdot(moved, wanted)) / np.linalg.norm(moved) / np.linalg.norm(wanted)
    assert overlap > 0.999
    probe = with_electrons(moved, 500.0)
    assert np.sum(np.abs(probe) ** 2) == pytest.approx(500)
    # A round aperture with the same aberrations is another probe.
    plain = modelled_probe(coarse, known, LENS, 500.0)
    assert np.abs(np.vdot(probe, plain)) / 500 < 0.99


def test_a_wave_on_its_own_pixels_stays_as_it_is():
    known = geometry()
    grid = probe_grid(known, (120, 120))
    wave = wave_on(grid, known)
    np.testing.assert_allclose(
        moved_wave(wave, grid, grid, known, LENS), np.fft.ifftshift(wave), atol=1e-9
    )


def test_of_a_probe_for_patterns_that_are_not_binned_the_middle_is_taken():
    grid = PatternGrid((128, 128), (64.0, 64.0), 4, 32, 0.1, False)
    wide = np.zeros((128, 128), complex)
    wide[50:78, 50:78] = np.random.default_rng(0).normal(size=(28, 28))
    inner = wide[48:80, 48:80]
    np.testing.assert_array_equal(given_probe(grid, wide), given_probe(grid, inner))
    with pytest.raises(PatternError, match="64 x 64 pixels, patterns have 32 x 32"):
        given_probe(grid, wide[32:96, 32:96])
