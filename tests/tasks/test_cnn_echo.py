"""An echo tells what a network loses, or nothing."""

import numpy as np
from scipy.ndimage import gaussian_filter

from tasks.cnn_echo import without_echo


def test_most_of_what_a_blur_loses_is_made_good():
    truth = gaussian_filter(np.random.default_rng(0).normal(size=(64, 64)), 2, mode="wrap")
    seen = gaussian_filter(truth, 1, mode="wrap")
    found = without_echo(seen, gaussian_filter(seen, 1, mode="wrap"))
    assert np.std(found - truth) < 0.7 * np.std(seen - truth)


def test_planes_are_no_loss():
    image = np.random.default_rng(1).normal(size=(32, 24))
    y, x = np.indices(image.shape)
    np.testing.assert_allclose(without_echo(image, image + 0.02 * y - 0.01 * x), image, atol=1e-6)


def test_an_echo_that_loses_more_than_there_is_says_nothing():
    image = np.random.default_rng(1).normal(size=(16, 16))
    assert without_echo(image, -image) is image
