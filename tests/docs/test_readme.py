"""The README names every command."""

import re
from pathlib import Path

import typer

from flows.cli import app

README = Path(__file__).resolve().parents[2] / "README.md"


def test_table_of_commands_has_each_of_them_once():
    named = re.findall(r"^\| `phasemill (\w+)", README.read_text(encoding="utf-8"), re.M)
    assert sorted(named) == sorted(typer.main.get_command(app).commands)
