"""Fourier ring correlation against its definition, against noise, and against a known truth."""

import numpy as np
import pytest

from gpu_kernels.frc import fourier_ring_correlation, resolution, signal_to_noise
from gpu_kernels.frc_curve import mean_curve
from gpu_kernels.registration import shifted
from gpu_kernels.rings import ring_sums, rings_of


def by_definition(first, second, pixel, window):
    """FRC in plain float64, frequency by frequency, over the whole plane."""
    rows, cols = first.shape
    if window == "hann":
        w_y, w_x = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in first.shape)
        first, second = (image * w_y[:, None] * w_x for image in (first, second))
    width = max(1 / (rows * pixel[0]), 1 / (cols * pixel[1]))
    nyquist = 0.5 / max(pixel)
    sums = {}
    a, b = np.fft.fft2(first), np.fft.fft2(second)
    for row, q_y in enumerate(np.fft.fftfreq(rows, pixel[0])):
        for col, q_x in enumerate(np.fft.fftfreq(cols, pixel[1])):
            q = np.hypot(q_y, q_x)
            ring = int(np.floor(q / width + 0.5))
            if q <= nyquist * (1 + 1e-9) and ring <= nyquist / width:
                terms = sums.setdefault(ring, [0.0, 0.0, 0.0])
                terms[0] += (a[row, col] * np.conj(b[row, col])).real
                terms[1] += abs(a[row, col]) ** 2
                terms[2] += abs(b[row, col]) ** 2
    found = [sums[ring] for ring in sorted(sums)]
    return np.array([c / np.sqrt(p1 * p2) for c, p1, p2 in found])


def noisy_pair(shape=(48, 40), kind=float, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)

    def random():
        image = rng.normal(size=shape)
        return image + 1j * rng.normal(size=shape) if kind is complex else image

    signal = random()
    return signal + noise * random(), signal + noise * random()


@pytest.mark.parametrize("window", ["hann", "none"])
@pytest.mark.parametrize("kind", [float, complex])
@pytest.mark.parametrize(
    ("shape", "pixel"), [((48, 48), (1.0, 1.0)), ((40, 33), (0.3, 0.3)), ((31, 64), (0.5, 0.2))]
)
def test_frc_equals_its_definition(shape, pixel, kind, window):
    first, second = noisy_pair(shape, kind)
    curve = fourier_ring_correlation(first, second, pixel, window=window, flatten=False)
    expected = by_definition(first, second, pixel, window)
    np.testing.assert_allclose(curve.correlation, expected, atol=1e-12)
    assert curve.pixels.sum() <= np.prod(shape)
    assert curve.frequency[-1] <= 0.5 / max(pixel) + 1e-9


def test_sums_over_rings_are_the_same_on_both_sides(twin):
    first, second = noisy_pair((16, 14))
    for transform, half in ((np.fft.rfft2, True), (np.fft.fft2, False)):
        rings = rings_of(first.shape, (1.0, 1.0), half)
        a, b = transform(first), transform(second)
        found = ring_sums(twin(a), twin(b), rings, first.shape[1])
        plane = rings_of(first.shape, (1.0, 1.0), False)
        products = np.fft.fft2(first) * np.fft.fft2(second).conj()
        expected = [products[plane.index == ring].sum() for ring in range(plane.frequency.size)]
        np.testing.assert_allclose(found[0], np.real(expected), rtol=1e-12, atol=1e-9)
        power = (np.abs(np.fft.fft2(first)) ** 2)[plane.index >= 0].sum()
        assert found[1].sum() == pytest.approx(power, rel=1e-12)
        again = ring_sums(twin(a), twin(b), rings, first.shape[1])
        assert found.tobytes() == again.tobytes()


def test_squares_over_rings_are_those_of_the_real_part_of_the_correlation(twin):
    for kind, shape in ((float, (16, 14)), (complex, (16, 14)), (complex, (9, 12))):
        first, second = noisy_pair(shape, kind)
        plane = rings_of(shape, (1.0, 1.0), False)
        products = np.fft.fft2(first) * np.fft.fft2(second).conj()
        power = np.abs(np.fft.fft2(np.fft.ifft2(products).real)) ** 2
        expected = [power[plane.index == ring].sum() for ring in range(plane.frequency.size)]
        transforms = [(np.fft.fft2, False)] + [(np.fft.rfft2, True)] * (kind is float)
        for transform, half in transforms:
            rings = rings_of(shape, (1.0, 1.0), half)
            found = ring_sums(twin(transform(first)), twin(transform(second)), rings, shape[1])
            np.testing.assert_allclose(found[3], expected, rtol=1e-11)


