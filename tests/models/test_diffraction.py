"""Simulated patterns obey the equations of phase contrast, whatever way the detector lies."""

from dataclasses import replace
from math import pi

import numpy as np
import pytest

from models.aberrations import Aberrations
from models.diffraction import Canvas, ForwardModel
from models.geometry import Geometry
from models.probe import probe_wave, turned
from models.specimens import build_specimen

LAM, SEMIANGLE = 0.041757197, 0.025
K0 = SEMIANGLE / LAM
LENS = Aberrations(C10=45.0, C12=18.0, phi12=0.5, C21=800.0, phi21=-0.9)
WAYS = [
    pytest.param(0.0, False, id="straight"),
    pytest.param(0.45, False, id="turned"),
    pytest.param(-2.0, True, id="mirrored-and-turned"),
]


def model(rotation=0.0, flip=False, **changes):
    """A detector that is not square, with its disk between pixels."""
    geometry = Geometry(
        80e3, SEMIANGLE, (0.37, 0.29), center=(16.3, 20.6), radius=7.3, rotation=rotation, flip=flip
    )
    values = {
        "geometry": geometry, "aberrations": LENS, "detector_shape": (34, 40), "edge": 0.0,
        "dtype": np.complex128,
    }  # fmt: skip
    return ForwardModel(**(values | changes))


def turn(rotation):
    return np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])


def grating_canvas(forward, phase_in_scan, origin=(0.13, -0.41)):
    """One period of the grid, filled by a function of scan coordinates (y, x)."""
    grid = zip(origin, forward.grid_shape, forward.sampling, strict=True)
    y, x = (start + np.arange(n) * step for start, n, step in grid)
    points = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)
    return Canvas(np.exp(1j * phase_in_scan(points @ turn(forward.geometry.rotation).T)), origin)


def lattice_frequency(forward, steps):
    """A frequency of the grid, on the scan's axes: gratings of it meet themselves at its border."""
    return turn(forward.geometry.rotation) @ steps * forward.geometry.pixel_wavevector


def lens_wave(ky, kx):
    """A(k), written out again from the definition."""
    theta, phi = LAM * np.hypot(ky, kx), np.arctan2(ky, kx)
    chi = 45 * theta**2 / 2 + 18 * theta**2 / 2 * np.cos(2 * (phi - 0.5))
    chi += 800 * theta**3 / 3 * np.cos(phi + 0.9)
    return np.where(theta < SEMIANGLE, np.exp(-2j * pi / LAM * chi), 0)


def pixel_wavevectors(rotation, flip):
    """(ky, kx) of the pixels of ``model`` in the frame after the mirror, by hand."""
    row, col = np.meshgrid(np.arange(34) - 16.3, np.arange(40) - 20.6, indexing="ij")
    ky, kx = (col, row) if flip else (row, col)
    return ky * K0 / 7.3, kx * K0 / 7.3


@pytest.mark.parametrize(("rotation", "flip"), WAYS)
def test_empty_specimen_shows_the_aperture_around_the_centre(rotation, flip):
    forward = model(rotation, flip)
    (pattern,) = forward.patterns(grating_canvas(forward, lambda r: 0 * r[..., 0]), [[0.3, 0.2]])
    expected = np.abs(lens_wave(*pixel_wavevectors(rotation, flip))) ** 2
    np.testing.assert_allclose(pattern, expected / expected.sum(), atol=1e-14)


@pytest.mark.parametrize(("rotation", "flip"), WAYS)
def test_pixels_that_integrate_are_the_mean_of_detectors_a_part_of_a_pixel_apart(rotation, flip):
    forward, where = model(rotation, flip), [[0.3, 0.2], [1.9, -0.7]]
    row, col = 16.1, 20.1  # so that all of them have one grid
    forward = replace(forward, geometry=replace(forward.geometry, center=(row, col)))
    steps = lattice_frequency(forward, (3, 1))
    canvas = grating_canvas(forward, lambda r: 0.3 * np.cos(2 * pi * r @ steps))
    apart = [
        replace(forward, geometry=replace(forward.geometry, center=(row + y, col + x)))
        for y in (-0.25, 0.25) for x in (-0.25, 0.25)
    ]  # fmt: skip
    assert {one.grid_shape for one in apart} == {forward.grid_shape}
    expected = np.mean([one.patterns(canvas, where) for one in apart], axis=0)
    found = replace(forward, pixel_points=2).patterns(canvas, where)
    np.testing.assert_allclose(found, expected, atol=1e-13)
    assert np.abs(found - forward.patterns(canvas, where)).max() > 1e-4


