"""The networks are what they are said to be: their sizes, their physics, their files."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from models.forward import central, intensity, unit_probe
from models.lessons import score
from models.networks import NOISE, LinearPatch
from models.training import fit_ridge
from models.unet import PaperUNet
from models.unrolled import PRIOR_VARIANCE, UnrolledPatch, mean_root
from models.weights import NETWORKS, WeightsError, load_network, save_network
from tests.models.deep import drawn_lessons, focused_probe

ELECTRONS = 20_000.0


def test_the_papers_network_has_its_number_of_parameters():
    network = PaperUNet(focused_probe(), ELECTRONS)
    assert sum(p.numel() for p in network.parameters()) == 9_445_408


def test_normal_matrix_is_that_of_the_forward_models_derivative():
    # A probe whose wave vanishes nowhere on the detector, where the root has no derivative.
    y, x = np.mgrid[-16:16, -16:16]
    wave = np.exp(-(y**2 + x**2) / 2.5 + 0.2j * (y**2 - 0.5 * x**2 + x))
    network = UnrolledPatch(wave, ELECTRONS, head=8)
    probe = network.probe.to(torch.complex128)

    def roots(phases):
        whole = functional.pad(phases.view(1, 8, 8), (12, 12, 12, 12))
        return intensity(whole, probe).sqrt().flatten() * ELECTRONS**0.5 / NOISE

    slope = torch.autograd.functional.jacobian(roots, torch.zeros(64, dtype=torch.float64))
    normal = slope.T @ slope
    sight = network.sight(network.probe[None], torch.tensor([ELECTRONS]))
    ours = torch.linalg.inv(sight.inverse[0].double()) - torch.eye(64) / PRIOR_VARIANCE
    assert (ours - normal).abs().max() < 1e-2 * normal.abs().max()


def test_without_training_weak_phases_come_back_but_for_the_noise():
    network = UnrolledPatch(focused_probe(), 1e7, head=12)
    lit = central(network.probe, 12).abs().square()
    rng = np.random.default_rng(0)
    white = ndimage.gaussian_filter(rng.standard_normal((50, 12, 12)), (0, 1, 1))
    phases = torch.from_numpy(0.3 * white.astype(np.float32))
    whole = functional.pad(phases, (10, 10, 10, 10))
    roots = mean_root(intensity(whole, network.probe) * 1e7)[None]
    with torch.no_grad():
        found = network(roots, torch.tensor([1e7]))[0]
    bright = lit > 0.3 * lit.max()
    a, b = (f[:, bright] - f[:, bright].mean(dim=1, keepdim=True) for f in (found, phases))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9


def test_mean_of_roots_is_that_of_poisson_numbers():
    mean = torch.logspace(-3, 3, 40, dtype=torch.float64)
    n = torch.arange(0.0, 3000.0, dtype=torch.float64)
    chance = torch.exp(n * mean.log()[:, None] - mean[:, None] - torch.lgamma(n + 1))
    true = (chance * n.sqrt()).sum(dim=1)
    np.testing.assert_allclose(mean_root(mean), true, rtol=0.05)


def test_answer_is_the_same_for_a_turned_phase_of_the_probe():
    lesson = drawn_lessons(focused_probe()).lesson(0, 1, 16)
    torch.manual_seed(0)
    network = UnrolledPatch(focused_probe(), ELECTRONS).eval()
    torch.nn.init.normal_(network.corrections[0].leave.weight, std=0.1)
    with torch.no_grad():
        one = network(lesson.roots, lesson.electrons, network.probe[None])
        other = network(lesson.roots, lesson.electrons, network.probe[None] * np.exp(2.1j))
    light = central(network.probe, network.head).abs().square()
    lit = light > 0.05 * light.max()
    np.testing.assert_allclose(one[..., lit], other[..., lit], atol=1e-2)


def test_groups_do_not_see_one_another():
    lesson = drawn_lessons(focused_probe()).lesson(0, 3, 5)
    network = UnrolledPatch(focused_probe(), ELECTRONS).eval()
    with torch.no_grad():
        together = network(lesson.roots, lesson.electrons)
        alone = network(lesson.roots[1:2], lesson.electrons[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)


def test_ridge_regression_sees_weak_objects():
    lessons = drawn_lessons(focused_probe())
    network = fit_ridge(LinearPatch(focused_probe(), ELECTRONS, 8), lessons.lesson(0, 1, 6000))
    found = score(network, drawn_lessons(focused_probe(), seed=5).lesson(1, 1, 512))
    assert found.correlation > 0.85
    assert found.relative < 0.65


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_saved_network_answers_the_same(kind, tmp_path):
    torch.manual_seed(1)
    network = NETWORKS[kind](focused_probe(), ELECTRONS).eval()
    save_network(tmp_path / "one.safetensors", network, {"made_for": "a test"})
    again, card = load_network(tmp_path / "one.safetensors")
    assert card == {"made_for": "a test"}
    roots = torch.rand(1, 4, 32, 32, generator=torch.Generator().manual_seed(0)) * 5
    with torch.no_grad():
        one, two = (n(roots, torch.tensor([ELECTRONS])) for n in (network, again))
    assert torch.equal(one, two)


def test_files_that_are_no_network_are_refused(tmp_path):
    path = tmp_path / "bad.safetensors"
    with pytest.raises(WeightsError, match=r"bad\.safetensors"):
        load_network(path)
    path.write_bytes(b"\x80\x04 not a safetensors file")
    with pytest.raises(WeightsError, match="no readable safetensors"):
        load_network(path)
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="holds no network"):
        load_network(path)


def test_unet_refuses_sides_that_it_cannot_halve():
    with pytest.raises(ValueError, match="24 x 24"):
        PaperUNet(unit_probe(focused_probe(24, 6)), ELECTRONS)
