"""A night through a real Slurm of one node, with Slurm's own daemons on this machine."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from flows.verify import verify_result
from tasks.simulate import simulate
from tasks.simulation import small_simulation

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "sinfo")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
MILL = Path(sys.executable).with_name("phasemill")
BATCH = Path(__file__).resolve().parents[2] / "deploy" / "slurm" / "night.sbatch"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=2000 State=UNKNOWN
PartitionName=night Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Environment in which sbatch talks to a Slurm of its own."""
    missing = [name for name in DAEMONS if shutil.which(name, path=PATH) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"Slurm's daemons are not here or need root: {missing or 'not root'}")
    folder = Path(tmp_path_factory.mktemp("slurm"))
    host, cores = socket.gethostname().split(".")[0], os.cpu_count() or 1
    text = CONFIGURATION.format(host=host, folder=folder, cores=cores, ports=ports(2))
    (folder / "slurm.conf").write_text(text)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o400)
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH,
                                "PYTHONSAFEPATH": "1"}  # fmt: skip
    with ExitStack() as daemons:
        daemons.enter_context(
            daemon(environment, folder, "munged", "--foreground", "--force",
                   f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket",
                   f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
                   f"--seed-file={folder}/munged.seed")
        )  # fmt: skip
        wait_until(lambda: (folder / "munge.socket").exists(), folder)
        daemons.enter_context(daemon(environment, folder, "slurmctld", "-D", "-c"))
        daemons.enter_context(daemon(environment, folder, "slurmd", "-D", "-c"))
        wait_until(lambda: said(environment, "sinfo", "-h", "-o", "%T").strip() == "idle", folder)
        yield environment


@contextmanager
def daemon(environment, folder, name, *arguments):
    log = (folder / f"{name}.out").open("w")
    command = [shutil.which(name, path=PATH), *arguments]
    with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.terminate()


def ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    found = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return found


def wait_until(condition, folder, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        logs = "".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
        logs += "".join(path.read_text()[-2000:] for path in folder.glob("*.out"))
        assert time.monotonic() < end, logs
        time.sleep(0.5)


def said(environment, *command):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
    return done.stdout


def job(folder, cluster, **more):
    simulate(small_simulation(), folder / "scan.h5")
    known = {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.4,
             "scan_rotation_deg": 0, "flip": False, "aberrations": {}}  # fmt: skip
    raw = {"output": cluster, "cluster": cluster, "datasets": [{"path": "scan.h5", **known}]}
    (folder / f"{cluster}.yaml").write_text(yaml.safe_dump(raw | more))
    return folder / f"{cluster}.yaml"


def test_flow_opens_its_workers_as_jobs_and_the_result_is_that_of_one_machine(slurm, tmp_path):
    pytest.importorskip("dask_jobqueue")
    workers = {"count": 1, "partition": "night", "memory_gib": 1, "walltime": "00:10:00",
               "interface": "lo"}  # fmt: skip
    path = job(tmp_path, "slurm", workers=workers)
    command = [MILL, "run", path, "--no-prefect", "--json"]
    done = subprocess.run(command, env=slurm, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["datasets"][0]["status"] == "ok"
    subprocess.run([MILL, "run", job(tmp_path, "threads"), "--no-prefect", "-q"], check=True)
    report = verify_result(tmp_path / "slurm", against=tmp_path / "threads")
    assert report["status"] == "ok", report["lines"]
    wait_until(lambda: said(slurm, "squeue", "-h").strip() == "", tmp_path)


def test_batch_script_runs_a_night_as_one_job(slurm, tmp_path):
    path = job(tmp_path, "threads")
    log = tmp_path / "night.out"
    command = ["sbatch", "--wait", f"--output={log}", f"--export=ALL,JOB={path},PHASEMILL={MILL}",
               "--time=10", BATCH]  # fmt: skip
    done = subprocess.run(command, env=slurm, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr + log.read_text()
    assert "ok scan: done" in log.read_text()
