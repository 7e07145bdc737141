"""The page of the commands says what their help says."""

from typer.testing import CliRunner

from flows.cli import app


def test_page_is_that_of_the_commands(script):
    command_help = script("command_help.py")
    written = command_help.PAGE.read_text(encoding="utf-8")
    assert command_help.page() == written, "run .venv/bin/python docs/command_help.py"


def test_list_of_commands_cuts_no_sentence_and_names_what_each_option_takes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    runner = CliRunner()
    listed = runner.invoke(app, ["--help"]).output.partition("Commands:\n")[2].splitlines()
    assert listed
    for line in listed:
        assert line.endswith("."), line
        assert not line.endswith("..."), line
        assert "<list" not in runner.invoke(app, [line.split()[0], "--help"]).output
