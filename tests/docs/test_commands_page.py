"""The page of the commands says what their help says."""


def test_page_is_that_of_the_commands(script):
    command_help = script("command_help.py")
    written = command_help.PAGE.read_text(encoding="utf-8")
    assert command_help.page() == written, "run .venv/bin/python docs/command_help.py"