@pytest.mark.parametrize(("rotation", "flip"), WAYS)
def test_pixel_on_the_rim_that_integrates_holds_the_part_that_is_covered(rotation, flip):
    forward = model(rotation, flip, pixel_points=8)
    (pattern,) = forward.patterns(grating_canvas(forward, lambda r: 0 * r[..., 0]), [[0.0, 0.0]])
    fine = (np.arange(400) + 0.5) / 400 - 0.5
    for row, col in ((16, 28), (22, 24), (10, 16), (16, 20)):
        inside = np.hypot(row - 16.3 + fine[:, None], col - 20.6 + fine) < 7.3
        assert pattern[row, col] * pi * 7.3**2 == pytest.approx(inside.mean(), abs=0.06)


@pytest.mark.parametrize(("rotation", "flip"), WAYS)
@pytest.mark.parametrize("steps", [(3, 1), (-2, 6)])
def test_weak_grating_gives_the_interference_of_its_two_sidebands(rotation, flip, steps):
    forward, size = model(rotation, flip), 1e-3
    q = lattice_frequency(forward, steps)
    rows, cols = np.array([0.0, 3.0, 7.0, 1.0]), np.array([0.0, 5.0, 2.0, 9.0])
    seen = [
        forward.patterns(
            grating_canvas(forward, lambda r, s=sign: s * size * np.cos(2 * pi * r @ q - 0.8)),
            forward.positions(rows, cols),
        )
        for sign in (1, -1)
    ]
    # First order of |ψ|², ψ = A(k) + i Σ φ_q A(k − q) e^(2πi q·R): q on the scan's axes where it
    # meets R, on the detector's where it meets k.
    ky, kx = pixel_wavevectors(rotation, flip)
    detector = turn(rotation).T @ q
    beats = []
    for row, col in zip(rows * 0.37, cols * 0.29, strict=True):
        scattered = 0
        for sign in (1, -1):
            amplitude = size / 2 * np.exp(-0.8j * sign + 2j * pi * sign * (q @ (row, col)))
            scattered += amplitude * lens_wave(ky - sign * detector[0], kx - sign * detector[1])
        beats.append(2 * (np.conj(lens_wave(ky, kx)) * 1j * scattered).real)
    expected = np.array(beats) / np.sum(np.abs(lens_wave(ky, kx)) ** 2)
    # Half the difference of both signs is free of second order.
    np.testing.assert_allclose((seen[0] - seen[1]) / 2, expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize(("rotation", "flip"), [(pi / 2, False), (pi / 2, True), (0.0, False)])
def test_transform_over_the_scan_is_i_phi_gamma(rotation, flip):
    # By quarter turns, one period of the grid holds whole periods of the scan.
    forward = model(rotation, flip)
    extent = 1 / forward.geometry.pixel_wavevector
    forward = model(
        rotation, flip, geometry=replace(forward.geometry, scan_step=(extent / 18, extent / 20))
    )
    steps = np.round(turn(rotation).T @ (2, -3)).astype(int)
    q, size = lattice_frequency(forward, steps), 1e-4
    rows, cols = np.divmod(np.arange(360), 20)
    canvas = grating_canvas(forward, lambda r: size * np.cos(2 * pi * r @ q + 0.6))
    data = forward.patterns(canvas, forward.positions(rows, cols)).reshape(18, 20, 34, 40)
    found = np.fft.fft2(data, axes=(0, 1))[2, -3] / 360
    ky, kx = pixel_wavevectors(rotation, flip)
    dy, dx = turn(rotation).T @ q
    straight = lens_wave(ky, kx)
    gamma = np.conj(straight) * lens_wave(ky - dy, kx - dx)
    gamma -= straight * np.conj(lens_wave(ky + dy, kx + dx))
    expected = 1j * (size / 2 * np.exp(0.6j)) * gamma / np.sum(np.abs(straight) ** 2)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("rotation", "flip"), WAYS)
def test_prism_moves_the_disk_by_its_slope(rotation, flip):
    forward = model(rotation, flip, edge=3.0)
    slope = np.array([0.11, -0.07])  # ∇φ/2π on the scan's axes [1/Å]
    wide = (np.array(forward.grid_shape) * 2).astype(int)
    y, x = (-0.5 * n * d + np.arange(n) * d for n, d in zip(wide, forward.sampling, strict=True))
    points = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1) @ turn(rotation).T
    canvas = Canvas(np.exp(2j * pi * points @ slope), (y[0], x[0]))
    (pattern,) = forward.patterns(canvas, forward.positions(np.array([1.3]), np.array([-0.6])))
    row, col = (
        (pattern * along).sum() / pattern.sum() - centre
        for along, centre in zip(np.indices(pattern.shape), (16.3, 20.6), strict=True)
    )
    found = np.array(forward.geometry.detector_to_scan(row, col)) * K0 / 7.3
    np.testing.assert_allclose(found, slope, atol=0.01 * K0 / 7.3)


