"""The wavelength agrees with the printed tables and with both limits of mechanics."""

import numpy as np
import pytest

from models.electron import REST_ENERGY, wavelength


# Kirkland, Advanced Computing in Electron Microscopy, and Reimer & Kohl print these.
@pytest.mark.parametrize(
    ("kilovolt", "angstrom"),
    [(80, 0.041757), (100, 0.037014), (200, 0.025079), (300, 0.019687), (1000, 0.0087192)],
)
def test_wavelength_is_that_of_the_tables(kilovolt, angstrom):
    assert wavelength(kilovolt * 1e3) == pytest.approx(angstrom, rel=3e-5)


def test_slow_electrons_obey_de_broglie_without_relativity():
    # h / sqrt(2 m E) = 12.26426 Å sqrt(eV / E)
    assert wavelength(1.0) == pytest.approx(12.26426, rel=2e-6)


def test_fast_electrons_have_the_wavelength_of_light_of_their_energy():
    energy = 1e6 * REST_ENERGY
    assert wavelength(energy) * energy == pytest.approx(12_398.42, rel=2e-6)


@pytest.mark.parametrize("energy", [0, -80e3, float("nan")])
def test_energy_that_is_not_positive_is_refused_with_its_value(energy):
    with pytest.raises(ValueError, match=f"positive, got {energy}"):
        wavelength(energy)


def test_wavelength_falls_as_energy_rises():
    assert (np.diff([wavelength(e) for e in np.geomspace(1, 3e6, 60)]) < 0).all()
