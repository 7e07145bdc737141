"""Keys that a file beside the recording gives, and what the job says itself."""

import pytest
from rich.console import Console

from flows.job import JobError, check_job, read_job
from flows.overnight import run_night
from tasks.simulate import simulate
from tasks.simulation import small_simulation
from tests.flows.signals import write_image, write_patterns


@pytest.fixture
def folder(tmp_path):
    simulate(small_simulation(), tmp_path / "scan1.h5")
    write_image(tmp_path / "scan1.hspy")
    return tmp_path


def job(folder, **keys):
    dataset = {"path": "scan1.h5", "metadata": "{name}.hspy"} | keys
    return check_job({"output": "out", "cluster": "threads", "datasets": [dataset]}, "j", folder)


def mill(checked):
    (row,) = run_night(checked, [], False, Console(quiet=True), True)["datasets"]
    return row


def test_companion_gives_what_the_job_leaves_open(folder):
    (dataset,) = job(folder, semiangle_mrad=24.5).datasets
    assert dataset.metadata == str(folder / "scan1.hspy")
    assert dataset.voltage_kv == 80
    assert dataset.semiangle_mrad == 24.5  # the job's own
    assert dataset.scan_step_angstrom == (0.4, 0.4)


def test_recording_with_its_companion_is_milled(folder):
    row = mill(job(folder, steps=["virtual"], flip=False, aberrations={}, scan_rotation_deg=0))
    assert row["status"] == "ok", row["reason"]


def test_image_of_another_size_fails_its_dataset(folder):
    write_image(folder / "scan1.hspy", shape=(48, 48), step_nm=0.02)
    row = mill(job(folder, steps=["virtual"]))
    assert row["status"] == "failed"
    assert "48 x 48 pixels and the scan 24 x 24 positions" in row["reason"]
    given = {"flip": False, "aberrations": {}, "scan_rotation_deg": 0, "scan_step_angstrom": 0.4}
    assert mill(job(folder, steps=["virtual"], **given))["status"] == "ok"


def test_missing_companion_is_a_mistake_with_its_line(folder):
    (folder / "job.yaml").write_text(
        "output: out\ndatasets:\n  - path: scan1.h5\n    metadata: gone.dm4\n"
        "    voltage_kv: 80\n    semiangle_mrad: 25\n    scan_step_angstrom: 0.4\n"
    )
    with pytest.raises(JobError, match=r"line 4: .*gone\.dm4: there is no such file"):
        read_job(folder / "job.yaml")


def test_companion_outside_of_the_roots_is_not_opened(folder, monkeypatch, tmp_path_factory):
    elsewhere = write_image(tmp_path_factory.mktemp("elsewhere") / "scan1.hspy")
    monkeypatch.setenv("PHASEMILL_ROOTS", str(folder))
    monkeypatch.setattr("flows.companions.read_companion", lambda _: 1 / 0)
    given = {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4}
    with pytest.raises(JobError, match="outside of the folders that jobs may use"):
        job(folder, metadata=str(elsewhere), **given)


def test_recording_gives_what_job_and_companion_leave_open_and_the_report_says_so(tmp_path):
    scan = [("y", 0.04, "nm", True), ("x", 0.05, "nm", True)]
    write_patterns(tmp_path / "scan1.hspy", [*scan, ("ky", 1, "mrad", False), ("kx", 1, "", False)])
    write_image(tmp_path / "image.hspy", shape=(8, 8))
    own = {"path": "scan1.hspy", "semiangle_mrad": 20, "metadata": None}
    (dataset,) = job(tmp_path, **own).datasets
    assert dataset.scan_step_angstrom == pytest.approx((0.4, 0.5))
    assert dataset.semiangle_mrad == 20
    files = {"voltage_kv": "scan1.hspy", "scan_step_angstrom": "scan1.hspy"}
    assert dataset.told_by == files
    (beside,) = job(tmp_path, path="scan1.hspy", metadata="image.hspy").datasets
    assert beside.told_by == dict.fromkeys([*files, "semiangle_mrad"], "image.hspy")

    given = {"flip": False, "aberrations": {}, "scan_rotation_deg": 0, "steps": ["virtual"]}
    row = mill(job(tmp_path, **own, **given))
    assert row["status"] == "ok", row["reason"]
    page = (tmp_path / "out" / "scan1" / "report.html").read_text(encoding="utf-8")
    assert page.count("from scan1.hspy") == 2


def test_recording_outside_of_the_roots_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("PHASEMILL_ROOTS", str(tmp_path / "elsewhere"))
    monkeypatch.setattr("flows.companions.own_metadata", lambda _: 1 / 0)
    (tmp_path / "scan1.hspy").write_bytes(b"anything")
    with pytest.raises(JobError, match="outside of the folders"):
        job(tmp_path, path="scan1.hspy", metadata=None, scan_step_angstrom=1, semiangle_mrad=20,
            voltage_kv=None)  # fmt: skip
