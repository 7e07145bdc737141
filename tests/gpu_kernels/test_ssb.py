"""SSB and the weak-phase estimate return the object that made the data, in radians."""

import numpy as np
import pytest

from gpu_kernels.ssb import SsbGeometry, SsbSums, ssb_finish, ssb_of_spectrum, ssb_partial
from gpu_kernels.ssb_reduce import chi_polynomial, chi_turns

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


@pytest.mark.parametrize("estimate", ["both", "left", "right", "wpo"])
def test_every_estimate_returns_a_weak_phase_object_in_radians(estimate):
    phase = weak_object()
    block, ky, kx = counts_of(phase, dose=3.7)
    found = retrieved(block, ky, kx, estimate, dose=3.7)
    assert relative(found.phase, phase) < 1e-6


def test_single_precision_is_good_to_a_hundredth_of_a_percent():
    phase = weak_object()
    block, ky, kx = counts_of(phase, dose=40.0)
    found = retrieved(block, ky, kx, "both", np.float32, dose=40.0)
    assert relative(found.phase, phase) < 1e-4


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
    np.testing.assert_allclose(total.noise, whole.noise)
    assert total.noise_count == whole.noise_count


def test_gpu_sums_equal_the_definition(twin):
    geo = geometry(scan_shape=(6, 7))
    rng = np.random.default_rng(0)
    ky, kx = (k[::29].copy() for k in pixels())
    shape = (ky.size, 6, geo.columns)
    spectrum = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    fields = ssb_of_spectrum(twin(spectrum), ky, kx, geo).fields

    q_y, q_x = geo.frequencies()
    c, s = np.cos(ROTATION), np.sin(ROTATION)
    dy, dx = c * q_y[:, None] + s * q_x, -s * q_y[:, None] + c * q_x
    expected = np.zeros(fields.shape)
    for g, y, x in zip(spectrum, ky, kx, strict=True):
        m = np.conj(aperture(y, x)) * aperture(y - dy, x - dx)
        p = aperture(y, x) * np.conj(aperture(y + dy, x + dx))
        right, left, both = (m != 0) & (p == 0), (p != 0) & (m == 0), (m != 0) & (p != 0)
        for field, term in enumerate((right * np.conj(m) * g, left * np.conj(p) * g,
                                      both * np.conj(m - p) * g)):  # fmt: skip
            expected[..., 2 * field] += term.real
            expected[..., 2 * field + 1] += term.imag
        expected[..., 6] += right
        expected[..., 7] += left
        expected[..., 8] += both * np.abs(m - p) ** 2
    np.testing.assert_allclose(fields, expected, atol=1e-9)


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


def test_half_turn_with_opposite_aberrations_inverts_the_phase_exactly():
    block, ky, kx = counts_of(weak_object())
    true = retrieved(block, ky, kx, "wpo").phase
    # Q → −Q in the detector's frame and A → A*: Γ changes its sign and nothing else.
    other = retrieved(block, ky, kx, "wpo", rotation=ROTATION + np.pi, aberrations=-CARTESIAN)
    np.testing.assert_allclose(other.phase, -true, atol=1e-9 * np.abs(true).max())


def test_empty_scan_gives_no_sums():
    geo = geometry()
    sums = ssb_partial(np.zeros((1, *SCAN)), np.array([9.0]), np.array([9.0]), geo)
    assert isinstance(sums, SsbSums)
    assert not sums.fields.any()
