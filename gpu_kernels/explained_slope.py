"""How the explained energy changes with the rotation and each aberration: its exact slope.

Of E = Σ_Q |O|²/W with O = Σ_k Γ*G and W = Σ_k|Γ|², a change δΓ makes δE = Re Σ_k δΓ* B with
B = 2/W (O* G − |O|²/W Γ). Γ = a₋ e^(iμ₋) − a₊ e^(iμ₊), where μ₋ = χ(k) − χ(k−Q) and
μ₊ = χ(k+Q) − χ(k) are polynomials in k of third degree: ten moments over the pixels of what each
of them does to E hold the slope with respect to all thirteen parameters. So it costs little more
than the energy itself, where differences would cost it anew for every parameter.
"""

from math import cos, pi, sin, sqrt

import numpy as np
from numba import cuda, njit

from gpu_kernels.backend import Array, device_zeros, on_gpu, to_device, to_host
from gpu_kernels.chi import chi_polynomial, chi_turns
from gpu_kernels.explained_energy import (
    LEAST_WEIGHT,
    PARAMETERS,
    checked_trials,
    half_turn,
    inside,
    overlap_of_mode,
)

THREADS_PER_BLOCK = 128
DEGREE = 4
"""Of χ in k."""
POWERS = DEGREE + 1
MOMENTS = 10
"""Products of y and x of up to third degree, by degree, then by rising powers of x."""
SUMS = 2 * MOMENTS + 1
"""Those of both terms, and what the aperture's edge adds to the slope of the rotation."""


def energy_and_slope(
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
) -> tuple[np.ndarray, np.ndarray]:
    """Energy that each trial explains, and its slope.

    Parameters
    ----------
    g, k_y, k_x, amplitude, q_y, q_x, parameters, aperture, wavelength, edge
        As for ``explained_energy.project``.

    Returns
    -------
    energy : (vectors,) float64
        As of ``explained_energy.explained``, on the host.
    slope : (vectors, 13) float64
        Its derivative with respect to each parameter [1/rad, 1/Å], on the host.

    Raises
    ------
    ValueError
        If a vector has another number of parameters.
    """
    trials = checked_trials(parameters)
    turns = np.stack([np.cos(trials[:, 0]), np.sin(trials[:, 0])], axis=1)
    # χ is linear in the coefficients: what each of them adds to its factors also turns slopes back.
    each = np.stack([chi_polynomial(one, wavelength) for one in np.eye(PARAMETERS - 1)])
    chi = trials[:, 1:] @ each
    shape = (len(trials), int(q_y.shape[0]))
    if on_gpu(g):
        energy = device_zeros(shape, np.float64)
        slope = device_zeros((*shape, PARAMETERS), np.float64)
        _slope_gpu[shape, THREADS_PER_BLOCK](
            g, k_y, k_x, amplitude, q_y, q_x, to_device(turns), to_device(chi),
            aperture, edge, energy, slope,
        )  # fmt: skip
    else:
        energy, slope = np.zeros(shape), np.zeros((*shape, PARAMETERS))
        _slope_cpu(g, k_y, k_x, amplitude, q_y, q_x, turns, chi, aperture, edge, energy, slope)
    summed = to_host(slope).sum(axis=1)
    summed[:, 1:] = summed[:, 1:] @ each.T
    return to_host(energy).sum(axis=1), summed


@njit(nogil=True, cache=True, inline="always")
def _assemble(sums, c, y, x, moved, slope):
    # The slope of one frequency with respect to the rotation and to the twelve factors of χ.
    turned = sums[2 * MOMENTS]
    for term in range(2):
        sign = 2.0 * term - 1.0
        # Moments of k ∓ Q from those of k, one step along an axis after another. Those of fourth
        # degree are 0 here: only what Q adds to them is asked for.
        at = term * MOMENTS
        for degree in range(DEGREE + 1):
            for j in range(degree + 1):
                moved[degree - j, j] = sums[at] if degree < DEGREE else 0.0
                at += 1
        for step in range(DEGREE):
            for i in range(DEGREE, step, -1):
                for j in range(DEGREE + 1 - i):
                    moved[i, j] += sign * y * moved[i - 1, j]
        for step in range(DEGREE):
            for j in range(DEGREE, step, -1):
                for i in range(DEGREE + 1 - j):
                    moved[i, j] += sign * x * moved[i, j - 1]
        at = term * MOMENTS + 3
        number = 0
        for degree in range(2, DEGREE + 1):
            for j in range(degree + 1):
                i = degree - j
                still = sums[at] if degree < DEGREE else 0.0
                slope[1 + number] += 2 * pi * sign * (moved[i, j] - still)
                # As the rotation grows, Q = (y, x) moves by (x, −y).
                if i > 0:
                    turned += 2 * pi * c[number] * i * x * moved[i - 1, j]
                if j > 0:
                    turned -= 2 * pi * c[number] * j * y * moved[i, j - 1]
                at += 1
                number += 1
    slope[0] = turned


