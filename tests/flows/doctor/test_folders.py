"""The doctor names a folder that cannot be written, locked or filled."""

import sqlite3
from types import SimpleNamespace

import h5py
import pytest

from flows import settings
from flows.doctor import folders
from flows.doctor.folders import disk, kernel_cache, output_folder, state


@pytest.fixture
def no_folder(tmp_path):
    """A place at which nobody, the administrator neither, can make a folder."""
    (tmp_path / "file").write_text("a file")
    return tmp_path / "file"


def test_folder_that_can_be_written_is_in_order_and_left_as_it_was(tmp_path):
    assert [one.level for one in output_folder(tmp_path)] == ["ok", "ok"]
    assert list(tmp_path.iterdir()) == []


def test_output_that_cannot_be_written_is_named(no_folder):
    (found,) = output_folder(no_folder)
    assert (found.check, found.level) == ("output", "bad")
    assert str(no_folder) in found.found
    assert "right to write" in found.mend


def test_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refused(*_):
        raise BlockingIOError(11, "unable to lock file")

    monkeypatch.setattr(h5py, "File", refused)
    locks, output = output_folder(tmp_path)
    assert (locks.check, locks.level, output.level) == ("file locks", "bad", "ok")
    assert "HDF5_USE_FILE_LOCKING=FALSE" in locks.mend


def test_file_system_that_cannot_rename_folders_is_named(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(folders.Path, "rename", refused)
    (found,) = output_folder(tmp_path)
    assert found.level == "bad"
    assert "not implemented" in found.found


def test_small_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda _: SimpleNamespace(free=3 << 30))
    (found,) = disk(tmp_path)
    assert found.level == "warn"
    assert found.found.startswith("3 GiB free")


def test_file_system_with_few_files_left_is_named(tmp_path, monkeypatch):
    few = SimpleNamespace(f_files=1000, f_favail=12, f_frsize=1, f_blocks=9, f_bfree=9, f_bavail=9)
    monkeypatch.setattr(folders.os, "statvfs", lambda _: few)
    (found,) = disk(tmp_path)
    assert found.level == "warn"
    assert found.found.startswith("12 more files")


def test_kernel_cache_that_cannot_be_written_is_named(no_folder, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(no_folder / "cache"))
    (found,) = kernel_cache()
    assert found.level == "warn"
    assert "NUMBA_CACHE_DIR" in found.mend


def test_kernel_cache_of_the_home_serves_where_the_installation_is_read_only(
    no_folder, tmp_path, monkeypatch
):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(settings, "ROOT", no_folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (found,) = kernel_cache()
    assert found.level == "ok"
    assert str(tmp_path / "cache" / "numba") in found.found
    monkeypatch.setenv("XDG_CACHE_HOME", str(no_folder))
    assert next(kernel_cache()).level == "warn"


@pytest.mark.parametrize(
    ("variable", "level"), [("XDG_STATE_HOME", "warn"), ("PREFECT_HOME", "bad")]
)
def test_state_that_cannot_be_written_is_named(no_folder, monkeypatch, variable, level):
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    monkeypatch.setenv(variable, str(no_folder))
    (found,) = state()
    assert found.level == level
    assert str(no_folder) in found.found
    assert variable in found.mend


def test_state_on_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def locked(*_, **__):
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    assert next(state()).level == "ok"
    monkeypatch.setattr(sqlite3, "connect", locked)
    (found,) = state()
    assert found.level == "bad"
    assert "--no-prefect" in found.mend
