"""The command ``phasemill doctor``: all findings, how to mend each, and the exit code."""

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows import cli
from flows.doctor import examine as module
from flows.doctor.examine import examine


@pytest.fixture
def sound(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_more_than_ten_things_are_looked_at_and_each_trouble_has_its_cure(sound):
    findings = examine(sound / "not" / "there" / "yet")
    assert len({one.check for one in findings}) >= 14
    assert all(bool(one.mend) == (one.level != "ok") for one in findings)
    assert not (sound / "not").exists()


def test_exit_code_and_json_tell_of_what_will_not_work(sound, monkeypatch):
    (sound / "file").touch()
    monkeypatch.setenv("PREFECT_HOME", str(sound / "file"))
    answer = CliRunner().invoke(cli.app, ["doctor", "--output", str(sound), "--json"])
    assert answer.exit_code == 1
    rows = json.loads(answer.stdout)
    (row,) = [row for row in rows if row["level"] == "bad"]
    assert row["check"] == "state folder"


def test_words_in_brackets_are_shown_as_they_are(sound, monkeypatch):
    found = module.Finding("GPU", "warn", "no CuPy", 'pip install -e ".[gpu]"')
    monkeypatch.setattr(module, "examine", lambda _: [found])
    monkeypatch.setattr(cli, "console", Console(file=(shown := io.StringIO()), width=100))
    answer = CliRunner().invoke(cli.app, ["doctor", "--output", str(sound)])
    assert answer.exit_code == 0
    assert '".[gpu]"' in shown.getvalue()


def test_check_that_fails_itself_is_a_finding_and_the_others_still_run(sound, monkeypatch):
    def broken():
        raise RuntimeError("library is gone")

    monkeypatch.setattr(module, "gpu", broken)
    findings = examine(sound)
    (found,) = [one for one in findings if one.check == "GPU"]
    assert found.level == "bad"
    assert "library is gone" in found.found
    assert findings[-1].check == "state folder"
