"""The pictures of the tutorial, made by its own words: python docs/figures/tutorial.py FOLDER.

Types the blocks of ``docs/tutorial.md`` in the folder and takes the pictures that they leave, and
one of the report by a headless Chromium.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
PAGE = DOCS / "tutorial.md"
PICTURES = ("electrons", "phases", "beside")
BLOCK = re.compile(r"^```(sh|python|yaml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SETUP = 'make setup\nexport PATH="$PWD/.venv/bin:$PATH"\nmkdir -p tutorial && cd tutorial\n'


def follow(folder: Path) -> None:
    """Do what the page says in a folder of its own: save the files, type the commands.

    Raises
    ------
    RuntimeError
        Where a command fails, with what it said; or where the page no longer begins with ``SETUP``,
        which is taken as done.
    """
    (_, first), *blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    if first != SETUP:
        raise RuntimeError(f"{PAGE} begins with other commands: {first}")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for kind, text in blocks:
        name = re.match(r"# (\w+\.(?:py|yaml))\n", text)
        if name:
            (folder / name[1]).write_text(text, encoding="utf-8")
        if kind != "sh":
            continue
        done = subprocess.run(
            ["bash", "-e"], input=text, cwd=folder, env=os.environ | {"PATH": path}, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{text}{done.stdout}{done.stderr}")


def main(folder: Path) -> None:
    """Follow the page, and keep its pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    follow(folder)
    for name in PICTURES:
        shutil.copy(folder / f"{name}.png", DOCS / "images" / f"tutorial_{name}.png")
    shot = [str(folder / "results/scan/report.html"), str(DOCS / "images/tutorial_report.png")]
    subprocess.run([sys.executable, str(DOCS / "figures/report.py"), *shot], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
