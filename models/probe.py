"""The electron probe: an aperture, what the lens does to it, and how it looks on the specimen.

ψ(r) = IFT[A(k)], A = |A| e^(−iχ), with ``numpy.fft``'s signs. Aberrations are those of the
detector's frame (see aberrations.py); ``turned`` brings them to the scan's.
"""

from dataclasses import replace
from math import pi

import numpy as np

from models.aberrations import ORDERS, Aberrations, phase_shift
from models.electron import wavelength


def aperture(ky: np.ndarray, kx: np.ndarray, cutoff: float, edge: float = 0.0) -> np.ndarray:
    """Amplitude that a round aperture lets through.

    Parameters
    ----------
    ky, kx : array
        Wave vectors [1/Å], broadcast against each other.
    cutoff : float
        Radius of the aperture [1/Å].
    edge : float
        Width over which the intensity falls from 1 to 0 in a straight line, centred on the radius
        [1/Å], as pixels do that the edge cuts. 0: a hard edge, inside where |k| < cutoff.

    Returns
    -------
    array of float64
        |A|, from 0 to 1.
    """
    k = np.hypot(ky, kx)
    if edge <= 0:
        return (k < cutoff).astype(float)
    return np.sqrt(np.clip((cutoff - k) / edge + 0.5, 0.0, 1.0))


def aperture_function(
    ky: np.ndarray,
    kx: np.ndarray,
    energy: float,
    semiangle: float,
    aberrations: Aberrations = Aberrations(),  # noqa: B008  frozen
    edge: float = 0.0,
) -> np.ndarray:
    """The wave in the aperture, A = |A| e^(−iχ).

    Parameters
    ----------
    ky, kx : array
        Wave vectors [1/Å], broadcast against each other, in the frame of the aberrations.
    energy : float
        Beam energy [eV].
    semiangle : float
        Convergence semi-angle [rad].
    aberrations : Aberrations
        Coefficients [Å, rad].
    edge : float
        Width of the aperture's edge [1/Å], see ``aperture``.

    Returns
    -------
    array of complex128
        A.
    """
    lam = wavelength(energy)
    size = aperture(ky, kx, semiangle / lam, edge)
    return size * np.exp(-1j * phase_shift(ky, kx, lam, aberrations))


def probe_wave(
    shape: tuple[int, int],
    sampling: tuple[float, float],
    energy: float,
    semiangle: float,
    aberrations: Aberrations = Aberrations(),  # noqa: B008  frozen
    *,
    edge: float = 0.0,
    electrons: float = 1.0,
    centred: bool = True,
) -> np.ndarray:
    """Probe on the specimen.

    Parameters
    ----------
    shape : (rows, cols)
        Of the grid.
    sampling : (float, float)
        Its pixel along y and x [Å].
    energy, semiangle, aberrations, edge
        See ``aperture_function``; axes and aberrations share their frame.
    electrons : float
        Σ|ψ|² over the grid [e]. An orthonormal transform (``norm="ortho"``) keeps it; with an
        unnormalised ``fft2`` the pattern holds ``rows · cols`` times as many.
    centred : bool
        Put the probe on pixel (rows // 2, cols // 2) instead of (0, 0).

    Returns
    -------
    (rows, cols) complex128
        ψ.

    Raises
    ------
    ValueError
        If the aperture reaches beyond the highest frequency of the grid.
    """
    cutoff, limit = semiangle / wavelength(energy), 0.5 / max(sampling)
    if cutoff >= limit:
        raise ValueError(
            f"an aperture of {cutoff:.3f} 1/Å does not fit on a grid that ends at {limit:.3f} 1/Å; "
            f"a sampling below {0.5 / cutoff:.3f} Å is needed"
        )
    ky, kx = (np.fft.fftfreq(n, d) for n, d in zip(shape, sampling, strict=True))
    wave = np.fft.ifft2(
        aperture_function(ky[:, None], kx, energy, semiangle, aberrations, edge), norm="ortho"
    )
    wave *= np.sqrt(electrons / np.sum(np.abs(wave) ** 2))
    return np.fft.fftshift(wave) if centred else wave


def probe_width(energy: float, semiangle: float, aberrations: Aberrations) -> float:
    """How far rays through the aperture land apart: the width of the probe without diffraction.

    A ray at k lands at ∇χ(k)/2π.

    Parameters
    ----------
    energy : float
        Beam energy [eV].
    semiangle : float
        Convergence semi-angle [rad].
    aberrations : Aberrations
        Coefficients [Å, rad].

    Returns
    -------
    float
        The longer side of the box that holds all rays, along the axes of the aberrations [Å];
        2 α |C10| for defocus alone.
    """
    lam = wavelength(energy)
    k = np.linspace(-1, 1, 65) * semiangle / lam
    h = 1e-4 * semiangle / lam
    ky, kx = (axis[np.hypot(k[:, None], k) <= k[-1]] for axis in np.meshgrid(k, k, indexing="ij"))
    landing = [
        phase_shift(ky + dy, kx + dx, lam, aberrations)
        - phase_shift(ky - dy, kx - dx, lam, aberrations)
        for dy, dx in ((h, 0.0), (0.0, h))
    ]
    return max(float(np.ptp(along)) for along in landing) / (4 * pi * h)


def turned(aberrations: Aberrations, rotation: float, flip: bool = False) -> Aberrations:
    """Describe the same lens on turned axes: from the detector's to the scan's.

    With k_new = R(rotation) k on (row, column), after a transposition where ``flip``, an azimuth
    φ = atan2(k_row, k_col) becomes φ − rotation, after π/2 − φ for the transposition.

    Parameters
    ----------
    aberrations : Aberrations
        In the detector's frame. As ``Geometry`` has it, that is the frame after the mirror, and
        ``flip`` stays False; it is for coefficients given on the axes of the raw frames.
    rotation : float
        ``Geometry.rotation`` [rad]; its negative goes back from the scan.
    flip : bool
        Transpose the axes first.

    Returns
    -------
    Aberrations
        In the new frame, azimuths within half a turn of their symmetry.
    """
    azimuths = {}
    for name, (_, m) in ORDERS.items():
        if m and getattr(aberrations, name):
            angle = getattr(aberrations, "phi" + name[1:])
            angle = (pi / 2 - angle if flip else angle) - rotation
            azimuths["phi" + name[1:]] = (angle + pi / m) % (2 * pi / m) - pi / m
    return replace(aberrations, **azimuths)
