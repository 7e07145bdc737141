"""Which format a path is in, told by what is in it, and the reader for it."""

import os
import stat
from pathlib import Path
from typing import Any

import h5py
import tifffile

from tasks.formats.arrays import Hdf5Recording, NpyRecording, ZarrRecording
from tasks.formats.blockfile import BlockFileRecording
from tasks.formats.eer import COMPRESSIONS, EerRecording
from tasks.formats.hdf5 import first_line, open_hdf5
from tasks.formats.raw_csr import RawCsrRecording, is_raw_csr
from tasks.formats.raw_sectors import Counting, RawRecording
from tasks.formats.recording import Recording, RecordingError
from tasks.formats.rosetta import RosettaRecording, reader_by_mark, reader_by_name
from tasks.formats.sector_files import scan_files
from tasks.formats.stempy_hdf5 import StempyRecording
from tasks.roots import refuse_links_out

HDF5, NPY, BLOCK = b"\x89HDF\r\n\x1a\n", b"\x93NUMPY", b"IMGBLO"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup")
SUPPORTED = (
    "electron-counted HDF5 (stempy), raw sectors of the 4D Camera, .eer, raw_csr "
    "(LiberTEM), dense HDF5 (EMD, py4DSTEM, ARINA), Zarr and npy arrays, and what rosettasciio "
    "reads: MIB, DM3 and DM4, EMPAD, BLO, MRC, TVIPS, SER, TIFF, Velox EMD"
)
OPTIONS = {
    "array": "names an array among several",
    "threshold": "turns dense values into electrons",
    "detector_shape": "settles a detector that the file leaves open",
    "upsampling": "uses the place of an electron in its pixel, which .eer files hold",
    "counting": "says how electrons are found in raw frames",
}


def open_recording(
    path: str | Path,
    *,
    array: str | None = None,
    scan_shape: tuple[int, int] | None = None,
    detector_shape: tuple[int, int] | None = None,
    drop_flyback: bool = False,
    threshold: float | None = None,
    out_of_range: str = "error",
    upsampling: int = 1,
    counting: Counting | None = None,
) -> Recording:
    """Open a recording in any known format.

    Parameters
    ----------
    path : path
        A file, or a Zarr folder.
    array : str, optional
        Which array, where the file holds several.
    scan_shape : (rows, columns), optional
        For files that do not hold it; else it must agree.
    detector_shape : (rows, columns), optional
        For files that hold it ambiguously; else it must agree.
    drop_flyback : bool
        Leave out the last column of the scan.
    threshold : float, optional
        Take dense values from here on as one electron each.
    out_of_range : str
        ``error``, or ``drop``: leave out events outside the detector, and count them in the notes.
    upsampling : int
        Finer pixels along each pixel of an ``.eer`` file.
    counting : Counting, optional
        How electrons are found in raw frames, where these are not to be counted as usual.

    Returns
    -------
    Recording
        To read rows of the scan from.

    Raises
    ------
    RecordingError
        If no reader knows the file, its reader refuses it, an option makes no sense for it, or it
        links to a file outside of the folders that a facility allows.
    """
    name = str(path)
    if out_of_range not in ("error", "drop"):
        raise RecordingError(f"{path}: out_of_range is {out_of_range!r}; it is 'error' or 'drop'.")
    for key, shape in (("scan_shape", scan_shape), ("detector_shape", detector_shape)):
        if shape is not None and (len(shape) != 2 or min(shape) < 1):
            raise RecordingError(f"{path}: {key} is {shape}; two numbers from 1 on are needed.")
    refuse_links_out(name)
    kind = _kind(name, array)
    common: dict[str, Any] = {
        "scan_shape": scan_shape,
        "detector_shape": detector_shape,
        "drop_flyback": drop_flyback,
    }
    if kind == "raw":
        _refuse(name, "raw frames", array=array, threshold=threshold)
        _refuse(name, "whole pixels", upsampling=upsampling if upsampling > 1 else None)
        return RawRecording(name, counting or Counting(), **common)
    _refuse(name, "no raw frames", counting=counting)
    if kind == "counted":
        _refuse(name, "events, not dense values", threshold=threshold)
        _refuse(name, "whole pixels", upsampling=upsampling if upsampling > 1 else None)
        return StempyRecording(name, out_of_range=out_of_range, **common)
    if kind == "csr":
        _refuse(name, "events, not dense values", array=array, threshold=threshold)
        _refuse(name, "whole pixels", upsampling=upsampling if upsampling > 1 else None)
        return RawCsrRecording(name, out_of_range=out_of_range, **common)
    if kind == "eer":
        _refuse(name, "the events of one scan", array=array, threshold=threshold)
        return EerRecording(name, upsampling=upsampling, **common)
    _refuse(name, "dense values", upsampling=upsampling if upsampling > 1 else None)
    common["threshold"] = threshold
    if kind == "hdf5":
        return Hdf5Recording(name, array=array, **common)
    if kind == "zarr":
        return ZarrRecording(name, array=array, **common)
    _refuse(name, "one array", array=array)
    if kind == "npy":
        return NpyRecording(name, **common)
    if kind == "block":
        return BlockFileRecording(name, **common)
    reader, _, other = kind.partition(":")
    return RosettaRecording(other or name, reader, **common)


