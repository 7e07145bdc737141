"""Workers are forks of a process that has loaded their work, and that outlives no night."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from flows.clusters import cluster
from flows.worker_options import WorkerOptions
from tasks.units import run_units

NIGHT = """
import time
from flows.clusters import cluster
from flows.worker_options import WorkerOptions

if __name__ == "__main__":
    with cluster("local", WorkerOptions(count=2)) as client:
        client.wait_for_workers(2)
        print("up", flush=True)
        time.sleep(600)
"""


def loaded():
    return "tasks.ssb" in sys.modules, os.environ["OMP_NUM_THREADS"], os.environ["SAID_LATER"]


def test_workers_have_loaded_their_work_and_know_the_environment_of_their_night(monkeypatch):
    with cluster("local", WorkerOptions(count=1)):
        pass  # the process of which they are forks is there now
    monkeypatch.setenv("SAID_LATER", "yes")
    before = dict(os.environ)
    with cluster("local", WorkerOptions(count=1)) as client:
        (found,) = client.run(loaded).values()
    assert found == (True, "1", "yes")
    assert {**os.environ, **before} == dict(os.environ)


def threads_of_parent():
    return psutil.Process(os.getppid()).num_threads()


def test_process_that_is_forked_has_no_thread_that_could_hold_a_lock():
    with cluster("local", WorkerOptions(count=1)) as client:
        assert set(client.run(threads_of_parent).values()) == {1}


def kill_parent_once(number, mark):
    if not os.path.exists(mark):
        with open(mark, "w") as file:
            file.write("killed")
        os.kill(os.getppid(), signal.SIGKILL)
    return number


@pytest.mark.timeout(60)
def test_units_go_on_when_the_process_that_is_forked_is_killed(tmp_path):
    units = [(number, str(tmp_path / "mark")) for number in range(20)]
    with cluster("local", WorkerOptions(count=2)) as client:
        assert run_units("s", kill_parent_once, units, client) == list(range(20))
    with cluster("local", WorkerOptions(count=1)) as client:
        assert run_units("s", kill_parent_once, units, client) == list(range(20))


@pytest.mark.timeout(60)
def test_killed_night_leaves_no_process(tmp_path):
    script = tmp_path / "night.py"
    script.write_text(NIGHT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as night:
        assert night.stdout.readline() == "up\n"
        others = psutil.Process(night.pid).children(recursive=True)
        assert len(others) >= 3
        night.send_signal(signal.SIGKILL)
        end = time.monotonic() + 20
        while any(one.is_running() and one.status() != "zombie" for one in others):
            assert time.monotonic() < end, others
            time.sleep(0.1)
