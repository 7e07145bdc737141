"""Rotation and mirror between detector and scan, from the centre of mass of the disk.

The deflection of the beam is a gradient, which has no curl. Turned by R(θ) to the scan's axes the
field's curl becomes C cos θ − D sin θ, with curl C and divergence D as measured, so that the least
curl is found in closed form: tan 2θ = 2 ΣCD / (ΣD² − ΣC²). A field and its negative have the same
curl: θ is known modulo π. The wrong mirror turns divergence into shear and leaves both alike.
Host work of milliseconds on two images; there is nothing in it for a GPU.
"""

from dataclasses import dataclass
from math import atan2, pi, sqrt

import numpy as np
import scipy.fft

from gpu_kernels.scan_modes import scan_window, window_correlation


@dataclass(frozen=True)
class RotationFit:
    """Rotation and mirror of least curl."""

    rotation: float
    """θ in [0, π) [rad]."""
    flip: bool
    """Whether the detector's axes are transposed first."""
    ratio: float
    """Power of the curl that is left over that of the divergence: 0 for a perfect gradient."""
    other_ratio: float
    """The same for the other mirror."""
    sigma: float
    """Standard deviation of θ from the curl that is left [rad]; π/√12 where it is unknown."""

    @property
    def reliable(self) -> bool:
        """Whether the field is much more of a gradient than the other mirror's."""
        return self.ratio < 0.8 and self.ratio < 0.8 * self.other_ratio and self.sigma < 0.1


def fit_rotation(
    com_row: np.ndarray,
    com_col: np.ndarray,
    scan_step: tuple[float, float],
    band: tuple[float, float] | None = None,
    missing: np.ndarray | None = None,
    flip: bool | None = None,
) -> RotationFit:
    """Find the rotation that leaves the least curl.

    Parameters
    ----------
    com_row, com_col : (scan_y, scan_x) float64
        Centre of mass along the detector's rows and columns, in any unit; NaN where missing.
    scan_step : (y, x)
        [Å].
    band : (lowest, highest), optional
        Spatial frequencies that are used [1/Å], such as 0.1 to 1.2 k0: far better at low dose.
        Without it, curl and divergence are differences in real space.
    missing : (scan_y, scan_x) bool, optional
        Positions to leave out.
    flip : bool, optional
        The mirror, if it is known.

    Returns
    -------
    RotationFit
        Look at ``ratio`` before it is believed.

    Raises
    ------
    ValueError
        If the fields differ in shape, or nothing is left to fit.
    """
    if com_row.shape != com_col.shape or com_row.ndim != 2:
        raise ValueError(f"com_row is {com_row.shape}, com_col {com_col.shape}; both must be 2-D")
    known = np.isfinite(com_row) & np.isfinite(com_col)
    if missing is not None:
        known &= ~missing
    if known.sum() < 16:
        raise ValueError(f"only {known.sum()} positions of {known.size} have a centre of mass")
    row, col = (np.where(known, com - com[known].mean(), 0.0) for com in (com_row, com_col))
    parts = _real_space if band is None else _band_limited
    fits = {}
    for mirror in (False, True) if flip is None else (flip, not flip):
        y, x = (col, row) if mirror else (row, col)
        fits[mirror] = _least_curl(*parts(y, x, scan_step, known, band))
    best = flip if flip is not None else min(fits, key=lambda mirror: fits[mirror][1])
    rotation, ratio, sigma = fits[best]
    return RotationFit(rotation, best, ratio, fits[not best][1], sigma)


def _least_curl(divergence, curl, samples):
    """Angle, ratio and uncertainty; the direction of the longer axis of the (D, C) cloud."""
    dd, cc = float((np.abs(divergence) ** 2).sum()), float((np.abs(curl) ** 2).sum())
    cd = float((curl * np.conj(divergence)).real.sum())
    rotation = 0.5 * atan2(2 * cd, dd - cc)
    half, apart = (dd + cc) / 2, sqrt(((dd - cc) / 2) ** 2 + cd**2)
    if apart <= 1e-12 * half or samples < 2:
        return rotation % pi, 1.0, pi / sqrt(12)
    large, small = half + apart, max(half - apart, 0.0)
    sigma = sqrt(large * small / max(samples, 1.0)) / (large - small)
    return rotation % pi, small / large, min(sigma, pi / sqrt(12))


def _real_space(row, col, scan_step, known, band):
    """Central differences where all four neighbours are known; band is of no use here."""
    inner = known[1:-1, 1:-1] & known[2:, 1:-1] & known[:-2, 1:-1]
    inner &= known[1:-1, 2:] & known[1:-1, :-2]
    down = [(com[2:, 1:-1] - com[:-2, 1:-1])[inner] / (2 * scan_step[0]) for com in (row, col)]
    right = [(com[1:-1, 2:] - com[1:-1, :-2])[inner] / (2 * scan_step[1]) for com in (row, col)]
    return down[0] + right[1], right[0] - down[1], float(inner.sum())


def _band_limited(row, col, scan_step, known, band):
    """Longitudinal and transverse parts of each frequency, which differ from D and C by |Q|.

    Without that factor the noise, which is white, does not grow with frequency.
    """
    window = scan_window(row.shape, ~known)
    modes = [
        scipy.fft.rfft2((com - (com * window).sum() / window.sum()) * window) for com in (row, col)
    ]
    q_y = scipy.fft.fftfreq(row.shape[0], scan_step[0])[:, None]
    q_x = scipy.fft.rfftfreq(row.shape[1], scan_step[1])[None]
    q = np.hypot(q_y, q_x)
    inside = (q > band[0]) & (q < band[1]) & ((q_x > 0) | (q_y > 0))
    if not inside.any():
        raise ValueError(f"the scan has no frequency between {band[0]:.3g} and {band[1]:.3g} 1/Å")
    u_y, u_x = (np.broadcast_to(part, q.shape)[inside] / q[inside] for part in (q_y, q_x))
    along_row, along_col = modes[0][inside], modes[1][inside]
    samples = 2 * inside.sum() / window_correlation(window)
    return u_y * along_row + u_x * along_col, u_x * along_row - u_y * along_col, float(samples)
