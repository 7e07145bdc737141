"""``phasemill ingest``: what it cannot read it refuses in one sentence, and leaves nothing."""

import json
import os

import numpy as np
import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.dataset import name_of_recording
from tasks import ingest

BAD = {
    # what stands at the path, options, and what is said
    "nothing": (lambda path: None, [], "there is no such file"),
    "a bare folder": (lambda path: path.mkdir(), [], "this is a folder"),
    "a pipe": (os.mkfifo, [], "no regular file"),
    "a text": (lambda path: path.write_text("counts"), [], "no reader knows"),
    "a list of frames": (
        lambda path: _save(path, np.ones((6, 8, 8), np.uint8)), [], "give scan_shape",
    ),
    "another detector": (
        lambda path: _save(path, np.ones((2, 3, 8, 8), np.uint8)),
        ["--detector-shape", "4", "16"], "8 x 8",
    ),
}  # fmt: skip
NUMBERS = ["--voltage-kv", "80", "--semiangle-mrad", "25", "--scan-step-angstrom", "0.3"]


def _save(path, data):
    with path.open("wb") as file:
        np.save(file, data)


@pytest.mark.parametrize("case", BAD)
def test_bad_recording_is_refused_in_a_sentence(tmp_path, case):
    make, options, expected = BAD[case]
    path, stores = tmp_path / "scan.npy", tmp_path / "stores"
    make(path)
    command = ["ingest", str(path), "--output", str(stores), "--json", *options]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 2, answer.output
    said = json.loads(answer.stdout)["error"]
    assert expected in said
    assert str(path) in said
    assert not list(stores.rglob("events.zarr"))


def test_recordings_that_differ_after_a_dot_have_stores_of_their_own():
    assert name_of_recording("s_0.2um.h5") != name_of_recording("s_0.4um.h5")


@pytest.mark.parametrize("command", [["ingest"], ["explore", "--no-browser", *NUMBERS]])
def test_recording_whose_rows_do_not_fit_the_workers_is_refused(tmp_path, monkeypatch, command):
    path = tmp_path / "scan.npy"
    _save(path, np.ones((2, 3, 8, 8), np.uint8))
    monkeypatch.setattr(ingest, "room_of_unit", lambda _: 100)
    told = [command[0], str(path), "--output", str(tmp_path / "stores"), "--json", *command[1:]]
    answer = CliRunner().invoke(app, told)
    assert answer.exit_code == 2, answer.output
    assert "one scan row has about 192 electrons" in json.loads(answer.stdout)["error"]
