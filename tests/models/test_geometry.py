"""Detector and scan: pixels to wave vectors, the mirror, the turn, and back."""

from dataclasses import replace
from math import pi

import numpy as np
import pytest

from models.geometry import Geometry

GEOMETRY = Geometry(
    80e3, 0.025, (0.3, 0.25), center=(20.4, 31.7), radius=11.5, rotation=0.7, flip=False
)


def test_aperture_is_the_semiangle_over_the_wavelength():
    assert GEOMETRY.aperture == pytest.approx(0.025 / 0.0417572, rel=1e-5)


def test_edge_of_the_disk_is_at_the_aperture():
    ky, kx = GEOMETRY.wavevectors(np.array([20.4 + 11.5, 20.4]), np.array([31.7, 31.7 - 11.5]))
    np.testing.assert_allclose(ky, [GEOMETRY.aperture, 0], atol=1e-12)
    np.testing.assert_allclose(kx, [0, -GEOMETRY.aperture], atol=1e-12)


def test_quarter_turn_sends_rows_of_the_detector_to_columns_of_the_scan():
    # Q = R(90°) k with R = [[0, −1], [1, 0]] on (row, column).
    turned = replace(GEOMETRY, rotation=pi / 2)
    np.testing.assert_allclose(turned.detector_to_scan(1.0, 0.0), (0, 1), atol=1e-15)
    np.testing.assert_allclose(turned.detector_to_scan(0.0, 1.0), (-1, 0), atol=1e-15)


def test_mirror_is_a_transposition_before_the_turn():
    mirrored = replace(GEOMETRY, rotation=pi / 2, flip=True)
    np.testing.assert_allclose(mirrored.detector_to_scan(1.0, 0.0), (-1, 0), atol=1e-15)
    np.testing.assert_allclose(mirrored.detector_to_scan(0.0, 1.0), (0, 1), atol=1e-15)


@pytest.mark.parametrize("flip", [False, True])
def test_wave_vectors_turned_are_the_pixels_brought_to_the_scan(flip):
    geometry = replace(GEOMETRY, flip=flip)
    rows, cols = np.random.default_rng(0).uniform(0, 60, (2, 20))
    k = np.stack(geometry.wavevectors(rows, cols))
    c, s = np.cos(0.7), np.sin(0.7)
    expected = geometry.detector_to_scan(rows - 20.4, cols - 31.7)
    np.testing.assert_allclose(
        np.array([[c, -s], [s, c]]) @ k, np.array(expected) * geometry.pixel_wavevector, atol=1e-12
    )


@pytest.mark.parametrize("flip", [False, True])
def test_scan_vectors_come_back_into_the_frame_of_the_wave_vectors(flip):
    geometry = replace(GEOMETRY, flip=flip)
    rows, cols = np.random.default_rng(1).normal(size=(2, 20))
    there = geometry.detector_to_scan(rows, cols)
    expected = (cols, rows) if flip else (rows, cols)
    np.testing.assert_allclose(geometry.scan_to_detector(*there), expected, atol=1e-12)


def test_turn_keeps_lengths_and_handedness():
    a, b = (np.array(GEOMETRY.detector_to_scan(*v)) for v in ((2.0, 1.0), (-0.5, 3.0)))
    assert np.linalg.norm(a) == pytest.approx(np.sqrt(5))
    assert a[0] * b[1] - a[1] * b[0] == pytest.approx(2 * 3 + 0.5)
