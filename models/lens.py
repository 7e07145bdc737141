"""The probe: the wave that a lens with an aperture and aberrations puts on the specimen."""

import numpy as np

from models.aberrations import Aberrations, phase_shift


def aperture_wave(
    k_y: np.ndarray,
    k_x: np.ndarray,
    aperture: float,
    wavelength: float,
    aberrations: Aberrations,
    edge: float = 0.0,
) -> np.ndarray:
    """Wave in the aperture, A = |A| e^(−iχ).

    Parameters
    ----------
    k_y, k_x : array
        Wave vectors in the detector's frame [1/Å].
    aperture : float
        Its radius k0 [1/Å].
    wavelength : float
        [Å].
    aberrations : Aberrations
        Of the lens.
    edge : float
        Width over which the amplitude falls from 1 to 0 [1/Å].

    Returns
    -------
    complex128 array
        |A| is 1 inside.
    """
    k = np.hypot(k_y, k_x)
    inside = (
        np.clip((aperture - k) / edge + 0.5, 0, 1) if edge > 0 else (k < aperture).astype(float)
    )
    return np.sqrt(inside) * np.exp(-1j * phase_shift(k_y, k_x, wavelength, aberrations))
