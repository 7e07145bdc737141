"""SSB and the weak-phase estimate return the object that made the data, in radians."""

import os

import numpy as np
import pytest
from numba import cuda

from gpu_kernels.backend import to_device, to_host
from gpu_kernels.chi import chi_polynomial, chi_turns, turned_aberrations
from gpu_kernels.fourier import scan_spectrum, widened
from gpu_kernels.ssb import SsbSums, ssb_of_spectrum, ssb_partial
from gpu_kernels.ssb_finish import ssb_finish
from gpu_kernels.ssb_geometry import SsbGeometry

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
WAVELENGTH, SEMIANGLE = 0.0417572, 0.025
K0 = SEMIANGLE / WAVELENGTH
# Krivanek coefficients: C10, C12, C21, C23 and C30 with odd and even terms.
C = {"C10": 60.0, "C12": 20.0, "phi12": 0.52, "C21": 900.0, "phi21": -0.87, "C23": 300.0,
     "phi23": 0.4, "C30": 2e4}  # fmt: skip
CARTESIAN = np.array([
    60.0, 20 * np.cos(1.04), 20 * np.sin(1.04), 900 * np.cos(0.87), -900 * np.sin(0.87),
    300 * np.cos(1.2), 300 * np.sin(1.2), 2e4, 0, 0, 0, 0,
])  # fmt: skip
ROTATION = np.deg2rad(-14.0)
SCAN, STEP = (20, 26), (0.42, 0.36)  # neither square in positions nor in Å


def chi(ky, kx):
    """The definition, written out again in polar form."""
    theta, phi = WAVELENGTH * np.hypot(ky, kx), np.arctan2(ky, kx)
    terms = (
        C["C10"] * theta**2 / 2
        + C["C12"] * theta**2 / 2 * np.cos(2 * (phi - C["phi12"]))
        + C["C21"] * theta**3 / 3 * np.cos(phi - C["phi21"])
        + C["C23"] * theta**3 / 3 * np.cos(3 * (phi - C["phi23"]))
        + C["C30"] * theta**4 / 4
    )
    return 2 * np.pi / WAVELENGTH * terms


def aperture(ky, kx):
    return np.where(np.hypot(ky, kx) < K0, np.exp(-1j * chi(ky, kx)), 0)


def pixels():
    """Detector pixels of a disk that is off their grid, on a detector that is not square."""
    ky, kx = np.meshgrid(np.arange(-9, 9) + 0.31, np.arange(-10, 10) - 0.17, indexing="ij")
    ky, kx = ky.ravel() * K0 / 7.9, kx.ravel() * K0 / 7.9
    inside = np.hypot(ky, kx) < K0
    return ky[inside], kx[inside]


