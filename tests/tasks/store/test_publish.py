"""A result is whole, or it is not there."""

import errno
import json
import os
import random
import time

import pytest

from tasks.device import device_name, note_device
from tasks.store import exchange, files, layout, publish, records
from tasks.store.provenance import provenance
from tasks.store.source import Source


def write_two(aside):
    (aside / "deep").mkdir(parents=True, exist_ok=True)
    (aside / "a.bin").write_bytes(b"a" * 1000)
    (aside / "deep" / "b.bin").write_bytes(bytes(range(256)))
    return {"events": 7}


def run(folder, write=write_two, parameters=None, **more):
    return publish.published(
        folder, step="s", version=1, inputs={"x": "1"}, parameters=parameters or {"p": 1},
        write=write, **more,
    )  # fmt: skip


def test_finished_result_is_reused(tmp_path):
    first, reused_first = run(tmp_path / "r")

    def never(aside):
        raise AssertionError("ran again")

    second, reused_second = run(tmp_path / "r", write=never)
    assert (reused_first, reused_second) == (False, True)
    assert second.digest == first.digest
    assert second.summary["events"] == 7


def test_manifest_and_provenance_name_what_the_step_was_worked_out_on(tmp_path):
    def on_two_gpus(aside):
        note_device("GPU B")
        note_device("GPU A")
        return write_two(aside)

    there = run(tmp_path / "there", write=on_two_gpus)
    here = run(tmp_path / "here")
    assert there[0].devices == ["GPU A", "GPU B"]
    assert here[0].devices == [device_name()]
    assert run(tmp_path / "there")[0].devices == ["GPU A", "GPU B"]
    source = Source("scan.h5", 1, 0, "0" * 64)
    told = provenance(source, "dense", {}, [there, here, there])
    assert told["device"] == f"GPU A; GPU B; {device_name()}"
    assert told["steps"][0]["devices"] == ["GPU A", "GPU B"]


def test_step_that_was_taken_up_again_names_the_devices_of_all_its_units(tmp_path, monkeypatch):
    def one_unit(aside, name):
        monkeypatch.setattr(records, "device_name", lambda: f"GPU {name}")
        if records.finished_unit(aside, name) is None:
            (aside / name).write_text(name)
            records.record_unit(aside, name, [aside / name], {})
            note_device(f"GPU {name}")

    def stopped(aside):
        one_unit(aside, "A")
        raise RuntimeError("stopped")

    def taken_up(aside):
        one_unit(aside, "A")
        one_unit(aside, "B")
        return {}

    with pytest.raises(RuntimeError, match="stopped"):
        run(tmp_path / "r", write=stopped)
    manifest, _ = run(tmp_path / "r", write=taken_up)
    assert manifest.devices == ["GPU A", "GPU B"]


@pytest.mark.parametrize("change", [{"parameters": {"p": 2}}, {"force": True}])
def test_other_parameters_or_force_run_it_again(tmp_path, change):
    run(tmp_path / "r")
    _, reused = run(tmp_path / "r", **change)
    assert not reused


def test_failed_step_leaves_nothing_that_looks_whole(tmp_path):
    def fails(aside):
        write_two(aside)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        run(tmp_path / "r", write=fails)
    assert not (tmp_path / "r").exists()
    assert publish.read_manifest(tmp_path / "r.inprogress") is None


def test_old_result_stays_until_the_new_one_is_whole(tmp_path):
    first, _ = run(tmp_path / "r")

    def fails(aside):
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        run(tmp_path / "r", write=fails, parameters={"p": 2})
    assert publish.verify(tmp_path / "r").digest == first.digest


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (lambda f: (f / "a.bin").unlink(), "a.bin is missing"),
        (lambda f: (f / "deep" / "b.bin").write_bytes(b"x"), "deep/b.bin has SHA-256"),
        (lambda f: (f / "new").write_text("x"), "new was not written"),
        (lambda f: (f / "manifest.json").unlink(), "no readable manifest"),
        (lambda f: (f / "manifest.json").write_text("{"), "no readable manifest"),
    ],
)
def test_damage_is_named_and_made_anew(tmp_path, fault, named):
    folder = tmp_path / "r"
    run(folder)
    fault(folder)
    with pytest.raises(publish.DamagedResultError, match=named):
        publish.verify(folder)
    _, reused = run(folder)
    assert not reused
    publish.verify(folder)


