"""The page of the commands says what their help says."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_page_is_that_of_the_commands():
    spec = importlib.util.spec_from_file_location("command_help", DOCS / "command_help.py")
    command_help = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command_help)
    written = command_help.PAGE.read_text(encoding="utf-8")
    assert command_help.page() == written, "run .venv/bin/python docs/command_help.py"
