"""Write ``commands.md`` anew from the commands' own help: run it after an option was added.

.venv/bin/python docs/command_help.py
"""

import re
from pathlib import Path
from typing import Any

import typer

from flows.cli import app

PAGE = Path(__file__).with_name("commands.md")
HEAD = """# Commands

Written by `docs/command_help.py` from what `phasemill COMMAND --help` says. Results go to standard
output and everything for the eye to standard error; `--json` prints results for machines. Exit
codes: 0 all done, 1 some dataset failed or was left out (the others are complete), 2 the request
itself was wrong, 128 + N stopped by signal N.

`phasemill --install-completion` teaches the shell (bash, zsh, fish, PowerShell) to complete
commands, options and files on Tab; it shows from the next shell on. `phasemill --show-completion`
prints what it would install.
"""


def page() -> str:
    """All commands, each with what it does, its example and a table of its options."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return "\n".join([HEAD, *(_section(name, command) for name, command in commands.items())])


def _section(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    usage = " ".join(["phasemill", name, *(_argument(one) for one in arguments), "[OPTIONS]"])
    lines = [f"## {name}", "", _prose(command.help), "", "```sh", usage, "```", ""]
    rows = [(f"`{_argument(one)}`", "needed" if one.required else "", one) for one in arguments]
    rows += [(f"`{_option(one)}`", _default(one), one) for one in options]
    lines += ["| option | default | meaning |", "|---|---|---|"]
    lines += [f"| {what} | {default} | {_cell(one.help)} |" for what, default, one in rows]
    return "\n".join([*lines, ""])


def _prose(text: str) -> str:
    """Help as Markdown: its examples and its lists of what comes out as code."""
    blocks = []
    for block in text.replace("\b\n", "").split("\n\n"):
        head, colon, rest = block.partition(":")
        if head in ("Example", "Examples") and colon:
            commands = "\n".join(line.strip() for line in rest.strip().splitlines())
            blocks.append(f"```sh\n{commands}\n```")
        else:
            blocks.append(" ".join(block.split()))
    return "\n\n".join(blocks)


def _option(one: Any) -> str:
    return " ".join(filter(None, [", ".join(one.opts), one.metavar]))


def _argument(one: Any) -> str:
    return str(one.metavar or one.name.upper())


def _default(one: Any) -> str:
    shown = one.show_default
    if isinstance(shown, str):
        return shown
    if one.is_flag and not one.secondary_opts:
        return ""
    value = one.default
    if value is None or callable(value) or value is False:
        return ""
    return f"`{'yes' if value is True else value}`"


def _cell(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
