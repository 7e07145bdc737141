"""DPC returns the phase, smoothed by the probe, that deflected the beam."""

import numpy as np
import pytest

from gpu_kernels import dpc, slopes
from gpu_kernels.backend import to_host
from gpu_kernels.dpc import integrate, radius_of_com

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


def open_case(shape=SCAN):
    """A phase that does not repeat: a bump near a corner on a saddle, without its mean slope."""

    def phase(y, x):
        return np.exp(-((y - 0.5) ** 2 + (x + 0.6) ** 2) / 0.3) + 0.3 * x * y

    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    near = 1e-4
    slope_y = (phase(y + near, x) - phase(y - near, x)) / (2 * near) * 2 / (shape[0] - 1)
    slope_x = (phase(y, x + near) - phase(y, x - near)) / (2 * near) * 2 / (shape[1] - 1)
    row, col = np.indices(shape)
    level = phase(y, x) - slope_y.mean() * row - slope_x.mean() * col
    return level, np.stack([slope_y / STEP[0], slope_x / STEP[1]]) / (2 * np.pi)


def cropped_case(highest):
    """Part of a random phase of waves up to a frequency, in turns per position; no mean slope."""
    size, part = 256, (slice(20, 180), slice(60, 200))
    f = np.fft.fftfreq(size)
    q = np.hypot(f[:, None], f)
    rng = np.random.default_rng(0)
    waves = np.fft.fft2(rng.normal(size=(size, size))) * (q < highest) / np.maximum(q, 0.004)
    waves[0, 0] = 0
    phase = np.fft.ifft2(waves).real[part]
    com = np.stack(
        [np.fft.ifft2(1j * f[:, None] * waves).real[part] / STEP[0],
         np.fft.ifft2(1j * f * waves).real[part] / STEP[1]]
    )  # fmt: skip
    row, col = np.indices(phase.shape)
    slope = 2 * np.pi * com.mean(axis=(1, 2)) * STEP
    return phase - slope[0] * row - slope[1] * col, com


def error(found, truth):
    found, truth = found - found.mean(), truth - truth.mean()
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


def test_periodic_form_returns_the_smoothed_phase_exactly():
    truth, com = periodic_case()
    assert error(dpc.integrate(*com, STEP, "periodic"), truth) < 1e-6


def test_mirror_form_returns_an_open_field_and_the_periodic_one_does_not():
    truth, com = open_case((128, 160))
    assert error(dpc.integrate(*com, STEP), truth) < 1e-6
    assert error(dpc.integrate(*com, STEP, "periodic"), truth) > 0.2


def test_mirror_form_returns_an_open_field_from_a_third_of_noise():
    truth, com = open_case((128, 160))
    rng = np.random.default_rng(0)
    noisy = [c + 0.3 * c.std() * rng.normal(size=c.shape) for c in com]
    assert error(dpc.integrate(*noisy, STEP), truth) < 0.025


@pytest.mark.parametrize(("highest", "at_most"), [(0.05, 1e-6), (0.2, 0.002), (0.25, 0.005)])
def test_mirror_form_returns_part_of_a_larger_field_up_to_half_the_highest_frequency(
    highest, at_most
):
    truth, com = cropped_case(highest)
    assert error(dpc.integrate(*com, STEP), truth) < at_most


@pytest.mark.parametrize("shape", [(1, 60), (2, 60), (3, 60), (5, 60), (60, 4)])
def test_mirror_form_integrates_a_scan_of_few_rows(shape):
    y, x = np.indices(shape)
    truth = 0.01 * (x - shape[1] / 2) ** 2 + 0.02 * (y - shape[0] / 2) ** 2
    com_y = 0.04 * (y - shape[0] / 2) / STEP[0] / (2 * np.pi)
    com_x = 0.02 * (x - shape[1] / 2) / STEP[1] / (2 * np.pi)
    level = truth - 0.04 * (y - shape[0] / 2).mean() * y - 0.02 * (x - shape[1] / 2).mean() * x
    assert error(dpc.integrate(com_y, com_x, STEP), level) < 1e-9


