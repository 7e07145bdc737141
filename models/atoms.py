"""What an atom does to the electron's phase, as a sum of Gaussians.

The phase of one atom in projection is φ(q) = λ γ f_e(q), the first Born approximation with the
relativistic mass; f_e is parametrised by five Gaussians, so φ(r) is a sum of Gaussians too.
"""

from typing import NamedTuple

import numpy as np

from models.electron import REST_ENERGY, wavelength

PENG: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "B": ((0.0909, 0.2551, 0.7738, 1.2136, 0.4606), (0.2995, 2.1155, 8.3816, 24.1292, 63.1314)),
    "C": ((0.0893, 0.2563, 0.7570, 1.0487, 0.3575), (0.2465, 1.7100, 6.4094, 18.6113, 50.2523)),
    "N": ((0.1022, 0.3219, 0.7982, 0.8197, 0.1715), (0.2451, 1.7481, 6.1925, 17.3894, 48.1431)),
    "S": ((0.2497, 0.5628, 1.3899, 2.1865, 0.7715), (0.2681, 1.6711, 7.0267, 19.5377, 50.3888)),
    "Mo": ((0.6773, 1.4798, 3.1788, 3.0824, 1.8384), (0.2920, 2.0606, 8.1129, 30.5336, 100.0658)),
    "Au": ((0.9674, 1.8916, 3.3993, 3.0524, 1.2607), (0.2358, 1.4712, 5.6758, 18.7119, 61.5286)),
}
"""Electron scattering factors f_e(s) = Σ a exp(−b s²), s = q/2 up to 2 1/Å: a [Å], b [Å²]. Peng,
Ren, Dudarev and Whelan, Acta Cryst. A52 (1996) 257, doi:10.1107/S0108767395014371."""

BLUR = 0.25
"""Standard deviation [Å] by which potentials are blurred: thermal motion (0.08 Å) and the band
limit of the grids. Finer detail lies beyond 2 α/λ of a 25 mrad probe at 80 kV, and with it grid
steps of up to 0.3 Å hold an atom without aliasing inside that limit."""


class Profile(NamedTuple):
    """A round bump of phase: a sum of Gaussians."""

    heights: np.ndarray
    """(gaussians,) float64: phase at the centre [rad]."""
    sigmas: np.ndarray
    """(gaussians,) float64: standard deviations [Å]."""


def scattering_factor(symbol: str, q: np.ndarray) -> np.ndarray:
    """Electron scattering factor f_e of a neutral atom at rest.

    Parameters
    ----------
    symbol : str
        Element, one of ``PENG``.
    q : array
        Spatial frequency [1/Å], up to 4.

    Returns
    -------
    array of float64
        f_e [Å].
    """
    a, b = np.array(_coefficients(symbol))
    return (a * np.exp(-b * (np.asarray(q, float)[..., None] / 2) ** 2)).sum(axis=-1)


def atom_profile(symbol: str, energy: float, blur: float = BLUR) -> Profile:
    """Phase of one atom seen along the beam.

    Parameters
    ----------
    symbol : str
        Element, one of ``PENG``.
    energy : float
        Beam energy [eV].
    blur : float
        Standard deviation of the blur of each axis [Å].

    Returns
    -------
    Profile
        φ(r) = λ γ Σ a 4π/B exp(−4π² r²/B), B = b + 8π² blur².

    Raises
    ------
    ValueError
        If the element is not in the table.
    """
    a, b = np.array(_coefficients(symbol))
    widened = b + 8 * np.pi**2 * blur**2
    strength = wavelength(energy) * (1 + energy / REST_ENERGY)
    return Profile(strength * a * 4 * np.pi / widened, np.sqrt(widened / (8 * np.pi**2)))


def _coefficients(symbol: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if symbol not in PENG:
        raise ValueError(f"no scattering factor of {symbol!r}; known are {', '.join(PENG)}")
    return PENG[symbol]
