"""Differential phase contrast: from the beam's deflection to the phase.

The deflection is ∇φ/2π smoothed by the probe's intensity: COM(R) = (1/2π)(|a|² ⋆ ∇φ). Integrating
it gives φ ⋆ |a|² up to a constant (Lazić, Bosch and Lazar, Ultramicroscopy 160 (2016) 265–280).
Scan edges are mirrors unless told otherwise, because an image is no torus; ``slopes`` says how.
"""

import numpy as np
from numba import njit
from scipy.ndimage import distance_transform_edt

from gpu_kernels.backend import Array, as_library, beside
from gpu_kernels.fourier import libraries
from gpu_kernels.slopes import Mirror, Periodic, Slopes

BEYOND_DISK, BEYOND_DISK_PX = 1.1, 1.5
"""How far the centre of mass looks beyond the disk: what pushes the disk aside must not push it out
of sight, and the pixels at its rim are partly covered."""
BOUNDARIES: dict[str, type[Mirror] | type[Periodic]] = {"mirror": Mirror, "periodic": Periodic}


def radius_of_com(radius: float) -> float:
    """Radius [px] within which electrons count for the centre of mass of a disk of a radius [px].

    Within the disk's own radius an edge that a slow phase pushes outwards is lost and its opposite
    is not: the deflection comes out a tenth too small, by a third for phases of 6 rad.
    """
    return max(BEYOND_DISK * radius, radius + BEYOND_DISK_PX)


