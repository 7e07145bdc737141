"""A job file is refused as a whole, with the line of every mistake, before any work starts."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from flows.cli import app
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
    "unknown key": (entry("scan_stepp: 1"), r"line 6: .*; did you mean scan_step_angstrom\?"),
    "key like no other": (entry("zzz: 1"), r"line 6: .*zzz: this key is not known$"),
    "unknown root key": (GOOD + "clusters: local\n", r"line 6: .*; did you mean cluster\?"),
    "volts": (GOOD.replace("80,", "80000,"), r"line 2: .*80000 kV is outside.*volts"),
    "negative energy": (GOOD.replace("80,", "-80,"), r"line 2: .*-80 kV is outside"),
    "rad": (GOOD.replace("25}", "0.025}"), r"line 2: .*0.025 mrad is outside.*rad"),
    "step of zero": (GOOD.replace("0.3", "0"), r"line 5: .*0 Å is outside"),
    "step in metres": (GOOD.replace("0.3", "3e-11"), r"line 5: .*outside"),
    "step as text": (GOOD.replace("0.3", "fine"), r"line 5: .*valid number.*'fine'"),
    "step of three": (GOOD.replace("0.3", "[1, 2, 3]"), r"line 5: .*give 2 values, found"),
    "one number of a centre": (
        entry("center_px: [30]"), r"line 6: .*center_px: a value is missing, found \[30\]",
    ),
    "steps as text": (entry("steps: virtual"), r"line 6: .*steps: give a list, found 'virtual'"),
    "step not a number": (GOOD.replace("0.3", ".nan"), r"line 5: .*"),
    "no step": (GOOD.replace("    scan_step_angstrom: 0.3\n", ""), r"scan_step_angstrom missing"),
    "no energy": (GOOD.replace("voltage_kv: 80, ", ""), r"line 4: .*voltage_kv missing"),
    "no file": (GOOD.replace("a.h5", "b.h5"), r"line 4: .*b\.h5: there is no such file"),
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
    "side without a transform": (entry("epie: {side: 33}"), r"line 6: .*33 x 33.*16, 32, 48"),
    "negative probe step": (entry("epie: {probe_step: -1}"), r"line 6: .*probe_step"),
    "batches one by one": (
        entry("epie: {method: sequential, batch_size: 8}"), r"line 6: .*one position at a time",
    ),
    "empty window of ePIE": (entry("epie: {window: [4, 4, 0, 9]}"), r"line 6: .*is empty"),
    "unknown method of ePIE": (entry("epie: {method: rpie}"), r"line 6: .*'rpie'"),
    "no probe file": (entry("probe: lost.npy"), r"line 6: .*lost\.npy: there is no such file"),
    "probe that is a recording": (entry("probe: a.h5"), r"line 6: .*a\.h5: this is no .npy file"),
    "no vacuum for the probe": (entry("probe: vacuum"), r"line 6: .*no vacuum"),
    "positions that are a recording": (
        entry("epie: {positions: a.h5}"), r"line 6: .*positions: .*a\.h5: this is no .npy file",
    ),
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
    "keys in an address": (
        GOOD + "mirror: s3://key:secret@bucket\n", r"line 6: mirror: .*keys come from the environ",
    ),
    "steps without a mirror": (
        GOOD + "mirror_steps: true\n", r"line 6: mirror_steps: needs a mirror",
    ),
    "mirror that is a path": (GOOD + "mirror: /data\n", r"line 6: mirror: .*no address of a store"),
    "unknown option": (
        entry("ssb: {sideband: left}"),
        r"line 6: .*sideband: this key is not known; did you mean sidebands\?",
    ),
    "unknown method": (entry("dpc: {method: magic}"), r"line 6: .*'magic'"),
    "detector without a shape": (entry("detectors: [{name: a}]"), r"line 6: .*inner_mrad and"),
    "detector with one edge": (
        entry("detectors: [{name: a, inner_mrad: 3}]"),
        r"line 6: .*inner_mrad and outer_mrad, or a mask",
    ),
    "detector with two shapes": (
        entry("detectors: [{name: a, inner_mrad: 3, outer_mrad: 4, mask: m.npy}]"),
        r"line 6: .*or a mask, and not both",
    ),
    "name of a standard detector": (
        entry("detectors: [{name: bf, inner_mrad: 1, outer_mrad: 3}]"),
        r"line 6: .*the name 'bf' is taken: a standard detector has it",
    ),
    "one name for two detectors": (
        entry("detectors:\n      - {name: a, inner_mrad: 1, outer_mrad: 3}\n"
              "      - {name: a, inner_mrad: 3, outer_mrad: 5}"),
        r"line 8: .*detectors.1.name: the name 'a' is taken: detectors 0 has it",
    ),
    "mask that is not there": (
        entry("detectors: [{name: a, mask: none.npy}]"),
        r"line 6: .*mask: .*none.npy: there is no such file",
    ),
    "mask that is none": (entry("detectors: [{name: a, mask: a.h5}]"), r"line 6: .*begins with"),
    "mask in the defaults": (
        GOOD.replace("25}", "25, detectors: [{name: a, mask: none.npy}]}"),
        r"line 2: datasets.0.detectors.0.mask: .*no such file",
    ),
    "region of nothing": (entry("regions: [{name: a}]"), r"line 6: .*either window"),
    "region of both": (
        entry("regions: [{name: a, window: [0, 1, 0, 1], mask: m.npy}]"),
        r"line 6: .*either window",
    ),
    "empty window": (
        entry("regions: [{name: a, window: [5, 5, 0, 9]}]"),
        r"line 6: .*\[5, 5, 0, 9\] is empty; it is \[y0, y1, x0, x1\]",
    ),
    "window of three": (entry("regions: [{name: a, window: [5, 6, 0]}]"), r"line 6: .*window"),
    "negative window": (
        entry("regions: [{name: a, window: [-1, 6, 0, 2]}]"),
        r"line 6: .*window.0: .*greater than or equal to 0, found -1",
    ),
    "region without a name": (entry("regions: [{window: [0, 6, 0, 2]}]"), r"name: this key is"),
    "region called vacuum": (
        entry("regions: [{name: vacuum, window: [0, 6, 0, 2]}]"),
        r"line 6: .*'vacuum' is taken: give the key 'vacuum'",
    ),
    "vacuum as text": (entry("vacuum: yes please"), r"line 6: .*'yes please' is not a region"),
    "vacuum of nothing": (entry("vacuum: {}"), r"line 6: .*either window"),
    "vacuum picked and given": (
        entry("vacuum: {pick: true, window: [0, 1, 0, 1]}"),
        r"line 6: .*either given or picked",
    ),
    "ring of no width": (entry("radial: {width_mrad: 0}"), r"line 6: .*width_mrad: .*found 0"),
    "unknown key of rings": (entry("radial: {width_px: 1}"), r"line 6: .*width_px: this key"),
    "dense without a bin": (entry("dense: {crop_px: 64}"), r"line 6: .*dense.bin: this key"),
    "dense bin of zero": (entry("dense: {bin: 0}"), r"line 6: .*found 0"),
    "dense of floats": (entry("dense: {bin: 2, dtype: float32}"), r"line 6: .*'float32'"),
    "dense crop of three": (
        entry("dense: {bin: 2, crop_px: [1, 2, 3]}"), r"line 6: .*crop_px: give 2 values, found",
    ),
    "scan bin of zero": (entry("scan_bin: 0"), r"line 6: .*scan_bin: .*found 0"),
    "scan bin of a half": (entry("scan_bin: 1.5"), r"line 6: .*scan_bin: .*found 1.5"),
    "an alias of itself": (
        GOOD.replace("0.3", "&a [*a]"),
        r"line 5: .*scan_step_angstrom",
    ),
    "aliases of aliases": (
        "a: &a [x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 8)}]\n"
                  for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True))
        + GOOD,
        r"line 1: a: this key is not known",
    ),
}  # fmt: skip


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


@pytest.mark.parametrize("case", BAD)
def test_command_refuses_it_with_exit_code_2_and_leaves_nothing(tmp_path, case):
    text, expected = BAD[case]
    answer = CliRunner().invoke(app, ["run", str(write(tmp_path, text)), "--json"])
    assert answer.exit_code == 2
    assert re.search(expected, json.loads(answer.stdout)["error"])
    assert "Traceback" not in answer.output
    assert not (tmp_path / "out").exists()


def test_all_mistakes_are_named_at_once(tmp_path):
    text = GOOD.replace("80,", "80000,").replace("a.h5", "b.h5") + "cluster: nowhere\n"
    with pytest.raises(JobError) as caught:
        read_job(write(tmp_path, text))
    assert len(caught.value.faults) == 3


def test_a_key_with_a_mistake_hides_no_other_dataset_and_the_lines_are_in_order(tmp_path):
    text = (
        GOOD.replace("output: out", "output: out\nclusterr: local")
        + "  - {path: a.h5, name: b, scan_step_angstrom: 0.3, probe: none.npy}\n"
        + "  - {path: a.h5, name: a, scan_step_angstrom: 0.3}\n"
        + "  - {path: a.h5, name: d, scan_step_angstrom: -1}\n"
        + "  - {path: a.h5, name: e}\n"
    )
    with pytest.raises(JobError) as caught:
        read_job(write(tmp_path, text))
    lines = [int(re.match(r"line (\d+)", one)[1]) for one in caught.value.faults]
    assert lines == sorted(lines)
    assert set(lines) == {2, 7, 8, 9, 10}


def test_missing_job_file_is_named(tmp_path):
    with pytest.raises(JobError, match="cannot be read: there is no such file"):
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


def test_masks_lie_beside_the_job(tmp_path):
    np.save(tmp_path / "m.npy", np.eye(3))
    (dataset,) = read_job(write(tmp_path, entry("detectors: [{name: a, mask: m.npy}]"))).datasets
    assert dataset.detectors[0].mask == str(tmp_path / "m.npy")


def test_vacuum_can_be_picked_or_given(tmp_path):
    (dataset,) = read_job(write(tmp_path, entry("vacuum: auto"))).datasets
    assert dataset.vacuum.pick
    (dataset,) = read_job(write(tmp_path, entry("vacuum: {window: [0, 4, 0, 4]}"))).datasets
    assert dataset.vacuum.window == (0, 4, 0, 4)
    (dataset,) = read_job(write(tmp_path, GOOD)).datasets
    assert dataset.vacuum is None


def test_binned_scan_has_a_longer_step(tmp_path):
    (dataset,) = read_job(write(tmp_path, entry("scan_bin: 2"))).datasets
    assert dataset.milled_step == (0.6, 0.6)


@pytest.mark.parametrize(
    ("file", "name"),
    [("scan (1).h5", "scan__1_"), (".hidden.h5", "hidden"), ("s_0.2um.h5", "s_0.2um"),
     ("größe.h5", "gr__e"), ("....h5", "dataset")],
)  # fmt: skip
def test_name_of_a_file_becomes_one_of_a_folder(tmp_path, file, name):
    (tmp_path / file).touch()
    (dataset,) = read_job(write(tmp_path, GOOD.replace("a.h5", f"'{file}'"))).datasets
    assert dataset.name == name


def test_glob_stands_for_every_file_with_its_own_name(tmp_path):
    for name in ("s2.h5", "s1.h5"):
        (tmp_path / name).touch()
    job = read_job(write(tmp_path, GOOD.replace("a.h5", "'s*.h5'")))
    assert [dataset.name for dataset in job.datasets] == ["s1", "s2"]


def test_what_is_found_is_shown_shortly_however_much_it_is(tmp_path):
    lines = ["x0: &x0 [a, a, a, a, a, a, a, a, a]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 10)]
    (tmp_path / "a.h5").touch()
    (tmp_path / "job.yaml").write_text("\n".join([*lines, entry("regions: *x9")]))
    with pytest.raises(JobError) as refused:
        read_job(tmp_path / "job.yaml")
    assert "regions.0" in str(refused.value)
    assert len(str(refused.value)) < 5000


@pytest.mark.parametrize("what", ["path", "mask", "link", "output", "network", "positions"])
def test_paths_cannot_leave_the_roots_that_a_facility_sets(tmp_path, monkeypatch, what):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    for folder in (inside, outside):
        (folder / "a.h5").touch()
        np.save(folder / "m.npy", np.eye(4))
        np.save(folder / "p.npy", np.zeros((4, 2)))
    (inside / "link.h5").symlink_to(outside / "a.h5")
    files = "{network: m.npy, positions: p.npy}"
    text = GOOD + f"    detectors: [{{name: d, mask: m.npy}}]\n    cnn: {files}\n"
    monkeypatch.setenv("PHASEMILL_ROOTS", f"{tmp_path / 'elsewhere'}:{inside}")
    (inside / "job.yaml").write_text(text)
    assert read_job(inside / "job.yaml").datasets[0].name == "a"
    change = {
        "path": ("a.h5", "../outside/a.h5"),
        "mask": ("mask: m.npy", f"mask: {outside / 'm.npy'}"),
        "network": ("network: m.npy", f"network: {outside / 'm.npy'}"),
        "positions": ("p.npy", str(outside / "p.npy")),
        "link": ("a.h5", "link.h5"),
        "output": ("output: out", "output: /tmp/../etc"),
    }[what]
    (inside / "job.yaml").write_text(text.replace(*change))
    with pytest.raises(JobError, match="is outside of the folders that jobs may use"):
        read_job(inside / "job.yaml")