def test_whole_curve_is_the_same_on_a_device(twin):
    for kind in (float, complex):
        first, second = noisy_pair(kind=kind)
        expected = fourier_ring_correlation(first, second, register=True)
        found = fourier_ring_correlation(twin(first), twin(second), register=True)
        np.testing.assert_allclose(found.correlation, expected.correlation, atol=1e-9)


def test_equal_images_correlate_fully_and_opposite_ones_the_other_way():
    image, _ = noisy_pair()
    np.testing.assert_allclose(fourier_ring_correlation(image, image).correlation[1:], 1)
    opposite = fourier_ring_correlation(image, -image, register=False)
    np.testing.assert_allclose(opposite.correlation[1:], -1)


@pytest.mark.parametrize("kind", [float, complex])
@pytest.mark.parametrize("window", ["hann", "none"])
def test_spread_of_noise_is_as_stated(kind, window):
    rng = np.random.default_rng(1)
    scores, smoothed = [], []
    for _ in range(400):
        pair = rng.normal(size=(2, 40, 40))
        if kind is complex:
            pair = pair + 1j * rng.normal(size=pair.shape)
        curve = fourier_ring_correlation(*pair, window=window, flatten=False)
        scores.append(curve.correlation / curve.sigma)
        value, sigma = curve.smoothed()
        smoothed.append(value / sigma)
    # Rings 0 to 3 are too small for a normal distribution; the last holds few frequencies.
    for found in (np.array(scores)[:, 4:-1], np.array(smoothed)[:, 4:-1]):
        assert abs(found.mean()) < 0.07
        np.testing.assert_allclose(found.std(axis=0).mean(), 1, atol=0.04)


def test_spread_of_noise_falls_with_the_partings_as_stated():
    rng = np.random.default_rng(11)
    scores, alone, smoothed = [], [], []
    for _ in range(200):
        counts = rng.poisson(40.0, size=(40, 40))
        parted = [rng.binomial(counts, 0.5) for _ in range(5)]
        curves = [fourier_ring_correlation(half, counts - half) for half in parted]
        curve = mean_curve(curves)
        assert curve.splits == 5
        variance = np.mean([one.sigma**2 for one in curves], axis=0)
        np.testing.assert_allclose(curve.sigma, np.sqrt(0.6 * variance))
        np.testing.assert_array_equal(curve.threshold("half_bit"), curves[0].threshold("half_bit"))
        scores.append(curve.correlation / curve.sigma)
        alone.append(curves[1].correlation / curves[1].sigma)
        value, sigma = curve.smoothed()
        smoothed.append(value / sigma)
    for found in (scores, alone, smoothed):
        inner = np.array(found)[:, 4:-1]
        assert abs(inner.mean()) < 0.07
        np.testing.assert_allclose(inner.std(axis=0).mean(), 1, atol=0.05)


@pytest.mark.parametrize("even", [False, True])
def test_noise_alone_has_no_resolution(even):
    rng = np.random.default_rng(2)
    found = [
        resolution(
            fourier_ring_correlation(*rng.normal(size=(2, 64, 64)), even=even), name
        ).frequency
        for _ in range(40)
        for name in ("0.143", "0.5", "half_bit")
    ]
    assert np.count_nonzero(found) <= 3  # one curve in a hundred, with three thresholds each


def uneven_noise(rng, frequencies, strength):
    """White noise, and some frequencies (y, x) whose amplitude each draw throws anew."""
    y, x = np.indices((64, 64))
    image = rng.normal(size=(64, 64))
    for k_y, k_x in frequencies:
        amplitude = rng.normal() + 1j * rng.normal()
        image += strength * (amplitude * np.exp(2j * np.pi * (k_y * y + k_x * x) / 64)).real
    return image


