"""The phase of bins that integrate is that of the object, whatever lens winds over them."""

from dataclasses import replace
from math import radians

import numpy as np
import pytest

from benchmarks.simulated_scan import mos2_phase, simulate
from gpu_kernels.backend import to_host
from gpu_kernels.bin_transfer import LEAST_TRANSFER, BinTransfer, damping, limited
from gpu_kernels.ssb import SsbSums, ssb_partial
from gpu_kernels.ssb_finish import ssb_finish
from gpu_kernels.ssb_geometry import SsbGeometry
from models.aberrations import Aberrations, phase_shift
from models.geometry import Geometry

SCAN, STEP = (30, 34), (0.42, 0.4)
# A disk off the pixels' grid, some 15 px across, turned and mirrored.
MICROSCOPE = Geometry(80e3, 0.025, STEP, (9.3, 8.8), 7.6, radians(37.0), flip=True)
K0, WIDTH = MICROSCOPE.aperture, MICROSCOPE.pixel_wavevector
LENSES = {
    "focus": Aberrations(),
    "defocus": Aberrations(C10=180),
    "astigmatism": Aberrations(C10=-120, C12=50, phi12=0.5),
    "coma": Aberrations(C10=100, C12=30, phi12=-0.4, C21=1200, phi21=-0.9, C30=2e5),
}


@pytest.fixture(scope="module", params=LENSES)
def scan(request):
    """A weak object that repeats, without noise; each pixel is the mean of 5 × 5 points."""
    phase = 1e-3 * mos2_phase(SCAN, STEP[0])
    return simulate(phase, SCAN, MICROSCOPE, LENSES[request.param], sub_pixels=5)


def lens(aberrations, microscope=MICROSCOPE):
    return SsbGeometry(
        SCAN, STEP, microscope.rotation, K0, microscope.wavelength, aberrations.cartesian()
    )


def finished(scan, estimate="both", undone=True):
    k_y, k_x = MICROSCOPE.wavevectors(scan.rows, scan.cols)
    geometry = lens(scan.aberrations)
    bins = BinTransfer.of(k_y, k_x, geometry, WIDTH) if undone else None
    sums = ssb_partial(scan.dense, k_y, k_x, geometry, np.float64)
    level = scan.dense[np.hypot(k_y, k_x) < K0].mean()
    return ssb_finish(sums, level, geometry, estimate, bins)


def scale(found, phase, low, high):
    """Of a phase against the truth, in a band of |Q| in units of k0."""
    q = np.hypot(np.fft.fftfreq(SCAN[0], STEP[0])[:, None], np.fft.rfftfreq(SCAN[1], STEP[1]))
    band = (q > low * K0) & (q < high * K0)
    found, true = np.fft.rfft2(found)[band], np.fft.rfft2(phase)[band]
    return (found * true.conj()).sum().real / (np.abs(true) ** 2).sum()


@pytest.mark.parametrize("estimate", ["both", "left", "right", "wpo"])
@pytest.mark.parametrize("band", [(0.2, 0.6), (0.6, 1.0), (1.0, 1.2), (1.2, 1.5)])
def test_phase_of_bins_that_integrate_has_the_scale_of_the_object(scan, estimate, band):
    assert scale(finished(scan, estimate).phase, scan.phase, *band) == pytest.approx(1, abs=0.025)


def test_taken_for_points_bins_lose_as_much_as_is_said(scan):
    points = scale(finished(scan, undone=False).phase, scan.phase, 0.9, 1.1)
    least = damping(lens(scan.aberrations), WIDTH, K0)
    assert least - 0.06 < points < 0.99
    assert points < 1 - 0.3 * (1 - least)


def test_absorption_has_its_scale_too():
    absorption = -1e-3 * mos2_phase(SCAN, STEP[0])
    one = simulate(-1j * absorption, SCAN, MICROSCOPE, LENSES["astigmatism"], sub_pixels=5)
    found = finished(one)
    for band in ((0.2, 0.6), (0.6, 1.0), (1.0, 1.4)):
        assert scale(found.amplitude, absorption, *band) == pytest.approx(1, abs=0.025)
    assert np.abs(found.phase).max() < 0.1 * np.abs(absorption).max()


