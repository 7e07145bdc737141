"""A function whose sums may be reordered has the same last digit compiled now and kept on disk.

LLVM inlines a callee that was compiled in this process, and not one that was read from numba's
cache; sums of the two are then reordered together, or are not.
"""

import ast
from pathlib import Path

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "gpu_kernels"


def compiled(tree):
    """Functions that numba compiles for the host, with the words of their decorator."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for one in node.decorator_list:
                if isinstance(one, ast.Call) and ast.unparse(one.func) == "njit":
                    yield node, {word.arg: ast.unparse(word.value) for word in one.keywords}


TREES = {path.stem: ast.parse(path.read_text()) for path in sorted(KERNELS.glob("*.py"))}
CALLED_FROM_DISK = {
    function.name
    for tree in TREES.values()
    for function, words in compiled(tree)
    if words.get("inline") != "'always'"
}
FAST = [
    (module, function)
    for module, tree in TREES.items()
    for function, words in compiled(tree)
    if "True" in words.get("fastmath", "") or "reassoc" in words.get("fastmath", "")
]


@pytest.mark.parametrize(("module", "function"), FAST, ids=lambda one: getattr(one, "name", one))
def test_fast_function_is_compiled_as_a_whole(module, function):
    names = {ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
    assert not names & CALLED_FROM_DISK, f"{module}.{function.name}"


def test_there_are_fast_functions():
    assert {function.name for _, function in FAST} >= {"_slope_cpu", "_project_cpu"}
