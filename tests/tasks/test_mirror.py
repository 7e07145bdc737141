"""A copy in an object store is whole when its manifest is there, whatever happened on the way."""

import json
from pathlib import Path

import fsspec
import pytest

from tasks.fetch import fetch
from tasks.mirror import mirror, read_mirrored, restore
from tasks.store.files import hash_of
from tasks.store.foreign import ForeignFilesError
from tasks.store.publish import DamagedResultError, published, verify
from tests.tasks.s3 import s3_port, s3_server

FILES = {"a.bin": b"a" * 70_000, "deep/b.bin": bytes(range(256)), "deep/er/c.bin": b""}


def publish(folder, files=FILES, version=1):
    def write(aside):
        for name, data in files.items():
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            (aside / name).write_bytes(data)
        return {}

    return published(folder, step="s", version=version, inputs={}, parameters={}, write=write)


@pytest.fixture(params=["memory", "file"])
def address(request, tmp_path):
    fsspec.filesystem("memory").store.clear()
    return f"memory://{tmp_path.name}" if request.param == "memory" else f"file://{tmp_path}/copy"


def test_copy_has_every_byte_and_a_second_one_is_not_made(tmp_path, address):
    manifest, _ = publish(tmp_path / "r")
    assert mirror(tmp_path / "r", address)
    store, root, copied = read_mirrored(f"{address}/r")
    assert copied == manifest
    for name, data in FILES.items():
        assert store.cat_file(f"{root}/{name}") == data
    assert not mirror(tmp_path / "r", address)


def test_new_result_replaces_the_old_copy_and_leaves_nothing_of_it(tmp_path, address):
    publish(tmp_path / "r")
    mirror(tmp_path / "r", address)
    publish(tmp_path / "r", {"a.bin": b"new"}, version=2)
    assert mirror(tmp_path / "r", address)
    store, root, copied = read_mirrored(f"{address}/r")
    assert list(copied.files) == ["a.bin"]
    assert sorted(Path(p).name for p in store.find(root)) == ["a.bin", "manifest.json"]


def test_changed_copy_is_made_whole_again(tmp_path, address):
    publish(tmp_path / "r")
    mirror(tmp_path / "r", address)
    store, root, _ = read_mirrored(f"{address}/r")
    store.pipe_file(f"{root}/deep/b.bin", b"other bytes")
    assert mirror(tmp_path / "r", address)
    assert store.cat_file(f"{root}/deep/b.bin") == FILES["deep/b.bin"]


def test_copy_that_broke_off_has_no_manifest(tmp_path, address, monkeypatch):
    publish(tmp_path / "r")
    store, _ = fsspec.core.url_to_fs(address)
    put = type(store).put_file
    calls = []

    def broken(self, *arguments, **more):
        calls.append(arguments)
        if len(calls) == 2:
            raise ConnectionResetError("the line is dead")
        return put(self, *arguments, **more)

    monkeypatch.setattr(type(store), "put_file", broken)
    with pytest.raises(OSError, match="dead"):
        mirror(tmp_path / "r", address)
    with pytest.raises(DamagedResultError, match="never finished"):
        read_mirrored(f"{address}/r")
    assert mirror(tmp_path / "r", address)
    read_mirrored(f"{address}/r")


def test_damaged_result_is_not_copied(tmp_path, address):
    publish(tmp_path / "r")
    (tmp_path / "r" / "a.bin").write_bytes(b"x")
    with pytest.raises(DamagedResultError, match="a.bin has SHA-256"):
        mirror(tmp_path / "r", address)


def test_folder_is_brought_back_where_there_is_none(tmp_path, address):
    manifest, _ = publish(tmp_path / "r")
    mirror(tmp_path / "r", address)
    assert not restore(tmp_path / "r", address)  # it is here
    assert restore(tmp_path / "elsewhere" / "r", address)
    assert verify(tmp_path / "elsewhere" / "r") == manifest
    assert not restore(tmp_path / "none", address)
    assert not (tmp_path / "none").exists()