def deflection(
    com_sums: np.ndarray,
    com_electrons: np.ndarray,
    center: tuple[float, float],
    pixel: float,
    rotation: float,
    flip: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Deflection of the beam at each scan position, on the scan's axes.

    Parameters
    ----------
    com_sums : (scan_y, scan_x, 2) int64
        Sums of row and column over the electrons in and about the disk [px e].
    com_electrons : (scan_y, scan_x)
        Those electrons [e].
    center : (row, col)
        Of the disk [px].
    pixel : float
        Size of a detector pixel [1/Å].
    rotation : float
        Detector to scan [rad].
    flip : bool
        Whether the detector's axes are transposed first.

    Returns
    -------
    com_y, com_x : (scan_y, scan_x) float64
        [1/Å]; NaN where no electron hit the disk.
    """
    rows, cols = com_electrons.shape
    com_y, com_x = np.empty((rows, cols)), np.empty((rows, cols))
    turn = (np.cos(rotation) * pixel, np.sin(rotation) * pixel)
    _deflection_cpu(com_sums, com_electrons, center, turn, flip, com_y, com_x)
    return com_y, com_x


@njit(nogil=True, cache=True)
def _deflection_cpu(sums, electrons, center, turn, flip, com_y, com_x):
    # The sums are read once; what they become is 10^5 to 10^6 numbers, too few for a device.
    for y in range(electrons.shape[0]):
        for x in range(electrons.shape[1]):
            if not electrons[y, x] > 0:
                com_y[y, x] = com_x[y, x] = np.nan
                continue
            row = sums[y, x, 0] / electrons[y, x] - center[0]
            col = sums[y, x, 1] / electrons[y, x] - center[1]
            if flip:
                row, col = col, row
            com_y[y, x] = turn[0] * row - turn[1] * col
            com_x[y, x] = turn[1] * row + turn[0] * col


def filled(field: np.ndarray, rounds: int = 200) -> np.ndarray:
    """Fill NaN by smooth values from around them; what is there stays as it is.

    From the nearest known value, each missing one relaxes towards the mean of its four neighbours
    (harmonic in-painting).

    Parameters
    ----------
    field : (scan_y, scan_x) float64
        NaN where it is missing.
    rounds : int
        Of relaxation; 200 are enough for holes some 15 positions wide.

    Returns
    -------
    (scan_y, scan_x) float64
        ``field`` itself if nothing is missing.

    Raises
    ------
    ValueError
        If everything is missing.
    """
    missing = ~np.isfinite(field)
    if not missing.any():
        return field
    if missing.all():
        raise ValueError(f"all {field.size} positions of the scan are missing")
    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    out = field[tuple(nearest)]
    y, x = np.nonzero(missing)
    rows, cols = field.shape
    above, below = np.maximum(y - 1, 0), np.minimum(y + 1, rows - 1)
    left, right = np.maximum(x - 1, 0), np.minimum(x + 1, cols - 1)
    for _ in range(rounds):
        out[y, x] = 0.25 * (out[above, x] + out[below, x] + out[y, left] + out[y, right])
    return out


def integrate(
    com_y: Array,
    com_x: Array,
    scan_step: tuple[float, float],
    boundary: str = "mirror",
    high_pass: float = 0.0,
    low_pass: float = 0.0,
) -> Array:
    """Integrate a deflection in closed form: φ = F⁻¹[−i Q·F(2π COM) / (Q² + λ1 + λ2 Q⁴)].

    Here Q is the angular wave vector 2π × frequency [rad/Å]; the form for a mirror is its analogue.

    Parameters
    ----------
    com_y, com_x : (scan_y, scan_x) float64
        Deflection [1/Å]; finite (see ``filled``). Their mean, a ramp of the phase, is left out.
    scan_step : (y, x)
        [Å].
    boundary : str
        ``mirror``: no flux through the edges, the least squares over all differences.
        ``periodic``: by Fourier transforms, exact for an object that repeats.
    high_pass : float
        λ1 [1/Å²]: frequencies below its root fade.
    low_pass : float
        λ2 [Å²]: frequencies above 1/√λ2 fade.

    Returns
    -------
    (scan_y, scan_x) float64
        Phase without mean [rad]. It lives where ``com_y`` lives.

    Raises
    ------
    ValueError
        If there is no such boundary.
    """
    com = [as_library(part) for part in (com_y, com_x)]
    slopes = _slopes(com[0], scan_step, boundary, high_pass, low_pass)
    phase = slopes.image(*slopes.measured(*(part - part.mean() for part in com)))
    phase *= 2 * np.pi
    return beside(phase, com_y)


def integrate_iteratively(
    com_y: Array,
    com_x: Array,
    scan_step: tuple[float, float],
    iterations: int = 64,
    boundary: str = "mirror",
    high_pass: float = 0.0,
    low_pass: float = 0.0,
    step_size: float = 1.0,
) -> Array:
    """Integrate a deflection by the regularised iteration of Pelz et al.

    φ ← φ + μ F⁻¹[−i Q·F(residual) / (Q² + λ1 + λ2 Q⁴)], where the residual is the deflection that
    φ does not yet explain; positions without data have none, so that the phase bends nowhere
    in a hole (with mirrors its Laplacian is 0 there). (In print the −i is missing and the
    whole deflection stands where the residual must.)

    Parameters
    ----------
    com_y, com_x : (scan_y, scan_x) float64
        Deflection [1/Å]; NaN where it is missing.
    scan_step : (y, x)
        [Å].
    iterations : int
        Steps.
    boundary : str
        As in ``integrate``.
    high_pass, low_pass : float
        λ1 [1/Å²] and λ2 [Å²]; what they hold back returns with the number of steps.
    step_size : float
        μ, between 0 and 2.

    Returns
    -------
    (scan_y, scan_x) float64
        Phase without mean [rad]. It lives where ``com_y`` lives.
    """
    com = [as_library(part) for part in (com_y, com_x)]
    xp, _ = libraries(com[0])
    slopes = _slopes(com[0], scan_step, boundary, high_pass, low_pass)
    goals = slopes.measured(*(2 * np.pi * (part - xp.nanmean(part)) for part in com))
    phase = xp.zeros(com[0].shape)
    for _ in range(iterations):
        rest = (goal - found for goal, found in zip(goals, slopes.slope(phase), strict=True))
        phase += step_size * slopes.image(*(xp.nan_to_num(part) for part in rest))
    return beside(phase - phase.mean(), com_y)


def curl_and_divergence(
    com_y: np.ndarray, com_x: np.ndarray, scan_step: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Curl and divergence of a field, which a phase makes zero and its Laplacian.

    Parameters
    ----------
    com_y, com_x : (scan_y, scan_x) float64
        Deflection [1/Å]; NaN where it is missing, which goes on to the neighbours.
    scan_step : (y, x)
        [Å].

    Returns
    -------
    curl, divergence : (scan_y, scan_x) float64
        [1/Å²].
    """
    dy_y, dx_y = np.gradient(com_y, *scan_step)
    dy_x, dx_x = np.gradient(com_x, *scan_step)
    return dx_y - dy_x, dy_y + dx_x


def curl_and_divergence_power(
    com_y: np.ndarray, com_x: np.ndarray, scan_step: tuple[float, float]
) -> tuple[float, float]:
    """Mean square of curl and of divergence: their ratio tells how far a field is from a phase's.

    Parameters
    ----------
    com_y, com_x : (scan_y, scan_x) float64
        Deflection [1/Å]; NaN where it is missing, which leaves out the neighbours too.
    scan_step : (y, x)
        [Å].

    Returns
    -------
    curl, divergence : float
        [1/Å⁴]. Noise alone has a ratio of 1, a phase seen at the right rotation one of 0.
    """
    curl, divergence = curl_and_divergence(com_y, com_x, scan_step)
    return float(np.nanmean(curl**2)), float(np.nanmean(divergence**2))


def _slopes(
    like: Array, step: tuple[float, float], boundary: str, high_pass: float, low_pass: float
) -> Slopes:
    if boundary not in BOUNDARIES:
        raise ValueError(f"unknown boundary {boundary!r}; there are {', '.join(BOUNDARIES)}")
    return BOUNDARIES[boundary](like, step, high_pass, low_pass)
