"""A phase object is the same specimen on every grid: finer, shifted, turned or repeated."""

import numpy as np
import pytest

from models.atoms import Profile
from models.phase_object import Bumps, PhaseObject


def bumps(seed=0, count=12, span=10.0):
    rng = np.random.default_rng(seed)
    profile = Profile(np.array([0.3, -0.1]), np.array([0.35, 0.8]))
    return Bumps(rng.uniform(0, span, (count, 2)), profile, rng.normal(1, 0.3, count))


def dense(seen, y, x):
    """The definition, point by point."""
    r = np.hypot(y[..., None] - seen.positions[:, 0], x[..., None] - seen.positions[:, 1])
    profile = seen.profile
    one = (profile.heights * np.exp(-0.5 * (r[..., None] / profile.sigmas) ** 2)).sum(axis=-1)
    return (one * seen.scale).sum(axis=-1)


def test_phase_is_the_sum_of_its_gaussians():
    specimen = PhaseObject("two", (bumps(0), bumps(1)))
    y, x = np.meshgrid(-2 + 0.31 * np.arange(40), 1 + 0.23 * np.arange(33), indexing="ij")
    expected = dense(bumps(0), y, x) + dense(bumps(1), y, x)
    found = specimen.phase((40, 33), (0.31, 0.23), (-2.0, 1.0))
    np.testing.assert_allclose(found, expected, atol=2e-8)


def test_turned_grid_sees_the_specimen_at_the_turned_places():
    angle, specimen = 0.6, PhaseObject("one", (bumps(),))
    y, x = np.meshgrid(-3 + 0.4 * np.arange(30), -1 + 0.4 * np.arange(30), indexing="ij")
    c, s = np.cos(angle), np.sin(angle)
    found = specimen.phase((30, 30), (0.4, 0.4), (-3.0, -1.0), angle)
    np.testing.assert_allclose(found, dense(bumps(), c * y - s * x, s * y + c * x), atol=2e-8)


def test_bumps_off_the_grid_still_reach_into_it():
    at_border = Bumps(np.array([[-0.7, 2.0], [50.0, 50.0]]), bumps().profile, np.ones(2))
    found = PhaseObject("border", (at_border,)).phase((8, 8), (0.5, 0.5))
    y, x = np.meshgrid(0.5 * np.arange(8), 0.5 * np.arange(8), indexing="ij")
    np.testing.assert_allclose(found, dense(at_border, y, x), atol=2e-8)
    assert abs(found[0, 4]) > 0.01


@pytest.mark.parametrize("rotation", [0.0, 0.9])
def test_periodic_specimen_repeats_for_ever(rotation):
    specimen = PhaseObject("tiles", (bumps(),), (10.0, 7.0))
    here = specimen.phase((25, 30), (0.4, 0.35), (0.3, -0.2), rotation)
    c, s = np.cos(rotation), np.sin(rotation)
    shift = np.array([[c, s], [-s, c]]) @ np.array([-30.0, 14.0])  # (−3, 2) periods, turned back
    there = specimen.phase((25, 30), (0.4, 0.35), (0.3 + shift[0], -0.2 + shift[1]), rotation)
    np.testing.assert_allclose(there, here, atol=5e-8)


def test_periodic_specimen_holds_its_content_once_in_a_period():
    specimen = PhaseObject("tiles", (bumps(),), (10.0, 10.0))
    mean = specimen.phase((40, 40), (0.25, 0.25)).mean()
    volume = 2 * np.pi * (bumps().profile.heights * bumps().profile.sigmas ** 2).sum()
    assert mean == pytest.approx(bumps().scale.sum() * volume / 100, rel=1e-6)