@pytest.mark.parametrize(
    ("frequencies", "strength"),
    [
        ([(20, 3)], 1.0),
        ([(20, 3), (3, -20)], 0.8),
        ([(20, 3), (3, -20), (14, 14), (-15, 13)], 0.7),
        ([(32, 0)], 1.0),
    ],
    ids=["one", "two", "four", "nyquist"],
)
@pytest.mark.parametrize("complex_", [False, True], ids=["real", "phase"])
def test_noise_of_few_frequencies_has_no_resolution(frequencies, strength, complex_):
    rng = np.random.default_rng(12)
    found, scores = [], []
    for _ in range(100):
        pair = [uneven_noise(rng, frequencies, strength) for _ in range(2)]
        if complex_:
            pair = [1 + 0.01j * image for image in pair]
        curve = fourier_ring_correlation(*pair)
        found += [resolution(curve, name).frequency for name in ("0.143", "0.5", "half_bit")]
        scores.append(curve.correlation / curve.sigma)
    assert np.count_nonzero(found) <= 9  # three curves in a hundred, with three thresholds each
    assert np.abs(np.array(scores)[:, 4:-1].std(axis=0) - 1).max() < 0.5


def test_few_frequencies_end_no_specimen_at_their_ring():
    rng = np.random.default_rng(13)
    beyond = 0
    for _ in range(100):
        specimen = 20 * blurred(rng.normal(size=(64, 64)), 3.0)
        pair = [specimen + uneven_noise(rng, [(20, 3)], 1.0) for _ in range(2)]
        found = resolution(fourier_ring_correlation(*pair))
        assert found.frequency > 0.08
        beyond += found.frequency > 0.2
    assert beyond <= 8  # a third of all, were the ring taken for white


@pytest.mark.parametrize("amplitude", [1.0, 0.3, 0.05])
def test_complex_noise_of_phase_or_amplitude_spreads_as_stated(amplitude):
    rng = np.random.default_rng(14)
    scores, found = [], []
    for _ in range(150):
        noise = 0.02 * rng.normal(size=(2, 2, 64, 64))
        pair = [(1 + amplitude * size) * np.exp(1j * phase) for size, phase in noise]
        curve = fourier_ring_correlation(*pair)
        scores.append((curve.correlation / curve.sigma)[4:-1])
        found.append(resolution(curve).frequency)
    assert abs(np.mean(scores)) < 0.07
    assert np.std(scores) == pytest.approx(1, abs=0.03)
    assert np.count_nonzero(found) <= 3


@pytest.mark.parametrize(("even", "found_in"), [(True, 20), (False, 18)])
def test_lattice_in_noise_keeps_its_last_reflections(even, found_in):
    rng = np.random.default_rng(15)
    y, x = np.indices((96, 96))
    seen = 0
    for _ in range(20):
        phases = iter(rng.uniform(0, 2 * np.pi, 9))
        lattice = sum(
            np.cos(2 * np.pi * order * 0.11 * (a * y + b * x) + next(phases)) / order
            for order in (1, 2, 3)
            for a, b in ((1, 0), (0.5, 0.866), (-0.5, 0.866))
        )
        pair = [lattice + rng.normal(size=lattice.shape) for _ in range(2)]
        seen += resolution(fourier_ring_correlation(*pair, even=even)).frequency > 0.31
    assert seen >= found_in


def blurred(image, sigma):
    q = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in image.shape), indexing="ij"))
    return np.fft.ifft2(np.fft.fft2(image) * np.exp(-2 * (np.pi * q * sigma) ** 2)).real


@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_crossing_lies_where_signal_and_noise_say(noise):
    rng = np.random.default_rng(3)
    n, sigma = 512, 2.0
    truth = blurred(rng.normal(size=(n, n)), sigma)
    halves = [truth + noise * np.sqrt(2) * rng.normal(size=(n, n)) for _ in range(2)]
    curve = fourier_ring_correlation(*halves)
    # Power of the signal exp(−4π²σ²q²) over that of a half's noise, 2·noise².
    for name, ratio in (("0.143", 1 / 6), ("0.5", 1.0)):
        expected = np.sqrt(-np.log(ratio * 2 * noise**2)) / (2 * np.pi * sigma)
        found = resolution(curve, name)
        assert found.frequency == pytest.approx(expected, rel=0.03)
        assert not found.limited
    whole = fourier_ring_correlation((halves[0] + halves[1]) / 2, truth)
    assert resolution(whole, "0.5").frequency == pytest.approx(
        resolution(curve, "0.143").frequency, rel=0.03
    )
    ratio = signal_to_noise(curve.correlation)
    model = np.exp(-((2 * np.pi * sigma * curve.frequency) ** 2)) / noise**2
    seen = (model > 0.3) & (model < 30)
    np.testing.assert_allclose(np.log(ratio[seen] / model[seen]).mean(), 0, atol=0.05)


