"""The pinned packages fit every Python that the project promises to run on."""

from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"


@pytest.mark.parametrize("python", ["3.11.2", "3.12.3"], ids=["Debian 12", "Ubuntu 24.04"])
def test_each_pinned_package_takes_the_python_of_a_distribution(python):
    # These keep an early patch release for years.
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower() for line in lines}
    needs = {
        package.name: package.metadata.get("Requires-Python")
        for package in distributions()
        if package.name.lower() in pinned
    }
    assert len(needs) > 100
    unfit = {
        name: need for name, need in needs.items() if need and python not in SpecifierSet(need)
    }
    assert not unfit
