"""Detectors' own files that rosettasciio reads: MIB, DM4, EMPAD, MRC, TVIPS and others."""

import warnings
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tasks.formats.dense import DenseRecording
from tasks.formats.hdf5 import first_line, json_value
from tasks.formats.recording import RecordingError, times

MARKS = (
    (0, b"MQ1", "quantumdetector"),
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
UNMARKED = {"xml": "empad", "rpl": "ripple", "emi": "tia"}
"""Suffix and reader of formats that bear no mark."""


class RosettaRecording(DenseRecording):
    """Frames that rosettasciio reads lazily."""

    def __init__(
        self, path: str, reader: str, *, scan_shape: tuple[int, int] | None = None, **options: Any
    ) -> None:
        self._opened(path)
        self.reader = reader
        if reader == "quantumdetector" and not path.endswith(".mib"):
            raise RecordingError(
                f"{path}: this is a Merlin file; its reader needs the suffix .mib. Rename it."
            )
        self._as_stack = reader == "quantumdetector" and scan_shape is not None
        data, self.metadata, said = self._open()
        self.format = f"{reader} (read by rosettasciio)"
        self.notes += said
        if reader == "quantumdetector" and scan_shape is None:
            frames = _open_lazily(path, self._state, reader, True)[0].shape[0]
            left_out = frames - int(np.prod(data.shape[:-2]))
            self.notes.append(
                f"the scan of {times(data.shape[:-2])} was guessed from time stamps or the .hdr "
                f"file, {left_out} of {frames} frames are left out; scan_shape in the job decides"
            )
        super().__init__(path, data.shape, data.dtype, scan_shape=scan_shape, **options)

    def _open(self) -> tuple[Any, dict[str, Any], list[str]]:
        return _open_lazily(self.path, self._state, self.reader, self._as_stack)

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
    path: str, state: tuple[int, int], reader: str, as_stack: bool
) -> tuple[Any, dict[str, Any], list[str]]:
    """The frames as a lazy array, what the file says of them, and the reader's warnings."""
    # Told of too many frames, Merlin's reader gives all that there are, and guesses no scan.
    told = {"navigation_shape": (1 << 40,)} if as_stack else {}
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            signals = import_module(f"rsciio.{reader}").file_reader(path, lazy=True, **told)
    except Exception as error:  # its readers raise whatever their formats bring
        raise RecordingError(
            f"{path}: rosettasciio's reader {reader} cannot open it ({type(error).__name__}: "
            f"{first_line(error)})."
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
