"""The order and the end of a night: priorities, further tries, a deadline, a lost cluster."""

import datetime
import errno
import os
import signal
import sys
import time
from types import SimpleNamespace

import dask
import pytest
import typer
from dask.utils import parse_timedelta
from distributed import LocalCluster
from numba import cuda
from rich.console import Console

from flows import clusters, overnight
from flows.cli_night import Request, mill
from flows.clusters import ClusterError, NightCluster
from flows.deadline import Deadline
from flows.job import check_job
from flows.overnight import may_pass, run_night
from flows.worker_options import WorkerOptions
from tasks.store import layout
from tasks.units import LostSchedulerError, UnitError

KNOWN = {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.3}


@pytest.fixture
def job(tmp_path):
    def make(*datasets, **keys):
        entries = []
        for name, more in datasets:
            (tmp_path / f"{name}.h5").touch()
            entries.append({"path": f"{name}.h5", **KNOWN, **more})
        raw = {
            "output": "out",
            "cluster": "threads",
            "datasets": entries,
            "retry_wait_s": 0,
            **keys,
        }
        return check_job(raw, "job", tmp_path)

    return make


@pytest.fixture
def milled(monkeypatch):
    """Names of the datasets in the order in which they were milled; answers may be errors."""
    names, answers = [], {}

    def mill(dataset, output, client, force, copies):
        names.append(dataset.name)
        told = answers.get(dataset.name, [])
        if told and (error := told.pop(0)) is not None:
            raise error
        return {"name": dataset.name, "status": "ok", "reason": "", "report": None, "flags": []}

    monkeypatch.setattr(overnight.reprocess, "fn", mill)
    return names, answers


def rows_of(checked, until=None):
    night = run_night(checked, [], False, Console(quiet=True), True, until)
    return {row["name"]: row for row in night["datasets"]}


def test_higher_priority_goes_first_and_equal_ones_in_their_order(job, milled):
    rows_of(job(("a", {}), ("b", {"priority": 5}), ("c", {}), ("d", {"priority": -1})))
    assert milled[0] == ["b", "a", "c", "d"]


def test_lost_scheduler_is_tried_again(job, milled):
    names, answers = milled
    answers["a"] = [LostSchedulerError("gone"), OSError(errno.EIO, "disk")]
    rows = rows_of(job(("a", {}), ("b", {}), tries=3))
    assert names == ["a", "a", "a", "b"]
    assert (rows["a"]["status"], rows["a"]["tries"]) == ("ok", 3)


def test_dataset_alone_that_fails_ends_with_the_path_of_the_nights_page(
    job, milled, tmp_path, capsys
):
    milled[1]["a"] = [ValueError("bad data")]
    with pytest.raises(typer.Exit) as ended:
        mill(job(("a", {})), Request([], prefect=False, as_json=False, quiet=True))
    assert ended.value.exit_code == 1
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "index.html")


def test_tries_end_and_the_reason_says_how_many(job, milled, tmp_path):
    names, answers = milled
    answers["a"] = [LostSchedulerError("gone")] * 9
    rows = rows_of(job(("a", {}), tries=2))
    assert names == ["a", "a"]
    assert rows["a"]["status"] == "failed"
    assert rows["a"]["reason"].endswith("a.h5: gone (2 tries)")
    assert "gone" in layout.error_log(tmp_path / "out", "a").read_text()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad data"),
        UnitError("killed several workers"),
        OSError(errno.ENOSPC, "no space left"),
        PermissionError(errno.EACCES, "denied"),
        ZeroDivisionError("a fault of ours"),
    ],
)
def test_what_does_not_pass_is_tried_once(job, milled, error):
    names, answers = milled
    answers["a"] = [error] * 2
    assert rows_of(job(("a", {}), tries=5))["a"]["status"] == "failed"
    assert names == ["a"]
    assert not may_pass(error)


def test_after_the_deadline_nothing_begins_and_the_rest_is_listed(job, milled, tmp_path):
    over = Deadline("07:00", time.monotonic() - 1)
    rows = rows_of(job(("a", {}), ("b", {})), over)
    assert milled[0] == []
    assert {row["status"] for row in rows.values()} == {"skipped"}
    assert "not begun before 07:00" in rows["b"]["reason"]
    assert "2 skipped" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_deadline_is_the_next_such_time_of_day():
    evening = datetime.datetime(2026, 3, 1, 22, 30)
    for text, hours in (("07:00", 8.5), ("22:31", 1 / 60), ("22:30", 24)):
        before = time.monotonic()
        moment = Deadline.at(text, evening).moment - 3600 * hours
        assert before - 1e-6 <= moment <= time.monotonic() + 1e-6


