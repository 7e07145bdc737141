"""How much of the measured interference a set of aberrations and a rotation explains.

At each spatial frequency Q the disk pixels follow G(k, Q) = iΦ(Q) Γ(k, Q), with one unknown Φ(Q)
and Γ = A*(k) A(k−Q) − A(k) A*(k+Q). The best Φ leaves Σ_k|G|² − |Σ_k Γ*G|² / Σ_k|Γ|² unexplained;
the share that is left, over some tens of strong frequencies, is smallest where the rotation and the
aberrations inside Γ are right. G comes in units of its noise (see ``scan_modes``), so that this is
the maximum-likelihood estimate for Poisson electrons.
"""

from math import cos, pi, sin, sqrt

import numpy as np
from numba import cuda, njit

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host
from gpu_kernels.chi import chi_polynomial, chi_turns

THREADS_PER_BLOCK = 128
PARAMETERS = 13
"""Rotation [rad], then the 12 Cartesian aberration coefficients of ``chi_polynomial`` [Å]."""
LEAST_WEIGHT = 1e-6
"""Below, no disk overlaps another: this frequency says nothing."""


def project(
    g: Array,
    k_y: Array,
    k_x: Array,
    amplitude: Array,
    q_y: Array,
    q_x: Array,
    parameters: np.ndarray,
    aperture: float,
    wavelength: float,
    edge: float,
) -> tuple[Array, Array]:
    """Project the measured modes on what a weak phase object would give.

    Parameters
    ----------
    g : (frequencies, pixels) complex128
        G(k, Q) in units of its noise.
    k_y, k_x : (pixels,) float64
        Wave vectors of the disk pixels in the detector's frame, after the mirror [1/Å].
    amplitude : (pixels,) float64
        Root of each pixel's mean count over that of the disk: the weight of its Γ.
    q_y, q_x : (frequencies,) float64
        Spatial frequencies of the scan [1/Å].
    parameters : (vectors, 13) float64
        Rotation [rad] and Cartesian Krivanek coefficients [Å], for as many trials as wanted.
    aperture : float
        k0 [1/Å].
    wavelength : float
        [Å].
    edge : float
        Width of the aperture's edge, about one pixel [1/Å].

    Returns
    -------
    overlap : (vectors, frequencies) complex128
        Σ_k Γ* G.
    weight : (vectors, frequencies) float64
        Σ_k |Γ|²; Φ = overlap / (i weight), with a variance of 1 / weight. Both live where ``g``
        lives.

    Raises
    ------
    ValueError
        If a vector has another number of parameters.
    """
    trials = checked_trials(parameters)
    turns = np.stack([np.cos(trials[:, 0]), np.sin(trials[:, 0])], axis=1)
    chi = np.stack([chi_polynomial(trial[1:], wavelength) for trial in trials])
    if not on_gpu(g):
        overlap = np.zeros((len(trials), q_y.size), dtype=np.complex128)
        weight = np.zeros(overlap.shape)
        _project_cpu(g, k_y, k_x, amplitude, q_y, q_x, turns, chi, aperture, edge, overlap, weight)
        return overlap, weight
    shape = (len(trials), int(q_y.shape[0]))
    overlap, weight = device_zeros(shape, np.complex128), device_zeros(shape, np.float64)
    _project_gpu[shape, THREADS_PER_BLOCK](
        g, k_y, k_x, amplitude, q_y, q_x, to_device(turns), to_device(chi),
        aperture, edge, overlap, weight,
    )  # fmt: skip
    return overlap, weight


def checked_trials(parameters: np.ndarray) -> np.ndarray:
    """Give (vectors, 13) float64 of one or more vectors, or raise ValueError."""
    trials = np.atleast_2d(np.asarray(parameters, dtype=np.float64))
    if trials.shape[1] != PARAMETERS:
        raise ValueError(
            f"a trial has {PARAMETERS} parameters (rotation and 12 aberrations), "
            f"got {trials.shape[1]}"
        )
    return trials


def explained(overlap: Array, weight: Array) -> np.ndarray:
    """Energy that each trial explains, in units of the noise of one mode.

    Parameters
    ----------
    overlap, weight
        From ``project``.

    Returns
    -------
    (vectors,) float64
        Σ_Q |Σ_k Γ*G|² / Σ_k|Γ|², on the host. J = 1 − this / Σ|G|².
    """
    overlap, weight = to_host(overlap), to_host(weight)
    seen = weight > LEAST_WEIGHT
    power = overlap.real**2 + overlap.imag**2
    return np.where(seen, power / np.where(seen, weight, 1.0), 0.0).sum(axis=-1)


@njit(nogil=True, cache=True, inline="always")
def half_turn(turns):
    """Sine and cosine of π times a number of turns, but for one common sign."""
    # (sin πr, cos πr) for the part r of a turn in ±1/2, to 1e-9: without a branch, so that the loop
    # around it becomes vector instructions, which the library's sine does not.
    r = turns - np.floor(turns + 0.5)
    h = pi * r
    s = h * h
    sine = h * (
        1 - s / 6 * (1 - s / 20 * (1 - s / 42 * (1 - s / 72 * (1 - s / 110 * (1 - s / 156)))))
    )
    cosine = 1 - s / 2 * (
        1 - s / 12 * (1 - s / 30 * (1 - s / 56 * (1 - s / 90 * (1 - s / 132 * (1 - s / 182)))))
    )
    return sine, cosine


