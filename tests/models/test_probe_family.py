"""Probes of one aperture: known radius and centre, and aberrations that do what their names say."""

import numpy as np
import pytest

from models.aberrations import Aberrations
from models.electron import wavelength
from models.probe import probe_wave
from models.probe_family import NAMES, AnyProbe, ProbeFamily
from tests.models.deep import focused_probe


@pytest.fixture(scope="module")
def family():
    return ProbeFamily.around(focused_probe(aberrations=Aberrations()))


def test_disk_of_the_aperture_is_found(family):
    assert family.radius == pytest.approx(7.5, abs=0.2)
    assert family.center == pytest.approx((16, 16), abs=0.1)


def test_no_aberrations_give_the_focused_probe(family):
    focused = focused_probe(aberrations=Aberrations())
    overlap = np.vdot(family.probe(np.zeros(7)), focused / np.linalg.norm(focused))
    assert abs(overlap) == pytest.approx(1, abs=1e-5)


def test_defocus_is_that_of_the_lens(family):
    # χ at the edge is π C10 α² / λ.
    lam, alpha, c10 = wavelength(80e3), 0.025, 40.0
    step = 7.5 / (alpha / lam) / 32
    lens = probe_wave((32, 32), (step, step), 80e3, alpha, Aberrations(C10=c10), edge=1 / 32 / step)
    ours = family.probe(np.array([np.pi * c10 * alpha**2 / lam, 0, 0, 0, 0, 0, 0]))
    assert abs(np.vdot(ours, lens / np.linalg.norm(lens))) > 0.995


def test_coma_hardly_moves_the_probe(family):
    probe = family.probe(np.array([0, 0, 0, 1.0, 0, 0, 0]))
    light = np.abs(probe) ** 2
    middle = light[8:24, 8:24]
    y, x = np.indices(middle.shape)
    assert abs((middle * x).sum() / middle.sum() - 8) < 0.5
    assert abs((middle * y).sum() / middle.sum() - 8) < 0.1


def test_each_aberration_has_its_symmetry(family):
    turned = {"astigmatism_a": 2, "threefold_a": 3}
    y, x = np.mgrid[-7:8, -7:8] + 16
    for name, order in turned.items():
        chi = family.wavefront(np.eye(7)[NAMES.index(name)])
        ring = np.hypot(y - 16, x - 16) == 5.0
        phi = np.arctan2(y - 16, x - 16)[ring]
        expected = np.cos(order * phi)
        assert np.corrcoef(chi[y, x][ring], expected)[0, 1] > 0.999


def test_probes_of_every_microscope_differ_and_lie_about_the_centre():
    probes = AnyProbe().draw(12, np.random.default_rng(0))
    np.testing.assert_allclose((np.abs(probes) ** 2).sum(axis=(1, 2)), 1, rtol=1e-5)
    overlaps = np.abs(np.einsum("ayx,byx->ab", probes, probes.conj()))
    assert (overlaps - np.eye(12)).max() < 0.99
    middle = (np.abs(probes) ** 2)[:, 8:24, 8:24].sum(axis=(1, 2))
    assert np.median(middle) > 0.95
