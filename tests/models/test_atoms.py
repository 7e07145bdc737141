"""The phase of an atom is that of the printed scattering factors and of X-ray physics."""

import numpy as np
import pytest

from models.atoms import PENG, atom_profile, scattering_factor

ATOMIC_NUMBER = {"B": 5, "C": 6, "N": 7, "S": 16, "Mo": 42, "Au": 79}
# International Tables for Crystallography C, Table 4.3.1.1: f_e(0) [Å].
FORWARD = {"B": 2.789, "C": 2.509, "N": 2.211, "S": 5.161, "Mo": 10.260, "Au": 10.573}


@pytest.mark.parametrize("symbol", PENG)
def test_forward_scattering_is_that_of_the_international_tables(symbol):
    assert scattering_factor(symbol, np.array(0.0)) == pytest.approx(FORWARD[symbol], rel=0.01)


@pytest.mark.parametrize("symbol", PENG)
def test_far_scattering_sees_the_nucleus_through_few_electrons(symbol):
    # Mott and Bethe: f_e = 0.023934 (Z − f_x) / s² [Å], and at s = 2 1/Å little is left of f_x.
    seen = scattering_factor(symbol, np.array(4.0)) * 2.0**2 / 0.023934
    assert 0.7 < seen / ATOMIC_NUMBER[symbol] < 1.0


@pytest.mark.parametrize("symbol", PENG)
def test_phase_of_an_atom_is_the_transform_of_its_scattering_factor(symbol):
    profile = atom_profile(symbol, 80e3, blur=0.2)
    r = np.hypot(*np.meshgrid(*2 * [(np.arange(512) - 256) * 0.05]))
    bump = (profile.heights * np.exp(-0.5 * (r[..., None] / profile.sigmas) ** 2)).sum(axis=-1)
    spectrum = np.fft.fft2(np.fft.ifftshift(bump)).real * 0.05**2
    q = np.fft.fftfreq(512, 0.05)[:90]
    # Interaction constant σ of 80 keV electrons: 1.0087e-3 rad/(V Å); V(q) = 47.878 V Å² f_e.
    expected = (
        1.0087e-3 * 47.878 * scattering_factor(symbol, q) * np.exp(-2 * (np.pi * 0.2 * q) ** 2)
    )
    np.testing.assert_allclose(spectrum[0, :90], expected, rtol=2e-3, atol=1e-6)


def test_faster_electrons_are_shifted_less():
    assert atom_profile("Au", 300e3).heights.sum() < atom_profile("Au", 80e3).heights.sum()


def test_unknown_element_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match="'Xx'; known are B, C, N"):
        atom_profile("Xx", 80e3)
