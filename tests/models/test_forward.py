"""The differentiable forward model says what the definition of a diffraction pattern says."""

import numpy as np
import pytest
import torch

from models.forward import (
    central,
    counted_roots,
    head_size,
    intensity,
    lit_support,
    unit_probe,
    weighted_demeaned,
)


def random_wave(side, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((side, side)) + 1j * rng.standard_normal((side, side))


def test_pattern_is_the_sum_over_all_pixels():
    side, rng = 8, np.random.default_rng(1)
    probe, phase = random_wave(side), rng.uniform(-2, 2, (3, side, side))
    found = intensity(torch.from_numpy(phase), torch.from_numpy(probe)).numpy()
    at = np.arange(side) - side // 2
    wave = np.exp(-2j * np.pi * np.outer(at, at) / side) / np.sqrt(side)
    expected = np.abs(np.einsum("ky,nyx,lx->nkl", wave, probe * np.exp(1j * phase), wave)) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_pattern_holds_the_electrons_of_its_probe():
    probe = torch.from_numpy(unit_probe(random_wave(16)))
    phase = torch.from_numpy(np.random.default_rng(2).normal(size=(5, 16, 16)).astype(np.float32))
    np.testing.assert_allclose(intensity(phase, probe).sum(dim=(1, 2)), 1, rtol=1e-5)


def test_gradient_is_that_of_small_differences():
    probe = torch.from_numpy(random_wave(8))
    phase = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 8, 8))).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: intensity(p, probe), (phase,), fast_mode=True)


def test_counts_are_poisson_and_follow_the_seed():
    patterns, electrons = torch.full((400, 8, 8), 1 / 64), torch.full((400,), 64 * 9.0)
    roots = counted_roots(patterns, electrons, torch.Generator().manual_seed(4))
    again = counted_roots(patterns, electrons, torch.Generator().manual_seed(4))
    assert torch.equal(roots, again)
    counts = (roots**2).numpy()
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-4)
    assert abs(counts.mean() - 9) < 5 * 3 / np.sqrt(counts.size)
    assert abs(counts.var() / counts.mean() - 1) < 0.05
    assert abs(roots.numpy().std() - 0.5) < 0.02


def test_support_of_the_published_probe_is_three_by_three(shared_data):
    probe = np.load(shared_data / "hbn_probe" / "probe.npy")
    support = lit_support(probe)
    assert support.sum() == 9
    assert support[15:18, 15:18].all()
    assert head_size(probe, 0.95) == 8
    assert head_size(probe, 0.97) == 12


def test_window_about_the_centre_and_the_mean_that_does_not_count():
    fields = torch.arange(64.0).view(1, 8, 8)
    assert central(fields, 4)[0, 2, 2] == fields[0, 4, 4]
    weight = torch.rand(4, 4)
    weight /= weight.sum()
    rest = weighted_demeaned(central(fields, 4), weight)
    assert abs(float((rest * weight).sum())) < 1e-5


@pytest.mark.parametrize(
    "probe", [np.ones((4, 6)), np.zeros((4, 4)), np.full((4, 4), np.nan), np.ones((5, 5))]
)
def test_what_is_no_probe_is_refused(probe):
    with pytest.raises(ValueError, match="a probe"):
        unit_probe(probe)