@njit(nogil=True, cache=True, inline="always")
def inside(y, x, aperture, edge):
    """Part of a pixel that lies inside the aperture, if its edge were straight."""
    part = (aperture - sqrt(y * y + x * x)) / edge + 0.5
    part = part if part > 0.0 else 0.0
    return part if part < 1.0 else 1.0


@njit(nogil=True, cache=True, inline="always")
def overlap_of_mode(g, k_y, k_x, amplitude, here, c, y, x, aperture, edge):
    """Real and imaginary part of Σ_k Γ*G, and Σ_k|Γ|², at Q = (y, x); χ/2π of each k is there."""
    re, im, norm = 0.0, 0.0, 0.0
    for k in range(k_y.size):
        my, mx, py, px = k_y[k] - y, k_x[k] - x, k_y[k] + y, k_x[k] + x
        a_m = amplitude[k] * inside(my, mx, aperture, edge)
        a_p = amplitude[k] * inside(py, px, aperture, edge)
        s_m, c_m = half_turn(here[k] - chi_turns(c, my, mx))
        s_p, c_p = half_turn(chi_turns(c, py, px) - here[k])
        real = a_m * (1 - 2 * s_m * s_m) - a_p * (1 - 2 * s_p * s_p)
        imag = 2 * (a_m * s_m * c_m - a_p * s_p * c_p)
        value = g[k]
        re += real * value.real + imag * value.imag
        im += real * value.imag - imag * value.real
        norm += real * real + imag * imag
    return re, im, norm


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _project_cpu(g, k_y, k_x, amplitude, q_y, q_x, turns, chi, aperture, edge, overlap, weight):
    here = np.empty(k_y.size)
    for trial in range(turns.shape[0]):
        c = chi[trial]
        for k in range(k_y.size):
            here[k] = chi_turns(c, k_y[k], k_x[k])
        for q in range(q_y.size):
            y = turns[trial, 0] * q_y[q] + turns[trial, 1] * q_x[q]
            x = turns[trial, 0] * q_x[q] - turns[trial, 1] * q_y[q]
            re, im, norm = overlap_of_mode(g[q], k_y, k_x, amplitude, here, c, y, x, aperture, edge)
            overlap[trial, q] = complex(re, im)
            weight[trial, q] = norm


_chi_gpu = cuda.jit(device=True)(chi_turns.py_func)
_inside_gpu = cuda.jit(device=True)(inside.py_func)


@cuda.jit
def _project_gpu(g, k_y, k_x, amplitude, q_y, q_x, turns, chi, aperture, edge, overlap, weight):
    # One block for each frequency of each trial, its threads striding over the pixels: a grid of
    # trials has 10^5 blocks and more. Trials are along x, for along y there can be 65,535 at most.
    # The tree in shared memory keeps the order of the sums.
    sums = cuda.shared.array((3, THREADS_PER_BLOCK), np.float64)
    trial, q, thread = cuda.blockIdx.x, cuda.blockIdx.y, cuda.threadIdx.x
    c = chi[trial]
    y = turns[trial, 0] * q_y[q] + turns[trial, 1] * q_x[q]
    x = turns[trial, 0] * q_x[q] - turns[trial, 1] * q_y[q]
    re, im, norm = 0.0, 0.0, 0.0
    for k in range(thread, k_y.shape[0], THREADS_PER_BLOCK):
        my, mx, py, px = k_y[k] - y, k_x[k] - x, k_y[k] + y, k_x[k] + x
        a_m = amplitude[k] * _inside_gpu(my, mx, aperture, edge)
        a_p = amplitude[k] * _inside_gpu(py, px, aperture, edge)
        if a_m == 0.0 and a_p == 0.0:
            continue
        here = _chi_gpu(c, k_y[k], k_x[k])
        m = 2 * pi * (here - _chi_gpu(c, my, mx))
        p = 2 * pi * (_chi_gpu(c, py, px) - here)
        real, imag = a_m * cos(m) - a_p * cos(p), a_m * sin(m) - a_p * sin(p)
        value = g[q, k]
        re += real * value.real + imag * value.imag
        im += real * value.imag - imag * value.real
        norm += real * real + imag * imag
    sums[0, thread], sums[1, thread], sums[2, thread] = re, im, norm
    cuda.syncthreads()
    half = THREADS_PER_BLOCK // 2
    while half > 0:
        if thread < half:
            for field in range(3):
                sums[field, thread] += sums[field, thread + half]
        cuda.syncthreads()
        half //= 2
    if thread == 0:
        overlap[trial, q] = complex(sums[0, 0], sums[1, 0])
        weight[trial, q] = sums[2, 0]