def test_every_single_bit_flip_is_detected(tmp_path):
    folder = tmp_path / "r"
    run(folder)
    choice = random.Random(0)
    for _ in range(200):
        path = choice.choice([folder / "a.bin", folder / "deep" / "b.bin"])
        good = path.read_bytes()
        bad = bytearray(good)
        bad[choice.randrange(len(bad))] ^= 1 << choice.randrange(8)
        path.write_bytes(bad)
        with pytest.raises(publish.DamagedResultError):
            publish.verify(folder)
        path.write_bytes(good)
    publish.verify(folder)


def test_resume_keeps_units_of_the_same_identity_only(tmp_path):
    folder = tmp_path / "r"
    aside = records.begin(folder, "one")
    (aside / "unit").write_bytes(b"data")
    records.record_unit(aside, "u0", [aside / "unit"], {"events": 3})
    assert records.finished_unit(records.begin(folder, "one"), "u0") == {"events": 3}
    assert records.finished_unit(records.begin(folder, "two"), "u0") is None


def test_unit_with_changed_data_is_not_finished(tmp_path):
    aside = records.begin(tmp_path / "r", "one")
    (aside / "unit").write_bytes(b"data")
    records.record_unit(aside, "u0", [aside / "unit"], {})
    (aside / "unit").write_bytes(b"dat!")
    assert records.finished_unit(aside, "u0") is None


def test_same_data_give_the_same_digest_whatever_it_took(tmp_path):
    one, _ = run(tmp_path / "one")
    two, _ = run(tmp_path / "two")
    assert one.digest == two.digest


def test_identity_changes_with_everything_that_decides_the_result():
    base = publish.step_identity("s", 1, {"x": "1"}, {"p": 1})
    others = {
        publish.step_identity("t", 1, {"x": "1"}, {"p": 1}),
        publish.step_identity("s", 2, {"x": "1"}, {"p": 1}),
        publish.step_identity("s", 1, {"x": "2"}, {"p": 1}),
        publish.step_identity("s", 1, {"x": "1"}, {"p": 2}),
    }
    assert base not in others
    assert len(others) == 4


def test_folder_is_replaced_where_names_cannot_be_exchanged(tmp_path, monkeypatch):
    def not_here(one, other):
        raise OSError(errno.EINVAL, "no exchange")

    monkeypatch.setattr(exchange, "_exchange", not_here)
    run(tmp_path / "r")
    run(tmp_path / "r", parameters={"p": 2})
    publish.verify(tmp_path / "r")
    assert sorted(os.listdir(tmp_path)) == ["r"]


def test_step_that_failed_without_a_finished_unit_begins_anew(tmp_path):
    def once(aside):
        (aside / "group").mkdir()  # as a step lays out what it will write
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        run(tmp_path / "r", once)
    with pytest.raises(OSError, match="full"):
        run(tmp_path / "r", once)


def test_manifest_is_the_same_whether_the_step_ran_or_was_found(tmp_path):
    parameters = {"z": (1, 2), "a": {"y": 1, "b": None}}
    ran, _ = run(tmp_path / "r", parameters=parameters)
    found, reused = run(tmp_path / "r", parameters=parameters)
    assert reused
    assert json.dumps(ran.__dict__) == json.dumps(found.__dict__)


def test_records_do_not_count_as_data_and_go_with_the_work(tmp_path):
    manifest, _ = run(tmp_path / "r")
    assert not (tmp_path / "r" / layout.RECORDS).exists()
    files.write_json(tmp_path / "r" / layout.RECORDS / "u.json", {"seconds": 1})
    assert publish.verify(tmp_path / "r").digest == manifest.digest
    assert json.loads((tmp_path / "r" / "manifest.json").read_text())["digest"] == manifest.digest


@pytest.mark.parametrize("years", [-30, 30])
def test_clock_that_jumps_between_data_and_record_changes_nothing(tmp_path, years):
    def write(aside):
        write_two(aside)
        moved = time.time() + years * 3e7
        os.utime(aside / "a.bin", (moved, moved))
        records.record_unit(aside, "u0", [aside / "a.bin"], {})
        (aside / "deep" / "b.bin").write_bytes(b"later")
        assert records.finished_unit(aside, "u0") == {}
        return {}

    manifest, _ = run(tmp_path / "r", write)
    assert publish.verify(tmp_path / "r") == manifest
    assert run(tmp_path / "r", write) == (manifest, True)


def test_step_may_say_itself_how_long_it_took(tmp_path):
    assert run(tmp_path / "r", lambda aside: write_two(aside) | {"seconds": 5.0})[0].seconds == 5.0
