"""The phase that a lens adds, χ, as a polynomial that compiled loops evaluate inline.

A table of χ would cost as many bytes to read as the transform itself.
"""

from math import cos, sin

import numpy as np
from numba import njit


def chi_polynomial(aberrations: np.ndarray, wavelength: float) -> np.ndarray:
    """χ/2π as a polynomial in (ky, kx).

    Parameters
    ----------
    aberrations : (12,) float64
        Cartesian Krivanek coefficients [Å]: C10, C12a, C12b, C21a, C21b, C23a, C23b, C30, C32a,
        C32b, C34a, C34b, with C_a = C cos(mφ_nm), C_b = C sin(mφ_nm).
    wavelength : float
        Of the electron [Å].

    Returns
    -------
    (12,) float64
        Factors of y², yx, x²; y³, y²x, yx², x³; y⁴, y³x, y²x², yx³, x⁴ [turns Åⁿ].
    """
    # As Python's floats: the last step of a lens that is tuned waits for these few numbers.
    C10, C12a, C12b, C21a, C21b, C23a, C23b, C30, C32a, C32b, C34a, C34b = map(float, aberrations)
    l1, l2, l3 = wavelength / 2, wavelength**2 / 3, wavelength**3 / 4
    # x = k cos φ, y = k sin φ: k^n cos mφ and k^n sin mφ written out in x and y.
    second = [C10 - C12a, 2 * C12b, C10 + C12a]
    third = [C21b - C23b, C21a - 3 * C23a, C21b + 3 * C23b, C21a + C23a]
    fourth = [
        C30 - C32a + C34a,
        2 * C32b - 4 * C34b,
        2 * C30 - 6 * C34a,
        2 * C32b + 4 * C34b,
        C30 + C32a + C34a,
    ]
    return np.array([l1 * c for c in second] + [l2 * c for c in third] + [l3 * c for c in fourth])


def turned_aberrations(aberrations: np.ndarray, rotation: float) -> np.ndarray:
    """Aberrations as the scan's axes see them.

    Parameters
    ----------
    aberrations : (12,) float64
        Cartesian coefficients in the detector's frame, as in ``chi_polynomial`` [Å].
    rotation : float
        Detector to scan, Q_scan = R(θ) k on (row, col) [rad].

    Returns
    -------
    (12,) float64
        χ is the same function of the microscope; φ = atan2(ky, kx) becomes φ − θ, so each
        coefficient of azimuthal order m turns by −mθ.
    """
    turned = [float(one) for one in aberrations]
    for at, order in ((1, 2), (3, 1), (5, 3), (8, 2), (10, 4)):
        c, s = cos(order * rotation), sin(order * rotation)
        a, b = turned[at], turned[at + 1]
        turned[at], turned[at + 1] = c * a + s * b, c * b - s * a
    return np.array(turned)


@njit(nogil=True, cache=True, inline="always")
def chi_turns(c, y, x):
    """χ/2π at one wave vector."""
    second = y * (c[0] * y + c[1] * x) + c[2] * x * x
    third = y * (y * (c[3] * y + c[4] * x) + c[5] * x * x) + c[6] * x * x * x
    fourth = y * (y * (y * (c[7] * y + c[8] * x) + c[9] * x * x) + c[10] * x * x * x)
    return second + third + fourth + c[11] * x * x * x * x
