"""The electron: its wavelength at a given energy."""

import math

PLANCK_LIGHT = 12_398.419_843_320_026
"""h c [eV Å] (CODATA 2018, exact)."""
REST_ENERGY = 510_998.950_69
"""Rest energy of the electron [eV] (CODATA 2022)."""


def wavelength(energy: float) -> float:
    """Relativistic de Broglie wavelength.

    Parameters
    ----------
    energy : float
        Kinetic energy [eV].

    Returns
    -------
    float
        Wavelength [Å]: ``hc / sqrt(E (E + 2 m c²))``.

    Raises
    ------
    ValueError
        If the energy is not positive.
    """
    if not energy > 0:
        raise ValueError(f"electron energy must be positive, got {energy} eV")
    return PLANCK_LIGHT / math.sqrt(energy * (energy + 2 * REST_ENERGY))
