"""A night on an empty disk goes on from the steps that an object store holds."""

import shutil

import fsspec
import pytest
from rich.console import Console

from flows.job import check_job
from flows.overnight import run_night
from tasks import ingest
from tasks.simulate import simulate
from tasks.simulation import small_simulation
from tasks.store import layout, publish
from tasks.store.publish import read_manifest
from tests.tasks.s3 import s3_port, s3_server

KNOWN = {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4, "scan_rotation_deg": 0,
         "flip": False, "aberrations": {}, "disk_bins": 8}  # fmt: skip
STEPS = ("disk", "reduce", "calibrate", "dpc", "ssb", "frc")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    simulate(small_simulation(), path)
    return path


@pytest.fixture
def made(monkeypatch):
    """Folders of what is worked out, not brought back, in turn."""
    folders = []
    written = publish.written

    def noted(folder, *rest):
        folders.append(folder)
        return written(folder, *rest)

    monkeypatch.setattr(publish, "written", noted)
    monkeypatch.setattr(ingest, "written", noted)
    return folders


def mill(scan, output, address, **more):
    raw = {"output": str(output), "cluster": "threads", "mirror": address, "mirror_steps": True,
           "retry_wait_s": 0, "datasets": [{"path": str(scan), **KNOWN}], **more}  # fmt: skip
    (row,) = run_night(check_job(raw, "job", scan.parent), [], False, Console(quiet=True), True)[
        "datasets"
    ]
    return row


def steps(output):
    work = layout.work_folder(output, "scan")
    return [layout.event_store(work), *(layout.step_folder(work, step) for step in STEPS)]


def manifests(output):
    return [(folder / layout.MANIFEST).read_bytes() for folder in steps(output)]


def results(output):
    files = read_manifest(output / "scan").files
    return {
        name: sha for name, sha in files.items() if name not in (layout.PROVENANCE, layout.REPORT)
    }


def test_steps_are_brought_back_and_not_made_again(scan, tmp_path, made):
    address = f"memory://{tmp_path.name}"
    assert mill(scan, tmp_path / "a", address)["status"] == "ok"
    assert set(steps(tmp_path / "a")) < set(made)
    assert mill(scan, tmp_path / "b", address)["status"] == "ok"
    assert not set(steps(tmp_path / "b")) & set(made)
    assert manifests(tmp_path / "a") == manifests(tmp_path / "b")
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_damaged_copy_costs_its_step_and_is_replaced(scan, tmp_path):
    address = f"memory://{tmp_path.name}"
    mill(scan, tmp_path / "a", address)
    store, root = fsspec.core.url_to_fs(f"{address}/.phasemill/scan/steps/ssb")
    damaged = next(path for path in store.find(root) if path.endswith("c.0.0"))
    store.pipe_file(damaged, b"no phase")
    assert mill(scan, tmp_path / "b", address)["status"] == "ok"
    assert results(tmp_path / "a") == results(tmp_path / "b")
    assert store.cat_file(damaged) != b"no phase"


def test_forced_step_is_not_brought_back(scan, tmp_path, made):
    address = f"memory://{tmp_path.name}"
    mill(scan, tmp_path / "a", address)
    job = {"output": str(tmp_path / "b"), "cluster": "threads", "mirror": address,
           "mirror_steps": True, "datasets": [{"path": str(scan), **KNOWN}]}  # fmt: skip
    run_night(check_job(job, "job", scan.parent), ["ssb"], False, Console(quiet=True), True)
    again = [folder.name for folder in steps(tmp_path / "b") if folder in made]
    assert again == ["ssb", "frc"]


@pytest.mark.slow
def test_night_whose_s3_server_is_killed_fails_clearly_and_goes_on_elsewhere(
    scan, tmp_path, monkeypatch
):
    port = s3_port(monkeypatch)
    with s3_server(tmp_path, port):
        fsspec.filesystem("s3").mkdir("nights")
        assert mill(scan, tmp_path / "a", "s3://nights/x")["status"] == "ok"
    row = mill(scan, tmp_path / "b", "s3://nights/x", tries=1)
    assert row["status"] == "failed"
    assert "scan.h5" in row["reason"]
    assert not (tmp_path / "b" / "scan").exists()
    shutil.rmtree(tmp_path / "b")
    with s3_server(tmp_path, port):
        assert mill(scan, tmp_path / "b", "s3://nights/x")["status"] == "ok"
    assert manifests(tmp_path / "a") == manifests(tmp_path / "b")
    assert results(tmp_path / "a") == results(tmp_path / "b")
