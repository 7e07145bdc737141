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
from numba import njit

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
    if band is None:
        powers, samples = _real_space(row, col, known, *scan_step)
    else:
        powers, samples = _band_limited(row, col, scan_step, known, band)
    fits = {mirror: _least_curl(powers[int(mirror)], samples) for mirror in (False, True)}
    best = flip if flip is not None else min(fits, key=lambda mirror: fits[mirror][1])
    rotation, ratio, sigma = fits[best]
    return RotationFit(rotation, best, ratio, fits[not best][1], sigma)


def _least_curl(powers, samples):
    """Angle, ratio and uncertainty; the direction of the longer axis of the (D, C) cloud."""
    dd, cc, cd = (float(power) for power in powers)
    rotation = 0.5 * atan2(2 * cd, dd - cc)
    half, apart = (dd + cc) / 2, sqrt(((dd - cc) / 2) ** 2 + cd**2)
    if apart <= 1e-12 * half or samples < 2:
        return rotation % pi, 1.0, pi / sqrt(12)
    large, small = half + apart, max(half - apart, 0.0)
    sigma = sqrt(large * small / max(samples, 1.0)) / (large - small)
    return rotation % pi, small / large, min(sigma, pi / sqrt(12))


@njit(nogil=True, cache=True)
def _real_space(row, col, known, step_y, step_x):
    """ΣD², ΣC² and ΣCD of both mirrors, by central differences where all neighbours are known."""
    powers, samples = np.zeros((2, 3)), 0.0
    for y in range(1, row.shape[0] - 1):
        for x in range(1, row.shape[1] - 1):
            if not (known[y, x] and known[y + 1, x] and known[y - 1, x]):
                continue
            if not (known[y, x + 1] and known[y, x - 1]):
                continue
            samples += 1.0
            down_row = (row[y + 1, x] - row[y - 1, x]) / (2 * step_y)
            down_col = (col[y + 1, x] - col[y - 1, x]) / (2 * step_y)
            right_row = (row[y, x + 1] - row[y, x - 1]) / (2 * step_x)
            right_col = (col[y, x + 1] - col[y, x - 1]) / (2 * step_x)
            for mirror in range(2):
                divergence, curl = down_row + right_col, right_row - down_col
                if mirror == 1:
                    divergence, curl = down_col + right_row, right_col - down_row
                powers[mirror, 0] += divergence * divergence
                powers[mirror, 1] += curl * curl
                powers[mirror, 2] += curl * divergence
    return powers, samples


def _band_limited(row, col, scan_step, known, band):
    """The same of the longitudinal and transverse parts, which differ from D and C by |Q|.

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
    powers = []
    for y, x in ((0, 1), (1, 0)):
        along_y, along_x = modes[y][inside], modes[x][inside]
        along, across = u_y * along_y + u_x * along_x, u_x * along_y - u_y * along_x
        pairs = ((along, along), (across, across), (across, along))
        powers.append([float(np.vdot(one, other).real) for one, other in pairs])
    return powers, 2 * float(inside.sum()) / window_correlation(window)
