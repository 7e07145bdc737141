"""A recording is held from its middle outwards, and again where the disk moves far."""

import time
from dataclasses import replace

import pytest
import xarray as xr
import yaml
from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from rich.console import Console

from flows.explore import recording as module
from flows.explore.explorer import Explorer
from flows.explore.opening import numbers_of, open_target
from flows.explore.recording import HeldRecording
from flows.explore.saving import entry_of, save_to_store
from flows.job import read_job
from flows.overnight import run_night
from models.aberrations import Aberrations
from tasks.explore.phases import Trial
from tasks.store import layout


@pytest.fixture
def found(job):
    return open_target(job, numbers_of(None, None, None))


def wait_for(condition):
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_middle_comes_first_and_the_rest_follows(found, monkeypatch):
    monkeypatch.setattr(module, "FIRST_SIDE", 24)
    seen = []
    monkeypatch.setattr(
        HeldRecording, "hold_again", lambda self, geometry: seen.append(self.view.held.window)
    )
    assert HeldRecording(found).view.held.window == seen[0]
    assert seen[0].shape == (24, 24)
    monkeypatch.undo()
    recording = HeldRecording(found)
    assert recording.view.held.whole


def test_a_disk_that_moves_far_is_held_anew_and_watchers_are_told(found):
    recording, told = HeldRecording(found), []
    stop = recording.watch(lambda: told.append(recording.progress))
    row, col = found.geometry.center
    far = replace(found.geometry, center=(row + 6, col))
    recording.hold_again(far)
    wait_for(lambda: recording.view.held.geometry == far)
    wait_for(lambda: told and told[-1] is None)
    assert {progress[0] for progress in told if progress} == {"reading events", "transforming"}
    stop()


def test_what_cannot_be_held_is_told_and_the_rest_stays(found):
    recording = HeldRecording(found)
    view = recording.view
    recording.hold_again(replace(found.geometry, center=(-500.0, 0.0)))
    wait_for(lambda: recording.fault)
    assert "what was held stays" in recording.fault
    assert recording.view is view


def test_one_explorer_fills_the_documents_of_server_and_notebook(found):
    application = Application(FunctionHandler(Explorer(found)))
    first, second = application.create_document(), application.create_document()
    for document in (first, second):
        assert document.title == "scan · Phasemill"
        document.validate()
        assert document.get_model_by_name("main-pixels") is not None
        document.get_model_by_name("page").document.clear()


@pytest.mark.slow
def test_a_night_takes_from_the_store_what_its_job_leaves_open(found, job, tmp_path):
    lens = Aberrations(C10=85.0, C12=20.0, phi12=0.4)
    trial = Trial(found.geometry, lens)
    entry = entry_of("ana", "2026-03-02T09:30:00+01:00", trial, trial)
    path = save_to_store(found, entry)
    wanted = yaml.safe_load(job.read_text())
    for key in ("scan_rotation_deg", "flip", "center_px", "semiangle_px", "aberrations"):
        del wanted["datasets"][0][key]
    wanted["datasets"][0]["steps"] = ["ssb"]
    open_job = job.with_name("open.yaml")
    open_job.write_text(yaml.safe_dump(wanted))
    try:
        night = run_night(read_job(open_job), [], False, Console(quiet=True), True)
    finally:
        path.unlink()
    assert night["datasets"][0]["status"] == "ok"
    results = job.parent / "results" / "scan" / layout.RESULTS
    with xr.open_zarr(results, chunks=None) as found_now:
        calibration, quality = found_now.attrs["calibration"], found_now.attrs["quality"]
    assert calibration["aberrations"]["C10"]["value"] == pytest.approx(85)
    assert calibration["scan_rotation_deg"]["value"] == pytest.approx(-9)
    (flag,) = [one for one in quality if one["flag"] == "tuned"]
    assert "tuned by ana on 2026-03-02" in flag["text"]
