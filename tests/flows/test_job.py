"""A job file is refused as a whole, with the line of every mistake, before any work starts."""

import re

import pytest

from flows.job import JobError, read_job

GOOD = """\
output: out
defaults: {voltage_kv: 80, semiangle_mrad: 25}
datasets:
  - path: a.h5
    scan_step_angstrom: 0.3
"""


def entry(more: str) -> str:
    return GOOD + f"    {more}\n"


BAD = {
    "unknown key": (entry("scan_stepp: 1"), r"line 6: .*scan_stepp: this key is not known"),
    "unknown root key": (GOOD + "clusters: local\n", r"line 6: clusters: this key is not known"),
    "volts": (GOOD.replace("80,", "80000,"), r"line 2: .*80000 kV is outside.*volts"),
    "negative energy": (GOOD.replace("80,", "-80,"), r"line 2: .*-80 kV is outside"),
    "rad": (GOOD.replace("25}", "0.025}"), r"line 2: .*0.025 mrad is outside.*rad"),
    "step of zero": (GOOD.replace("0.3", "0"), r"line 5: .*0 Å is outside"),
    "step in metres": (GOOD.replace("0.3", "3e-11"), r"line 5: .*outside"),
    "step as text": (GOOD.replace("0.3", "fine"), r"line 5: .*valid number.*'fine'"),
    "step of three": (GOOD.replace("0.3", "[1, 2, 3]"), r"line 5: .*at most 2 items"),
    "step not a number": (GOOD.replace("0.3", ".nan"), r"line 5: .*"),
    "no step": (GOOD.replace("    scan_step_angstrom: 0.3\n", ""), r"scan_step_angstrom missing"),
    "no energy": (GOOD.replace("voltage_kv: 80, ", ""), r"line 4: .*voltage_kv missing"),
    "no file": (GOOD.replace("a.h5", "b.h5"), r"line 4: .*no such file: .*b\.h5"),
    "empty glob": (GOOD.replace("a.h5", "'*.mib'"), r"line 4: .*no such file"),
    "no path": (GOOD.replace("path: a.h5", "name: x"), r"line 4: .*path: this key is missing"),
    "no datasets": ("output: out\n", r"datasets: this key is missing"),
    "empty datasets": ("output: out\ndatasets: []\n", r"line 2: datasets"),
    "datasets is a mapping": ("output: out\ndatasets: {a: 1}\n", r"line 2: datasets"),
    "dataset is text": ("output: out\ndatasets: [a.h5]\n", r"line 2: .*must be a mapping"),
    "no output": (GOOD.replace("output: out\n", ""), r"output: this key is missing"),
    "unknown step": (entry("steps: [virtual, sbb]"), r"line 6: .*'sbb'"),
    "unknown cluster": (GOOD + "cluster: slrm\n", r"line 6: cluster: .*'slrm'"),
    "unknown aberration": (entry("aberrations: {C1: 5}"), r"line 6: .*'C1' is not one of C10"),
    "defocus": (entry("aberrations: {defocus: 5}"), r"line 6: .*give C10 = -defocus"),
    "angle in degrees": (entry("aberrations: {C12: 9, phi12: 90}"), r"line 6: .*degrees"),
    "aberration in metres": (entry("aberrations: {C10: 1.0e-8}"), r"line 6: .*metres"),
    "centre of one": (entry("center_px: [3]"), r"line 6: .*center_px"),
    "flip as text": (entry("flip: maybe"), r"line 6: .*boolean.*'maybe'"),
    "name with a path": (entry("name: ../../etc/x"), r"line 6: .*name"),
    "hidden name": (entry("name: .phasemill"), r"line 6: .*name"),
    "rotation in the thousands": (entry("scan_rotation_deg: 3600"), r"line 6: .*3600 degrees"),
    "scan shape of zero": (entry("scan_shape: [0, 5]"), r"line 6: .*scan_shape"),
    "inner above outer": (
        entry("detectors: [{name: a, inner_mrad: 9, outer_mrad: 3}]"),
        r"line 6: .*inner_mrad 9 is not below",
    ),
    "detector with a bad name": (
        entry("detectors: [{name: 'A B', inner_mrad: 1, outer_mrad: 3}]"),
        r"line 6: .*name",
    ),
    "same name twice": (
        GOOD + "  - {path: a.h5, scan_step_angstrom: 1}\n",
        r"line 6: .*two datasets are called 'a'",
    ),
    "key twice": (entry("flip: true\n    flip: false"), r"line 7: .*flip: this key stands twice"),
    "defaults are a list": (GOOD.replace("{voltage_kv: 80, semiangle_mrad: 25}", "[1]"), r"line 2"),
    "not YAML": ("output: [out\n", r"line 2: this is not YAML"),
    "a tab": ("output:\tout\n\tdatasets: 1\n", r"not YAML"),
    "empty": ("", r"a job is a mapping"),
    "a list": ("- a\n", r"a job is a mapping"),
    "python object": ("output: !!python/object:os.system {}\n", r"not YAML"),
    "unknown option": (
        entry("ssb: {sideband: left}"),
        r"line 6: .*sideband: this key is not known",
    ),
    "unknown method": (entry("dpc: {method: magic}"), r"line 6: .*'magic'"),
}


def write(folder, text):
    (folder / "a.h5").touch()
    path = folder / "night.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("case", BAD)
def test_mistake_is_named_with_its_line(tmp_path, case):
    text, expected = BAD[case]
    with pytest.raises(JobError) as caught:
        read_job(write(tmp_path, text))
    assert re.search(expected, str(caught.value)), str(caught.value)
    assert str(tmp_path / "night.yaml") in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path):
    text = GOOD.replace("80,", "80000,").replace("a.h5", "b.h5") + "cluster: nowhere\n"
    with pytest.raises(JobError) as caught:
        read_job(write(tmp_path, text))
    assert len(caught.value.faults) == 3


def test_missing_job_file_is_named(tmp_path):
    with pytest.raises(JobError, match="cannot be read: No such file"):
        read_job(tmp_path / "none.yaml")


def test_binary_job_file_is_refused(tmp_path):
    (tmp_path / "night.yaml").write_bytes(bytes(range(256)))
    with pytest.raises(JobError, match=r"not UTF-8|not YAML"):
        read_job(tmp_path / "night.yaml")


def test_defaults_names_and_paths_are_filled_in(tmp_path):
    job = read_job(write(tmp_path, GOOD))
    (dataset,) = job.datasets
    assert dataset.name == "a"
    assert dataset.voltage_kv == 80
    assert dataset.scan_step_angstrom == (0.3, 0.3)
    assert dataset.path == str(tmp_path / "a.h5")
    assert job.output == str(tmp_path / "out")


def test_dataset_key_wins_over_default(tmp_path):
    (dataset,) = read_job(write(tmp_path, entry("voltage_kv: 200"))).datasets
    assert dataset.voltage_kv == 200


def test_glob_stands_for_every_file_with_its_own_name(tmp_path):
    for name in ("s2.h5", "s1.h5"):
        (tmp_path / name).touch()
    job = read_job(write(tmp_path, GOOD.replace("a.h5", "'s*.h5'")))
    assert [dataset.name for dataset in job.datasets] == ["s1", "s2"]
