"""What a facility starts the mill with: valid by the schemas, closed to the outside, and true."""

import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import dask
import pytest
import yaml
from typer.main import get_command

from flows.cli import app

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
DOCKERFILES = sorted(DEPLOY.glob("Dockerfile*"))


def program(name):
    path = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def passes(*command, cwd=DEPLOY):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr


def resources():
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            yield from document["items"] if document["kind"] == "List" else [document]


def pods():
    return [one["spec"]["template"]["spec"] for one in resources() if one["kind"] == "Deployment"]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_container_files_pass_hadolint(file):
    passes(program("hadolint"), file.name)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_container_holds_every_package_and_runs_without_privileges(file):
    text = file.read_text()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package in packages["packages"]["find"]["include"]:
        assert f"COPY {package.rstrip('*')} " in text
    assert re.search(r"^USER 1\d{4}$", text, re.MULTILINE)
    assert "PYTHONSAFEPATH=1" in text


def test_compose_file_is_valid():
    schema = ("--builtin-schema", "vendor.compose-spec")
    passes(program("check-jsonschema"), *schema, "compose.yaml")


def test_only_the_proxy_is_reached_from_outside_and_only_where_told():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    ports = {name: one["ports"] for name, one in compose["services"].items() if "ports" in one}
    assert ports == {"proxy": ["${BIND:-127.0.0.1}:8443:8443"]}
    assert compose["networks"]["inside"] == {"internal": True}
    assert all(one.get("networks", ["inside"]) == ["inside"] or name == "proxy"
               for name, one in compose["services"].items())  # fmt: skip
    assert "basic_auth" in (DEPLOY / "Caddyfile").read_text()
    server = compose["services"]["server"]
    assert server["read_only"]
    assert server["environment"]["PREFECT_SERVER_UI_STATIC_DIRECTORY"].startswith("/tmp/")


def test_dask_talks_tls_in_every_container():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name in ("scheduler", "dask-worker", "gpu-worker"):
        told = compose[name]
        assert "--protocol tls" in " ".join(told["command"])
        assert told["environment"]["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "true"
    environments = [{one["name"] for one in pod["containers"][0]["env"]} for pod in pods()]
    environments.append(compose["scheduler"]["environment"].keys())
    known = set(flattened(dask.config.config["distributed"], "distributed"))
    for names in environments:
        for name in names:
            if name.startswith("DASK_"):
                key = name.removeprefix("DASK_").lower().replace("__", ".").replace("_", "-")
                assert key in known, name


def flattened(config, at):
    for key, value in config.items():
        name = f"{at}.{key}"
        yield name
        if isinstance(value, dict):
            yield from flattened(value, name)


def test_kubernetes_resources_are_valid():
    validator = pytest.importorskip("kubernetes_validate")
    kinds = []
    for resource in resources():
        validator.validate(resource, validator.latest_version(), strict=True)
        kinds.append(resource["kind"])
    assert kinds.count("Deployment") == 3
    assert "NetworkPolicy" in kinds


@pytest.mark.parametrize("number", range(3))
def test_pods_have_limits_and_no_privileges(number):
    pod = pods()[number]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert "memory" in container["resources"]["limits"]
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted <= {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_valid(unit, tmp_path):
    # Their programs are not on this machine, so true stands for them.
    text = re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", unit.read_text(), flags=re.MULTILINE)
    (tmp_path / unit.name).write_text(text)
    passes(program("systemd-analyze"), "verify", str(tmp_path / unit.name))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_run_unprivileged_on_this_machine_alone(unit):
    text = unit.read_text()
    assert "User=mill" in text
    assert "NoNewPrivileges=yes" in text
    assert "0.0.0.0" not in text


def test_batch_script_passes_shellcheck():
    passes(program("shellcheck"), "slurm/night.sbatch")


def test_commands_of_the_files_exist():
    commands = get_command(app).commands
    told = [unit.read_text() for unit in UNITS] + [(DEPLOY / "slurm/night.sbatch").read_text()]
    for text in told:
        text = text.replace('"$PHASEMILL"', "/phasemill")
        for command, rest in re.findall(r"/phasemill (\w+) (.*)", text):
            known = {option for one in commands[command].params for option in one.opts}
            assert {word for word in rest.split() if word.startswith("--")} <= known


def test_prefect_file_names_a_flow_by_its_module():
    (deployment,) = yaml.safe_load((DEPLOY / "prefect.yaml").read_text())["deployments"]
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    assert deployment["parameters"].keys() <= flow.parameters.properties.keys()
