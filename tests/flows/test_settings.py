"""A user who has no home to write to, as a service has none, can run a night all the same."""

import os
from pathlib import Path

import numba
import pytest

from flows import settings


@pytest.fixture
def no_folder(tmp_path, monkeypatch):
    """A place at which nobody, the administrator neither, can make a folder."""
    (tmp_path / "file").touch()
    for name in ("PREFECT_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # what is set goes with the test
    return tmp_path / "file"


def test_record_goes_to_the_state_folder(no_folder, tmp_path):
    os.environ["XDG_STATE_HOME"] = str(tmp_path / "state")
    assert settings.quiet_local_prefect() == ""
    assert os.environ["PREFECT_HOME"] == str(tmp_path / "state" / "phasemill" / "prefect")


def test_record_goes_to_a_temporary_folder_where_no_other_can_be_written(no_folder):
    os.environ["XDG_STATE_HOME"] = str(no_folder)
    said = settings.quiet_local_prefect()
    assert f"{no_folder}/phasemill cannot be written" in said
    home = Path(os.environ["PREFECT_HOME"])
    assert home.is_dir()
    assert home.parent.stat().st_mode & 0o777 == 0o700


def test_folder_that_was_asked_for_and_cannot_be_written_is_refused(no_folder):
    os.environ["PREFECT_HOME"] = str(no_folder)
    with pytest.raises(settings.PlaceError, match=r"PREFECT_HOME: .*file cannot be written"):
        settings.quiet_local_prefect()


def test_kernels_find_a_place_where_neither_installation_nor_home_takes_them(
    no_folder, monkeypatch
):
    settings.find_caches()
    assert "NUMBA_CACHE_DIR" not in os.environ
    monkeypatch.setattr(settings, "ROOT", no_folder)
    os.environ |= dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(no_folder))
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    settings.find_caches()
    assert os.environ["NUMBA_CACHE_DIR"] == numba.config.CACHE_DIR
    for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        assert settings.can_write(Path(os.environ[name]))


def test_a_user_without_home_has_no_folder_there(no_folder, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    os.environ.pop("XDG_STATE_HOME", None)
    assert not settings.state_folder().parent.exists()
