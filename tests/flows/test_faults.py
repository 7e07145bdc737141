"""What a night does when the machine fails it: bits, disks and everything that listens."""

import json
import os
import random
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from flows import lock
from flows.clusters import NightCluster
from flows.job import check_job
from flows.overnight import run_night
from flows.verify import verify_result
from flows.worker_options import WorkerOptions
from tasks.simulate import simulate
from tasks.simulation import small_simulation
from tasks.store import layout
from tasks.store.events import open_store
from tasks.store.publish import DamagedResultError, verify

KNOWN = {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4, "scan_rotation_deg": 0,
         "flip": False, "aberrations": {}, "disk_bins": 8}  # fmt: skip


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    simulate(small_simulation(), path)
    return path


def mill(scan, output):
    raw = {"output": str(output), "cluster": "threads", "datasets": [{"path": str(scan), **KNOWN}]}
    job = check_job(raw | {"retry_wait_s": 0}, "job", scan.parent)
    (row,) = run_night(job, [], False, Console(quiet=True), True)["datasets"]
    return row


@pytest.fixture(scope="module")
def milled(scan, tmp_path_factory):
    output = tmp_path_factory.mktemp("night") / "out"
    assert mill(scan, output)["status"] == "ok"
    return output


@pytest.mark.slow
@pytest.mark.parametrize("what", ["events", "results"])
def test_each_of_a_thousand_bit_flips_is_detected(milled, what):
    folder = milled / "scan"
    if what == "events":
        folder = layout.event_store(layout.work_folder(milled, "scan"))
    files = [path for path in folder.rglob("*") if path.is_file()]
    sizes = [path.stat().st_size for path in files]
    choice = random.Random(3)
    missed = []
    for _ in range(1000):
        (path,) = choice.choices(files, sizes)
        at, bit = choice.randrange(path.stat().st_size), 1 << choice.randrange(8)
        flip(path, at, bit)
        try:
            verify(folder)
            missed.append((path, at, bit))
        except DamagedResultError:
            pass
        flip(path, at, bit)
    verify(folder)
    assert missed == []


def flip(path, at, bit):
    with path.open("r+b") as file:
        file.seek(at)
        (value,) = file.read(1)
        file.seek(at)
        file.write(bytes([value ^ bit]))


def test_slab_with_a_flipped_bit_is_refused_when_read_and_made_anew_by_the_next_night(
    scan, milled, tmp_path
):
    output = tmp_path / "out"
    shutil.copytree(milled, output)
    store = layout.event_store(layout.work_folder(output, "scan"))
    chunk = next(path for path in store.rglob("indices/c.0"))
    flip(chunk, chunk.stat().st_size // 2, 4)
    with pytest.raises(DamagedResultError, match="cannot be read"):
        open_store(store).read(0)
    shutil.rmtree(output / "scan")
    assert mill(scan, output)["status"] == "ok"
    open_store(store).read(0)
    report = verify_result(output, against=milled)
    assert report["status"] == "ok", report["lines"]


@contextmanager
def small_disk(folder, size):
    """A file system of its own at a folder."""
    folder.mkdir()
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small disk can be mounted by root alone")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder])
    if made.returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def test_full_disk_fails_the_dataset_with_its_reason_and_room_mends_it(
    scan, milled, tmp_path, monkeypatch
):
    monkeypatch.setattr(lock, "LEAST_FREE_DISK", 0)
    size = sum(path.stat().st_size for path in milled.rglob("*") if path.is_file())
    with small_disk(tmp_path / "disk", size // 2) as disk:
        row = mill(scan, disk / "out")
        assert row["status"] == "failed"
        assert "No space left on device" in row["reason"]
        assert not (disk / "out" / "scan").exists()
        for folder in (disk / "out" / ".phasemill" / "scan").glob("steps/*"):
            if not folder.name.endswith(layout.ASIDE):
                verify(folder)
        remount(disk, f"size={8 * size}")
        row = mill(scan, disk / "out")
        assert row["status"] == "ok", row["reason"]
        assert verify_result(disk / "out", against=milled)["status"] == "ok"


def test_disk_that_turns_read_only_is_named(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "LEAST_FREE_DISK", 0)
    with small_disk(tmp_path / "disk", "64m") as disk:
        assert mill(scan, disk / "out")["status"] == "ok"
        remount(disk, "ro")
        with pytest.raises(lock.NightError, match="cannot be written .Read-only file system"):
            mill(scan, disk / "out")
        assert verify_result(disk / "out")["status"] == "ok"


def test_nothing_listens_beyond_this_machine():
    with NightCluster("local", WorkerOptions(count=1)) as night:
        assert night.client().submit(sum, (1, 2)).result() == 3
        me = psutil.Process()
        hosts = {
            connection.laddr.ip
            for process in (me, *me.children(recursive=True))
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        }
    assert hosts == {"127.0.0.1"}


def test_nothing_in_the_project_opens_to_every_address_by_default():
    root = Path(__file__).resolve().parents[2]
    every = "0.0.0" + ".0"
    found = [
        path
        for folder in ("flows", "tasks", "deploy", "docs", "models", "gpu_kernels")
        for path in (root / folder).rglob("*")
        if path.suffix in {".py", ".yaml", ".md", ".service", ".sbatch", ".j2"}
        and every in path.read_text(encoding="utf-8")
    ]
    # The server of the compose file, whose network is internal and has no port.
    assert found == [root / "deploy" / "compose.yaml"]


def test_secrets_of_the_environment_are_not_in_what_is_published(scan, tmp_path, monkeypatch):
    secret = "s3cr3t-c0ffee"
    for name in ("PREFECT_API_AUTH_STRING", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, secret)
    assert mill(scan, tmp_path / "out")["status"] == "ok"
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    assert json.loads((tmp_path / "out" / "scan" / "provenance.json").read_text())["job"]
