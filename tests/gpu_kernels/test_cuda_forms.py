"""What no simulator tells: kernels ask of NumPy only what CUDA's compiler has."""

import ast
from pathlib import Path

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "gpu_kernels"
KNOWN = {
    "float32", "float64", "int16", "int64", "uint8", "uint16", "uint32", "uint64", "cos", "sin",
}  # fmt: skip
"""Types, and functions of one number; roots and rounding are those of Python."""


def cuda_functions(tree):
    """Functions with the decorator of a kernel or of a device function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(
            ast.unparse(one).startswith("cuda.jit") for one in node.decorator_list
        ):
            yield node


FOUND = [
    (path.stem, function)
    for path in sorted(KERNELS.glob("*.py"))
    for function in cuda_functions(ast.parse(path.read_text()))
]


@pytest.mark.parametrize(("module", "function"), FOUND, ids=lambda one: getattr(one, "name", one))
def test_kernel_uses_only_what_the_compiler_has(module, function):
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np":
            assert node.attr in KNOWN, f"{module}.{function.name}: np.{node.attr}"


def test_there_are_kernels():
    assert len(FOUND) > 30
