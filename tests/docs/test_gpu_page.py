"""The page about GPUs names every kernel and its forms; none sums floats by atomics."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNELS = sorted(path for path in (ROOT / "gpu_kernels").glob("*.py") if path.stem != "__init__")
PAGE = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
USES = {
    "numba": r"@njit|njit\(",
    "SciPy": r"scipy|libraries\(",
    "NumPy": r"libraries\(",
    "numba.cuda": r"cuda\.jit",
    "CuPy": r"libraries\(|cupy",
}
INTEGERS = {"uint32", "int64"}


def rows():
    """(kernels, forms on cores, forms on a device, test) of each row of the two tables."""
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) in (2, 4) and "`.py" not in cells[0]:
            names = re.findall(r"`(\w+)`", cells[0])
            if all((ROOT / "gpu_kernels" / f"{name}.py").is_file() for name in names):
                yield names, *(cells[1:] if len(cells) == 4 else (None, None, None))


def test_every_kernel_is_named_once():
    named = [name for names, *_ in rows() for name in names]
    assert sorted(named) == [path.stem for path in KERNELS]


@pytest.mark.parametrize("row", [row for row in rows() if row[1]], ids=lambda row: row[0][0])
def test_kernel_has_the_forms_and_the_test_that_the_page_says(row):
    names, cores, device, test = row
    text = "".join((ROOT / "gpu_kernels" / f"{name}.py").read_text() for name in names)
    for form in (*cores.split(", "), *device.split(", ")):
        assert re.search(USES[form], text), form
    tests = (ROOT / "tests" / "gpu_kernels" / test.strip("`")).read_text()
    assert re.search(r"def test_\w+\([^)]*twin", tests)
    assert any(re.search(rf"gpu_kernels(\.| import .*\b){name}\b", tests) for name in names)


@pytest.mark.parametrize("row", [row for row in rows() if not row[1]], ids=lambda row: row[0][0])
def test_kernel_for_the_host_alone_has_no_cuda_kernel(row):
    for name in row[0]:
        assert "@cuda.jit" not in (ROOT / "gpu_kernels" / f"{name}.py").read_text()


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.stem)
def test_atomics_are_on_whole_numbers_only(path):
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("cuda.atomic"):
            array = ast.unparse(node.args[0])
            made = re.search(rf"\b{array}\b[^=\n]* = .*device_zeros\(.*np\.(\w+)\)", text)
            assert made, f"{path.name}: nobody sees what {array} is made of"
            assert set(re.findall(r"np\.(\w+)\)", made.group())) <= INTEGERS, made.group()