def test_damaged_copy_is_not_brought_back(tmp_path, address):
    publish(tmp_path / "r")
    mirror(tmp_path / "r", address)
    store, root, _ = read_mirrored(f"{address}/r")
    store.pipe_file(f"{root}/deep/b.bin", b"other bytes")
    assert not restore(tmp_path / "elsewhere" / "r", address)
    store.rm_file(f"{root}/deep/b.bin")
    assert not restore(tmp_path / "elsewhere" / "r", address)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_copy_cannot_write_outside_of_its_folder(tmp_path, address):
    publish(tmp_path / "r")
    mirror(tmp_path / "r", address)
    store, root, _ = read_mirrored(f"{address}/r")
    stored = json.loads(store.cat_file(f"{root}/manifest.json"))
    del stored["seal"]
    stored["files"]["../../escaped"] = stored["files"]["a.bin"]
    stored["seal"] = hash_of(stored)
    store.pipe_file(f"{root}/manifest.json", json.dumps(stored).encode())
    store.pipe_file(f"{root.rpartition('/')[0].rpartition('/')[0]}/escaped", FILES["a.bin"])
    assert not restore(tmp_path / "deep" / "elsewhere" / "r", address)
    assert not (tmp_path / "deep" / "escaped").exists()


@pytest.mark.slow
def test_s3_server_that_was_killed_costs_a_try_and_no_byte(tmp_path, monkeypatch):
    port = s3_port(monkeypatch)
    manifest, _ = publish(tmp_path / "r")
    with s3_server(tmp_path, port):
        fsspec.filesystem("s3").mkdir("nights")
        assert mirror(tmp_path / "r", "s3://nights/a")
    with pytest.raises(OSError, match=r"does not take the copy|connect|refused|Errno"):
        mirror(tmp_path / "r", "s3://nights/a")
    with s3_server(tmp_path, port):
        assert not mirror(tmp_path / "r", "s3://nights/a")
        assert read_mirrored("s3://nights/a/r")[2] == manifest
        with pytest.raises(DamagedResultError, match="never finished"):
            read_mirrored("s3://nights/none")
        fsspec.filesystem("s3").pipe_file("nights/scan.bin", FILES["a.bin"])
        copy = fetch("s3://nights/scan.bin", tmp_path / "fetched")
        assert copy.read_bytes() == FILES["a.bin"]
        assert fetch("s3://nights/scan.bin", tmp_path / "fetched") == copy


def test_nothing_is_taken_away_that_no_copy_put_there(tmp_path, address):
    publish(tmp_path / "r")
    store, root = fsspec.core.url_to_fs(f"{address}/r")
    store.makedirs(f"{root}/raw", exist_ok=True)
    store.pipe_file(f"{root}/raw/frames.dat", b"years of work")
    with pytest.raises(ForeignFilesError, match=r"/r holds raw/frames.dat and is no copy"):
        mirror(tmp_path / "r", address)
    assert store.find(root) == [f"{root}/raw/frames.dat"]
    # Beside a copy it stays as well, when the copy changes.
    store.rm_file(f"{root}/raw/frames.dat")
    mirror(tmp_path / "r", address)
    store.pipe_file(f"{root}/notes.txt", b"thoughts")
    publish(tmp_path / "r", {"a.bin": b"new"}, version=2)
    assert mirror(tmp_path / "r", address)
    names = sorted(path.removeprefix(root).lstrip("/") for path in store.find(root))
    assert names == ["a.bin", "manifest.json", "notes.txt"]


def test_interrupted_copy_of_other_files_is_known_for_ones_own(tmp_path, address, monkeypatch):
    publish(tmp_path / "r")
    store, root = fsspec.core.url_to_fs(f"{address}/r")
    with monkeypatch.context() as broken:
        broken.setattr("tasks.mirror.mirrored_faults", lambda *_: 1 / 0)
        with pytest.raises(OSError, match="does not take the copy"):
            mirror(tmp_path / "r", address)
    assert not store.exists(f"{root}/manifest.json")
    assert store.exists(f"{root}/deep/b.bin")
    publish(tmp_path / "r", {"a.bin": b"new"}, version=2)
    assert mirror(tmp_path / "r", address)
    names = sorted(path.removeprefix(root).lstrip("/") for path in store.find(root))
    assert names == ["a.bin", "manifest.json"]
