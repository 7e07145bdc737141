"""What is saved is signed, whole, and what the night takes."""

from dataclasses import replace
from math import radians

import pytest

from flows.explore.opening import ExploreError, numbers_of, open_target
from flows.explore.saving import entry_of, save_to_job, save_to_store
from flows.job import read_job
from models.aberrations import Aberrations
from tasks.calibration.given import Given
from tasks.calibration.tuned import read_tuned, with_tuned
from tasks.explore.phases import Trial

AT = "2026-03-02T09:30:00+01:00"


@pytest.fixture
def found(job):
    return open_target(job, numbers_of(None, None, None))


def trials(found, **changes):
    before = Trial(found.geometry, found.aberrations)
    lens = Aberrations(C10=-120.5, C12=3.25, phi12=0.5)
    return before, Trial(replace(found.geometry, rotation=radians(12), **changes), lens)


def test_a_new_job_is_one_that_runs(found, tmp_path):
    path = save_to_job(found, tmp_path / "new.yaml", entry_of("ana", AT, *trials(found)))
    (dataset,) = read_job(path).datasets
    assert dataset.path == found.recording
    assert dataset.aberrations == {"C10": -120.5, "C12": 3.25, "phi12": 0.5}
    assert dataset.scan_rotation_deg == 12
    assert dataset.scan_step_angstrom == (0.3, 0.3)
    assert [(one.by, one.at) for one in dataset.tuned] == [("ana", AT)]


def test_a_job_keeps_its_comments_and_gains_a_history(found, job, tmp_path):
    path = tmp_path / "night.yaml"
    path.write_text(job.read_text().replace("voltage_kv", "# from the log\n  voltage_kv"))
    before, after = trials(found)
    save_to_job(found, path, entry_of("ana", AT, before, after))
    save_to_job(found, path, entry_of("ben", AT, after, before))
    assert "# The night of a test." in path.read_text()
    assert "# from the log" in path.read_text()
    (dataset,) = read_job(path).datasets
    assert [one.by for one in dataset.tuned] == ["ana", "ben"]
    assert dataset.tuned[0].after["aberrations"] == dataset.tuned[1].before["aberrations"]
    assert "C10" not in dataset.aberrations


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("output: out\ndatasets: [{path: other.h5}]\n", "no dataset of it is named scan"),
        ("just words\n", "this is no job"),
        ("datasets: [\n", "left as it was"),
        ("datasets: [{name: scan, path: scan.h5, voltage_kv: 80}]\n", "output.*missing"),
    ],
)
def test_what_would_be_no_job_is_not_written(found, tmp_path, text, words):
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(ExploreError, match=words):
        save_to_job(found, path, entry_of("ana", AT, *trials(found)))
    assert path.read_text() == text
    assert [p.name for p in tmp_path.iterdir()] == ["job.yaml"]


def test_nobody_saves_without_a_name(found):
    with pytest.raises(ExploreError, match="Who saves this"):
        entry_of("  ", AT, *trials(found))


def test_the_store_keeps_what_jobs_leave_open(found, job):
    path = save_to_store(found, entry_of("ana", AT, *trials(found)))
    try:
        open_job = Given(80, 25, (0.3, 0.3), flip=True)
        given, said = with_tuned(open_job, found.work)
        assert given.aberrations == {"C10": -120.5, "C12": 3.25, "phi12": 0.5}
        assert given.scan_rotation_deg == 12
        assert given.flip is True  # the job's own
        assert said == [
            "scan_rotation_deg, center_px, semiangle_px, aberrations: tuned by ana on " + AT
        ]
        closed = replace(given, aberrations={})
        assert with_tuned(closed, found.work) == (closed, [])
        assert len(read_tuned(found.work)["history"]) == 1
        again = open_target(found.work, numbers_of(80, 25, 0.3))
        assert again.aberrations.C10 == -120.5
        assert "ana" in again.origin
    finally:
        path.unlink()


def test_the_semiangle_is_a_jobs_to_give(found):
    with pytest.raises(ExploreError, match="semi-angle was changed to 24 mrad"):
        save_to_store(found, entry_of("ana", AT, *trials(found, semiangle=0.024)))


def test_what_cannot_be_explored_says_why(job, tmp_path):
    none = numbers_of(None, None, None)
    with pytest.raises(ExploreError, match="there is nothing here"):
        open_target(tmp_path / "gone.h5", none)
    with pytest.raises(ExploreError, match="does not say --voltage-kv, --semiangle-mrad, --scan"):
        open_target(job.parent / "results" / ".phasemill" / "scan", none)
    with pytest.raises(ExploreError, match="datasets scan; 'other' is none of them"):
        open_target(job, none, dataset="other")
