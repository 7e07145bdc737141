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


def loads_ahead():
    return "tasks.ssb" in " ".join(psutil.Process(os.getppid()).cmdline())


def threads_of_parent():
    return psutil.Process(os.getppid()).num_threads()


def test_process_that_is_forked_has_no_thread_that_could_hold_a_lock():
    with cluster("local", WorkerOptions(count=1)) as client:
        assert set(client.run(threads_of_parent).values()) == {1}


def own_pid():
    return os.getpid()


def same(number):
    return number


def gone(process):
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it went between the two questions
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a fork of its parent's end")
def test_workers_die_with_the_process_that_is_forked():
    with cluster("local", WorkerOptions(count=2)) as client:
        workers = [psutil.Process(pid) for pid in client.run(own_pid).values()]
        # Stopped, they can do nothing towards their end, nor be told to.
        for one in workers:
            one.suspend()
        workers[0].parent().kill()
        end = time.monotonic() + 180
        while not all(gone(one) for one in workers):
            assert time.monotonic() < end, workers
            time.sleep(0.05)
        assert run_units("s", same, [(n,) for n in range(4)], client) == [0, 1, 2, 3]


def kill_parent_once(number, mark):
    if not os.path.exists(mark):
        with open(mark, "w") as file:
            file.write("killed")
        os.kill(os.getppid(), signal.SIGKILL)
    return number


def test_units_go_on_when_the_process_that_is_forked_is_killed(tmp_path):
    units = [(number, str(tmp_path / "mark")) for number in range(20)]
    with cluster("local", WorkerOptions(count=2)) as client:
        assert run_units("s", kill_parent_once, units, client) == list(range(20))
        assert run_units("s", loads_ahead, [()], client) == [True]
    with cluster("local", WorkerOptions(count=1)) as client:
        assert run_units("s", kill_parent_once, units, client) == list(range(20))


def test_killed_night_leaves_no_process(tmp_path):
    script = tmp_path / "night.py"
    script.write_text(NIGHT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as night:
        assert night.stdout.readline() == "up\n"
        others = psutil.Process(night.pid).children(recursive=True)
        assert len(others) >= 3
        night.send_signal(signal.SIGKILL)
        end = time.monotonic() + 180
        while not all(gone(one) for one in others):
            assert time.monotonic() < end, others
            time.sleep(0.1)
