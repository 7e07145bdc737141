"""Training: it learns, it goes on after an interruption as if there had been none, it stops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import training
from models.lessons import Lessons, score
from models.networks import DensePatch
from models.probe_family import ProbeFamily
from models.training import PAPER, Recipe, begin, steps_within, train
from models.unet import PaperUNet
from models.unrolled import UnrolledPatch
from models.weights import load_state, save_state
from tests.models.deep import drawn_lessons, focused_probe

ELECTRONS = 20_000.0
SHORT = Recipe(steps=6, groups=2, patterns=8, validations=3, validation_patterns=32)


def new(kind=UnrolledPatch):
    torch.manual_seed(3)
    return kind(focused_probe(), ELECTRONS)


def lessons_and_tests():
    return drawn_lessons(focused_probe()), drawn_lessons(focused_probe(), seed=1)


def test_a_few_steps_bring_the_default_network_below_the_linear_answer():
    lessons, tests = lessons_and_tests()
    network, seen = new(), tests.lesson(0, 1, 512)
    before = score(network, seen)
    recipe = Recipe(steps=25, validations=1, groups=1, patterns=64, validation_patterns=128)
    train(begin(network, recipe), lessons, tests, recipe)
    after = score(network, seen)
    assert after.l1 < 0.95 * before.l1
    assert after.correlation > before.correlation


@pytest.mark.parametrize("kind", [UnrolledPatch, DensePatch, PaperUNet])
def test_a_resumed_training_equals_an_unbroken_one(kind, tmp_path):
    lessons, tests = lessons_and_tests()
    recipe = (
        replace(SHORT, steps=4, groups=1, patterns=2, validations=2) if kind is PaperUNet else SHORT
    )
    whole = train(begin(new(kind), recipe), lessons, tests, recipe)
    part = train(begin(new(kind), recipe), lessons, tests, recipe, until=2)
    save_state(tmp_path / "state.safetensors", part, {"seed": 0})
    resumed = load_state(tmp_path / "state.safetensors", recipe, {"seed": 0})
    assert resumed.step == 2
    train(resumed, lessons, tests, recipe)
    for (name, one), two in zip(
        whole.network.state_dict().items(), resumed.network.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), name
    assert [m.score for m in whole.marks] == [m.score for m in resumed.marks]


def test_a_checkpoint_of_another_training_is_not_taken(tmp_path):
    save_state(tmp_path / "state.safetensors", begin(new(), SHORT), {"seed": 0})
    assert load_state(tmp_path / "state.safetensors", SHORT, {"seed": 1}) is None


def test_training_stops_when_nothing_gets_better_and_keeps_the_best():
    lessons, tests = lessons_and_tests()
    recipe = replace(SHORT, steps=60, validations=30, patience=3, learning_rate=30.0, clip=None)
    network = new()
    first = {name: t.clone() for name, t in network.state_dict().items()}
    state = begin(network, recipe)
    train(state, lessons, tests, recipe)
    assert state.step < 60
    best = min(mark.score.l1 for mark in state.marks)
    assert score(network, tests.lesson(1 << 40, 2, 16)).l1 == pytest.approx(best, rel=1e-5)
    assert any(not torch.equal(first[name], t) for name, t in network.state_dict().items())


def test_the_learning_rate_rises_and_falls():
    recipe = Recipe(steps=100)
    rates = [recipe.rate(step) for step in range(101)]
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert rates.index(max(rates)) == 15
    assert rates[0] == pytest.approx(recipe.learning_rate / 25)
    assert rates[-1] < 1e-3 * recipe.learning_rate
    assert {PAPER.rate(step) for step in (0, 5000, PAPER.steps)} == {1e-4}


def test_a_time_is_turned_into_steps():
    lessons, _ = lessons_and_tests()
    short, long = (steps_within(new(), lessons, SHORT, m).steps for m in (0.05, 0.5))
    assert SHORT.validations <= short < long


def test_processes_that_train_together_take_the_steps_of_the_slowest(monkeypatch):
    lessons, _ = lessons_and_tests()

    def with_a_slow_neighbour(seconds, operation):
        assert operation == torch.distributed.ReduceOp.MAX
        assert 0 < seconds < 0.5
        seconds.fill_(0.5)

    monkeypatch.setattr(training, "shared", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", with_a_slow_neighbour)
    found = steps_within(new(), lessons, SHORT, 1.0).steps
    assert found == int(60 * training.TIME_SHARE / 0.5)


def test_lessons_depend_on_seed_and_step_alone():
    one, _ = lessons_and_tests()
    two, _ = lessons_and_tests()
    a, b, c = one.lesson(7, 2, 4), two.lesson(7, 2, 4), one.lesson(8, 2, 4)
    assert torch.equal(a.roots, b.roots)
    assert not torch.equal(a.roots, c.roots)


def test_lessons_drawn_ahead_are_those_of_their_steps(monkeypatch):
    lessons, recipe = lessons_and_tests()[0], Recipe(groups=2, patterns=3)
    monkeypatch.setattr(training, "counted", lambda drawn, device: drawn)
    ahead = training._Teacher(lessons, recipe, "cuda")
    for step in (0, 1, 2, 7, 5, 6):
        for found, exact in zip(ahead.lesson(step), lessons.drawn(step, 2, 3), strict=True):
            np.testing.assert_array_equal(found, exact)


def test_a_family_of_probes_has_other_probes_and_doses_in_every_group():
    family = ProbeFamily.around(focused_probe())
    lessons = Lessons(drawn_lessons(focused_probe()).atlas, family, (500.0, 50_000.0))
    lesson = lessons.lesson(0, 6, 3)
    overlaps = torch.einsum("ayx,byx->ab", lesson.probes, lesson.probes.conj()).abs()
    np.testing.assert_allclose(overlaps.diagonal(), 1, rtol=1e-5)
    assert (overlaps - torch.eye(6)).max() < 0.99
    assert lesson.electrons.min() >= 500
    assert len(set(lesson.electrons.tolist())) == 6


def test_unknown_optimisers_are_refused():
    with pytest.raises(ValueError, match="newton"):
        begin(new(), replace(SHORT, optimiser="newton"))
