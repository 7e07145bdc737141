"""What is held of a scan gives the phase that its counts give, for any lens and any estimate."""

from math import radians

import numpy as np
import pytest

from benchmarks.simulated_scan import mos2_phase, simulate
from gpu_kernels.backend import to_host
from gpu_kernels.bin_transfer import BinTransfer
from gpu_kernels.fourier import parts_of, scan_spectrum
from gpu_kernels.held_trotters import HeldTrotters
from gpu_kernels.hold_spectrum import add_faded_power, to_integers
from gpu_kernels.ssb import ssb_partial, sums_of_parts
from gpu_kernels.ssb_finish import ssb_finish
from gpu_kernels.ssb_geometry import SsbGeometry
from gpu_kernels.wiener import image_of, noise_of_sums, ring_wiener
from models.aberrations import Aberrations
from models.geometry import Geometry

SCAN, STEP = (40, 44), (0.3, 0.27)
TRUTH = Aberrations(C10=60, C12=20, phi12=0.5236, C21=900, phi21=-0.87)
GEOMETRY = Geometry(80e3, 0.025, STEP, (8.3, 7.9), 6.4, radians(-14.0))


@pytest.fixture(scope="module")
def scan():
    """A weak object that repeats, without noise."""
    phase = 1e-3 * mos2_phase(SCAN, STEP[0])
    return simulate(phase, SCAN, GEOMETRY, TRUTH, sub_pixels=1)


def lens(aberrations=TRUTH, aperture=GEOMETRY.aperture, rotation=GEOMETRY.rotation):
    return SsbGeometry(
        SCAN, STEP, rotation, aperture, GEOMETRY.wavelength, aberrations.cartesian()
    )  # fmt: skip


def held_of(scan, integers=True, dose=1.0, reach=2.2):
    counts = np.array_split(scan.dense * dose, [3, 50, 51])  # not in the groups that are held
    pixels, highest = len(scan.dense), reach * GEOMETRY.aperture
    held = HeldTrotters.of(counts, pixels, SCAN, STEP, highest, integers)
    return held, *GEOMETRY.wavevectors(scan.rows, scan.cols)


def straight(scan, estimate, geometry, bin_width=0.0):
    k_y, k_x = GEOMETRY.wavevectors(scan.rows, scan.cols)
    inside = np.hypot(k_y, k_x) < geometry.aperture
    sums = ssb_partial(scan.dense, k_y, k_x, geometry, np.float64)
    bins = BinTransfer.of(k_y, k_x, geometry, bin_width) if bin_width else None
    return ssb_finish(sums, scan.dense[inside].mean(), geometry, estimate, bins), sums


def relative(found, truth):
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("estimate", ["both", "left", "right", "wpo"])
def test_every_lens_gives_the_phase_that_the_counts_give(scan, estimate, integers):
    held, k_y, k_x = held_of(scan, integers)
    lenses = [
        lens(), lens(Aberrations()), lens(Aberrations(C10=-40, C30=1e5)),
        lens(aperture=0.9 * GEOMETRY.aperture), lens(rotation=0.4),
    ]  # fmt: skip
    for one in lenses:
        found = held.phase(k_y, k_x, one, estimate).image
        expected = straight(scan, estimate, one)[0].phase
        assert found.dtype == np.float32
        # A milliradian of phase is 1e-3 of the counts, which single precision holds to 6e-8.
        assert relative(found, expected) < 3e-4


@pytest.mark.parametrize("estimate", ["both", "left", "right", "wpo"])
def test_width_of_bins_is_undone_as_in_the_whole_chain(scan, estimate):
    held, k_y, k_x = held_of(scan)
    width, one = 1.5 * GEOMETRY.pixel_wavevector, lens(Aberrations(C10=150, C12=40, phi12=0.3))
    found = held.phase(k_y, k_x, one, estimate, bin_width=width).image
    expected = straight(scan, estimate, one, width)[0].phase
    assert relative(found, expected) < 1e-3  # what is lifted lifts the rounding of integers
    assert relative(found, straight(scan, estimate, one)[0].phase) > 0.05


