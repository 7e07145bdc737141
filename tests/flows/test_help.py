"""The help of each command teaches: what it does, what comes out, and an example that is taken."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import typer

from flows.cli import app

COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_comes_out_and_its_example_is_taken(name):
    text = COMMANDS[name].help
    assert re.search(r"^Comes out: \w", text, re.M)
    (example,) = re.findall(r"^Example: phasemill (.*)$", text, re.M)
    command, *words = shlex.split(example)
    assert command == name
    COMMANDS[name].make_context(name, words)  # refuses options and values that are not known


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name):
    assert [one.name for one in COMMANDS[name].params if not getattr(one, "help", "")] == []


def completed(*words: str) -> set[str]:
    """What bash offers for the last word of a line."""
    line = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", "from flows.cli import app; app(prog_name='phasemill')"],
        env=os.environ | line | {"_PHASEMILL_COMPLETE": "complete_bash"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return set(done.stdout.split())


def test_shell_completes_commands_and_options():
    assert completed("phasemill", "ex") == {"explore", "export"}
    assert {"--until", "--watch"} <= completed("phasemill", "run", "--")
