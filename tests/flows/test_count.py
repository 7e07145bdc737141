"""``phasemill count``, and a job whose recording is a raw scan."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.raw_scan import write_sector_files
from flows import clusters, reprocess
from flows.cli import app
from flows.job import JobError, check_job
from flows.recordings import reader_options
from models.camera import Camera, dark_frame, raw_frame
from tasks.formats.detect import open_recording

KNOWN = ["--background-threshold", "30", "--xray-threshold", "500"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A folder with a raw scan of 2 x 3 positions, and its dark frame beside it."""
    folder, camera = tmp_path_factory.mktemp("raw"), Camera()
    rng = np.random.default_rng(0)
    dark = dark_frame(camera, (576, 576), rng)
    np.save(folder / "dark.npy", dark)
    frames = (
        raw_frame(rng.choice(576**2, 500), dark, np.ones_like(dark), camera, rng) for _ in range(6)
    )
    return write_sector_files(folder / "scan147", frames, (2, 3), lost=frozenset({(4, 1)}))


def run(*arguments):
    return CliRunner().invoke(app, ["count", *map(str, arguments), "--json"])


def test_counted_scan_is_a_store_and_a_file_that_is_read_again(raw, tmp_path, monkeypatch):
    # Threads are there at once; processes take seconds to begin.
    monkeypatch.setattr(reprocess, "cluster", lambda kind: clusters.cluster("threads"))
    told = [raw, "--output", tmp_path / "stores", "--h5", tmp_path / "scan.h5"]
    result = run(*told, "--dark", raw.parent / "dark.npy", "--seed", 3, "--samples", 4)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["store"] == str(tmp_path / "stores" / "scan147" / "events.zarr")
    assert (facts["scan"], facts["frames_partial"]) == ([2, 3], 1)
    assert 0.95 * 6 * 500 < facts["events"] < 1.01 * 6 * 500
    recording = open_recording(tmp_path / "scan.h5")
    assert recording.read_rows(0, 2).indices.size == facts["events"]
    counting = {k: v for k, v in recording.metadata.items() if k.startswith("electron_counting/")}
    assert counting["electron_counting/seed"] == 3
    assert counting["electron_counting/number_of_samples"] == 4
    assert 5 < counting["electron_counting/background_threshold"] < 12

    again = json.loads(run(*told[:3], "--dark", raw.parent / "dark.npy", "--seed", 3,
                           "--samples", 4).stdout)  # fmt: skip
    assert again["reused"]


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (["nowhere"], "no raw sector files"),
        (["{raw}", "--dark", "none.npy"], "none.npy: there is no such file"),
        (["{raw}", "--layout", "3"], "layout: Input should be 4 or 5"),
        (["{raw}", *KNOWN, "--xray-threshold", "20"], "30 is not below xray_threshold 20"),
        (["{raw}", "--h5", "scan.zarr"], "needs the suffix .h5"),
    ],
)
def test_what_cannot_be_counted_is_refused_in_a_sentence(raw, tmp_path, monkeypatch, told, says):
    monkeypatch.chdir(tmp_path)
    result = run(*(one.format(raw=raw) for one in told))
    assert result.exit_code == 2
    assert says in result.output
    assert not (tmp_path / "stores").exists()


def test_job_takes_a_raw_scan_and_says_how_it_is_counted(raw, tmp_path):
    entry = {
        "path": str(raw), "voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.3,
        "counting": {"dark": str(raw.parent / "dark.npy"), "seed": 2},
    }  # fmt: skip
    (dataset,) = check_job({"output": "out", "datasets": [entry]}, "job", tmp_path).datasets
    assert dataset.name == "scan147"
    recording = reader_options(dataset).open(dataset.path)
    assert recording.metadata["electron_counting/seed"] == 2


def test_job_with_a_reference_that_is_none_is_refused(raw, tmp_path, monkeypatch):
    np.save(tmp_path / "dark.npy", np.ones(3))
    entry = {
        "path": str(raw), "voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.3,
        "counting": {"dark": "dark.npy", "gain": "gone.npy"},
    }  # fmt: skip
    monkeypatch.setenv("PHASEMILL_ROOTS", str(raw))
    with pytest.raises(JobError) as refused:
        check_job({"output": str(raw / "out"), "datasets": [entry]}, "job", tmp_path)
    text = str(refused.value)
    assert "a reference is one image of numbers" in text
    assert "gone.npy: there is no such file" in text
    assert "dark.npy is outside of the folders that jobs may use" in text
