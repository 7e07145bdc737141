"""``phasemill train`` on the command line."""

import json

import numpy as np
from typer.testing import CliRunner

from flows.cli import app
from tests.models.deep import focused_probe


def test_train_writes_a_network_and_says_how_good_it_is(tmp_path):
    np.save(tmp_path / "probe.npy", focused_probe())
    ran = CliRunner().invoke(
        app,
        ["train", str(tmp_path / "net.safetensors"), "--probe", str(tmp_path / "probe.npy"),
         "--steps", "3", "--electrons", "9000", "9000", "--json"],
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    card = json.loads(ran.stdout)
    assert card["validation"]["l1"] > 0
    assert (tmp_path / "net.safetensors").exists()
    assert (tmp_path / "net.html").exists()


def test_requests_that_cannot_be_met_end_with_code_2(tmp_path):
    np.save(tmp_path / "real.npy", np.ones((32, 32)))
    for arguments, said in (
        (["net.weights"], "must end with .safetensors"),
        (["net.safetensors", "--probe", str(tmp_path / "none.npy")], "cannot be read"),
        (["net.safetensors", "--probe", str(tmp_path / "real.npy")], "square complex probe"),
        (["net.safetensors", "--network", "unet"], "made for one probe"),
    ):
        ran = CliRunner().invoke(app, ["train", *arguments, "--json", "--steps", "2"])
        assert ran.exit_code == 2
        assert said in json.loads(ran.stdout)["error"]
