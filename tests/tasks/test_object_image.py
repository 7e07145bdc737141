"""An object turned to the scan's axes is the same object."""

import numpy as np

from models.geometry import Geometry
from tasks.object_image import along_scan

SAMPLING = 0.4


def wave(y, x):
    return np.exp(1j * (0.4 * np.sin(0.9 * y + 0.5) + 0.3 * np.cos(1.3 * x - 0.4 * y)))


def test_turned_object_has_its_value_at_every_place_and_no_slope():
    geometry = Geometry(80e3, 0.025, (0.5, 0.5), (0, 0), 8.0, rotation=0.7)
    places = tuple(axis.ravel() * 0.5 for axis in np.indices((41, 41)))
    origin = (-30, -80)
    rows, cols = (first + np.arange(160) for first in origin)
    # Places of the object's pixels along the scan's axes, and a ramp of a centre that is off.
    at = geometry.detector_to_scan(rows[:, None] * SAMPLING, cols[None, :] * SAMPLING)
    noise = np.random.default_rng(0).normal(0, 0.05, (2, 160, 160))
    obj = wave(*at) * np.exp(0.02j * rows[:, None] - 0.03j * cols) + noise[0] + 1j * noise[1]
    found = along_scan(obj, origin, geometry, SAMPLING, places)
    truth = wave(found.y[:, None], found.x)
    inner = (slice(2, -2), slice(2, -2))
    # A constant and what is left of the slope are free.
    rest = found.obj[inner] / truth[inner]
    angle = np.angle(rest / rest.mean())
    plane = np.stack([np.ones(angle.size), *np.indices(angle.shape).reshape(2, -1)], axis=1)
    fit, *_ = np.linalg.lstsq(plane, angle.ravel(), rcond=None)
    assert np.abs(fit[1:]).max() < 0.015
    assert (angle.ravel() - plane @ fit).std() < 0.08
    assert found.y[0] == found.x[0] == 0
    assert found.y[-1] <= 20


def test_noise_of_the_amplitude_does_not_become_one_of_the_phase():
    geometry = Geometry(80e3, 0.025, (0.5, 0.5), (0, 0), 8.0, rotation=0.7)
    places = tuple(axis.ravel() * 0.5 for axis in np.indices((41, 41)))
    origin = (-30, -80)
    rows, cols = (first + np.arange(160) for first in origin)
    at = geometry.detector_to_scan(rows[:, None] * SAMPLING, cols[None, :] * SAMPLING)
    found = {}
    for noise in (0.0, 0.1):
        amplitude = 1 + noise * np.random.default_rng(2).standard_normal((160, 160))
        found[noise] = along_scan(amplitude * wave(*at), origin, geometry, SAMPLING, places).obj
    away = np.angle(found[0.1] * found[0.0].conj())
    assert (away - away.mean())[2:-2, 2:-2].std() < 0.005
    assert 0.07 < np.abs(found[0.1]).std() < 0.11
