"""What is installed: versions against those that were tested, and whose packages ours are."""

import platform
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from flows.doctor.finding import Finding

ROOT = Path(__file__).resolve().parents[2]
OURS = ("flows", "tasks", "gpu_kernels", "models")


def versions(constraints: Path = ROOT / "constraints.txt") -> Iterator[Finding]:
    """Packages against what this distribution asks for, and against the tested set beside it."""
    needed = [
        one
        for text in requires("phasemill") or []
        if (one := Requirement(text)).marker is None or one.marker.evaluate({"extra": ""})
    ]
    wrong = [complaint for one in needed if (complaint := _complaint(one))]
    tested = _pinned(constraints) if constraints.is_file() else {}
    names = {one.name.lower() for one in needed} & tested.keys()
    other = [
        f"{name} {found} (tested: {tested[name]})"
        for name in sorted(names)
        if (found := _installed(name)) and Version(found) != Version(tested[name])
    ]
    cure = "pip install -c constraints.txt -e . brings the tested versions"
    if wrong:
        yield Finding("versions", "bad", "; ".join(wrong), cure)
    elif other:
        yield Finding("versions", "warn", "; ".join(other), cure)
    else:
        yield Finding("versions", "ok", f"Python {platform.python_version()}, packages as tested")


def names(path: list[str] | None = None) -> Iterator[Finding]:
    """Whether another project's package of the same name comes first on Python's path."""
    path = sys.path if path is None else path
    strangers = []
    for name in OURS:
        found = PathFinder.find_spec(name, path)
        origin = found and (found.origin or next(iter(found.submodule_search_locations or []), ""))
        if origin and ROOT not in Path(origin).resolve().parents:
            strangers.append(f"{name} is {origin}")
    if strangers:
        yield Finding(
            "names",
            "bad",
            "; ".join(strangers),
            "keep Phasemill in an environment of its own, start it elsewhere than in that folder, "
            "or set PYTHONSAFEPATH=1 and unset PYTHONPATH",
        )
    else:
        yield Finding("names", "ok", f"{', '.join(OURS)} are those of {ROOT}")


def _complaint(needed: Requirement) -> str:
    found = _installed(needed.name)
    if found is None:
        return f"{needed.name} is not installed"
    if not needed.specifier.contains(found, prereleases=True):
        return f"{needed.name} {found} (needed: {needed.specifier})"
    return ""


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _pinned(constraints: Path) -> dict[str, str]:
    lines = constraints.read_text(encoding="utf-8").splitlines()
    pins = (line.partition("==") for line in lines if "==" in line)
    return {name.strip().lower(): pin.strip() for name, _, pin in pins}