def test_clock_that_jumps_does_not_move_the_deadline(monkeypatch):
    deadline = Deadline.at(
        (datetime.datetime.now() + datetime.timedelta(hours=2)).strftime("%H:%M")
    )
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert not deadline.passed


@pytest.mark.parametrize("text", ["7 am", "25:00", "", "07:00:00"])
def test_what_is_no_time_of_day_is_refused(text):
    with pytest.raises(ValueError, match="no time of day"):
        Deadline.at(text)


def test_cluster_that_went_away_is_opened_anew():
    with NightCluster("threads") as night:
        first = night.client()
        assert night.client() is first
        first.cluster.close()
        second = night.client()
        assert second is not first
        assert second.submit(sum, (1, 2)).result() == 3


def test_workers_are_as_many_and_as_large_as_the_job_says():
    with NightCluster("local", WorkerOptions(count=1, threads=2, memory_gib=0.5)) as night:
        (worker,) = night.client().scheduler_info(n_workers=-1)["workers"].values()
        assert (worker["nthreads"], worker["memory_limit"]) == (2, 2**29)
        assert worker["host"] == "127.0.0.1"


def test_cuda_without_a_device_is_refused_with_what_to_do(monkeypatch):
    monkeypatch.setattr(clusters.importlib.util, "find_spec", lambda name: object())
    with (
        pytest.raises(ClusterError, match="no CUDA device or driver; look at nvidia-smi"),
        clusters.cluster("local-cuda"),
    ):
        pass


def test_workers_of_local_cuda_work_on_the_device_and_this_process_on_its_cores(monkeypatch):
    with_gpus(monkeypatch, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    with clusters.cluster("local-cuda", WorkerOptions(count=1)) as client:
        assert client.submit(os.getenv, "PHASEMILL_DEVICE").result() == "cuda"
        assert client.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == "4,5"
    assert "PHASEMILL_DEVICE" not in os.environ


def with_gpus(monkeypatch, count):
    def workers(device_memory_limit, **options):
        assert 0 < device_memory_limit < 1
        return LocalCluster(**options)

    monkeypatch.setitem(sys.modules, "dask_cuda", SimpleNamespace(LocalCUDACluster=workers))
    monkeypatch.setattr(clusters.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "gpus", range(count))


def test_more_workers_than_gpus_are_refused(monkeypatch):
    with_gpus(monkeypatch, 1)
    said = r"asks for 3 workers, one a GPU, and 1 is visible; give 'workers: \{count: 1\}'"
    with (
        pytest.raises(ClusterError, match=said),
        clusters.cluster("local-cuda", WorkerOptions(count=3)),
    ):
        pass


def test_processes_that_would_share_a_gpu_unknowingly_are_refused(monkeypatch):
    monkeypatch.setenv("PHASEMILL_DEVICE", "cuda")
    with (
        pytest.raises(ClusterError, match="starts 2 processes, .* 'cluster: local-cuda'"),
        clusters.cluster("local", WorkerOptions(count=2)),
    ):
        pass


def test_worker_of_local_cuda_that_takes_long_to_come_back_is_waited_for(monkeypatch):
    with_gpus(monkeypatch, 1)
    with clusters.cluster("local-cuda", WorkerOptions(count=1)) as client:
        wait = dask.config.get("distributed.deploy.lost-worker-timeout")
        assert parse_timedelta(wait) >= 600  # Dask's own 15 s close its nanny for good
        (nanny,) = client.cluster.workers.values()
        assert isinstance(nanny, clusters.SteadyNanny)
        before = client.submit(os.getpid).result()
        os.kill(before, signal.SIGKILL)
        assert client.submit(os.getpid, pure=False).result(timeout=120) != before


def test_lock_says_who_holds_the_output(job, milled, tmp_path):
    checked = job(("a", {}))
    with (
        overnight.locked_output(tmp_path / "out"),
        pytest.raises(overnight.NightError, match=rf"process {os.getpid()} on .*, since 20"),
    ):
        rows_of(checked)
