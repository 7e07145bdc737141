"""What stands where a result is to go, and is none: it is never thrown away."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from tasks.store import layout
from tasks.store.files import data_names
from tasks.store.publish import read_manifest

RESULT = frozenset(
    (layout.RESULTS, layout.DENSE, layout.REPORT, layout.PROVENANCE, layout.IMAGES, layout.MANIFEST)
)
"""Names in a dataset's folder; what one holds that lost its manifest is known by them."""
KEPT = ".kept"
"""Suffix of the folder that takes what somebody put into a result."""


class ForeignFilesError(ValueError):
    """Something stands where a result is to go, and would be lost."""


def refuse_foreign(folder: Path) -> None:
    """Refuse a place where anything stands but a result, whole or damaged, or an empty folder.

    Raises
    ------
    ForeignFilesError
        Which names what is there.
    """
    if folder.is_symlink():
        raise ForeignFilesError(
            f"{folder} is a link, and results replace what has their name; give the folder that it "
            "is to lie in as output, or the dataset another name."
        )
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ForeignFilesError(
            f"{folder} is a file where a result's folder is to stand; move it, or give the dataset "
            "another name."
        )
    names = {one.name for one in folder.iterdir()}
    known = names & {layout.MANIFEST, layout.PROVENANCE}
    if not known and (others := sorted(names - RESULT)):
        raise ForeignFilesError(
            f"{folder} holds {others[0]} and is no result, and a result would take its place; give "
            "the dataset another name, or the job another output."
        )


def refuse_other_recording(folder: Path, path: str, sha256: Callable[[], str]) -> None:
    """Refuse a place where the result of another recording stands.

    Parameters
    ----------
    folder : Path
        Where a result may stand.
    path : str
        Of the recording that is to be milled.
    sha256 : callable
        Gives its hash; asked only where the paths differ, for a recording may have been moved.

    Raises
    ------
    ForeignFilesError
        Which names both recordings.
    """
    manifest = read_manifest(folder)
    milled = None if manifest is None else manifest.parameters.get("job", {}).get("path")
    if milled is None or milled == path:
        return
    try:
        told = json.loads((folder / layout.PROVENANCE).read_text(encoding="utf-8"))
        same = told["input"]["sha256"] == sha256()
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise ForeignFilesError(
            f"{folder} holds the result of another recording, {milled}; give one of the two "
            "another name, or move that result away."
        )


def keep_foreign(folder: Path) -> list[Path]:
    """Move what is not of a result out of its folder, before another takes its place.

    Parameters
    ----------
    folder : Path
        A result, whole or damaged, or nothing.

    Returns
    -------
    list of Path
        Where everything is now: under the folder's name with ``.kept``, where nothing is replaced.
    """
    if not folder.is_dir():
        return []
    manifest, kept = read_manifest(folder), folder.with_name(folder.name + KEPT)
    moved = []
    for name in data_names(folder):
        own = name.split("/")[0] in RESULT if manifest is None else name in manifest.files
        if own:
            continue
        number, place = 0, kept / name
        while os.path.lexists(place):
            number += 1
            place = kept / f"{name}~{number}"
        place.parent.mkdir(parents=True, exist_ok=True)
        (folder / name).rename(place)
        moved.append(place)
    return moved
