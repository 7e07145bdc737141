"""At the true calibration the phase has most contrast and the trotters are flat."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from models.aberrations import Aberrations
from tasks.explore.auto import fit
from tasks.explore.phases import Trial, dpc_phase, phase, strongest, trotters
from tasks.explore.virtual import annulus_image, widest_angle


def at(truth, **lens):
    return Trial(truth.geometry, replace(truth.aberrations, **lens))


def test_contrast_and_flatness_peak_at_the_true_defocus(held, truth):
    which = strongest(held)
    focus = np.linspace(-100, 250, 71)
    contrast = [phase(held, at(truth, C10=c), "wpo", True).image.std() for c in focus]
    flat = [trotters(held, at(truth, C10=c), which).flatness for c in focus]
    assert focus[np.argmax(contrast)] == pytest.approx(90, abs=9)
    assert focus[np.argmax(flat)] == pytest.approx(90, abs=9)
    assert max(flat) > 0.8 > 0.5 > flat[0]


def test_corrected_trotters_have_one_phase_at_the_true_calibration_only(held, truth):
    which = strongest(held)

    def spread(trial):
        after = trotters(held, trial, which).after
        seen = after[np.isfinite(after) & (np.abs(after) > 0)]
        return 1 - np.abs((seen.real / np.abs(seen)).mean())

    assert spread(truth) < 0.3
    assert spread(Trial(truth.geometry, Aberrations())) > 0.6


def test_trotters_lie_on_the_grid_of_the_disk(held, truth):
    found = trotters(held, truth, strongest(held))
    assert len(found.before) == len(found.q_y) == 9
    width = 2 * truth.geometry.radius / held.bin
    assert found.before.shape[1] == pytest.approx(width + 5, abs=2)
    assert np.nanmax(np.abs(found.before)) >= 1


def test_auto_finds_the_true_calibration(held, truth):
    found = fit(held, truth.geometry).trial
    turn = np.degrees(found.geometry.rotation - truth.geometry.rotation)
    assert (turn + 90) % 180 - 90 == pytest.approx(0, abs=0.5)
    assert abs(found.aberrations.C10) == pytest.approx(90, abs=3)


def test_dpc_follows_the_rotation(held, truth):
    def turned(quarters):
        rotation = truth.geometry.rotation + quarters * np.pi / 2
        return dpc_phase(held, replace(truth.geometry, rotation=rotation))

    right = turned(0)
    assert right.std() > 1.5 * turned(1).std()  # a quarter turn makes the gradient a curl
    np.testing.assert_allclose(turned(2), -right, atol=1e-6)


def test_annuli_share_out_every_electron(held, truth):
    widest = 1.01 * widest_angle(held, truth.geometry)
    edges = [0, 0.7 * truth.geometry.semiangle, truth.geometry.semiangle, widest]
    parts = [annulus_image(held, truth.geometry, *pair) for pair in pairwise(edges)]
    usable = ~held.unusable
    np.testing.assert_allclose(sum(parts)[usable], held.frame_electrons[usable], rtol=1e-5)
    assert np.isnan(parts[0][held.unusable]).all()
