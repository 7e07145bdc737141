"""A night is registered with a real Prefect server on PostgreSQL, and a worker runs it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app
from tasks.simulate import simulate
from tasks.simulation import small_simulation

BIN = Path(sys.executable).parent
KNOWN = {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4, "scan_rotation_deg": 0,
         "flip": False, "aberrations": {}}  # fmt: skip


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def postgres_programs():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def postgres(folder):
    """Address of an empty database that listens on 127.0.0.1 alone; None where there is none."""
    programs = postgres_programs()
    if programs is None:
        yield None
        return
    data, port = folder / "postgres", free_port()
    data.mkdir()
    as_user = []
    if os.getuid() == 0:  # PostgreSQL does not run as root
        for part in (data, *folder.parents, folder):
            if part.stat().st_uid == 0 and part.is_relative_to("/tmp") and part != Path("/tmp"):
                part.chmod(0o755)
        shutil.chown(data, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data}"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
    subprocess.run([*as_user, programs / "initdb", "-D", data, "-A", "trust", "-U", "prefect",
                    "--no-sync"], **quiet)  # fmt: skip
    control = [*as_user, programs / "pg_ctl", "-D", data, "-w"]
    subprocess.run([*control, "-o", options, "-l", data / "log", "start"], **quiet)
    try:
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Environment for programs that talk to a Prefect server of their own."""
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    with postgres(folder) as database:
        environment = os.environ | {
            "PREFECT_HOME": str(folder),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_API_AUTH_STRING": "mill:secret",
            "PREFECT_API_AUTH_STRING": "mill:secret",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
            "XDG_STATE_HOME": str(folder),
        }
        if database is not None:
            environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
        log = (folder / "server.log").open("w")
        command = [BIN / "prefect", "server", "start", "--port", str(port), "--host", "127.0.0.1"]
        with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
            try:
                wait_for(f"http://127.0.0.1:{port}/api/health", process, folder / "server.log")
                yield environment
            finally:
                process.terminate()


def wait_for(address, process, log):
    for _ in range(240):
        try:
            with urllib.request.urlopen(address, timeout=10):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
    raise AssertionError(log.read_text())


def told(environment, *command, code=0):
    done = subprocess.run(
        [BIN / command[0], *map(str, command[1:])],
        env=environment, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def ask(environment, path, body):
    request = urllib.request.Request(
        environment["PREFECT_API_URL"] + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": "Basic bWlsbDpzZWNyZXQ="},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_worker_runs_the_night_that_was_deployed_and_leaves_its_artifacts(server, tmp_path):
    simulate(small_simulation(), tmp_path / "scan.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "scan.h5").read_bytes()[:2000])
    job = {"output": "out", "cluster": "threads", "defaults": KNOWN,
           "datasets": [{"path": "scan.h5"}, {"path": "cut.h5"}]}  # fmt: skip
    (tmp_path / "night.yaml").write_text(yaml.safe_dump(job))
    job["datasets"].pop()
    deploy = ("phasemill", "deploy", tmp_path / "night.yaml", "--cron", "0 22 * * 1-5",
              "--timezone", "Europe/Zurich", "--json")  # fmt: skip

    made = json.loads(told(server, *deploy, "--until", "07:00"))
    assert json.loads(told(server, *deploy, "--until", "06:00"))["id"] == made["id"]

    (deployment,) = ask(server, "/deployments/filter", {})
    (schedule,) = deployment["schedules"]
    assert schedule["schedule"] | {"day_or": True} == {
        "cron": "0 22 * * 1-5", "timezone": "Europe/Zurich", "day_or": True,
    }  # fmt: skip
    assert deployment["entrypoint"] == "flows.nightly.nightly"
    assert deployment["parameters"]["until"] == "06:00"
    assert ask(server, "/deployments/filter", {})[0]["global_concurrency_limit"]["limit"] == 1
    assert len(ask(server, "/automations/filter", {})) == 1

    told(server, "prefect", "deployment", "run", "nightly/night", "--param", "until=null")
    told(server, "prefect", "worker", "start", "--pool", "phasemill", "--run-once")

    runs = ask(server, "/flow_runs/filter", {})
    (night,) = [run for run in runs if run["deployment_id"] and run["state_type"] != "SCHEDULED"]
    assert night["state_type"] == "FAILED"
    assert "1 of 2 datasets: cut failed" in night["state"]["message"]
    rows = json.loads((tmp_path / "out" / "night.json").read_text())["datasets"]
    assert {row["name"]: row["status"] for row in rows} == {"scan": "ok", "cut": "failed"}
    artifacts = {one["key"]: one["data"] for one in ask(server, "/artifacts/filter", {})}
    assert [row["dataset"] for row in json.loads(artifacts["night"])] == ["scan", "cut"]
    assert str(tmp_path / "out" / "index.html") in artifacts["night-page"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no Prefect server is named"),
        (["--until", "07:00"], "--until needs a schedule"),
        (["--until", "7", "--cron", "* * * * *"], "no time of day"),
    ],
)
def test_deployment_that_cannot_be_is_refused(tmp_path, monkeypatch, arguments, words):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    answer = CliRunner().invoke(app, ["deploy", str(tmp_path / "j.yaml"), "--json", *arguments])
    assert answer.exit_code == 2
    assert words in json.loads(answer.stdout)["error"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "does not take it"),
        (["--cron", "every night"], "'every night' in time zone 'UTC' is no schedule"),
        (["--cron", "* * * * *", "--timezone", "Mars/Olympus"], "is no schedule"),
    ],
)
def test_server_that_is_not_there_and_no_schedule_are_named(
    tmp_path, monkeypatch, arguments, words
):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    (tmp_path / "a.h5").touch()
    job = {"output": "out", "defaults": KNOWN, "datasets": [{"path": "a.h5"}]}
    (tmp_path / "j.yaml").write_text(yaml.safe_dump(job))
    answer = CliRunner().invoke(app, ["deploy", str(tmp_path / "j.yaml"), "--json", *arguments])
    assert answer.exit_code == 2, answer.output
    assert words in json.loads(answer.stdout)["error"]
