"""Export: one call from a dataset's folder to a file of another program, whole or not at all."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.export import emd, events, hyperspy_signal, nexus, ome
from tasks.export.taken import DENSE, EVENTS, IMAGES, ExportError, Taken, take, take_events
from tasks.files import in_words, why_unwritable

STORE_MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
"""Files by which a folder is known as a Zarr store."""


@dataclass(frozen=True)
class Format:
    """A kind of file."""

    name: str
    suffixes: tuple[str, ...]
    opens: str
    """Programs that open it."""
    write: Callable[[Any, Path], Any]
    events: bool = False
    """It holds events, and no images."""
    all_images: bool = True
    """It holds many images; else one."""
    patterns: bool = False
    """It can hold dense patterns."""


FORMATS = (
    Format("hyperspy Zarr", (".zspy",), "hyperspy", hyperspy_signal.write_signal,
           all_images=False, patterns=True),
    Format("hyperspy HDF5", (".hspy",), "hyperspy", hyperspy_signal.write_signal,
           all_images=False, patterns=True),
    Format("OME-Zarr", (".ome.zarr",), "napari, ome-zarr-py", ome.write_ome_zarr),
    Format("OME-TIFF", (".ome.tif", ".ome.tiff"), "Fiji, napari, tifffile", ome.write_ome_tiff),
    Format("EMD 1.0", (".emd",), "py4DSTEM", emd.write_emd, patterns=True),
    Format("NeXus", (".nxs",), "nexusformat, H5Web, silx", nexus.write_nexus, patterns=True),
    Format("stempy HDF5", (".h5",), "stempy", events.write_stempy, events=True),
    Format("EER", (".eer",), "RELION, tifffile", events.write_eer, events=True),
)  # fmt: skip


def export(
    source: Path, target: Path, what: str | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Export a dataset's images, patterns or events.

    Parameters
    ----------
    source : Path
        Folder of a dataset; for events, an event store too.
    target : Path
        File or folder to write; its suffix chooses the format (``FORMATS``).
    what : str, optional
        ``images``, ``dense``, ``events`` or the name of an image. When absent: all images where the
        format holds many, the image that stands for the dataset where it holds one, and the events
        where it holds events.
    overwrite : bool
        Replace what is there.

    Returns
    -------
    dict
        ``path``, ``format``, ``opens`` and what was written.

    Raises
    ------
    ExportError
        If the suffix is not known, something is there already, or the source does not hold it.
    """
    form = _format_of(target)
    if target.exists() and not overwrite:
        raise ExportError(f"{target}: is there already; --overwrite replaces it.")
    _refuse_to_lose(source, target)
    facts: dict[str, Any] = {"path": str(target), "format": form.name, "opens": form.opens}
    content: Any
    if form.events:
        if what not in (None, EVENTS):
            raise ExportError(f"{target}: {form.name} holds events; {what!r} needs another format")
        content = take_events(source)
        facts |= {"events": content.events, "scan": list(content.scan_shape)}
    else:
        content = _images_or_patterns(source, target, what, form)
        facts |= {"holds": list(content.names), "shape": [axis.size for axis in content.axes]}
    _write_whole(form, content, target)
    return facts


def _refuse_to_lose(source: Path, target: Path) -> None:
    """Where a folder would be replaced, it has to be a store, and not what is read."""
    if not target.is_dir():
        if (why := why_unwritable(target)) is not None:
            raise ExportError(f"{target}: {why}")
        return
    if source.resolve().is_relative_to(target.resolve()):
        raise ExportError(f"{target}: {source}, which is read, lies in it; give another name.")
    if not any((target / name).exists() for name in STORE_MARKS) and any(target.iterdir()):
        raise ExportError(f"{target}: this folder is no Zarr store, and is not replaced.")


def _images_or_patterns(source: Path, target: Path, what: str | None, form: Format) -> Taken:
    if what == EVENTS:
        held = ", ".join(one.suffixes[0] for one in FORMATS if one.events)
        raise ExportError(f"{target}: {form.name} holds no events; formats that do: {held}")
    if what == DENSE and not form.patterns:
        held = ", ".join(one.suffixes[0] for one in FORMATS if one.patterns)
        raise ExportError(f"{target}: {form.name} holds images; patterns go into one of {held}")
    return take(source, IMAGES if what is None and form.all_images else what)


def _format_of(target: Path) -> Format:
    for form in FORMATS:
        if target.name.lower().endswith(form.suffixes):
            return form
    known = ", ".join(f"{form.suffixes[0]} ({form.name})" for form in FORMATS)
    raise ExportError(f"{target}: its suffix is that of no known format; there are {known}.")


def _write_whole(form: Format, content: Any, target: Path) -> None:
    """Write aside in the same folder and rename: what is there under its name is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    suffix = next(s for s in form.suffixes if target.name.lower().endswith(s))
    aside = target.with_name(f".{target.name}.{os.getpid()}.partial{suffix}")
    try:
        form.write(content, aside)
        if target.is_dir():
            shutil.rmtree(target)
        elif target.exists() and aside.is_dir():
            target.unlink()
        aside.replace(target)
    except OSError as error:
        # HDF5 names the file aside, and the system none.
        said = in_words(error).replace(str(aside), str(target))
        said = said if str(target) in said else f"{target}: {said}"
        raise OSError(said) from error
    finally:
        if aside.is_dir():
            shutil.rmtree(aside)
        aside.unlink(missing_ok=True)
