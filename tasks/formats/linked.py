"""Files that a recording is read from besides the one that is named.

HDF5 files link to others (a detector's master file to its stacks), and some formats keep head and
frames apart. What is linked belongs to the recording: a change of it is a change of the recording,
and it must lie where the recording may lie.
"""

import glob
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py

from tasks.formats.hdf5 import DAMAGE

SIGNATURE = b"\x89HDF\r\n\x1a\n"
BESIDE = {
    ".mib": [".hdr"],
    ".hdr": [".mib"],
    ".rpl": [".raw", ".RAW"],
    ".emi": [f"_{number}.ser" for number in range(1, 10)],
}
"""How the names of other files end that a reader opens of itself, by the suffix of the named."""


def linked_files(path: str | Path) -> list[Path]:
    """Find the other files that a recording is read from.

    Parameters
    ----------
    path : path
        A recording in one file.

    Returns
    -------
    list of Path
        Those that are there, in the order of their names. A file that cannot be read has none: its
        reader says why.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    stem = str(path.with_suffix(""))
    beside = [Path(stem + end) for end in BESIDE.get(suffix, [])]
    if suffix == ".xml":
        beside += _empad_frames(path)
    elif _is_hdf5(path):
        beside += _of_hdf5(path, set())
    return sorted({file for file in beside if file.is_file()} - {path})


def _empad_frames(path: Path) -> list[Path]:
    with suppress(OSError, ElementTree.ParseError, ValueError):
        # Expat refuses entities that grow without bounds.
        found = ElementTree.parse(path).getroot().find("raw_file")  # noqa: S314
        if found is not None and found.get("filename"):
            return [path.parent / str(found.get("filename"))]
    return []


def _is_hdf5(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE
    return False


def _of_hdf5(path: Path, seen: set[Path]) -> set[Path]:
    """Files that an HDF5 file links to, and those that these link to."""
    seen.add(path.resolve())
    found: set[Path] = set()
    with suppress(*DAMAGE), h5py.File(path, "r") as file:
        for name in _names_of_hdf5(file):
            found.update(_candidates(path, name))
    for one in sorted(found):
        if one.resolve() not in seen and _is_hdf5(one):
            found |= _of_hdf5(one, seen)
    return found


def _names_of_hdf5(file: h5py.File) -> list[str]:
    names: list[str] = []

    def link(_: str, found: Any) -> None:
        if isinstance(found, h5py.ExternalLink):
            names.append(found.filename)

    def thing(_: str, found: Any) -> None:
        if isinstance(found, h5py.Dataset):
            names.extend(os.fsdecode(name) for name, _, _ in found.external or ())
            if found.is_virtual:
                names.extend(source.file_name for source in found.virtual_sources())

    file.visititems_links(link)
    file.visititems(thing)
    return names


def _candidates(path: Path, name: str) -> Iterator[Path]:
    """Where HDF5 looks for a file that another one names; virtual arrays may number theirs."""
    pattern = re.sub(r"%\d*b", "*", glob.escape(name))
    for folder in (path.parent, Path()):
        yield from map(Path, glob.glob(os.path.join(glob.escape(str(folder)), pattern)))
    yield path.parent / Path(name).name
