"""Raw frames hold the charge of their electrons, the noise and the pedestal, and no more."""

from dataclasses import replace

import numpy as np

from models.camera import Camera, dark_frame, raw_frame

SHAPE = (40, 50)
QUIET = Camera(noise=0.0, pattern=0.0, xrays=0.0)


def test_charge_of_an_electron_is_conserved_and_lies_around_its_pixel():
    camera = replace(QUIET, deposit=20_000.0, spread=0.0)
    dark = dark_frame(camera, SHAPE, np.random.default_rng(0))
    pixel = 17 * SHAPE[1] + 23
    raw = raw_frame([pixel], dark, np.ones(SHAPE), camera, np.random.default_rng(1))
    charge = raw.astype(float) - camera.pedestal
    assert abs(charge.sum() - 20_000) < 5  # what rounding leaves
    assert np.argmax(charge) == pixel
    assert charge[15:20, 21:26].sum() == charge.sum()


def test_noise_and_pedestal_are_those_asked_for():
    camera = Camera(noise=3.0, pattern=0.0, xrays=0.0)
    rng = np.random.default_rng(2)
    dark = dark_frame(camera, (300, 300), rng)
    raw = raw_frame([], dark, np.ones(dark.shape), camera, rng)
    assert abs(raw.mean() - 20) < 0.05
    assert abs(raw.std() - np.hypot(3.0, np.sqrt(1 / 12))) < 0.05


def test_deposits_peak_at_the_most_likely_value_and_have_a_tail_to_high_ones():
    dark = np.zeros(SHAPE)
    rng = np.random.default_rng(3)
    sums = [raw_frame([1025], dark, np.ones(SHAPE), QUIET, rng).sum() for _ in range(4000)]
    counts, edges = np.histogram(sums, bins=np.arange(0, 200, 6))
    assert abs(edges[np.argmax(counts)] + 3 - QUIET.deposit) < 8
    assert np.mean(sums) > np.median(sums) + 1


def test_gain_scales_charge_and_not_the_pedestal():
    camera = replace(QUIET, deposit=1000.0, spread=0.0)
    dark = dark_frame(camera, SHAPE, np.random.default_rng(0))
    rng = np.random.default_rng
    one = raw_frame([505], dark, np.ones(SHAPE), camera, rng(4)).astype(float) - 20
    two = raw_frame([505], dark, np.full(SHAPE, 2.0), camera, rng(4)).astype(float) - 20
    np.testing.assert_allclose(two, 2 * one, atol=1.5)


def test_values_end_where_their_type_ends():
    camera = replace(QUIET, deposit=1e6, spread=0.0)
    raw = raw_frame([505], np.zeros(SHAPE), np.ones(SHAPE), camera, np.random.default_rng(5))
    assert raw.max() == 65_535
