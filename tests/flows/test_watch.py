"""Recordings are milled as they arrive: each once, when its file is complete."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from flows import watch as watching
from flows.cli import app
from flows.deadline import Deadline
from flows.job import JobError, read_job
from flows.recordings import never_told
from flows.reprocess import reprocess
from flows.watch import Arrivals, watch
from tasks.formats.recording import RecordingError
from tasks.simulate import simulate
from tasks.simulation import small_simulation
from tests.flows.signals import write_image, write_patterns

KNOWN = {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "night.yaml").write_text(
        yaml.safe_dump({"output": "out", "cluster": "threads", "defaults": KNOWN,
                        "datasets": [{"path": "scans/*.npy"}]})
    )  # fmt: skip
    (tmp_path / "scans").mkdir()
    return tmp_path


def job(folder):
    return read_job(folder / "night.yaml", awaited=True)


def names(datasets):
    return [dataset.name for dataset in datasets]


def write(path, frames=16):
    np.save(path, np.ones((4, 4, frames, 8), np.uint8))


def test_glob_without_files_is_a_mistake_unless_they_are_awaited(folder):
    assert job(folder).datasets == ()
    with pytest.raises(JobError, match="no such file"):
        read_job(folder / "night.yaml")


def test_file_is_complete_when_it_did_not_change_since_the_last_look(folder):
    arrivals = Arrivals()
    write(folder / "scans" / "a.npy")
    assert names(arrivals.complete(job(folder).datasets)) == []
    write(folder / "scans" / "a.npy", frames=32)  # still growing
    assert names(arrivals.complete(job(folder).datasets)) == []
    assert names(arrivals.complete(job(folder).datasets)) == ["a"]
    assert names(arrivals.complete(job(folder).datasets)) == []


def test_file_that_changed_after_it_was_milled_is_given_again(folder):
    arrivals = Arrivals()
    write(folder / "scans" / "a.npy")
    assert [names(arrivals.complete(job(folder).datasets)) for _ in range(3)] == [[], ["a"], []]
    write(folder / "scans" / "a.npy", frames=32)
    assert [names(arrivals.complete(job(folder).datasets)) for _ in range(3)] == [[], ["a"], []]


def test_clock_that_jumps_neither_hides_a_file_nor_gives_it_twice(folder):
    arrivals = Arrivals()
    for moved in (4e9, 1e8):  # far ahead, then far behind
        write(folder / "scans" / "a.npy")
        os.utime(folder / "scans" / "a.npy", (moved, moved))
        looks = [names(arrivals.complete(job(folder).datasets)) for _ in range(3)]
        assert looks == [[], ["a"], []]


def test_file_that_stands_still_but_does_not_open_is_waited_for_and_then_tried(folder, monkeypatch):
    monkeypatch.setattr(watching, "PATIENCE", 3)
    arrivals = Arrivals()
    (folder / "scans" / "a.npy").write_bytes(b"\x93NUMPY\x01\x00")
    looks = [names(arrivals.complete(job(folder).datasets)) for _ in range(6)]
    assert looks == [[], [], [], ["a"], [], []]


def untold_job(folder, **keys):
    """A job that leaves to its recordings what they tell of the microscope."""
    dataset = {"path": "scans/*.hspy", "flip": False, "aberrations": {}, "scan_rotation_deg": 0,
               "steps": ["virtual"]}  # fmt: skip
    (folder / "night.yaml").write_text(
        yaml.safe_dump({"output": "out", "cluster": "threads", "datasets": [dataset | keys]})
    )
    return folder / "night.yaml"


def write_told(path):
    scan = [("y", 0.04, "nm", True), ("x", 0.04, "nm", True)]
    write_patterns(path, [*scan, ("ky", 1, "mrad", False), ("kx", 1, "", False)])


def looks(path, count):
    arrivals = Arrivals()
    for _ in range(count):
        yield arrivals.complete(read_job(path, awaited=True).datasets)


def test_file_that_is_still_to_tell_what_the_job_leaves_to_it_is_waited_for(folder):
    path, scan = untold_job(folder), folder / "scans" / "a.hspy"
    write_told(folder / "whole.hspy")
    scan.write_bytes((folder / "whole.hspy").read_bytes()[:3000])
    seen = looks(path, 5)
    assert [names(next(seen)) for _ in range(2)] == [[], []]
    assert never_told(read_job(path, awaited=True)) == []
    scan.write_bytes((folder / "whole.hspy").read_bytes())
    assert names(next(seen)) == []
    (dataset,) = next(seen)
    assert dataset.voltage_kv == 80
    assert dataset.told_by["scan_step_angstrom"] == "a.hspy"
    assert names(next(seen)) == []


def test_companion_that_is_still_to_come_is_waited_for(folder):
    path = untold_job(folder, path="scans/*.npy", metadata="scans/{name}.hspy")
    write(folder / "scans" / "a.npy")
    seen = looks(path, 4)
    assert [names(next(seen)) for _ in range(3)] == [[], [], []]
    write_image(folder / "scans" / "a.hspy", shape=(4, 4))
    (dataset,) = next(seen)
    assert dataset.scan_step_angstrom == pytest.approx((0.4, 0.4))


def test_file_that_never_tells_is_refused_at_the_start_and_fails_alone_later(folder, monkeypatch):
    monkeypatch.setattr(watching, "PATIENCE", 2)
    path = untold_job(folder, path="scans/*.npy")
    write(folder / "scans" / "a.npy")
    missing = "voltage_kv, semiangle_mrad, scan_step_angstrom missing; the file does not hold it"
    with pytest.raises(JobError, match=missing):
        read_job(path)
    done = CliRunner().invoke(app, ["run", str(path), "--watch", "1", "--no-prefect", "--json"])
    assert done.exit_code == 2
    assert f"a: {missing}" in json.loads(done.stdout)["error"]
    *before, (late,) = looks(path, 3)
    assert [names(one) for one in before] == [[], []]
    with pytest.raises(RecordingError, match=f"a.npy: {missing}"):
        reprocess.fn(late, str(folder / "out"))


def test_rows_of_all_arrivals_are_kept_and_the_deadline_ends_the_watch(folder):
    given, clock = [], {"looks": 0}

    class Soon(Deadline):
        passed = property(lambda self: clock["looks"] >= 8)

    def mill(due, earlier):
        given.append((names(due.datasets), [row["name"] for row in earlier]))
        return [{"name": name, "status": "ok"} for name in names(due.datasets)]

    def sleep(seconds):
        assert seconds == 5
        clock["looks"] += 1
        if clock["looks"] == 2:
            write(folder / "scans" / "b.npy")

    write(folder / "scans" / "a.npy")
    rows = watch(lambda: job(folder), mill, 5, Soon("07:00", 0), sleep)
    assert given == [(["a"], []), (["b"], ["a"])]
    assert [row["name"] for row in rows] == ["a", "b"]


@pytest.mark.slow
def test_growing_recording_is_milled_once_it_is_closed_and_sigterm_ends_the_watch(tmp_path):
    simulate(small_simulation(), tmp_path / "whole.h5")
    data = (tmp_path / "whole.h5").read_bytes()
    known = KNOWN | {"scan_rotation_deg": 0, "flip": False, "aberrations": {}}
    (tmp_path / "night.yaml").write_text(yaml.safe_dump({
        "output": "out", "cluster": "threads", "defaults": known,
        "datasets": [{"path": "in/*.h5"}],
    }))  # fmt: skip
    (tmp_path / "in").mkdir()
    command = [Path(sys.executable).with_name("phasemill"), "run", tmp_path / "night.yaml",
               "--watch", "1", "--no-prefect", "--json"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        with (tmp_path / "in" / "scan.h5").open("wb") as file:
            for part in np.array_split(np.frombuffer(data, np.uint8), 6):
                file.write(part.tobytes())
                file.flush()
                os.fsync(file.fileno())
                time.sleep(0.5)  # a camera's pace; nothing waits for it
        lines = []
        while (line := process.stdout.readline()) and "status" not in line:
            lines.append(line)
        row = json.loads(line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 128 + signal.SIGTERM
    assert (row["name"], row["status"]) == ("scan", "ok")
    assert json.loads((tmp_path / "out" / "night.json").read_text())["counts"]["ok"] == 1
