"""A network at work: the same patch however a scan is cut, and misfits of one where it is right."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from models.answers import Answers
from models.forward import counted_roots, intensity
from models.lessons import VALIDATION_SEED
from models.networks import DensePatch
from models.retrieval import (
    bare_misfits,
    expected_roots,
    for_probe,
    misfits,
    noise_floor,
    patch_weights,
    retrieve,
    scan_misfits,
    validated,
)
from models.unrolled import UnrolledPatch
from tests.models.deep import drawn_lessons, focused_probe

ELECTRONS = 20_000.0


@pytest.fixture(scope="module")
def lesson():
    return drawn_lessons(focused_probe()).lesson(3, 1, 700)


def test_graphs_of_several_threads_are_recorded_one_after_another(lesson, monkeypatch):
    network = UnrolledPatch(focused_probe(), ELECTRONS).eval()
    recording = []

    @contextmanager
    def graph(graph, stream, capture_error_mode):
        assert capture_error_mode == "thread_local"
        recording.append(graph)
        time.sleep(0.02)
        yield
        assert recording == [graph]
        recording.clear()

    for name in ("Stream", "CUDAGraph", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, MagicMock)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    some = [Answers(network, ELECTRONS, 2) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(Answers._record, some))
    assert len({id(one._graph) for one in some}) == 4


def test_a_patch_does_not_depend_on_how_the_scan_is_cut(lesson):
    network = UnrolledPatch(focused_probe(), ELECTRONS).eval()
    roots = lesson.roots[0].numpy()
    whole = retrieve(network, roots, ELECTRONS)
    parts = [retrieve(network, roots[a:b], ELECTRONS) for a, b in ((0, 3), (3, 600), (600, 700))]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
    np.testing.assert_allclose((whole * patch_weights(network)).sum(axis=(1, 2)), 0, atol=1e-5)


def test_weights_of_a_network_serve_another_probe(lesson):
    torch.manual_seed(0)
    network = UnrolledPatch(focused_probe(radius=6.5), 500.0, 16)
    torch.nn.init.normal_(network.corrections[1].leave.weight, std=0.05)
    ready = for_probe(network, focused_probe(), ELECTRONS)
    assert torch.equal(ready.probe, UnrolledPatch(focused_probe(), 1.0).probe)
    for one, two in zip(network.parameters(), ready.parameters(), strict=True):
        assert torch.equal(one, two)
    with pytest.raises(ValueError, match="trained for alone"):
        for_probe(DensePatch(focused_probe(), 1.0), focused_probe(), 1.0)


def test_a_true_model_misfits_by_one_and_a_wrong_one_by_more(lesson):
    roots, phases = lesson.roots[0].numpy(), lesson.phases[0].numpy()
    probes = np.repeat(lesson.probes.numpy(), len(roots), axis=0)
    right = misfits(roots, phases, probes, ELECTRONS)
    assert right.mean() == pytest.approx(1, abs=0.02)
    assert misfits(roots, 0.6 * phases, probes, ELECTRONS).mean() > 1.1


def test_expected_roots_hold_all_electrons_and_counts_about_them_misfit_by_one():
    rng, probe = np.random.default_rng(0), focused_probe()
    image = 0.3 * rng.normal(size=(48, 48)).astype(np.float32)
    at = rng.uniform(16, 32, (600, 2))
    roots = expected_roots(image, at, probe, ELECTRONS)
    np.testing.assert_allclose((roots**2).sum(axis=(1, 2)), ELECTRONS, rtol=1e-4)
    counted = np.sqrt(rng.poisson(roots.astype(float) ** 2), dtype=np.float32)
    misfit = scan_misfits(counted, image, at, probe, ELECTRONS)
    assert misfit.mean() == pytest.approx(1, abs=0.02)


def test_the_misfit_of_the_probe_alone_is_that_of_a_blank_image():
    rng, probe = np.random.default_rng(0), focused_probe()
    at = rng.uniform(16, 32, (300, 2))
    for height in (0.0, 0.3):
        image = height * rng.normal(size=(48, 48)).astype(np.float32)
        seen = rng.poisson(expected_roots(image, at, probe, ELECTRONS).astype(float) ** 2)
        roots = np.sqrt(seen, dtype=np.float32)
        bare = bare_misfits(roots, probe.astype(np.complex64), ELECTRONS)
        blank = scan_misfits(roots, 0 * image, at, probe, ELECTRONS)
        np.testing.assert_allclose(bare, blank, rtol=0.01)
        assert (bare.mean() < 1.02) == (height == 0)


@pytest.mark.parametrize("electrons", [50.0, 2000.0])
def test_misfits_are_one_at_low_doses_too(lesson, electrons):
    phases, probe = lesson.phases[0], lesson.probes[0]
    dose = torch.full((len(phases),), electrons)
    roots = counted_roots(intensity(phases, probe), dose, torch.Generator().manual_seed(1))
    probes = np.repeat(probe[None].numpy(), len(phases), axis=0)
    found = misfits(roots.numpy(), phases.numpy(), probes, electrons)
    assert found.mean() == pytest.approx(1, abs=0.03)


def test_the_floor_falls_with_the_root_of_the_dose_and_is_not_beaten_by_chance(lesson):
    network = UnrolledPatch(focused_probe(), ELECTRONS).eval()
    assert noise_floor(network, 4e5) == pytest.approx(noise_floor(network, 1e5) / 2, rel=0.15)
    tests = drawn_lessons(focused_probe(), seed=9)
    assert validated(network, tests).l1 > noise_floor(network, ELECTRONS)
    assert tests.lesson(VALIDATION_SEED, 1, 4).roots.shape == (1, 4, 32, 32)