def disk():
    rows, cols = np.indices((19, 18))
    return MICROSCOPE.wavevectors(rows.ravel(), cols.ravel())


def gamma(k_y, k_x, q_y, q_x, aberrations):
    """Both sidebands by the definition; all in the detector's frame."""

    def wave(y, x):
        inside = np.hypot(y, x) < K0
        return inside * np.exp(-1j * phase_shift(y, x, MICROSCOPE.wavelength, aberrations))

    straight = wave(k_y, k_x)
    right = straight.conj() * wave(k_y - q_y, k_x - q_x)
    left = straight * wave(k_y + q_y, k_x + q_x).conj()
    return right, left


@pytest.mark.parametrize("name", LENSES)
def test_transfer_is_the_sum_over_the_area_of_every_bin(name):
    aberrations, (k_y, k_x) = LENSES[name], disk()
    bins = BinTransfer.of(k_y, k_x, lens(aberrations), WIDTH)
    chosen = np.hypot(k_y, k_x) < K0
    at = ((np.arange(24) + 0.5) / 24 - 0.5) * WIDTH
    fine_y = k_y[chosen, None, None] + at[:, None] + 0 * at
    fine_x = k_x[chosen, None, None] + 0 * at[:, None] + at
    covered = (np.hypot(fine_y, fine_x) < K0).mean()
    for part, angle in ((0.45, 0.3), (0.9, -1.2), (1.3, 1.0)):
        q_y, q_x = part * K0 * np.sin(angle), part * K0 * np.cos(angle)
        turned = MICROSCOPE.scan_to_detector(q_y, q_x)
        right, left = gamma(k_y[chosen], k_x[chosen], *turned, aberrations)
        fine = np.subtract(*gamma(fine_y, fine_x, *turned, aberrations)).mean(axis=(1, 2))
        single = (right != 0) ^ (left != 0)
        for estimate, some in (("both", single), ("wpo", np.ones_like(single))):
            centre = np.where(some, right - left, 0)
            expected = (centre.conj() * fine).sum() / (np.abs(centre) ** 2).sum() / covered
            found = bins.at(np.array([q_y]), np.array([q_x]), estimate)[0, 0]
            # Between its nodes a table does not see at which frequency which bin drops out.
            assert found == pytest.approx(expected, abs=0.03)


def test_inside_the_rims_defocus_and_astigmatism_damp_by_two_sincs():
    # Of bins a tenth as wide as they lie apart hardly one is on a rim: the rest is the lens alone.
    k_y, k_x = disk()
    aberrations = Aberrations(C10=2500, C12=700, phi12=0.6)
    found = BinTransfer.of(k_y, k_x, lens(aberrations), WIDTH / 10)
    q_y, q_x = 0.8 * K0 * np.sin(0.4), 0.8 * K0 * np.cos(0.4)
    row, col = MICROSCOPE.scan_to_detector(q_y, q_x)
    a, b = 700 * np.cos(1.2), 700 * np.sin(1.2)
    slopes = ((2500 - a) * row + b * col, b * row + (2500 + a) * col)
    expected = np.prod([np.sinc(WIDTH / 10 * MICROSCOPE.wavelength * slope) for slope in slopes])
    assert found.at(np.array([q_y]), np.array([q_x]))[0, 0] == pytest.approx(expected, abs=0.03)
    worst = min(
        np.prod(np.sinc(0.08 * WIDTH * MICROSCOPE.wavelength * K0 * np.array(
            [(2500 - a) * np.sin(t) + b * np.cos(t), b * np.sin(t) + (2500 + a) * np.cos(t)])))
        for t in np.linspace(0, np.pi, 721)
    )  # fmt: skip
    assert damping(lens(aberrations), 0.1 * WIDTH, 0.8 * K0) == pytest.approx(worst, abs=0.005)


