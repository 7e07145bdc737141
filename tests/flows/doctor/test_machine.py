"""The doctor names a clock, a memory or a limit that keeps a mill from running."""

import os
import resource
import time
from types import SimpleNamespace

import distributed.system
import psutil
import pytest

from flows.doctor import machine


def test_clock_before_the_installation_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1e9)
    (found,) = machine.clock(tmp_path)
    assert found.level == "warn"
    assert found.found.startswith("2001-09-09")
    assert "NTP" in found.mend


def test_file_server_with_another_time_is_named(tmp_path, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 600)
    (found,) = machine.clock(tmp_path)
    assert found.level == "warn"
    assert "600 s behind" in found.found or "599 s behind" in found.found


def test_clock_that_agrees_is_in_order(tmp_path):
    (found,) = machine.clock(tmp_path)
    assert (found.level, found.mend) == ("ok", "")


@pytest.mark.parametrize("where", ["machine", "container"])
def test_little_memory_is_named_of_machine_and_container(where, monkeypatch):
    little, much = 300 << 20, 1 << 40
    free = little if where == "machine" else much
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    limit = much if where == "machine" else little
    monkeypatch.setattr(distributed.system, "MEMORY_LIMIT", limit)
    (found,) = machine.memory()
    assert found.level == "warn"
    assert found.found.startswith("0.3 GiB")
    assert "workers" in found.mend


def test_small_shared_memory_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=64 << 20))
    (found,) = machine.shared_memory(tmp_path)
    assert found.level == "warn"
    assert "--shm-size" in found.mend


def test_system_without_shared_memory_has_no_finding(tmp_path):
    assert list(machine.shared_memory(tmp_path / "shm")) == []


def test_low_limit_of_open_files_is_named():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        (found,) = machine.open_files()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.level == "warn"
    assert "256" in found.found
    assert "ulimit -n 1024" in found.mend


def test_clock_check_leaves_nothing_behind(tmp_path):
    list(machine.clock(tmp_path))
    assert os.listdir(tmp_path) == []
