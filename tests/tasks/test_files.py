"""What cannot be read is said in words, to a user without rights as well."""

import json
import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import flows.deadline
import flows.job
import flows.verify
from flows.cli import app
from tasks.files import in_words, why_unreadable, why_unwritable

NOBODY = 65534


def folder(path):
    path.mkdir()


def pipe(path):
    os.mkfifo(path)


def listener(path):
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(path.parent)  # the address of a socket has room for 107 letters
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


def circle(path):
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no such file."),
        (lambda path: path.symlink_to("gone.h5"), "a link to gone.h5, which is not there."),
        (circle, "Too many levels of symbolic links"),
        (pipe, "no regular file"),
        (listener, "no regular file"),
        (folder, "this is a folder"),
    ],
)
def test_what_stands_at_a_path_is_said(tmp_path, make, said):
    make(tmp_path / "x")
    assert said in why_unreadable(tmp_path / "x")


@pytest.mark.parametrize("name", ["ü b.h5", "a\nb", "-x", "n" * 250])
def test_any_name_of_a_file_will_do(tmp_path, name):
    (tmp_path / name).touch()
    assert why_unreadable(tmp_path / name) is None
    assert why_unreadable(tmp_path, folders=True) is None


@pytest.mark.parametrize(
    ("name", "said"), [("a\0b", "no such file"), ("n" * 300, "File name too long")]
)
def test_names_that_no_file_can_have_are_refused(tmp_path, name, said):
    assert said in why_unreadable(tmp_path / name)


@pytest.fixture
def place():
    """A folder that everybody may enter; the test goes on without an administrator's rights."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    user = os.geteuid()
    (made / "locked").mkdir()
    for file in (made / "own.h5", made / "locked" / "x.h5"):
        file.touch()
        file.chmod(0)
    (made / "locked").chmod(0)
    if user == 0:
        os.seteuid(NOBODY)
    yield made
    os.seteuid(user)
    (made / "locked").chmod(0o700)
    shutil.rmtree(made)


def test_a_user_without_rights_is_told_which_are_missing(place):
    assert why_unreadable(place / "own.h5") == "this user may not read it."
    assert why_unreadable(place / "locked" / "x.h5") == "this user may not look into its folder."


def test_a_job_with_a_path_in_a_locked_folder_is_refused_in_a_sentence(place):
    job = place.parent / f"{place.name}.yaml"
    job.write_text(
        "output: out\ndatasets: [{voltage_kv: 80, semiangle_mrad: 25, scan_step_angstrom: 1, "
        f"path: {place}/locked/x.h5}}]\n"
    )
    answer = CliRunner().invoke(app, ["run", str(job), "--json"])
    job.unlink()
    assert answer.exit_code == 2
    assert "locked/x.h5: this user may not look into its folder." in answer.stdout


def test_an_error_of_the_system_is_told_without_its_number(tmp_path):
    with pytest.raises(OSError, match="directory") as caught:
        (tmp_path / "none" / "x").open("w")
    assert in_words(caught.value) == f"{tmp_path / 'none' / 'x'}: No such file or directory"
    assert in_words(OSError(28, "No space left on device")) == "No space left on device"
    assert in_words(OSError("5 of 7")) == in_words(ValueError("5 of 7")) == "5 of 7"


def test_what_cannot_be_written_is_told_before_the_work(place):
    assert why_unwritable(place / "locked" / "new" / "x.h5") == (
        f"this user may not write to {place / 'locked'}."
    )
    assert why_unwritable(place / "own.h5" / "x.h5") == f"{place / 'own.h5'} is no folder."
    assert "this is a folder" in why_unwritable(place)


def test_place_that_can_be_written_has_nothing_against_it(tmp_path):
    assert why_unwritable(tmp_path / "a" / "b" / "x.h5") is None
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("command", [["simulate"], ["train", "--minutes", "1"]])
def test_a_command_that_cannot_write_ends_with_a_sentence_at_once(tmp_path, command):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x.safetensors"
    answer = CliRunner().invoke(app, [*command, str(path), "--json"])
    assert answer.exit_code == 2
    assert json.loads(answer.stdout)["error"].endswith(f"{tmp_path / 'file'} is no folder.")


def test_a_failure_of_the_file_system_in_a_command_ends_with_a_sentence(tmp_path, monkeypatch):
    def fails(*_):
        raise PermissionError(13, "Permission denied", "/data/manifest.json")

    monkeypatch.setattr(flows.verify, "verify_result", fails)
    answer = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert answer.exit_code == 2
    assert isinstance(answer.exception, SystemExit)
