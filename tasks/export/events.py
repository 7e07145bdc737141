"""Export of electron events: stempy's HDF5, and run-length coded ``.eer`` frames.

Both hold every electron at its pixel, so what is read back is what was written. An ``.eer`` frame
holds one electron a pixel at most, and no file of either kind says how many frames a position had.
"""

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import quoteattr

import numpy as np

from gpu_kernels.codecs import CodecError, RunLength, encode_run_length
from tasks.export.taken import ExportError
from tasks.store.events import EventStore
from tasks.store.stempy_file import write_stempy_file

EER_8_BIT, EER_7_BIT = 65000, 65001
CODES = {EER_8_BIT: RunLength(8, 2, 2), EER_7_BIT: RunLength(7, 2, 2)}
SPARSE = 1 / 64
"""Electrons of a pixel and frame below which skips of 8 bits make the smaller file."""
COUNTING = "electron_counting/"
"""Where stempy's files keep the thresholds of counting, in their metadata."""
LONG, LONG8, SHORT, UNDEFINED = 4, 16, 3, 7
"""Types of TIFF's values."""


def write_stempy(events: EventStore, path: Path) -> int:
    """Write the events as stempy's layout 3; a position without a frame is an empty row.

    Returns
    -------
    int
        Electrons written.
    """
    slabs = (tuple(events.read(slab)) for slab in range(events.slabs))
    about = {"source": events.metadata["source"]["name"], "format": events.metadata["format"]}
    counted = {
        name.removeprefix(COUNTING): value
        for name, value in events.metadata["recording"].items()
        if name.startswith(COUNTING)
    }
    about |= {COUNTING.rstrip("/"): counted} if counted else {}
    return write_stempy_file(path, slabs, events.scan_shape, events.detector_shape, about)  # type: ignore[arg-type]


def write_eer(events: EventStore, path: Path) -> int:
    """Write the events as a BigTIFF of run-length coded frames, one for each scan position.

    Parameters
    ----------
    events : EventStore
        Each pixel of a frame with one electron at most.
    path : Path
        File to write. The shape of the scan stands in the metadata of its first page.

    Returns
    -------
    int
        Electrons written.

    Raises
    ------
    ExportError
        If a pixel has two electrons in one frame; it names the scan position.
    """
    rows, cols = events.detector_shape
    mean = events.events / (events.scan_shape[0] * events.scan_shape[1] * rows * cols)
    compression = EER_8_BIT if mean < SPARSE else EER_7_BIT
    story = _story(events)
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        link = 8
        for frame in _frames(events, CODES[compression]):
            link = _append_page(file, link, frame, (rows, cols), compression, story)
            story = b""
    return events.events


def _frames(events: EventStore, code: RunLength) -> Iterator[bytes]:
    """Coded bytes of each scan position."""
    pixels = events.detector_shape[0] * events.detector_shape[1]
    for slab in range(events.slabs):
        indptr, indices = events.read(slab)
        try:
            offsets, stream = encode_run_length(indptr, indices.astype(np.uint32), pixels, code)
        except CodecError as error:
            row, col = divmod(error.frame, events.scan_shape[1])
            row += events.rows(slab)[0]
            raise ExportError(
                f"{events.path}: scan position ({row}, {col}) cannot be written as .eer: "
                f"{error.why}. Export to stempy's .h5, which holds any number."
            ) from error
        for first, last in pairwise(offsets.tolist()):
            yield stream[first:last].tobytes()


def _append_page(
    file: BinaryIO, link: int, data: bytes, shape: tuple[int, int], compression: int, story: bytes
) -> int:
    """Write a page and its directory, point the last one to it; returns where the next is named."""
    begin = file.tell()
    file.write(data + bytes(-len(data) % 8))
    about = file.tell()
    file.write(story + bytes(-len(story) % 8))
    values = [
        (256, LONG, 1, shape[1]),
        (257, LONG, 1, shape[0]),
        (258, SHORT, 1, 8),
        (259, SHORT, 1, compression),
        (262, SHORT, 1, 1),
        (273, LONG8, 1, begin),
        (277, SHORT, 1, 1),
        (278, LONG, 1, shape[0]),
        (279, LONG8, 1, len(data)),
    ]
    if story:
        values.append((65001, UNDEFINED, len(story), about))
    directory = file.tell()
    file.write(struct.pack("<Q", len(values)))
    for value in values:
        file.write(struct.pack("<HHQQ", *value))
    following = file.tell()
    file.write(bytes(8))
    file.seek(link)
    file.write(struct.pack("<Q", directory))
    file.seek(0, 2)
    return following


def _story(events: EventStore) -> bytes:
    rows, cols = events.scan_shape
    items = {
        "scanRows": str(rows), "scanColumns": str(cols), "software": "phasemill",
        "source": events.metadata["source"]["name"],
    }  # fmt: skip
    inside = "".join(f"<item name={quoteattr(k)}>{_escaped(v)}</item>" for k, v in items.items())
    return f"<metadata>{inside}</metadata>".encode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