def weak_object(seed=0, amplitude=False):
    """A real specimen without mean and without what no sideband can carry."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.fft2(rng.normal(size=SCAN))
    qy, qx = np.fft.fftfreq(SCAN[0], STEP[0]), np.fft.fftfreq(SCAN[1], STEP[1])
    q = np.hypot(qy[:, None], qx)
    spectrum[(q == 0) | (q > 1.5 * K0)] = 0
    spectrum[SCAN[0] // 2] = 0
    spectrum[:, SCAN[1] // 2] = 0
    image = np.fft.ifft2(spectrum).real
    return 1e-3 * image / image.std()


def counts_of(phase, absorption=0.0, dose=1.0):
    """Intensities of T = 1 + μ + iφ to first order, pixel by pixel, from the interference of
    three waves; the scan's axes are turned against the detector's."""
    ky, kx = pixels()
    qy = np.fft.fftfreq(SCAN[0], STEP[0])[:, None] + np.zeros(SCAN)
    qx = np.fft.fftfreq(SCAN[1], STEP[1])[None] + np.zeros(SCAN)
    c, s = np.cos(ROTATION), np.sin(ROTATION)
    dy, dx = c * qy + s * qx, -s * qy + c * qx
    psi = np.fft.fft2(absorption + 1j * phase)
    block = np.empty((ky.size, *SCAN))
    for pixel, (y, x) in enumerate(zip(ky, kx, strict=True)):
        # The scattered wave at this pixel: F⁻¹[A(k − Q) Ψ(Q)] over the scan.
        scattered = np.fft.ifft2(aperture(y - dy, x - dx) * psi)
        straight = aperture(y, x)
        block[pixel] = 1 + 2 * (np.conj(straight) * scattered).real
    return dose * block, ky, kx


def geometry(**changes):
    values = {
        "scan_shape": SCAN, "scan_step": STEP, "rotation": ROTATION, "aperture": K0,
        "wavelength": WAVELENGTH, "aberrations": CARTESIAN,
    }  # fmt: skip
    return SsbGeometry(**(values | changes))


def retrieved(block, ky, kx, estimate, dtype=np.float64, dose=1.0, **changes):
    geo = geometry(**changes)
    return ssb_finish(ssb_partial(block, ky, kx, geo, dtype), dose, geo, estimate)


def relative(found, truth):
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


def test_polynomial_equals_the_polar_form_of_chi():
    rng = np.random.default_rng(0)
    c = chi_polynomial(CARTESIAN, WAVELENGTH)
    for y, x in rng.uniform(-K0, K0, (20, 2)):
        np.testing.assert_allclose(2 * np.pi * chi_turns(c, y, x), chi(y, x), rtol=1e-12)


def test_turned_aberrations_are_the_same_function_on_turned_axes():
    rng = np.random.default_rng(1)
    coefficients = 1000 * rng.normal(size=12)
    c, s = np.cos(0.7), np.sin(0.7)
    turned = chi_polynomial(turned_aberrations(coefficients, 0.7), WAVELENGTH)
    straight = chi_polynomial(coefficients, WAVELENGTH)
    for y, x in rng.uniform(-K0, K0, (20, 2)):
        found = chi_turns(turned, c * y - s * x, s * y + c * x)
        np.testing.assert_allclose(found, chi_turns(straight, y, x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("estimate", ["both", "left", "right", "wpo"])
def test_every_estimate_returns_a_weak_phase_object_in_radians(estimate):
    phase = weak_object()
    block, ky, kx = counts_of(phase, dose=3.7)
    found = retrieved(block, ky, kx, estimate, dose=3.7)
    assert relative(found.phase, phase) < 1e-6


@pytest.mark.parametrize("estimate", ["both", "left", "right", "wpo"])
def test_single_precision_costs_a_ten_thousandth_of_a_phase_of_a_milliradian(estimate):
    # The object's share of the counts is 1e-3, and a single-precision count is good to 6e-8.
    phase = weak_object()
    block, ky, kx = counts_of(phase, dose=40.0)
    exact = retrieved(block, ky, kx, estimate, np.float64, dose=40.0).phase
    found = retrieved(block, ky, kx, estimate, np.float32, dose=40.0).phase
    assert relative(found, exact) < 1e-4


def test_amplitude_returns_weak_absorption_beside_the_phase():
    phase, absorption = weak_object(0), weak_object(1)
    block, ky, kx = counts_of(phase, absorption)
    found = retrieved(block, ky, kx, "both")
    assert relative(found.amplitude - 1, absorption) < 1e-6
    # The phase is the least squares for no absorption, and the disk is off the pixels' grid.
    assert relative(found.phase, phase) < 0.03


def test_sums_of_blocks_equal_the_sum_of_the_whole():
    block, ky, kx = counts_of(weak_object())
    geo = geometry()
    whole = ssb_partial(block, ky, kx, geo, np.float64)
    cuts = np.array_split(np.arange(ky.size), 4)
    parts = [ssb_partial(block[c], ky[c], kx[c], geo, np.float64) for c in cuts]
    total = sum(parts[1:], parts[0])
    np.testing.assert_allclose(total.fields, whole.fields, atol=1e-9)
    np.testing.assert_allclose(total.noise, whole.noise, atol=1e-9)
    assert total.noise_count == whole.noise_count
    assert total.electrons == pytest.approx(block.sum())


def test_sums_equal_the_definition(twin):
    geo = geometry(scan_shape=(6, 9), scan_step=(0.32, 0.3))
    rng = np.random.default_rng(0)
    ky, kx = (k[::23].copy() for k in pixels())
    shape = (ky.size, 6, geo.columns)
    spectrum = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    sums = ssb_of_spectrum(twin(spectrum), ky, kx, geo)

    q_y, q_x = geo.frequencies()
    c, s = np.cos(ROTATION), np.sin(ROTATION)
    dy, dx = c * q_y[:, None] + s * q_x, -s * q_y[:, None] + c * q_x
    beyond = np.hypot(dy, dx) > 2.05 * K0
    expected = np.zeros((10, 6, geo.columns))
    for g, y, x in zip(spectrum, ky, kx, strict=True):
        m = np.conj(aperture(y, x)) * aperture(y - dy, x - dx)
        p = aperture(y, x) * np.conj(aperture(y + dy, x + dx))
        right, left, both = (m != 0) & (p == 0), (p != 0) & (m == 0), (m != 0) & (p != 0)
        terms = (right * np.conj(m) * g, left * np.conj(p) * g, both * np.conj(m - p) * g)
        expected[:6] += [part for term in terms for part in (term.real, term.imag)]
        expected[6:] += [right, left, both * np.abs(m - p) ** 2, beyond * np.abs(g) ** 2]
    assert all(expected[field].any() for field in range(10))
    np.testing.assert_allclose(to_host(sums.fields), expected, atol=1e-7)
    np.testing.assert_allclose(sums.noise, expected[9].sum())
    assert sums.noise_count == beyond.sum() * ky.size


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "shape"), [
    (np.uint8, (1, 1, 3)), (np.uint8, (2, 31, 67)), (np.uint16, (2, 32, 64)),
    (np.int64, (5, 7, 70)),
])  # fmt: skip
def test_counts_are_widened_without_a_change(dtype, shape):
    if not (SIMULATED or cuda.is_available()):
        pytest.skip("no CUDA device, and NUMBA_ENABLE_CUDASIM is not 1")
    counts = np.random.default_rng(0).integers(0, 120, shape).astype(dtype)
    for wide in (np.float32, np.float64):
        found = widened(to_device(counts), wide)
        assert found.dtype == wide
        np.testing.assert_array_equal(to_host(found), counts)


@pytest.mark.parametrize("estimate", ["both", "left", "right", "wpo"])
def test_images_are_those_that_the_sums_define(twin, estimate):
    geo = geometry(scan_shape=(6, 9), scan_step=(0.6, 0.5))
    rng = np.random.default_rng(5)
    fields = rng.normal(size=(10, 6, geo.columns))
    fields[6:9] = rng.integers(0, 3, fields[6:9].shape)
    found = ssb_finish(SsbSums(twin(fields), 0, 0.0), 3.7, geo, estimate)

    right, left, double = (fields[f] + 1j * fields[f + 1] for f in (0, 2, 4))
    top = {"both": right - left, "right": right, "left": -left, "wpo": right - left + double}
    weight = {"both": fields[6] + fields[7], "right": fields[6], "left": fields[7],
              "wpo": fields[6:9].sum(axis=0)}[estimate]  # fmt: skip
    seen, paired = weight > 0, (fields[6] > 0) & (fields[7] > 0)
    spectrum = np.divide(top[estimate], 3.7j * weight, where=seen, out=np.zeros_like(right))
    common = np.zeros_like(right)
    common[paired] = (right[paired] / fields[6][paired] + left[paired] / fields[7][paired]) / 7.4
    assert 0 < paired.sum() < seen.sum() < seen.size
    for image, exact in ((found.phase, spectrum), (found.amplitude - 1, common)):
        np.testing.assert_allclose(to_host(image), np.fft.irfft2(exact, (6, 9)), atol=1e-12)
    np.testing.assert_allclose(to_host(found.weight)[:, : geo.columns], weight)


def test_left_sideband_is_the_right_one_of_the_other_half_plane():
    # G(k, −Q) = G*(k, Q) for any real data; so one sideband over the whole plane is all there is.
    rng = np.random.default_rng(0)
    ky, kx = pixels()
    block = rng.poisson(9, size=(ky.size, *SCAN))
    geo = geometry()
    sums = ssb_partial(block, ky, kx, geo, np.float64).fields
    g = np.fft.fft2(block)
    q_y, q_x = np.fft.fftfreq(SCAN[0], STEP[0]), np.fft.fftfreq(SCAN[1], STEP[1])
    c, s = np.cos(ROTATION), np.sin(ROTATION)
    for row, col in [(3, 4), (17, 2), (0, 5), (8, 1)]:
        y, x = c * -q_y[row] + s * -q_x[col], -s * -q_y[row] + c * -q_x[col]
        m = np.conj(aperture(ky, kx)) * aperture(ky - y, kx - x)
        only = (m != 0) & (aperture(ky + y, kx + x) == 0)
        opposite = (np.conj(m) * g[:, -row, -col])[only].sum()
        np.testing.assert_allclose(np.conj(sums[2, row, col] + 1j * sums[3, row, col]), opposite)


def test_noise_beyond_two_apertures_is_that_of_poisson_electrons():
    rng = np.random.default_rng(0)
    ky, kx = pixels()
    scan, electrons = (96, 80), 2.5
    block = rng.poisson(electrons, size=(ky.size, *scan)).astype(np.uint8)
    sums = ssb_partial(block, ky, kx, geometry(scan_shape=scan, scan_step=(0.3, 0.33)))
    poisson = electrons * scan[0] * scan[1]
    assert sums.noise / sums.noise_count == pytest.approx(poisson, rel=0.01)


def test_phase_has_the_noise_that_its_weight_says():
    rng = np.random.default_rng(1)
    ky, kx = pixels()
    block = rng.poisson(4.0, size=(ky.size, *SCAN)).astype(np.uint16)
    for estimate in ("both", "left", "right", "wpo"):
        found = retrieved(block, ky, kx, estimate, np.float32, dose=4.0)
        inner = (slice(1, SCAN[0] // 2), slice(1, SCAN[1] // 2))  # each frequency once
        weight = found.weight[inner]
        seen = weight > 5
        ratio = np.abs(found.spectrum[inner]) ** 2 * weight / (SCAN[0] * SCAN[1] / 4.0)
        assert ratio[seen].mean() == pytest.approx(1, abs=5 / np.sqrt(seen.sum()))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.float32])
def test_counts_of_any_type_give_the_same_sums(kind):
    ky, kx = pixels()
    block = np.random.default_rng(2).poisson(3, size=(ky.size, *SCAN))
    whole = ssb_partial(block.astype(np.float64), ky, kx, geometry()).fields
    np.testing.assert_array_equal(ssb_partial(block.astype(kind), ky, kx, geometry()).fields, whole)


def test_threads_do_not_change_a_bit():
    ky, kx = pixels()
    block = np.random.default_rng(3).poisson(3, size=(ky.size, *SCAN))
    spectrum = scan_spectrum(block, geometry().columns)
    one, three = (ssb_of_spectrum(spectrum, ky, kx, geometry(), threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.fields, three.fields)


def test_kept_transform_gives_what_the_counts_give():
    ky, kx = pixels()
    block = np.random.default_rng(4).poisson(3, size=(ky.size, *SCAN))
    geo = geometry(aberrations=CARTESIAN / 2)
    kept = ssb_of_spectrum(scan_spectrum(block, geo.columns, np.float64), ky, kx, geo)
    straight = ssb_partial(block, ky, kx, geo, np.float64)
    np.testing.assert_allclose(kept.fields, straight.fields, atol=1e-8)


@pytest.mark.parametrize(
    ("wrong", "at_most"),
    [
        ({"aberrations": np.zeros(12)}, 0.9),
        ({"aberrations": -CARTESIAN}, 0.9),
        ({"rotation": -ROTATION}, 0.95),
        ({"rotation": ROTATION + np.pi / 2}, 0.9),
    ],
    ids=["no aberrations", "opposite sign", "rotation reversed", "quarter turn"],
)
def test_wrong_calibration_fails(wrong, at_most):
    phase = weak_object()
    block, ky, kx = counts_of(phase)
    found = retrieved(block, ky, kx, "both", **wrong).phase
    assert np.corrcoef(found.ravel(), phase.ravel())[0, 1] < at_most


@pytest.mark.parametrize("estimate", ["both", "left", "right", "wpo"])
def test_half_turn_with_opposite_aberrations_inverts_the_phase_exactly(estimate):
    block, ky, kx = counts_of(weak_object())
    true = retrieved(block, ky, kx, estimate).phase
    # Q → −Q in the detector's frame and A → A*: Γ changes its sign and nothing else, and the right
    # sideband becomes the left.
    other = {"left": "right", "right": "left"}.get(estimate, estimate)
    turned = {"rotation": ROTATION + np.pi, "aberrations": -CARTESIAN}
    found = retrieved(block, ky, kx, other, **turned)
    np.testing.assert_allclose(found.phase, -true, atol=1e-6 * np.abs(true).max())


def test_pixels_outside_the_disk_add_nothing():
    geo = geometry()
    sums = ssb_partial(np.ones((1, *SCAN)), np.array([9.0]), np.array([9.0]), geo)
    assert isinstance(sums, SsbSums)
    assert not sums.fields.any()
    assert sums.noise_count == 0


def test_block_of_another_scan_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\(2, 20, 25\).*\(2, 20, 26\)"):
        ssb_partial(np.zeros((2, 20, 25)), np.zeros(2), np.zeros(2), geometry())


def test_empty_disk_and_unknown_estimate_are_refused():
    geo = geometry()
    sums = ssb_partial(np.zeros((1, *SCAN)), np.zeros(1), np.zeros(1), geo)
    with pytest.raises(ValueError, match=r"holds 0\.0 e"):
        ssb_finish(sums, 0.0, geo)
    with pytest.raises(ValueError, match="'lefft'.*both, right, left, wpo"):
        ssb_finish(sums, 1.0, geo, "lefft")
