"""Energy that a calibration explains, and its slope, are those of the definition in NumPy."""

import numpy as np
import pytest

from gpu_kernels.backend import to_host
from gpu_kernels.explained_energy import explained, project
from gpu_kernels.explained_slope import energy_and_slope
from models.aberrations import Aberrations, phase_shift

WAVELENGTH, APERTURE, EDGE = 0.0418, 0.6, 0.1


def case():
    rng = np.random.default_rng(2)
    at = np.linspace(-0.7, 0.7, 9)
    k_y, k_x = (k.ravel() for k in np.meshgrid(at, at, indexing="ij"))
    inside = np.hypot(k_y, k_x) < 0.65
    k_y, k_x = k_y[inside], k_x[inside]
    q_y, q_x = rng.uniform(-0.6, 0.6, (2, 5))
    g = rng.normal(size=(5, k_y.size)) + 1j * rng.normal(size=(5, k_y.size))
    amplitude = rng.uniform(0.8, 1.2, k_y.size)
    trials = np.zeros((3, 13))
    trials[:, 0] = 0.0, 0.3, -2.0
    trials[1, 1:] = Aberrations(C10=60, C12=20, phi12=0.4, C21=700, phi21=1.0).cartesian()
    trials[2, 1:] = Aberrations(C10=-90, C23=900, phi23=0.2, C30=2e4, C34=3e3).cartesian()
    return g, k_y, k_x, amplitude, q_y, q_x, trials


def by_definition(g, k_y, k_x, amplitude, q_y, q_x, trials):
    overlap, weight = np.zeros((2, len(trials), q_y.size), complex)
    for t, trial in enumerate(trials):
        aberrations = Aberrations.from_cartesian(trial[1:])

        def a(y, x, aberrations=aberrations):
            part = np.clip((APERTURE - np.hypot(y, x)) / EDGE + 0.5, 0, 1)
            return part * np.exp(-1j * phase_shift(y, x, WAVELENGTH, aberrations))

        here = np.exp(-1j * phase_shift(k_y, k_x, WAVELENGTH, aberrations))
        c, s = np.cos(trial[0]), np.sin(trial[0])
        for q in range(q_y.size):
            y, x = c * q_y[q] + s * q_x[q], c * q_x[q] - s * q_y[q]
            gamma = np.conj(here) * a(k_y - y, k_x - x) - here * np.conj(a(k_y + y, k_x + x))
            gamma *= amplitude
            overlap[t, q] = (np.conj(gamma) * g[q]).sum()
            weight[t, q] = (np.abs(gamma) ** 2).sum()
    return overlap, weight.real


def test_projection_is_that_of_the_definition(twin):
    g, k_y, k_x, amplitude, q_y, q_x, trials = case()
    sides = [twin(part) for part in (g, k_y, k_x, amplitude, q_y, q_x)]
    overlap, weight = project(*sides, trials, APERTURE, WAVELENGTH, EDGE)
    expected = by_definition(*case())
    np.testing.assert_allclose(to_host(overlap), expected[0], atol=1e-6)
    np.testing.assert_allclose(to_host(weight), expected[1], atol=1e-6)
    power = np.abs(expected[0]) ** 2 / expected[1]
    np.testing.assert_allclose(explained(overlap, weight), power.sum(axis=1), rtol=1e-6)


def test_no_trial_explains_more_than_there_is():
    g, *rest = case()
    overlap, weight = project(g, *rest, APERTURE, WAVELENGTH, EDGE)
    assert (explained(overlap, weight) < (np.abs(g) ** 2).sum()).all()


def test_truth_explains_everything():
    _, k_y, k_x, amplitude, q_y, q_x, trials = case()
    gamma = np.zeros((5, k_y.size), complex)
    for q in range(5):
        for k in range(k_y.size):  # Γ itself, read off by projecting a unit at one pixel
            unit = np.zeros((5, k_y.size), complex)
            unit[q, k] = 1
            overlap, _ = project(unit, k_y, k_x, amplitude, q_y, q_x, trials[1], APERTURE,
                                 WAVELENGTH, EDGE)  # fmt: skip
            gamma[q, k] = np.conj(overlap[0, q])
    found = explained(
        *project(gamma, k_y, k_x, amplitude, q_y, q_x, trials, APERTURE, WAVELENGTH, EDGE)
    )
    total = (np.abs(gamma) ** 2).sum()
    np.testing.assert_allclose(found[1], total, rtol=1e-6)
    assert (found[[0, 2]] < 0.9 * total).all()


def test_slope_is_that_of_the_definition(twin):
    *sides, trials = case()
    energy, slope = energy_and_slope(
        *(twin(part) for part in sides), trials, APERTURE, WAVELENGTH, EDGE
    )
    steps = np.concatenate([[1e-5], np.repeat([1e-2, 1.0, 1e1], [3, 4, 5])])
    for t, trial in enumerate(trials):
        moved = np.concatenate([[trial], trial + np.diag(steps), trial - np.diag(steps)])
        overlap, weight = by_definition(*sides, moved)
        expected = (np.abs(overlap) ** 2 / weight).sum(axis=1)
        np.testing.assert_allclose(energy[t], expected[0], rtol=1e-6)
        difference = (expected[1:14] - expected[14:]) / 2
        np.testing.assert_allclose(slope[t] * steps, difference, rtol=1e-5, atol=1e-6)


def test_frequency_without_overlap_has_no_slope(twin):
    g, k_y, k_x, amplitude, q_y, _, trials = case()
    sides = [twin(part) for part in (g[:1], k_y, k_x, amplitude, q_y[:1] + 9, q_y[:1])]
    energy, slope = energy_and_slope(*sides, trials[:1], APERTURE, WAVELENGTH, EDGE)
    assert not energy.any()
    assert not slope.any()


@pytest.mark.parametrize("kernel", [project, energy_and_slope])
def test_trial_of_another_length_is_refused(kernel):
    *sides, trials = case()
    with pytest.raises(ValueError, match="13 parameters .* got 12"):
        kernel(*sides, trials[:, :12], APERTURE, WAVELENGTH, EDGE)