def test_integers_round_less_than_a_photon_would(scan):
    held, k_y, k_x = held_of(scan)
    exact, _, _ = held_of(scan, integers=False)
    found, expected = (one.phase(k_y, k_x, lens()).spectrum for one in (held, exact))
    assert relative(found, expected) < 5e-5
    assert held.nbytes < 0.55 * exact.nbytes


def test_true_lens_shows_the_object(scan):
    held, k_y, k_x = held_of(scan)
    found = held.phase(k_y, k_x, lens()).image
    assert np.corrcoef(found.ravel(), scan.phase.ravel())[0, 1] > 0.97
    blurred = held.phase(k_y, k_x, lens(Aberrations(C10=-120))).image
    assert np.corrcoef(blurred.ravel(), scan.phase.ravel())[0, 1] < 0.8


def test_wiener_weights_are_those_of_the_whole_chain(scan):
    counted = scan.counted(1e4)
    held, k_y, k_x = held_of(counted, reach=2.0)
    plain, sums = straight(counted, "both", lens())
    electrons = counted.dense[np.hypot(k_y, k_x) < GEOMETRY.aperture].mean() * SCAN[0] * SCAN[1]
    level = electrons / SCAN[0] / SCAN[1]
    noise = noise_of_sums(sums.noise, sums.noise_count, electrons, level)
    q_y, q_x = np.fft.fftfreq(SCAN[0], STEP[0]), np.fft.rfftfreq(SCAN[1], STEP[1])
    width = 2 * max(q_y[1], q_x[1])
    q = np.hypot(q_y[:, None], q_x)
    expected = image_of(ring_wiener(plain.spectrum, plain.weight, noise, q, width), SCAN)
    found = held.phase(k_y, k_x, lens(), wiener=True).image
    assert relative(found, expected) < 0.05  # the noise is read from a few more frequencies


def test_threads_do_not_change_a_bit(scan):
    held, k_y, k_x = held_of(scan)
    one, three = (held.phase(k_y, k_x, lens(), threads=n).image for n in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_trotters_of_the_true_lens_have_one_phase_and_those_of_a_wrong_one_do_not(scan):
    held, k_y, k_x = held_of(scan)
    row, col = held.strongest(9, (0.3 * GEOMETRY.aperture, 1.9 * GEOMETRY.aperture))
    assert row.size == 9

    def evenness(aberrations):
        found = held.trotters(row, col, k_y, k_x, lens(aberrations))
        single = (found.covered == 1) | (found.covered == 2)
        after = np.where(single, found.after, 0)
        return np.abs(after.sum(axis=1)) / np.abs(after).sum(axis=1)

    assert evenness(TRUTH).min() > 0.95
    assert evenness(Aberrations()).mean() < 0.9
    assert evenness(Aberrations(C10=-100)).mean() < 0.7


def test_trotters_carry_the_spectrum_of_the_faded_object(scan):
    held, k_y, k_x = held_of(scan)
    row, col = held.strongest(9, (0.3 * GEOMETRY.aperture, 1.9 * GEOMETRY.aperture))
    found = held.trotters(row, col, k_y, k_x, lens())
    faded = scan.phase * np.outer(
        *(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in SCAN)
    )  # fmt: skip
    spectrum = np.fft.fft2(faded)[row, col]
    single = (found.covered == 1) | (found.covered == 2)
    mean = np.where(single, found.after, 0).sum(axis=1) / single.sum(axis=1)
    # The edge of the aperture falls between a frequency and its neighbours.
    assert relative(mean, spectrum) < 0.1
    assert not found.before[:, np.hypot(k_y, k_x) >= GEOMETRY.aperture].any()


def test_strongest_frequencies_are_no_neighbours(scan):
    held, _, _ = held_of(scan)
    row, col = held.strongest(30, (0.15 * GEOMETRY.aperture, 1.9 * GEOMETRY.aperture))
    assert row.size > 9
    gap = np.abs(row[:, None] - row)
    gap = np.maximum(np.minimum(gap, SCAN[0] - gap), np.abs(col[:, None] - col))
    assert (gap + 9 * np.eye(row.size)).min() > 2


def test_integers_hold_the_values_to_half_a_unit(twin):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 6, 4, 2)).astype(np.float32)
    values[:, 2, 1] = 0
    rows = np.array([0, 1, 2, 5])
    parts, scale = twin(np.zeros((5, 4, 4, 2), np.int16)), twin(np.zeros((4, 4), np.float32))
    to_integers(twin(values), twin(rows), parts, scale)
    parts, scale = to_host(parts), to_host(scale)[None, :, :, None]
    assert np.abs(parts).max(axis=(0, 3))[scale[0, ..., 0] > 0].min() == 32767
    assert (np.abs(parts * scale - values[:, rows]) <= 0.501 * scale).all()


