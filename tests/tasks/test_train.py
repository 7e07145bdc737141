"""Training as a user asks for it: settings, pictures, a checkpoint, a card and a page."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import zarr
from PIL import Image

from models.training import Recipe
from models.weights import load_network
from tasks.pictures import PictureError, read_pictures
from tasks.train import TrainError, TrainSettings, train_network, train_to_file
from tests.models.deep import focused_probe


@pytest.fixture(autouse=True)
def few_tests(monkeypatch):
    monkeypatch.setattr("tasks.train.Recipe", partial(Recipe, validation_patterns=32, patterns=4))


def test_a_network_is_trained_written_and_carded(tmp_path):
    marks, settings = [], TrainSettings(probe=focused_probe(), doses=(2e4, 2e4), steps=4)
    facts = train_to_file(settings, tmp_path / "one.safetensors", on_mark=marks.append)
    network, card = load_network(tmp_path / "one.safetensors")
    assert card["validation"]["l1"] == min(m.score.l1 for m in marks[-1].marks)
    assert card["patterns"] == 4 * 8 * 4
    assert network.electrons == pytest.approx(2e4)
    page = (tmp_path / "one.html").read_text()
    assert "Learning rate" in page
    assert page.count("aria-label=") == 3
    assert facts["network"] == str(tmp_path / "one.safetensors")
    assert not list(tmp_path.glob("*.checkpoint"))


def test_the_card_names_the_libraries_of_the_photographs():
    settings = TrainSettings(probe=focused_probe(), doses=(2e4, 2e4), steps=1)
    usual = train_network(settings).card["photographs"]
    assert list(usual) == ["scikit-image"]
    told = replace(settings, photographs=("matplotlib", "scikit-image"))
    assert train_network(told).card["photographs"].keys() == {"matplotlib", "scikit-image"}


def test_an_interrupted_training_goes_on_from_its_checkpoint(tmp_path):
    settings = TrainSettings(probe=focused_probe(), doses=(2e4, 2e4), steps=4)
    whole = train_network(settings)

    class StopError(Exception):
        pass

    def stop_half_way(state):
        if state.step == 2:
            raise StopError

    with pytest.raises(StopError):
        train_network(settings, tmp_path / "state", on_mark=stop_half_way)
    done = []
    again = train_network(settings, tmp_path / "state", on_step=lambda step, _: done.append(step))
    assert done == [3, 4]
    assert again.card == whole.card


def test_rate_and_patience_are_those_asked_for():
    settings = TrainSettings(probe=focused_probe(), doses=(2e4, 2e4), steps=1)
    told = replace(settings, learning_rate=1e-4, patience=2)
    recipes = [train_network(one).card["recipe"] for one in (settings, told)]
    assert [one["learning_rate"] for one in recipes] == [3e-3, 1e-4]
    assert [one["patience"] for one in recipes] == [8, 2]


def test_the_ridge_is_fitted_at_once():
    done = train_network(TrainSettings("ridge", focused_probe(16, 4), (2e4, 2e4)))
    assert done.card["validation"]["correlation"] > 0.6


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (TrainSettings("resnet", focused_probe()), "there is no network 'resnet'"),
        (TrainSettings("dense"), "made for one probe"),
        (TrainSettings(probe=focused_probe(), doses=(10.0, 1.0)), "lesser first"),
    ],
)
def test_contradictions_are_refused(settings, said):
    with pytest.raises(TrainError, match=said):
        train_network(settings)


def test_half_precision_learns_nearly_the_same_and_keeps_whole_weights():
    settings = TrainSettings(probe=focused_probe(), doses=(2e4, 2e4), steps=6)
    whole, half = train_network(settings), train_network(replace(settings, half=True))
    assert half.card["recipe"]["half"]
    assert half.card["validation"]["l1"] == pytest.approx(whole.card["validation"]["l1"], rel=0.1)
    sides = list(zip(whole.network.parameters(), half.network.parameters(), strict=True))
    assert all(two.dtype == torch.float32 for _, two in sides)
    assert not all(torch.equal(one, two) for one, two in sides)


@pytest.mark.parametrize("whole", [True, False])
def test_own_pictures_of_a_zarr_array_are_read_one_by_one(tmp_path, whole):
    pictures = np.random.default_rng(0).random((3, 90, 80)).astype(np.float32)
    if whole:
        zarr.save_array(tmp_path / "own.zarr", pictures)
    else:
        group = zarr.open_group(tmp_path / "own.zarr", mode="w")
        group.create_array("b", data=pictures[1:])
        group.create_array("a", data=pictures[0])
    np.testing.assert_array_equal(read_pictures(tmp_path / "own.zarr"), pictures)
    zarr.save_array(tmp_path / "bad.zarr", pictures[:, :9])
    with pytest.raises(PictureError, match=r"bad\.zarr, picture 0: has the shape"):
        read_pictures(tmp_path / "bad.zarr")
    zarr.save_array(tmp_path / "flat.zarr", pictures[0, 0])
    with pytest.raises(PictureError, match=r"flat\.zarr: holds float32 of shape \(80,\)"):
        read_pictures(tmp_path / "flat.zarr")


def test_own_pictures_are_read_grey_and_in_order(tmp_path):
    Image.fromarray(np.full((90, 100, 3), (30, 60, 90), np.uint8)).save(tmp_path / "b.png")
    np.save(tmp_path / "a.npy", np.arange(80.0 * 80).reshape(80, 80))
    first, second = read_pictures(tmp_path)
    assert first[0, 5] == 5
    np.testing.assert_allclose(second, 60)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (None, None, "has no picture"),
        ("bad.png", b"no picture", r"bad\.png: cannot be read"),
        ("small.npy", np.zeros((5, 90)), r"small\.npy: has the shape"),
        ("nan.npy", np.full((90, 90), np.nan), "not finite"),
    ],
)
def test_what_are_no_pictures_is_refused(tmp_path, name, content, said):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif name is not None:
        np.save(tmp_path / name, content)
    with pytest.raises(PictureError, match=said):
        read_pictures(tmp_path)
    with pytest.raises(PictureError, match="is no folder"):
        read_pictures(tmp_path / "absent")