def _kind(path: str, array: str | None) -> str:
    """Of which kind a path is; for what rosettasciio reads, the name of its reader."""
    if os.path.exists(path) and scan_files(path):
        return "raw"
    head = _head(path)
    if head is None:
        return "zarr"
    if head.startswith(HDF5):
        return _kind_of_hdf5(path, array)
    if head.startswith(NPY):
        return "npy"
    if head.startswith(BLOCK):
        return "block"
    if head[:4] in TIFF:
        return "eer" if _is_eer(path) else "tiff"
    if head.startswith(b"HDR") and Path(path).with_suffix(".mib").exists():
        return f"quantumdetector:{Path(path).with_suffix('.mib')}"
    if is_raw_csr(path):
        return "csr"
    reader = reader_by_mark(head) or reader_by_name(path)
    if reader is None:
        raise RecordingError(
            f"{path}: no reader knows this file; it begins with {head[:8]!r}. Known are "
            f"{SUPPORTED}."
        )
    return reader


def _kind_of_hdf5(path: str, array: str | None) -> str:
    with open_hdf5(path) as file:
        if array is None and "electron_events" in file:
            return "counted"
        if array is None and isinstance(file.get("Data/Image"), h5py.Group):
            return "emd"  # Velox keeps its frames on the last axis
    return "hdf5"


def _is_eer(path: str) -> bool:
    """Tell whether one of the first two pages holds electrons in EER's compressions."""
    try:
        with open(path, "rb") as file, tifffile.TiffFile(file) as tiff:
            numbers = range(min(2, len(tiff.pages)))
            return any(int(tiff.pages[n].aspage().compression) in COMPRESSIONS for n in numbers)
    except Exception as error:  # whatever damage does to the parsing of a TIFF
        raise RecordingError(
            f"{path}: it begins as a TIFF, but its pages cannot be read ({type(error).__name__}: "
            f"{first_line(error)}); the file is cut short or damaged."
        ) from error


def _head(path: str) -> bytes | None:
    """The first bytes of a file; None for a Zarr folder."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            if any(os.path.exists(os.path.join(path, mark)) for mark in ZARR_MARKS):
                return None
            raise RecordingError(
                f"{path}: this is a folder, and neither a Zarr array or group, with one of "
                f"{', '.join(ZARR_MARKS)} in it, nor raw sector files. Give a file."
            )
        if not stat.S_ISREG(mode):  # a pipe would wait for a writer for ever
            raise RecordingError(f"{path}: this is no regular file.")
        with open(path, "rb") as file:
            head = file.read(4096)
    except (OSError, ValueError) as error:
        if isinstance(error, RecordingError):
            raise
        why = getattr(error, "strerror", None) or error
        raise RecordingError(f"{path}: cannot be read: {why}.") from error
    if not head:
        raise RecordingError(f"{path}: the file is empty; its writing or copy did not begin.")
    return head


def _refuse(path: str, holds: str, **options: Any) -> None:
    """Refuse an option that would be ignored."""
    for key, value in options.items():
        if value is not None:
            raise RecordingError(
                f"{path}: {key} {OPTIONS[key]}, but this file holds {holds}; leave {key} out."
            )