def test_faded_power_is_that_of_a_scan_under_a_hann_window(twin):
    block = np.random.default_rng(1).normal(size=(3, 8, 10))
    fades = [0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in (8, 10)]
    expected = (np.abs(np.fft.fft2(block * np.outer(*fades))) ** 2).sum(axis=0)[:, :5]
    spectrum = np.fft.fft2(block)[..., :6].astype(np.complex64)
    power = twin(np.zeros((8, 6)))
    add_faded_power(twin(spectrum), power)
    np.testing.assert_allclose(to_host(power)[:, :5], expected, rtol=1e-4)


def test_sums_of_integers_are_those_of_what_they_stand_for(twin):
    geometry = SsbGeometry((6, 9), (0.32, 0.3), -0.2, GEOMETRY.aperture, GEOMETRY.wavelength,
                           TRUTH.cartesian())  # fmt: skip
    rng = np.random.default_rng(2)
    pixels, shape = 70, (6, geometry.columns)
    k_y, k_x = rng.uniform(-1, 1, (2, pixels)) * geometry.aperture  # some outside the disk
    parts = rng.integers(-30_000, 30_000, (pixels, *shape, 2)).astype(np.int16)
    scale = rng.uniform(1e-5, 1e-4, (3, *shape)).astype(np.float32)
    values = parts * np.repeat(scale, 32, axis=0)[:pixels, ..., None].astype(np.float64)
    q_y = geometry.frequencies()[0]
    for everything in (True, False):
        arguments = (k_y, k_x, q_y, geometry)
        found = sums_of_parts(twin(parts), *arguments, twin(scale), everything)
        exact = sums_of_parts(values, *arguments, None, everything)
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-4)
        assert exact[4].any() == everything


def test_held_on_the_device_as_on_the_host(scan, twin):
    few, highest = slice(0, None, 5), 2.2 * GEOMETRY.aperture
    k, counts = GEOMETRY.wavevectors(scan.rows[few], scan.cols[few]), scan.dense[few]
    here = HeldTrotters.of([counts], len(counts), SCAN, STEP, highest)
    there = HeldTrotters.of([twin(counts)], len(counts), SCAN, STEP, highest)
    for width in (0.0, GEOMETRY.pixel_wavevector):
        found, expected = (one.phase(*k, lens(), bin_width=width) for one in (there, here))
        assert relative(found.image, expected.image) < 3e-4  # of single precision, as above
        assert relative(found.spectrum, expected.spectrum) < 3e-4
    at = here.strongest(9, (0.1, 1.0))
    np.testing.assert_allclose(
        there.trotters(*at, *k, lens()).after, here.trotters(*at, *k, lens()).after, atol=1e-3
    )


def test_parts_are_a_view_of_the_transform():
    spectrum = scan_spectrum(np.random.default_rng(0).random((2, *SCAN)), 9)
    parts = parts_of(spectrum)
    np.testing.assert_array_equal(parts[..., 0] + 1j * parts[..., 1], spectrum)
    assert np.shares_memory(parts, spectrum)


def test_wrong_blocks_and_an_empty_disk_are_refused_with_their_numbers(scan):
    with pytest.raises(ValueError, match=r"\(5, 40, 43\).*9 of 9 pixels.*\(40, 44\)"):
        HeldTrotters.of([np.zeros((5, 40, 43))], 9, SCAN, STEP, 1.0)
    with pytest.raises(ValueError, match="5 pixels were given, 9 were promised"):
        HeldTrotters.of([np.zeros((5, *SCAN))], 9, SCAN, STEP, 1.0)
    held, k_y, k_x = held_of(scan)
    with pytest.raises(ValueError, match="0 of .* held pixels are inside"):
        held.phase(k_y + 9, k_x, lens())
    with pytest.raises(ValueError, match="unknown estimate 'lefft'"):
        held.phase(k_y, k_x, lens(), "lefft")
