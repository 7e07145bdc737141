"""The layers point one way, and the four folders belong to this distribution alone."""

import ast
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "flows": {"flows", "tasks", "models"},
    "tasks": {"tasks", "models", "gpu_kernels"},
    "models": {"models"},
    "gpu_kernels": {"gpu_kernels"},
}
NEVER_IN_THE_GROUND = {"dask", "distributed", "zarr", "prefect", "h5py", "xarray", "pydantic"}


def imported(file: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in the file the import stands."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("layer", ALLOWED)
def test_layer_imports_only_what_lies_below(layer):
    files = list((ROOT / layer).rglob("*.py"))
    assert files
    for file in files:
        assert imported(file) & ALLOWED.keys() <= ALLOWED[layer], file.relative_to(ROOT)


@pytest.mark.parametrize("layer", ["models", "gpu_kernels"])
def test_ground_knows_no_file_dask_or_prefect(layer):
    for file in (ROOT / layer).rglob("*.py"):
        assert not imported(file) & NEVER_IN_THE_GROUND, file.relative_to(ROOT)


def test_tasks_know_no_prefect():
    for file in (ROOT / "tasks").rglob("*.py"):
        assert "prefect" not in imported(file), file.relative_to(ROOT)


def test_no_other_distribution_owns_our_folders():
    owners = packages_distributions()
    for layer in ALLOWED:
        assert set(owners.get(layer, ["phasemill"])) == {"phasemill"}
