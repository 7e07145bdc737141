"""The notebooks run from top to bottom and put out what is kept in them."""

import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

pytest.importorskip("nbclient", reason="notebooks need phasemill[docs]")
pytest.importorskip("ipykernel", reason="notebooks need phasemill[docs]")


@pytest.fixture(scope="module")
def run(script):
    return script("notebooks/run.py")


def words(notebook: nbformat.NotebookNode) -> list[str | float]:
    """What the cells print, numbers as numbers: their last digits may be another machine's."""
    outputs = [one for cell in notebook.cells for one in cell.get("outputs", [])]
    text = " ".join(one["text"] for one in outputs if one["output_type"] == "stream")
    number = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
    found = re.findall(rf"{number.pattern}|[^\s\d]+", text)
    return [float(word) if number.fullmatch(word) else word for word in found]


def pictures(notebook: nbformat.NotebookNode) -> int:
    outputs = [one for cell in notebook.cells for one in cell.get("outputs", [])]
    return sum("image/png" in one.get("data", {}) for one in outputs)


def test_there_are_two_with_pictures():
    assert len(NOTEBOOKS) >= 2
    for path in NOTEBOOKS:
        assert pictures(nbformat.read(path, as_version=4)) >= 2


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_puts_out_what_is_kept_in_it(run, path, tmp_path):
    kept, anew = nbformat.read(path, as_version=4), run.executed(path, tmp_path)
    assert words(anew) == [
        pytest.approx(word, rel=0.02, abs=0.01) if isinstance(word, float) else word
        for word in words(kept)
    ]
    assert pictures(anew) == pictures(kept)
    assert not any(
        one["output_type"] == "error" for c in anew.cells for one in c.get("outputs", [])
    )
