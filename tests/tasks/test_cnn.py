"""The network of a dataset: the one that comes along, trained on only where that helps."""

import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from flows.chosen import chosen_cnn
from flows.dataset import Dataset
from models.retrieval import noise_floor
from models.training import Recipe
from models.unrolled import UnrolledPatch
from models.weights import load_network
from tasks.network import SHIPPED, NetworkSettings, make_network
from tests.models.deep import focused_probe


def test_the_network_that_comes_along_is_small_and_serves_a_probe_that_it_never_saw(tmp_path):
    assert SHIPPED.stat().st_size < 1 << 20
    facts = make_network(
        NetworkSettings(train="never"), focused_probe().astype(np.complex64), 20_000.0,
        tmp_path / "n.safetensors",
    )  # fmt: skip
    assert not facts["trained"]
    assert facts["correlation"] > 0.85
    assert facts["error"] < 2 * facts["floor"]
    network, card = load_network(tmp_path / "n.safetensors")
    assert network.head == facts["head"]
    assert card["error"] == facts["error"]


def test_training_for_a_probe_is_kept_only_where_it_helps(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.train.Recipe", partial(Recipe, validation_patterns=32, patterns=4))
    probe = focused_probe().astype(np.complex64)
    settings = NetworkSettings(train="always", steps=1)
    facts = make_network(settings, probe, 20_000.0, tmp_path / "n.safetensors")
    assert facts["error"] <= facts["error_before"]
    assert facts["trained"] == (facts["error"] < facts["error_before"])


def test_auto_trains_only_above_the_threshold(tmp_path, monkeypatch):
    asked = []

    def train(network, before, *_):
        asked.append(1)
        return network, before

    monkeypatch.setattr("tasks.network._trained_on", train)
    probe = focused_probe().astype(np.complex64)
    for threshold in (100.0, 1.0):
        settings = NetworkSettings(train="auto", threshold=threshold)
        make_network(settings, probe, 2000.0, tmp_path / "n.safetensors")
        assert len(asked) == (threshold == 1.0) * (
            load_network(tmp_path / "n.safetensors")[1]["error"]
            > noise_floor(UnrolledPatch(probe, 2000.0), 2000.0)
        )


def test_nothing_loads_torch_before_a_network_is_asked_for():
    code = "import sys, flows.reprocess, flows.cli, flows.job; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_of_the_job_reach_the_step(tmp_path):
    network = tmp_path / "mine.safetensors"
    network.write_bytes(SHIPPED.read_bytes())
    job = Dataset(path="a.h5", cnn={"network": str(network), "train": "never", "stride": 3})
    settings = chosen_cnn(job)
    assert settings.stride == 3
    shipped = replace(settings, network=NetworkSettings(train="never"))
    # A network counts by what is in its file.
    assert settings.parameters["network"] == shipped.parameters["network"]
    with pytest.raises(ValueError, match="stride"):
        Dataset(path="a.h5", cnn={"stride": 0})
    timed = chosen_cnn(Dataset(path="a.h5", cnn={"minutes": 2}))
    assert timed.parameters["network"]["minutes"] == 2
    assert "steps" not in timed.parameters["network"]


def test_a_training_for_a_probe_may_be_given_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.train.Recipe", partial(Recipe, validation_patterns=32, patterns=4))
    asked = []

    def within(network, lessons, recipe, minutes, device):
        asked.append(minutes)
        return replace(recipe, steps=1)

    monkeypatch.setattr("tasks.train.steps_within", within)
    probe = focused_probe().astype(np.complex64)
    settings = NetworkSettings(train="always", minutes=3.0)
    make_network(settings, probe, 20_000.0, tmp_path / "n.safetensors")
    assert asked == [3.0]
