"""DPC returns the phase, smoothed by the probe, that deflected the beam."""

import numpy as np
import pytest

from gpu_kernels import dpc

SCAN, STEP = (40, 56), (0.4, 0.3)


def periodic_case():
    """A smooth phase with the exact deflection under a probe: all by analytic waves."""
    rng = np.random.default_rng(0)
    y, x = np.arange(SCAN[0])[:, None] * STEP[0], np.arange(SCAN[1]) * STEP[1]
    smoothed, com = np.zeros(SCAN), np.zeros((2, *SCAN))
    for _ in range(12):
        qy = rng.integers(-6, 7) / (SCAN[0] * STEP[0])
        qx = rng.integers(1, 7) / (SCAN[1] * STEP[1])
        size, at = 0.1 * rng.normal(), 2 * np.pi * rng.random()
        # A Gaussian probe of 0.5 Å: |a|² ⋆ wave = wave · exp(−2π²σ²Q²).
        size *= np.exp(-2 * np.pi**2 * 0.5**2 * (qy**2 + qx**2))
        wave = 2 * np.pi * (qy * y + qx * x) + at
        smoothed += size * np.cos(wave)
        com -= size * np.sin(wave) * np.array([qy, qx])[:, None, None]
    return smoothed, com


def open_case():
    """A phase that does not repeat: a lens of low order on top of a ramp-free bump."""
    y, x = np.meshgrid(np.linspace(-1, 1, SCAN[0]), np.linspace(-1, 1, SCAN[1]), indexing="ij")
    phase = np.exp(-((y - 0.5) ** 2 + (x + 0.6) ** 2) / 0.3) + 0.3 * x * y
    fine = 64
    dy, dx = 2 / (SCAN[0] - 1) / fine, 2 / (SCAN[1] - 1) / fine

    def f(y, x):
        return np.exp(-((y - 0.5) ** 2 + (x + 0.6) ** 2) / 0.3) + 0.3 * x * y

    com_y = (f(y + dy, x) - f(y - dy, x)) / (2 * dy) * (2 / (SCAN[0] - 1)) / STEP[0] / (2 * np.pi)
    com_x = (f(y, x + dx) - f(y, x - dx)) / (2 * dx) * (2 / (SCAN[1] - 1)) / STEP[1] / (2 * np.pi)
    return phase, (com_y, com_x)


def error(found, truth):
    found, truth = found - found.mean(), truth - truth.mean()
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


def test_periodic_form_returns_the_smoothed_phase_exactly():
    truth, com = periodic_case()
    assert error(dpc.integrate(*com, STEP, "periodic"), truth) < 1e-6


def test_mirror_form_is_far_better_than_the_periodic_on_an_open_field():
    truth, com = open_case()
    # The mean slope is not observable: it is removed from both.
    y, x = np.meshgrid(np.arange(SCAN[0]), np.arange(SCAN[1]), indexing="ij")
    slope = [c.mean() * 2 * np.pi * s for c, s in zip(com, STEP, strict=True)]
    level = truth - slope[0] * y - slope[1] * x
    mirror = error(dpc.integrate(*com, STEP), level)
    assert mirror < 0.005
    assert error(dpc.integrate(*com, STEP, "periodic"), level) > 20 * mirror


def test_one_step_of_the_iteration_is_the_closed_form():
    truth, com = periodic_case()
    found = dpc.integrate_iteratively(*com, STEP, iterations=1, boundary="periodic")
    assert error(found, truth) < 1e-6


def test_iteration_passes_over_missing_positions():
    truth, com = periodic_case()
    holes = np.random.default_rng(1).random(SCAN) < 0.05
    com_y, com_x = (np.where(holes, np.nan, c) for c in com)
    found = dpc.integrate_iteratively(com_y, com_x, STEP, iterations=64, boundary="periodic")
    assert error(found, truth) < 2e-3
    com_y, com_x = (np.where(holes, 0, c) for c in com)
    assert error(dpc.integrate(com_y, com_x, STEP, "periodic"), truth) > 0.05


def test_mirrored_iteration_is_as_good_on_an_open_field():
    truth, com = open_case()
    y, x = np.meshgrid(np.arange(SCAN[0]), np.arange(SCAN[1]), indexing="ij")
    slope = [c.mean() * 2 * np.pi * s for c, s in zip(com, STEP, strict=True)]
    level = truth - slope[0] * y - slope[1] * x
    assert error(dpc.integrate_iteratively(*com, STEP, iterations=64), level) < 0.02


def test_high_pass_fades_low_frequencies_and_low_pass_high_ones():
    _, com = periodic_case()
    plain = np.abs(np.fft.fft2(dpc.integrate(*com, STEP, "periodic")))
    high = np.abs(np.fft.fft2(dpc.integrate(*com, STEP, "periodic", high_pass=1.0)))
    low = np.abs(np.fft.fft2(dpc.integrate(*com, STEP, "periodic", low_pass=0.5)))
    slow, fast = (0, 1), (6, 6)
    assert high[slow] / plain[slow] < 0.5 < high[fast] / plain[fast]
    assert low[fast] / plain[fast] < low[slow] / plain[slow]


def test_deflection_is_turned_to_the_scan_and_nan_where_nothing_hit():
    sums = np.array([[[12, 20], [0, 0]]])
    electrons = np.array([[2, 0]])
    y, x = dpc.deflection(sums, electrons, (5.0, 10.0), 0.1, np.pi / 2, False)
    np.testing.assert_allclose([y[0, 0], x[0, 0]], [0.0, 0.1], atol=1e-12)
    assert np.isnan(y[0, 1])
    y, x = dpc.deflection(sums, electrons, (5.0, 10.0), 0.1, 0.0, True)
    np.testing.assert_allclose([y[0, 0], x[0, 0]], [0.0, 0.1], atol=1e-12)


def test_filling_keeps_what_is_there_and_continues_a_plane():
    y, x = np.mgrid[:12, :15]
    plane = 0.3 * y - 0.2 * x
    holed = plane.copy()
    holed[4:6, 7:9] = np.nan
    found = dpc.filled(holed)
    np.testing.assert_allclose(found, plane, atol=1e-6)


def test_gradient_of_a_phase_has_no_curl():
    _, com = periodic_case()
    curl, divergence = dpc.curl_and_divergence(*com, STEP)
    inner = (slice(2, -2), slice(2, -2))
    assert (curl[inner] ** 2).sum() < 1e-3 * (divergence[inner] ** 2).sum()


@pytest.mark.parametrize("boundary", ["mirror", "periodic"])
def test_constant_deflection_is_no_phase(boundary):
    found = dpc.integrate(np.full(SCAN, 0.3), np.full(SCAN, -0.1), STEP, boundary)
    np.testing.assert_allclose(found, 0, atol=1e-12)