def test_points_have_no_transfer():
    k_y, k_x = disk()
    found = BinTransfer.of(k_y, k_x, lens(LENSES["coma"]), 1e-9)
    q = lens(LENSES["coma"]).frequencies()
    np.testing.assert_allclose(found.at(*q), 1, atol=1e-6)
    assert damping(lens(LENSES["coma"]), 0.0, K0) == 1


def test_opposite_frequencies_have_conjugate_transfers():
    k_y, k_x = disk()
    found = BinTransfer.of(k_y, k_x, lens(LENSES["coma"]), WIDTH)
    q = np.array([0.31, 0.72]) * K0
    up, down = (found.at(sign * q, np.array([0.0]), "both") for sign in (1, -1))
    np.testing.assert_allclose(up, down.conj(), atol=1e-12)


def test_frequencies_narrower_than_two_bins_are_lifted_as_those_of_two():
    k_y, k_x = disk()
    found = BinTransfer.of(k_y, k_x, lens(LENSES["coma"]), WIDTH)
    edge, narrow, wide = (
        found.at(np.array([bins * WIDTH * 0.6]), np.array([bins * WIDTH * 0.8]))[0, 0]
        for bins in (2.0, 0.3, 3.0)
    )
    assert narrow == pytest.approx(edge, rel=1e-12)
    assert abs(wide - edge) > 0.01


def test_nothing_is_lifted_beyond_the_limit_and_contrast_that_turned_over_is_turned_back():
    transfer = np.array([[0.9, LEAST_TRANSFER, 0.1, -0.15j, -0.2, 0.0]], complex)
    np.testing.assert_allclose(limited(transfer), [[0.9, 0.3, 0.3, -0.3j, -0.3, 0.3]])


def test_noise_is_lifted_with_its_weight():
    # White noise in every pixel; its weighted power is the same at every frequency.
    rng, (k_y, k_x) = np.random.default_rng(3), disk()
    geometry = replace(lens(LENSES["defocus"]), scan_shape=(128, 128))
    bins = BinTransfer.of(k_y, k_x, geometry, WIDTH)
    noise = rng.normal(1.0, 0.1, (k_y.size, 128, 128))
    found = ssb_finish(ssb_partial(noise, k_y, k_x, geometry), 1.0, geometry, "both", bins)
    power = found.weight * np.abs(found.spectrum) ** 2 / (0.01 * 128 * 128)
    q = np.hypot(np.fft.fftfreq(128, STEP[0])[:, None], np.fft.rfftfreq(128, STEP[1])) / K0
    for low, high in ((0.3, 0.8), (0.8, 1.2), (1.2, 1.6)):
        assert power[(q > low) & (q < high)].mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("estimate", ["both", "wpo", "common"])
def test_transfer_is_the_same_wherever_it_is_asked_for(twin, estimate):
    k_y, k_x = disk()
    geometry = lens(LENSES["coma"])
    bins = BinTransfer.of(k_y, k_x, geometry, WIDTH)
    q_y, q_x = geometry.frequencies()
    found = to_host(bins.at(twin(q_y), twin(q_x), estimate))
    np.testing.assert_allclose(found, bins.at(q_y, q_x, estimate), rtol=1e-12)


def test_finish_undoes_bins_on_either_side(twin):
    rng, (k_y, k_x) = np.random.default_rng(4), disk()
    geometry = lens(LENSES["astigmatism"])
    bins = BinTransfer.of(k_y, k_x, geometry, WIDTH)
    fields = rng.uniform(1, 2, (10, SCAN[0], geometry.columns))
    images = [
        ssb_finish(SsbSums(side(fields), 0, 0.0), 3.0, geometry, "wpo", bins)
        for side in (twin, np.asarray)
    ]
    for name in ("phase", "amplitude", "spectrum", "weight"):
        found, expected = (to_host(getattr(one, name)) for one in images)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("threads", [2, 3, 64])
def test_threads_share_the_table_and_change_no_bit_of_it(threads):
    k_y, k_x = disk()
    there = lens(LENSES["coma"])
    one, several = (BinTransfer.of(k_y, k_x, there, WIDTH, n) for n in (1, threads))
    np.testing.assert_array_equal(one.overlap, several.overlap)
    np.testing.assert_array_equal(one.weight, several.weight)
