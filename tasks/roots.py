"""Roots: the folders that a recording and all it links to may lie in, where a facility sets any."""

import os
from collections.abc import Iterator
from pathlib import Path

from tasks.fetch import is_remote
from tasks.formats.linked import linked_files
from tasks.formats.recording import RecordingError

ROOTS = "PHASEMILL_ROOTS"
"""Environment variable with folders, separated by ``:``; unset: any path that the user may read."""


def roots() -> list[Path]:
    """The folders, links followed; none where any path will do."""
    return [Path(os.path.realpath(root)) for root in os.environ.get(ROOTS, "").split(":") if root]


def refusal(path: str) -> str | None:
    """Why a path may not be used, None where it may."""
    allowed = roots()
    inside = any(Path(os.path.realpath(path)).is_relative_to(root) for root in allowed)
    if not allowed or (inside and not is_remote(path)):
        return None
    named = ", ".join(map(str, allowed))
    return f"{path} is outside of the folders that jobs may use: {named}"


def refuse_links_out(path: str | Path) -> None:
    """Hold what a recording links to to the roots: symbolic links and links of HDF5.

    Raises
    ------
    RecordingError
        If any of it lies outside of them, or cannot be told.
    """
    if not roots():
        return
    for file in _linked(Path(path)):
        if why := refusal(str(file)):
            raise RecordingError(f"{path}: it links to a file that is not to be read: {why}.")


def _linked(path: Path) -> Iterator[Path]:
    yield path
    if not path.is_dir():
        yield from linked_files(path, all_or_none=True)
        return
    for folder, folders, files in os.walk(path):
        inside = (Path(folder) / name for name in [*folders, *files])
        yield from (one for one in inside if one.is_symlink())