# Python's error where something is divided by 0 is a way out of a loop, which keeps it from
# becoming vector instructions, and so does an array that it writes to: six times the time. All that
# is called is inlined here: of a function of its own the compiler inlines what was compiled just
# now, and not what was kept on disk, and with fast arithmetic that is another last digit.
@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def _slope_cpu(g, k_y, k_x, amplitude, q_y, q_x, turns, chi, aperture, edge, energy, slope):
    here = np.empty(k_y.size)
    sums, moved = np.empty(SUMS), np.empty((POWERS, POWERS))
    for trial in range(turns.shape[0]):
        c = chi[trial]
        for k in range(k_y.size):
            here[k] = chi_turns(c, k_y[k], k_x[k])
        for q in range(q_y.size):
            y = turns[trial, 0] * q_y[q] + turns[trial, 1] * q_x[q]
            x = turns[trial, 0] * q_x[q] - turns[trial, 1] * q_y[q]
            re, im, norm = overlap_of_mode(g[q], k_y, k_x, amplitude, here, c, y, x, aperture, edge)
            if norm > LEAST_WEIGHT:
                energy[trial, q] = (re * re + im * im) / norm
                _add_moments(
                    g[q], k_y, k_x, amplitude, here, c, y, x, aperture, edge, re, im, norm, sums
                )
                _assemble(sums, c, y, x, moved, slope[trial, q])


@njit(nogil=True, cache=True, inline="always")
def _add_moments(
    g, k_y, k_x, amplitude, here, c, y, x, aperture, edge, re, im, norm, sums
):  # fmt: skip
    gain, share = 2 / norm, (re * re + im * im) / norm
    m0, m1, m2, m3, m4, m5, m6, m7, m8, m9 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    p0, p1, p2, p3, p4, p5, p6, p7, p8, p9 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    rim = 0.0
    for k in range(k_y.size):
        ky, kx = k_y[k], k_x[k]
        my, mx, py, px = ky - y, kx - x, ky + y, kx + x
        part_m, part_p = inside(my, mx, aperture, edge), inside(py, px, aperture, edge)
        a_m, a_p = amplitude[k] * part_m, amplitude[k] * part_p
        s_m, c_m = half_turn(here[k] - chi_turns(c, my, mx))
        s_p, c_p = half_turn(chi_turns(c, py, px) - here[k])
        cos_m, sin_m = 1 - 2 * s_m * s_m, 2 * s_m * c_m
        cos_p, sin_p = 1 - 2 * s_p * s_p, 2 * s_p * c_p
        value = g[k]
        b_re = re * value.real + im * value.imag - share * (a_m * cos_m - a_p * cos_p)
        b_im = re * value.imag - im * value.real - share * (a_m * sin_m - a_p * sin_p)
        rim_m = amplitude[k] * (my * x - mx * y) / sqrt(my * my + mx * mx + 1e-300)
        rim_p = amplitude[k] * (py * x - px * y) / sqrt(py * py + px * px + 1e-300)
        rim += rim_m * (part_m > 0.0) * (part_m < 1.0) * (cos_m * b_re + sin_m * b_im)
        rim += rim_p * (part_p > 0.0) * (part_p < 1.0) * (cos_p * b_re + sin_p * b_im)
        yy, yx, xx = ky * ky, ky * kx, kx * kx
        m = a_m * (cos_m * b_im - sin_m * b_re)
        p = a_p * (sin_p * b_re - cos_p * b_im)
        m0 += m
        m1 += m * ky
        m2 += m * kx
        m3 += m * yy
        m4 += m * yx
        m5 += m * xx
        m6 += m * yy * ky
        m7 += m * yy * kx
        m8 += m * ky * xx
        m9 += m * xx * kx
        p0 += p
        p1 += p * ky
        p2 += p * kx
        p3 += p * yy
        p4 += p * yx
        p5 += p * xx
        p6 += p * yy * ky
        p7 += p * yy * kx
        p8 += p * ky * xx
        p9 += p * xx * kx
    found = (m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, p0, p1, p2, p3, p4, p5, p6, p7, p8, p9)
    for number in range(2 * MOMENTS):
        sums[number] = gain * found[number]
    sums[2 * MOMENTS] = gain * rim / edge