def test_iteration_passes_over_missing_positions():
    truth, com = periodic_case()
    holes = np.random.default_rng(1).random(SCAN) < 0.05
    com_y, com_x = (np.where(holes, np.nan, c) for c in com)
    found = dpc.integrate_iteratively(com_y, com_x, STEP, iterations=64, boundary="periodic")
    assert error(found, truth) < 2e-3
    com_y, com_x = (np.where(holes, 0, c) for c in com)
    assert error(dpc.integrate(com_y, com_x, STEP, "periodic"), truth) > 0.05


def test_mirrored_iteration_passes_over_missing_positions_of_an_open_field():
    truth, com = open_case((64, 80))
    holed = np.where(np.random.default_rng(1).random((64, 80)) < 0.02, np.nan, com)
    # The mean slope that is left out is that of the positions that are there.
    ramp = 2 * np.pi * (np.nanmean(holed, axis=(1, 2)) - com.mean(axis=(1, 2))) * STEP
    truth -= np.tensordot(ramp, np.indices(truth.shape), 1)
    found, there = dpc.integrate_iteratively(*holed, STEP, iterations=30), np.isfinite(holed[0])
    assert error(found[there], truth[there]) < 1e-4
    # Nothing was measured at a hole: the phase is as smooth there as its neighbours allow.
    around = np.pad(found, 1, "edge")
    bent = np.diff(around[:, 1:-1], 2, 0) / STEP[0] ** 2 + np.diff(around[1:-1], 2) / STEP[1] ** 2
    assert np.abs(bent[~there]).max() < 1e-9 < np.abs(bent).max()


@pytest.mark.parametrize("boundary", ["mirror", "periodic"])
def test_first_step_of_the_iteration_is_the_closed_form(boundary):
    _, com = open_case((41, 55))  # no Nyquist frequency, at which a sampled slope is unknown
    noisy = com + 0.1 * np.random.default_rng(3).normal(size=com.shape)
    for count in (1, 5):  # what is left of a whole field after one step has no integral
        found = dpc.integrate_iteratively(*noisy, STEP, count, boundary)
        assert error(found, dpc.integrate(*noisy, STEP, boundary)) < 1e-9


@pytest.mark.parametrize("boundary", ["mirror", "periodic"])
def test_high_pass_fades_low_frequencies_and_low_pass_high_ones(boundary):
    # One slow and one fast wave that fit both boundaries.
    n = 64
    waves = {at: np.cos(np.pi * at / n * (np.arange(n) + 0.5)) for at in (2, 16)}
    slope = sum(
        -np.pi * at / (n * STEP[1]) * np.sin(np.pi * at / n * (np.arange(n) + 0.5)) for at in waves
    ) / (2 * np.pi)
    com_x = np.broadcast_to(slope, (n, n)).copy()

    def share(at, **passing):
        phase = dpc.integrate(np.zeros((n, n)), com_x, STEP, boundary, **passing)
        return phase[0] @ waves[at] / (waves[at] @ waves[at])

    square = {at: (np.pi * at / (n * STEP[1])) ** 2 for at in waves}
    for passing, extra in (
        ({"high_pass": 0.4}, dict.fromkeys(waves, 0.4)),
        ({"low_pass": 0.3}, {at: 0.3 * q**2 for at, q in square.items()}),
    ):
        for at, q in square.items():
            assert share(at) == pytest.approx(1, abs=0.01)
            # The mirror's differences make the fast wave's Q² a little less.
            assert share(at, **passing) == pytest.approx(q / (q + extra[at]), rel=0.06)


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


def test_integrals_of_a_polynomial_are_those_that_a_book_prints():
    # Adams and Moulton, at the edge and in the middle.
    np.testing.assert_allclose(24 * slopes._integral(4, 0), [9, 19, -5, 1])
    np.testing.assert_allclose(24 * slopes._integral(4, 1), [-1, 13, 13, -1])
    np.testing.assert_allclose(1440 * slopes._integral(6, 2), [11, -93, 802, 802, -93, 11])


@pytest.mark.parametrize("boundary", ["mirror", "periodic"])
def test_phase_of_a_slope_and_slope_of_a_phase_are_adjoint_but_for_the_laplacian(boundary):
    # <slope(a), b> = <a, −div b>, and image(b) solves Laplace's equation for that divergence.
    rng = np.random.default_rng(0)
    form = dpc.BOUNDARIES[boundary](np.zeros((13, 15)), STEP, 0.0, 0.0)
    a = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(13, 15)))[:, :5], s=(13, 15))
    b = form.measured(*rng.normal(size=(2, 13, 15)))
    left = sum((s * t).sum() for s, t in zip(form.slope(a), b, strict=True))
    found = form.slope(form.image(*b))
    right = sum((s * t).sum() for s, t in zip(form.slope(a), found, strict=True))
    assert left == pytest.approx(right)


