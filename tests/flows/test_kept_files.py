"""Nothing that the mill did not write is thrown away, wherever it lies."""

import json

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from flows.cli import app
from tests.flows.test_bad_input import KNOWN, counted, counts, run

DIRECT = KNOWN | {"steps": ["virtual"]}


def everything(folder):
    """All files, and what is in them."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "night.yaml"
    }


def refused(folder, datasets, **more):
    """What a job is refused with before anything is written."""
    before = everything(folder)
    code, answer, _ = run(folder, datasets, **more)
    assert code == 2
    assert everything(folder) == before
    return answer["error"]


def test_recording_where_its_own_result_is_to_stand(tmp_path):
    (tmp_path / "scan").mkdir()
    counted(tmp_path / "scan" / "scan.h5")
    (tmp_path / "scan" / "notes.txt").write_text("years of work")
    said = refused(tmp_path, [{"path": "scan/scan.h5", **DIRECT}], output=".")
    assert "line 3: datasets.0.path" in said or "datasets.0.path" in said
    assert (
        "scan.h5 lies where the result of 'scan' is to stand; give the job another output" in said
    )


def test_recording_that_is_a_folder_of_the_results_name(tmp_path):
    (tmp_path / "data").mkdir()
    zarr.create_array(str(tmp_path / "data" / "scan7"), data=counts())
    said = refused(tmp_path, [{"path": "data/scan7", **DIRECT}], output="data")
    assert "scan7 lies where the result of 'scan7' is to stand" in said


def test_output_inside_of_a_recording(tmp_path):
    zarr.create_array(str(tmp_path / "scan7"), data=counts())
    said = refused(tmp_path, [{"path": "scan7", **DIRECT}], output="scan7/out")
    assert "lies inside of" in said


def test_companion_of_another_dataset_where_a_result_is_to_stand(tmp_path):
    (tmp_path / "out" / "b").mkdir(parents=True)
    for path in (tmp_path / "a.h5", tmp_path / "out" / "b" / "b.h5"):
        counted(path)
    said = refused(tmp_path, [{"path": "a.h5", **DIRECT}, {"path": "out/b/b.h5", **DIRECT}])
    assert "datasets.1.path" in said
    assert "datasets.0" not in said


@pytest.mark.parametrize("what", ["folder", "file", "link", "broken link"])
def test_what_has_the_name_of_a_result_stays_and_fails_that_dataset_alone(tmp_path, what):
    for name in ("a", "b"):
        counted(tmp_path / f"{name}.h5")
    there = tmp_path / "out" / "a"
    there.parent.mkdir()
    if what == "folder":
        there.mkdir()
        (there / "notes.txt").write_text("years of work")
    elif what == "file":
        there.write_text("years of work")
    else:
        (tmp_path / "big").mkdir()
        (tmp_path / "big" / "notes.txt").write_text("years of work")
        there.symlink_to(tmp_path / ("big" if what == "link" else "gone"))
    before = everything(tmp_path)
    code, answer, _ = run(tmp_path, [{"path": f"{name}.h5", **DIRECT} for name in "ab"])
    assert code == 1
    rows = {row["name"]: row for row in answer["datasets"]}
    assert rows["b"]["status"] == "ok"
    assert rows["a"]["status"] == "failed"
    assert str(there) in rows["a"]["reason"]
    assert "another name" in rows["a"]["reason"]
    assert everything(tmp_path).items() >= before.items()
    assert there.is_symlink() == (what in ("link", "broken link"))


def test_notes_in_a_result_are_moved_beside_it_when_it_is_made_anew(tmp_path):
    counted(tmp_path / "a.h5")
    datasets = [{"path": "a.h5", **DIRECT}]
    result = tmp_path / "out" / "a"
    assert run(tmp_path, datasets)[0] == 0
    (result / "mine").mkdir()
    for name in ("notes.txt", "mine/more.txt", "results.zarr/.DS_Store"):
        (result / name).write_text(f"first {name}")
    assert run(tmp_path, datasets)[1]["datasets"][0]["status"] == "ok"
    kept = tmp_path / "out" / "a.kept"
    names = ["mine/more.txt", "notes.txt", "results.zarr/.DS_Store"]
    assert list(everything(kept)) == names
    assert CliRunner().invoke(app, ["verify", str(result)]).exit_code == 0
    assert run(tmp_path, datasets)[1]["datasets"][0]["status"] == "unchanged"
    # What is kept already is not replaced either, and a result without its manifest is made anew.
    (result / "notes.txt").write_text("second")
    (result / "manifest.json").unlink()
    assert run(tmp_path, datasets)[1]["datasets"][0]["status"] == "ok"
    assert (kept / "notes.txt").read_text() == "first notes.txt"
    assert (kept / "notes.txt~1").read_text() == "second"


def test_ingest_takes_the_place_of_no_other_store(tmp_path):
    counted(tmp_path / "a.h5")
    other = tmp_path / "stores" / "a" / "events.zarr"
    zarr.create_array(str(other), data=np.arange(3))
    before = everything(tmp_path)
    found = CliRunner().invoke(
        app, ["ingest", str(tmp_path / "a.h5"), "--output", str(tmp_path / "stores"), "--json"]
    )
    assert found.exit_code == 2
    assert "no store of this program" in json.loads(found.stdout)["error"]
    assert everything(tmp_path) == before


def test_result_of_another_recording_of_the_same_name_stays(tmp_path):
    for folder in ("monday", "tuesday", "archive"):
        (tmp_path / folder).mkdir()
    counted(tmp_path / "monday" / "scan.h5")
    counted(tmp_path / "tuesday" / "scan.h5", [[276, 300, 301]] * 64)
    assert run(tmp_path, [{"path": "monday/scan.h5", **DIRECT}])[0] == 0
    before = everything(tmp_path / "out" / "scan")
    code, answer, _ = run(tmp_path, [{"path": "tuesday/scan.h5", **DIRECT}])
    assert code == 1
    said = answer["datasets"][0]["reason"]
    assert f"holds the result of another recording, {tmp_path / 'monday' / 'scan.h5'}" in said
    assert everything(tmp_path / "out" / "scan") == before
    # The same one elsewhere, or another at the same place, is what a night is there for.
    (tmp_path / "monday" / "scan.h5").rename(tmp_path / "archive" / "scan.h5")
    assert run(tmp_path, [{"path": "archive/scan.h5", **DIRECT}])[0] == 0
    (tmp_path / "tuesday" / "scan.h5").rename(tmp_path / "archive" / "scan.h5")
    assert run(tmp_path, [{"path": "archive/scan.h5", **DIRECT}])[0] == 0
    assert everything(tmp_path / "out" / "scan") != before