def test_signal_up_to_the_last_ring_is_reported_as_at_least():
    curve = fourier_ring_correlation(*noisy_pair((64, 64), noise=0.2), (0.5, 0.5))
    found = resolution(curve)
    assert found.limited
    assert found.frequency == curve.frequency[-1]
    assert found.length == pytest.approx(1.0)


def test_band_limit_ends_the_curve():
    first, second = noisy_pair((64, 64), noise=0.2)
    curve = fourier_ring_correlation(first, second, band_limit=0.3)
    assert np.isnan(curve.correlation[curve.frequency > 0.3]).all()
    found = resolution(curve)
    assert found.limited
    assert found.frequency == pytest.approx(0.3, abs=1 / 64)


def test_empty_rings_are_no_measurement():
    rng = np.random.default_rng(4)
    images = []
    for _ in range(2):
        spectrum = np.fft.fft2(rng.normal(size=(64, 64)))
        q = np.hypot(*np.meshgrid(*(np.fft.fftfreq(64),) * 2, indexing="ij"))
        images.append(np.fft.ifft2(np.where(q < 0.25, spectrum, 0)).real.astype(np.float32))
    curve = fourier_ring_correlation(*images, flatten=False)
    beyond = curve.frequency > 0.25 + 2 / 64
    assert np.isnan(curve.correlation[beyond]).all()
    assert np.isfinite(curve.correlation[curve.frequency < 0.25][1:]).all()


def test_perfect_lattice_is_resolved_to_its_last_reflection_and_has_gaps():
    rng = np.random.default_rng(5)
    y, x = np.indices((128, 128))
    lattice = sum(
        np.cos(2 * np.pi * m * (y if axis else x) / 16) / m for m in (1, 2, 3, 5) for axis in (0, 1)
    )
    halves = [lattice + 0.3 * rng.normal(size=(128, 128)) for _ in range(2)]
    found = resolution(fourier_ring_correlation(*halves))
    assert found.frequency == pytest.approx(5 / 16, abs=2.5 / 128)
    assert found.gaps
    assert found.gaps[0][0] < 2 / 16  # where a curve that must not fall would have ended
    assert not found.limited


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.37, -5.81), (-0.25, 0.5), (20.0, 11.0)])
def test_shift_is_found_and_taken_back(shift):
    rng = np.random.default_rng(6)
    signal = blurred(rng.normal(size=(96, 80)), 1.2)
    first = signal + 0.05 * rng.normal(size=signal.shape)
    second = shifted(signal, shift) + 0.05 * rng.normal(size=signal.shape)
    curve = fourier_ring_correlation(first, second, register=True)
    np.testing.assert_allclose(curve.shift, shift, atol=0.05)
    straight = fourier_ring_correlation(first, signal + 0.05 * rng.normal(size=signal.shape))
    low = curve.frequency < 0.2
    # A part of the moved image left the field; what stayed agrees as if it had not moved.
    tolerance = 0.03 if max(map(abs, shift)) < 10 else 0.5
    np.testing.assert_allclose(curve.correlation[low], straight.correlation[low], atol=tolerance)
    if shift != (0.0, 0.0):
        left = fourier_ring_correlation(first, second).correlation
        assert left[low][1:].mean() < curve.correlation[low][1:].mean() - 0.005


