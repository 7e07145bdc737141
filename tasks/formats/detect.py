"""Which format a path is in, told by what is in it, and the reader for it."""

from pathlib import Path

import h5py

from tasks.formats.dense import Hdf5Recording, NpyRecording, RosettaRecording, ZarrRecording
from tasks.formats.hdf5 import open_hdf5
from tasks.formats.recording import Recording, RecordingError
from tasks.formats.stempy_hdf5 import FRAMES, StempyRecording

HDF5, NPY = b"\x89HDF\r\n\x1a\n", b"\x93NUMPY"
BIGTIFF = (b"II+\0", b"MM\0+")
ROSETTA = {"mib": "quantumdetector", "hdr": "quantumdetector", "dm4": "digitalmicrograph",
           "dm3": "digitalmicrograph", "xml": "empad", "blo": "blockfile", "seq": "de5",
           "tvips": "tvips", "mrc": "mrc", "mrcz": "mrcz", "hspy": "hspy"}  # fmt: skip
"""rosettasciio's reader for files that carry no mark of their own."""


def open_recording(
    path: str | Path,
    *,
    array: str | None = None,
    scan_shape: tuple[int, int] | None = None,
    detector_shape: tuple[int, int] | None = None,
    drop_flyback: bool = False,
    threshold: float | None = None,
    out_of_range: str = "error",
) -> Recording:
    """Open a recording in any known format.

    Parameters
    ----------
    path : path
        A file, or a Zarr folder.
    array : str, optional
        Which array, where the file holds several.
    scan_shape : (rows, cols), optional
        For files that do not hold it.
    detector_shape : (rows, cols), optional
        For files that hold it ambiguously.
    drop_flyback : bool
        Drop the last column of the scan.
    threshold : float, optional
        Take dense values from here on as one electron each.
    out_of_range : str
        ``error`` or ``drop`` events outside the detector.

    Returns
    -------
    Recording
        To read rows of the scan from.

    Raises
    ------
    RecordingError
        If no reader knows the file, or its reader refuses it.
    """
    name, dense = str(path), {"scan_shape": scan_shape, "threshold": threshold}
    if Path(path).is_dir():
        if any((Path(path) / mark).exists() for mark in ("zarr.json", ".zarray", ".zgroup")):
            return ZarrRecording(name, array=array, **dense)
        raise RecordingError(f"{path}: this folder is no Zarr array or group.")
    head = _head(name)
    if head.startswith(HDF5):
        with open_hdf5(name) as file:
            counted = isinstance(file.get(FRAMES), h5py.Dataset) or "electron_events" in file
        if counted and array is None:
            return StempyRecording(
                name,
                detector_shape=detector_shape,
                drop_flyback=drop_flyback,
                out_of_range=out_of_range,
            )
        return Hdf5Recording(name, array=array, **dense)
    if head.startswith(NPY):
        return NpyRecording(name, **dense)
    plugin = ROSETTA.get(Path(path).suffix.lower().lstrip("."))
    if plugin:
        return RosettaRecording(name, plugin, **dense)
    raise RecordingError(
        f"{path}: no reader knows this file; it begins with {head[:8]!r}. Known are "
        "electron-counted HDF5 (stempy), EER, dense HDF5, Zarr and npy arrays, and "
        f"{', '.join(sorted(ROSETTA))} files."
    )


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}.") from error
    if not head:
        raise RecordingError(f"{path}: the file is empty.")
    return head