_chi_gpu = cuda.jit(device=True)(chi_turns.py_func)
_inside_gpu = cuda.jit(device=True)(inside.py_func)
_assemble_gpu = cuda.jit(device=True)(_assemble.py_func)


@cuda.jit(device=True)
def _add_up_gpu(sums, fields):
    # A tree in shared memory, which keeps the order of the sums; leaves them at thread 0's place.
    thread = cuda.threadIdx.x
    cuda.syncthreads()
    half = THREADS_PER_BLOCK // 2
    while half > 0:
        if thread < half:
            for field in range(fields):
                sums[field, thread] += sums[field, thread + half]
        cuda.syncthreads()
        half //= 2


@cuda.jit
def _slope_gpu(g, k_y, k_x, amplitude, q_y, q_x, turns, chi, aperture, edge, energy, slope):
    # One block for each frequency of each trial, as for the energy. What the first pass over the
    # pixels finds at each is found again by the second: it is quicker than to keep it.
    sums = cuda.shared.array((SUMS, THREADS_PER_BLOCK), np.float64)
    own = cuda.local.array(SUMS, np.float64)
    moved = cuda.local.array((POWERS, POWERS), np.float64)
    trial, q, thread = cuda.blockIdx.x, cuda.blockIdx.y, cuda.threadIdx.x
    c = chi[trial]
    y = turns[trial, 0] * q_y[q] + turns[trial, 1] * q_x[q]
    x = turns[trial, 0] * q_x[q] - turns[trial, 1] * q_y[q]
    re, im, norm = 0.0, 0.0, 0.0
    for again in range(2):
        for field in range(SUMS):
            own[field] = 0.0
        for k in range(thread, k_y.shape[0], THREADS_PER_BLOCK):
            ky, kx = k_y[k], k_x[k]
            my, mx, py, px = ky - y, kx - x, ky + y, kx + x
            part_m = _inside_gpu(my, mx, aperture, edge)
            part_p = _inside_gpu(py, px, aperture, edge)
            if part_m == 0.0 and part_p == 0.0:
                continue
            a_m, a_p = amplitude[k] * part_m, amplitude[k] * part_p
            here = _chi_gpu(c, ky, kx)
            m = 2 * pi * (here - _chi_gpu(c, my, mx))
            p = 2 * pi * (_chi_gpu(c, py, px) - here)
            cos_m, sin_m, cos_p, sin_p = cos(m), sin(m), cos(p), sin(p)
            real, imag = a_m * cos_m - a_p * cos_p, a_m * sin_m - a_p * sin_p
            value = g[q, k]
            if again == 0:
                own[0] += real * value.real + imag * value.imag
                own[1] += real * value.imag - imag * value.real
                own[2] += real * real + imag * imag
                continue
            share = (re * re + im * im) / norm
            b_re = 2 / norm * (re * value.real + im * value.imag - share * real)
            b_im = 2 / norm * (re * value.imag - im * value.real - share * imag)
            if 0.0 < part_m < 1.0:
                rim = amplitude[k] / edge * (my * x - mx * y) / sqrt(my * my + mx * mx)
                own[2 * MOMENTS] += rim * (cos_m * b_re + sin_m * b_im)
            if 0.0 < part_p < 1.0:
                rim = amplitude[k] / edge * (py * x - px * y) / sqrt(py * py + px * px)
                own[2 * MOMENTS] += rim * (cos_p * b_re + sin_p * b_im)
            m = a_m * (cos_m * b_im - sin_m * b_re)
            p = a_p * (sin_p * b_re - cos_p * b_im)
            at = 0
            for degree in range(DEGREE):
                for j in range(degree + 1):
                    one = 1.0
                    for _ in range(degree - j):
                        one *= ky
                    for _ in range(j):
                        one *= kx
                    own[at] += m * one
                    own[MOMENTS + at] += p * one
                    at += 1
        fields = 3 if again == 0 else SUMS
        for field in range(fields):
            sums[field, thread] = own[field]
        _add_up_gpu(sums, fields)
        if again == 0:
            re, im, norm = sums[0, 0], sums[1, 0], sums[2, 0]
            cuda.syncthreads()
            if norm <= LEAST_WEIGHT:
                return
    if thread == 0:
        energy[trial, q] = (re * re + im * im) / norm
        for field in range(SUMS):
            own[field] = sums[field, 0]
        _assemble_gpu(own, c, y, x, moved, slope[trial, q])
