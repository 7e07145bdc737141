"""Prefect's server is started with the night, killed under it, and never outlives it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from flows.verify import verify_result
from tasks.simulate import simulate
from tasks.simulation import small_simulation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
KNOWN = {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.3, "disk_bins": 8,
         "scan_rotation_deg": 0, "flip": False, "aberrations": {},
         "steps": ["virtual", "dpc"]}  # fmt: skip
LONGEST = 240


@pytest.fixture
def night(tmp_path):
    """Starts a night of three datasets with a state folder of its own."""
    for name in ("a", "b", "c"):
        simulate(small_simulation(scan_shape=(16, 16), detector_shape=(32, 32)),
                 tmp_path / f"{name}.h5")  # fmt: skip
    job = {"output": "out", "cluster": "threads", "defaults": KNOWN,
           "datasets": [{"path": f"{name}.h5"} for name in ("a", "b", "c")]}  # fmt: skip
    (tmp_path / "night.yaml").write_text(yaml.safe_dump(job))
    started = []

    def start(**environment):
        state = {"XDG_STATE_HOME": str(tmp_path / "state"), "PREFECT_CLIENT_MAX_RETRIES": "2"}
        started.append(
            subprocess.Popen(
                [Path(sys.executable).with_name("phasemill"), "run", "night.yaml", "--quiet"],
                cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={**os.environ, **state, **environment},
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(what, process):
    end = time.monotonic() + LONGEST
    while not (found := what()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def servers_of(process):
    def is_server(child):
        try:
            return "flows.prefect_server" in child.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return False

    return [child for child in psutil.Process(process.pid).children() if is_server(child)]


def whole(process, output):
    said = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, said
    assert verify_result(output)["status"] == "ok"
    assert sorted(path.name for path in output.glob("*/") if path.name[0] != ".") == ["a", "b", "c"]
    return said[1]


def test_own_server_that_is_killed_in_mid_night_is_followed_by_another(night, tmp_path):
    process = night()
    wait_for(lambda: (tmp_path / "out" / "a").is_dir(), process)
    (first,) = wait_for(lambda: servers_of(process), process)
    first.send_signal(signal.SIGKILL)
    second = wait_for(lambda: [one for one in servers_of(process) if one.pid != first.pid], process)
    assert "without its record" not in whole(process, tmp_path / "out")
    assert not psutil.pid_exists(second[0].pid)


def test_facilitys_server_that_is_killed_in_mid_night_costs_its_record_alone(night, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as door:
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.prefect_server", str(door.fileno()), str(os.getpid())],
            pass_fds=[door.fileno()],
            env={**os.environ, "PREFECT_HOME": str(tmp_path / "server"),
                 "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
        )  # fmt: skip
        port = door.getsockname()[1]
    try:
        process = night(PREFECT_API_URL=f"http://127.0.0.1:{port}/api")
        wait_for(lambda: (tmp_path / "out" / "a").is_dir(), process)
    finally:
        server.kill()
        server.wait()
    said = whole(process, tmp_path / "out")
    assert "the night goes on without its record" in said
    assert "Traceback" not in said


def test_server_goes_with_the_night_that_is_killed(night):
    process = night()
    (server,) = wait_for(lambda: servers_of(process), process)
    process.kill()
    process.wait()
    server.wait(LONGEST)
