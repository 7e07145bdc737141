"""Detectors' own files that rosettasciio reads: MIB, DM4, EMPAD, BLO, MRC, TVIPS and others."""

import warnings
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tasks.formats.dense import DenseRecording
from tasks.formats.hdf5 import json_value
from tasks.formats.recording import RecordingError

MARKS = (
    (0, b"MQ1", "quantumdetector"),
    (0, b"IMGBLO", "blockfile"),
    (208, b"MAP ", "mrc"),
    (52, b"TVIPS", "tvips"),
    (0, b"\0\0\0\3", "digitalmicrograph"),
    (0, b"\0\0\0\4", "digitalmicrograph"),
    (0, b"II\x97\x01", "tia"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"II+\0", "tiff"),
    (0, b"MM\0+", "tiff"),
)
"""Byte, mark and rosettasciio's reader of formats that say what they are."""
UNMARKED = {"xml": "empad", "rpl": "ripple", "emi": "tia", "mrcz": "mrcz"}
"""Suffix and reader of formats that bear no mark."""


class RosettaRecording(DenseRecording):
    """Frames that rosettasciio reads lazily."""

    def __init__(
        self, path: str, reader: str, *, scan_shape: tuple[int, int] | None = None, **options: Any
    ) -> None:
        self._opened(path)
        self.reader = reader
        # Merlin's files lack the scan, and the reader would guess it from time stamps.
        self._told = tuple(scan_shape) if reader == "quantumdetector" and scan_shape else None
        opened = self._open()
        self.metadata, said = opened[1], opened[2]
        self.format = f"{reader} (read by rosettasciio)"
        self.notes += said
        if reader == "quantumdetector" and scan_shape is None:
            self.notes.append("the scan shape was guessed from time stamps or the .hdr file")
        super().__init__(path, opened[0].shape, opened[0].dtype, scan_shape=scan_shape, **options)

    def _open(self) -> tuple[Any, dict[str, Any], list[str]]:
        return _open_lazily(self.path, self._state, self.reader, self._told)

    def _frames(self, first: int, last: int) -> np.ndarray:
        return self._from_array(self._open()[0], first, last)

    def _fetch(self, part: Any) -> np.ndarray:
        # On this thread alone: inside a Dask worker the default would ask the cluster and wait.
        return part.compute(scheduler="synchronous") if hasattr(part, "dask") else np.asarray(part)


def reader_by_mark(head: bytes) -> str | None:
    """Name of the reader for a file that begins so, if its format has a mark."""
    for at, mark, reader in MARKS:
        if head[at : at + len(mark)] == mark:
            return reader
    if head.lstrip()[:1] == b"<" and b"<root" in head:
        return "empad"
    return None


def reader_by_name(path: str) -> str | None:
    """Name of the reader for a format that has no mark, by the suffix of the file."""
    return UNMARKED.get(Path(path).suffix.lower().lstrip("."))


@lru_cache(maxsize=4)
def _open_lazily(
    path: str, state: tuple[int, int], reader: str, scan: tuple[int, int] | None
) -> tuple[Any, dict[str, Any], list[str]]:
    """The frames as a lazy array, what the file says of them, and the reader's warnings."""
    told = {} if scan is None else {"navigation_shape": (scan[1], scan[0])}
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            signals = import_module(f"rsciio.{reader}").file_reader(path, lazy=True, **told)
    except Exception as error:  # its readers raise whatever their formats bring
        raise RecordingError(
            f"{path}: rosettasciio's reader {reader} cannot open it ({type(error).__name__}: "
            f"{error})."
        ) from error
    wide = [s for s in signals if np.ndim(s["data"]) in (3, 4)]
    if not wide:
        raise RecordingError(f"{path}: {reader}: it holds no stack of frames.")
    signal = max(wide, key=lambda s: s["data"].size)
    said = sorted({f"{reader}: {w.message}" for w in caught})
    return _frames_last(signal), _flat(signal.get("metadata", {})), said


def _frames_last(signal: dict[str, Any]) -> Any:
    """The array with the scan's axes before the detector's, as the reader names them."""
    axes = sorted(signal.get("axes", []), key=lambda axis: axis.get("index_in_array", 0))
    scan = [n for n, axis in enumerate(axes) if axis.get("navigate")]
    if len(axes) != signal["data"].ndim or len(axes) - len(scan) != 2:
        return signal["data"]
    return signal["data"].transpose(scan + [n for n in range(len(axes)) if n not in scan])


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = json_value(value)
    return flat
