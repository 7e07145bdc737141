"""Run the notebooks anew and keep what they put out: python docs/notebooks/run.py."""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent


def executed(notebook: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook in a folder of its own.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        Where a cell fails.
    """
    cells = nbformat.read(notebook, as_version=4)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    client = NotebookClient(
        cells, kernel_name="python3", timeout=900, startup_timeout=300,
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    client.execute(env=os.environ | {"PATH": path, "PYTHONPATH": str(FOLDER.parents[1])})
    for cell in cells.cells:
        cell.metadata.pop("execution", None)  # when it ran, and for how long
    cells.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return cells


if __name__ == "__main__":
    for notebook in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(notebook, Path(folder)), notebook)
        print(notebook.name, file=sys.stderr)
