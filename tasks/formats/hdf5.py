"""Opening HDF5 files, with one clear error for everything that can be wrong with one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import h5py
import hdf5plugin  # noqa: F401  registers the filters that detectors' files use

from tasks.formats.recording import RecordingError


@contextmanager
def open_hdf5(path: str) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises
    ------
    RecordingError
        If it is not there, not HDF5, cut short, still being written, or damaged.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise RecordingError(f"{path}: {_cause(path, error)}") from error
    with file:
        try:
            yield file
        except (OSError, RuntimeError, KeyError) as error:
            raise RecordingError(
                f"{path}: the file is damaged; HDF5 says: {str(error).splitlines()[0]}"
            ) from error


def _cause(path: str, error: OSError) -> str:
    text = str(error)
    if not os.path.exists(path):
        return "there is no such file."
    if "truncated" in text:
        return f"the file is cut short; its copy or writing did not finish ({text})."
    if "lock" in text or "errno = 11" in text:
        return (
            "the file is locked, so it is still being written; wait for its writer. Where a file "
            "system cannot lock, set HDF5_USE_FILE_LOCKING=FALSE."
        )
    if "signature not found" in text:
        return "this is not an HDF5 file, or its beginning is damaged."
    return f"HDF5 cannot open it: {error.strerror or text}."
