"""A night through a Dask scheduler that talks TLS, with keys made as the deployment page says."""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from flows.verify import verify_result
from tasks.simulate import simulate
from tasks.simulation import small_simulation

BIN = Path(sys.executable).parent
KEYS = """
openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=phasemill-ca -keyout ca.key -out ca.pem
openssl req -newkey rsa:2048 -nodes -subj /CN=phasemill -keyout mill.key -out mill.csr
openssl x509 -req -in mill.csr -days 9 -CA ca.pem -CAkey ca.key -CAcreateserial -out mill.pem
"""


@pytest.fixture
def keys(tmp_path):
    """Environment of those who have the keys, as `deploy/compose.yaml` sets it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(["bash", "-ec", KEYS], cwd=tmp_path, check=True, capture_output=True)
    told = os.environ | {
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(tmp_path / "ca.pem"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        told[f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT"] = str(tmp_path / "mill.pem")
        told[f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY"] = str(tmp_path / "mill.key")
    return told


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_night_goes_through_a_scheduler_that_talks_tls(keys, tmp_path):
    simulate(small_simulation(), tmp_path / "scan.h5")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tls://127.0.0.1:{probe.getsockname()[1]}"
    job = {
        "output": "out", "cluster": address, "datasets": [{"path": "scan.h5"}],
        "defaults": {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4},
    }  # fmt: skip
    (tmp_path / "night.yaml").write_text(yaml.safe_dump(job))
    port = address.rpartition(":")[2]
    with ExitStack() as stack, (tmp_path / "log").open("w") as log:

        def start(*command):
            process = subprocess.Popen(
                [BIN / "dask", *command, "--protocol", "tls", "--no-dashboard"],
                env=keys, stdout=log, stderr=log,
            )  # fmt: skip
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
            return process

        scheduler = start("scheduler", "--host", "127.0.0.1", "--port", port)
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                    break
            assert scheduler.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        start("worker", address, "--nthreads", "1", "--host", "127.0.0.1")
        night = subprocess.run(
            [BIN / "phasemill", "run", tmp_path / "night.yaml", "--quiet", "--no-prefect"],
            env=keys, capture_output=True, text=True,
        )  # fmt: skip
        assert night.returncode == 0, night.stdout + night.stderr + (tmp_path / "log").read_text()
    assert verify_result(tmp_path / "out")["status"] == "ok"


@pytest.mark.timeout(120)
def test_night_without_keys_says_so_and_ends(tmp_path):
    (tmp_path / "scan.h5").touch()
    known = {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4}
    job = {"output": "out", "cluster": "tls://127.0.0.1:9", "defaults": known,
           "datasets": [{"path": "scan.h5"}]}  # fmt: skip
    (tmp_path / "night.yaml").write_text(yaml.safe_dump(job))
    without = {name: value for name, value in os.environ.items() if not name.startswith("DASK")}
    night = subprocess.run(
        [BIN / "phasemill", "run", tmp_path / "night.yaml", "--quiet", "--no-prefect"],
        env=without | {"XDG_STATE_HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert night.returncode == 2
    assert "talks TLS, and this process has no keys for it" in night.stderr
    assert "Traceback" not in night.stderr