@pytest.mark.parametrize(("rotation", "flip"), WAYS)
def test_centre_of_mass_is_the_gradient_seen_by_the_probe(rotation, flip):
    # Ehrenfest: COM(R) = ∫|ψ(r − R)|² ∇φ(r) dr / 2π, all of it done on the scan's axes.
    geometry = replace(model(rotation, flip).geometry, center=(31.3, 30.6), radius=9.3)
    forward = model(rotation, flip, geometry=geometry, detector_shape=(62, 64), edge=2.0)
    specimen = build_specimen("graphene", (6.0, 6.0), 80e3, np.random.default_rng(0))
    rows, cols = np.array([2.0, 5.0, 9.0]), np.array([3.0, 11.0, 6.0])
    patterns = forward.patterns(forward.canvas(specimen, (10, 12)), forward.positions(rows, cols))
    # Against the same disk without a specimen, whose pixels are not quite even around its centre.
    (empty,) = forward.patterns(grating_canvas(forward, lambda r: 0 * r[..., 0]), [[0.0, 0.0]])
    row, col = (
        (patterns * along).sum(axis=(1, 2)) / patterns.sum(axis=(1, 2)) - (empty * along).sum()
        for along in np.indices((62, 64))
    )
    found = np.array(geometry.detector_to_scan(row, col)).T * geometry.pixel_wavevector
    step, n = 0.1, 150
    wave = probe_wave((n, n), (step, step), 80e3, SEMIANGLE, turned(LENS, rotation),
                      edge=2 * geometry.pixel_wavevector)  # fmt: skip
    expected = []
    for y, x in zip(rows * 0.37, cols * 0.29, strict=True):
        phase = specimen.phase((n, n), (step, step), (y - n // 2 * step, x - n // 2 * step))
        gradient = np.stack(np.gradient(phase, step))
        expected.append((np.abs(wave) ** 2 * gradient).sum(axis=(1, 2)) / (2 * pi))
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_patterns_do_not_depend_on_where_the_grid_of_the_specimen_begins():
    forward = model(0.45)
    q = lattice_frequency(forward, (2, -1))
    seen = [
        forward.patterns(
            grating_canvas(forward, lambda r: 0.3 * np.cos(2 * pi * r @ q), origin),
            [[0.05, 1.3], [-2.2, 0.7]],
        )
        for origin in ((0.0, 0.0), (0.071, -0.133))
    ]
    np.testing.assert_allclose(seen[1], seen[0], atol=1e-10)


def test_single_precision_is_good_to_a_millionth_of_the_brightest_pixel():
    seen = []
    for dtype in (np.complex128, np.complex64):
        forward = model(0.45, dtype=dtype)
        specimen = build_specimen("mos2", (4.0, 4.0), 80e3, np.random.default_rng(0))
        seen.append(forward.patterns(forward.canvas(specimen, (9, 9)), [[0.4, 0.9]]))
    assert seen[1].dtype == np.float32
    np.testing.assert_allclose(seen[1], seen[0], atol=2e-6 * seen[0].max())


def test_small_detector_is_a_part_of_a_large_one():
    small = model(0.45)
    large = model(
        0.45, detector_shape=(50, 52), geometry=replace(small.geometry, center=(24.3, 25.6))
    )
    specimen = build_specimen("gold", (4.0, 4.0), 80e3, np.random.default_rng(0))
    seen = [m.patterns(m.canvas(specimen, (9, 9)), [[0.4, 0.9]])[0] for m in (small, large)]
    # They differ by what folds back at the edge of the smaller grid, and by its sampling.
    np.testing.assert_allclose(seen[0], seen[1][8:42, 5:45], atol=5e-3 * seen[1].max())


def test_all_of_the_beam_is_on_a_detector_that_is_wide_enough():
    forward = model(0.45, detector_shape=(60, 64))
    specimen = build_specimen("graphene", (4.0, 4.0), 80e3, np.random.default_rng(0))
    total = forward.patterns(forward.canvas(specimen, (9, 9)), [[0.4, 0.9]]).sum()
    assert 0.995 < total <= 1 + 1e-12


def test_canvas_reaches_as_far_as_the_probe_from_every_position():
    forward = model(0.45)
    specimen = build_specimen("graphene", (9.0, 12.0), 80e3, np.random.default_rng(0))
    canvas = forward.canvas(specimen, (25, 41))
    for row in (0, 24):
        for col in (0, 40):
            at = forward.positions(np.array([row]), np.array([col]))[0] - canvas.origin
            at = at / forward.sampling
            half = np.array(forward.grid_shape) // 2 + 1
            assert (at >= half).all()
            assert (at + half <= canvas.transmission.shape).all()