def test_ramps_are_taken_out_first():
    rng = np.random.default_rng(7)
    y, x = np.indices((64, 72)) / 64
    signal = blurred(rng.normal(size=(64, 72)), 1.5)
    halves = [signal + 0.05 * rng.normal(size=signal.shape) for _ in range(2)]
    straight = fourier_ring_correlation(*halves)
    tilted = fourier_ring_correlation(halves[0] + 3 * y, halves[1] - 2 * x + 5)
    np.testing.assert_allclose(tilted.correlation[1:], straight.correlation[1:], atol=1e-10)
    left = fourier_ring_correlation(halves[0] + 3 * y, halves[1] - 2 * x, flatten=False)
    assert abs(left.correlation[1:4] - straight.correlation[1:4]).max() > 0.1


def test_ramps_of_the_phase_are_taken_out_of_complex_images():
    rng = np.random.default_rng(8)
    y, x = np.indices((64, 72))
    phase = 0.8 * blurred(rng.normal(size=(64, 72)), 1.5)
    noise = 0.02 * (rng.normal(size=(2, 64, 72)) + 1j * rng.normal(size=(2, 64, 72)))
    halves = np.exp(1j * phase) + noise
    straight = fourier_ring_correlation(*halves)
    ramps = np.exp(1j * (0.21 * y - 0.13 * x + 1)), np.exp(1j * (0.05 * x - 0.4 * y))
    tilted = fourier_ring_correlation(halves[0] * ramps[0], halves[1] * ramps[1])
    np.testing.assert_allclose(tilted.correlation, straight.correlation, atol=0.01)


def test_what_cannot_be_compared_is_named():
    image = np.ones((8, 8))
    with pytest.raises(ValueError, match=r"\(8, 8\) and \(8, 9\)"):
        fourier_ring_correlation(image, np.ones((8, 9)))
    with pytest.raises(ValueError, match="1 of 64 values of the second image are not finite"):
        fourier_ring_correlation(image, np.where(np.eye(8) * np.arange(8) == 7, np.nan, image))
    with pytest.raises(ValueError, match="unknown window 'box'"):
        fourier_ring_correlation(image, image, window="box")
    with pytest.raises(ValueError, match="must be positive"):
        fourier_ring_correlation(image, image, (0.0, 1.0))
    with pytest.raises(ValueError, match=r"unknown threshold '0\.2'"):
        resolution(fourier_ring_correlation(*noisy_pair()), "0.2")


def test_images_of_nothing_have_no_resolution():
    curve = fourier_ring_correlation(np.zeros((16, 16)), np.zeros((16, 16)))
    assert np.isnan(curve.correlation).all()
    assert resolution(curve).frequency == 0
    assert resolution(curve).length == float("inf")


def test_curve_that_hovers_about_the_threshold_ends_where_it_first_falls_below():
    rng = np.random.default_rng(9)
    truth = blurred(rng.normal(size=(256, 256)), 2.0)
    faint = 0.2 * rng.normal(size=truth.shape)  # repeats in both halves, at a tenth of their noise
    halves = [truth + faint + 0.5 * rng.normal(size=truth.shape) for _ in range(2)]
    curve = fourier_ring_correlation(*halves)
    hover = curve.correlation[curve.frequency > 0.3]
    assert 0.1 < hover.mean() < 0.18
    assert (hover > 0.143).any()
    found = resolution(curve)
    assert found.frequency < 0.25
    assert not found.gaps


def test_spread_holds_the_truth_as_often_as_a_standard_deviation_does():
    rng = np.random.default_rng(10)
    q = np.hypot(*np.meshgrid(*(np.fft.fftfreq(64),) * 2, indexing="ij"))
    # Signal over noise that passes 1/6, where halves correlate by 1/7, at 0.25 and falls slowly.
    fall, held, widths = np.sqrt((0.25 / np.maximum(q, 0.02)) ** 3 / 6), 0, []
    for _ in range(60):
        signal = np.fft.ifft2(np.fft.fft2(rng.normal(size=q.shape)) * fall).real
        halves = [signal + rng.normal(size=q.shape) for _ in range(2)]
        found = resolution(fourier_ring_correlation(*halves))
        low, high = found.spread
        assert low <= found.frequency <= high
        assert found.lengths == (1 / high, 1 / low)
        held += low <= 0.25 <= high
        widths.append(high - low)
    assert 0.55 < held / 60 < 0.95
    assert 0.02 < np.median(widths) < 0.2
