"""The page of the job file says what the program takes, and its examples are taken."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from flows.dataset import Dataset
from flows.job import Job, read_job

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def job_keys(script):
    return script("job_keys.py")


def test_tables_are_those_of_the_model(job_keys):
    page = job_keys.PAGE.read_text(encoding="utf-8")
    assert job_keys.renewed(page) == page, "run .venv/bin/python docs/job_keys.py"


def test_every_model_of_the_job_has_a_table(job_keys):
    inherited = {"Options", "Area", "VacuumArea"}
    shown = set(job_keys.TABLE.findall(job_keys.PAGE.read_text(encoding="utf-8")))
    assert shown == job_keys.MODELS.keys() - inherited


def test_every_key_says_what_it_means(job_keys):
    bare = [
        f"{name}.{key}"
        for name, model in job_keys.MODELS.items()
        for key, field in model.model_fields.items()
        if not field.description
    ]
    assert bare == []


@pytest.mark.parametrize("key", [key for key in Dataset.model_fields if key != "path"])
def test_examples_of_a_key_are_taken(key):
    field = Dataset.model_fields[key]
    assert field.examples
    for example in field.examples:
        Dataset.model_validate({"path": "a.h5", key: example})


def test_examples_of_the_night_are_taken():
    for key in ("output", "cluster"):
        field = Job.model_fields[key]
        for example in field.examples:
            TypeAdapter(field.annotation).validate_python(example)
            job = {"output": "out", "datasets": [{"path": "a.h5"}]} | {key: example}
            assert getattr(Job.model_validate(job), key) == example


@pytest.mark.parametrize("page", ["job.md", "../README.md"])
def test_job_of_the_page_is_read(page, tmp_path):
    text = (DOCS / page).read_text(encoding="utf-8")
    (job,) = re.findall(r"```yaml\n(# night\.yaml\n.*?)```", text, re.DOTALL)
    for entry in yaml.safe_load(job)["datasets"]:
        path = tmp_path / entry["path"].replace("*", "scan1")
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "night.yaml").write_text(job)
    read = read_job(tmp_path / "night.yaml")
    assert len(read.datasets) == len(yaml.safe_load(job)["datasets"])
