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
from xml.etree import ElementTree

import h5py

from tasks.formats.hdf5 import first_line
from tasks.formats.recording import RecordingError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
BESIDE = {
    ".mib": [".hdr"],
    ".hdr": [".mib"],
    ".rpl": [".raw", ".RAW"],
    ".emi": [f"_{number}.ser" for number in range(1, 10)],
}
"""How the names of other files end that a reader opens of itself, by the suffix of the named."""


def linked_files(path: str | Path, all_or_none: bool = False) -> list[Path]:
    """Find the other files that a recording is read from.

    Parameters
    ----------
    path : path
        A recording in one file.
    all_or_none : bool
        Refuse a file whose links cannot all be read. Else it has those that can: its reader says
        what is wrong with it.

    Returns
    -------
    list of Path
        Those that are there, in the order of their names.

    Raises
    ------
    RecordingError
        If a link cannot be read, where all are asked for.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    stem = str(path.with_suffix(""))
    beside = {Path(stem + end) for end in BESIDE.get(suffix, [])}
    try:
        if suffix == ".xml":
            beside.update(_empad_frames(path))
        elif _is_hdf5(path):
            _add_those_of_hdf5(path, beside)
    except Exception as error:  # whatever damage does to the parsing of a file
        if all_or_none:
            raise RecordingError(
                f"{path}: the files that it links to cannot be told ({first_line(error)}); it is "
                "damaged."
            ) from error
    return sorted({file for file in beside if file.is_file()} - {path})


def _empad_frames(path: Path) -> Iterator[Path]:
    # Expat refuses entities that grow without bounds.
    found = ElementTree.parse(path).getroot().find("raw_file")  # noqa: S314
    if found is not None and found.get("filename"):
        yield path.parent / str(found.get("filename"))


def _is_hdf5(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE
    return False


def _add_those_of_hdf5(path: Path, found: set[Path]) -> None:
    """Add the files that an HDF5 file links to, and those that these link to."""
    left, seen = [path], {path.resolve()}
    while left:
        one = left.pop()
        try:
            opened = h5py.File(one, "r")
        except OSError:
            if one == path:
                return  # nobody can open it, and its reader says why
            raise
        with opened as file:
            for name in _names_of_hdf5(file):
                for other in _candidates(one, name):
                    found.add(other)
                    if other.resolve() not in seen and _is_hdf5(other):
                        seen.add(other.resolve())
                        left.append(other)


def _names_of_hdf5(file: h5py.File) -> Iterator[str]:
    groups, seen = [file["/"]], set()
    while groups:
        group = groups.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                yield link.filename
            thing = group[name] if isinstance(link, h5py.HardLink) else None
            if (
                isinstance(thing, h5py.Group)
                and (at := h5py.h5o.get_info(thing.id).addr) not in seen
            ):
                seen.add(at)
                groups.append(thing)
            elif isinstance(thing, h5py.Dataset):
                yield from _names_of_data(thing)


def _names_of_data(data: h5py.Dataset) -> Iterator[str]:
    yield from (os.fsdecode(name) for name, _, _ in data.external or ())
    if data.is_virtual:
        yield from (source.file_name for source in data.virtual_sources())


def _candidates(path: Path, name: str) -> Iterator[Path]:
    """Where HDF5 looks for a file that another one names; virtual arrays may number theirs."""
    pattern = re.sub(r"%\d*b", "*", glob.escape(name))
    for folder in (path.parent, Path()):
        yield from map(Path, glob.glob(os.path.join(glob.escape(str(folder)), pattern)))
    yield path.parent / Path(name).name