@pytest.mark.parametrize("boundary", ["mirror", "periodic"])
def test_twins_integrate_alike(twin, boundary):
    _, com = open_case()
    on_side = [twin(part) for part in com]
    holed = [twin(np.where(np.indices(SCAN)[0] == 7, np.nan, part)) for part in com]
    found = to_host(dpc.integrate(*on_side, STEP, boundary, 0.1, 0.2))
    np.testing.assert_allclose(found, dpc.integrate(*com, STEP, boundary, 0.1, 0.2), atol=1e-12)
    again = to_host(dpc.integrate_iteratively(*holed, STEP, 3, boundary))
    expected = dpc.integrate_iteratively(*(to_host(part) for part in holed), STEP, 3, boundary)
    np.testing.assert_allclose(again, expected, atol=1e-12)


def test_unknown_boundary_is_refused():
    with pytest.raises(ValueError, match="'torus'; there are mirror, periodic"):
        dpc.integrate(np.zeros((4, 4)), np.zeros((4, 4)), STEP, "torus")


@pytest.mark.parametrize("boundary", ["mirror", "periodic"])
def test_constant_deflection_is_no_phase(boundary):
    found = dpc.integrate(np.full(SCAN, 0.3), np.full(SCAN, -0.1), STEP, boundary)
    np.testing.assert_allclose(found, 0, atol=1e-12)


def test_filling_a_scan_without_data_is_refused():
    with pytest.raises(ValueError, match="all 6 positions"):
        dpc.filled(np.full((2, 3), np.nan))


def scale_of_slow_phase(peak, within, radius=15.0, side=48, parts=4, count=16, step=1.6):
    """Slope of the integrated deflection against φ ⋆ |a|²; pixels integrate over their area."""
    fine, angstrom = side * parts, radius / (0.6 * side)
    k = np.fft.fftfreq(fine, 1 / fine)
    aperture = np.hypot(k[:, None], k) < radius * parts
    probe = np.fft.fftshift(np.fft.ifft2(aperture))
    intensity = np.abs(probe) ** 2
    intensity /= intensity.sum()
    r = (np.arange(fine) - fine // 2) * angstrom
    centres = np.arange(side) - side / 2 + (parts - 1) / (2 * parts)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    seen = np.hypot(y, x) < within
    scan = (np.arange(count) - (count - 1) / 2) * step
    com, exact = np.empty((2, count, count)), np.empty((count, count))
    for place in np.ndindex(exact.shape):
        at = scan[list(place)]
        phase = peak * np.exp(-((r[:, None] + at[0]) ** 2 + (r + at[1]) ** 2) / 18)
        exact[place] = (intensity * phase).sum()
        pattern = np.abs(np.fft.fft2(probe * np.exp(1j * phase))) ** 2
        pattern = np.fft.fftshift(pattern).reshape(side, parts, side, parts).sum(axis=(1, 3))
        pattern *= seen
        com[:, *place] = [(pattern * axis).sum() / pattern.sum() for axis in (y, x)]
    found = integrate(*com * 0.6 / radius, (step, step))
    exact -= exact.mean()
    return float((found * exact).sum() / (exact**2).sum())


@pytest.mark.parametrize(
    ("peak", "in_the_disk", "with_rim"),
    [(0.1, 0.89, 1.00), (1.0, 0.88, 1.00), (3.0, 0.79, 0.97), (6.0, 0.65, 0.88)],
)
def test_slow_phase_is_as_large_as_it_is_where_the_disk_is_seen_when_it_moves(
    peak, in_the_disk, with_rim
):
    radius = 15.0
    assert scale_of_slow_phase(peak, radius) == pytest.approx(in_the_disk, abs=0.015)
    assert scale_of_slow_phase(peak, radius_of_com(radius)) == pytest.approx(with_rim, abs=0.015)


def test_rim_of_the_centre_of_mass_is_never_less_than_the_pixels_that_the_edge_crosses():
    assert radius_of_com(5.0) == 6.5
    assert radius_of_com(100.0) == pytest.approx(110.0)
