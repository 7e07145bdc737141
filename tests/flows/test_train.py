"""``phasemill train`` on the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from flows.cli import app
from flows.train import check_device
from models.weights import load_network
from tasks.train import TrainError
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
        (["net.safetensors", "--probe", str(tmp_path / "none.npy")], "there is no such file"),
        (["net.safetensors", "--probe", str(tmp_path / "real.npy")], "square complex probe"),
        (["net.safetensors", "--network", "unet"], "made for one probe"),
        (["net.safetensors", "--device", "tpu"], "no device 'tpu'; there are cpu and cuda"),
    ):
        ran = CliRunner().invoke(app, ["train", *arguments, "--json", "--steps", "2"])
        assert ran.exit_code == 2
        assert said in json.loads(ran.stdout)["error"]


def test_gpus_that_are_not_there_are_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainError, match="--device cuda needs a GPU, its driver"):
        check_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_device("cuda")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(TrainError, match="4 processes on this machine, and 1 GPUs"):
        check_device("cuda")
    check_device("cpu")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_train_one_network(tmp_path):
    np.save(tmp_path / "probe.npy", focused_probe())
    command = ["--probe", str(tmp_path / "probe.npy"), "--electrons", "9000", "9000"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
         "--master-addr", "127.0.0.1", "--master-port", "0", "--rdzv-backend", "c10d",
         "--rdzv-endpoint", "127.0.0.1:0", "--no-python",
         str(Path(sys.executable).parent / "phasemill"), "train",
         str(tmp_path / "two.safetensors"), "--steps", "3", "-q", *command],
        capture_output=True, text=True, timeout=550, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    network, card = load_network(tmp_path / "two.safetensors")
    assert card["validation"]["l1"] > 0
    ran = CliRunner().invoke(
        app, ["train", str(tmp_path / "one.safetensors"), "--steps", "3", "-q", *command]
    )
    assert ran.exit_code == 0, ran.output
    alone, _ = load_network(tmp_path / "one.safetensors")
    # Each process had lessons of its own, so the two are alike and not the same.
    pairs = list(zip(network.parameters(), alone.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in pairs)
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 0.1
