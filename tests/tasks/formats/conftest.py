"""Hand-made recordings: the smallest file that shows each layout and each fault."""

from itertools import pairwise

import h5py
import numpy as np
import pytest


@pytest.fixture
def write_counted(tmp_path):
    """A function that writes an electron-counted file, as stempy lays it out, with h5py alone."""

    def write(
        frames,
        scan=(2, 2),
        detector=(8, 8),
        *,
        version=3,
        positions=None,
        kind="u4",
        name="counted.h5",
        **dataset,
    ):
        path = tmp_path / name
        if positions is None:
            positions = np.arange(scan[0] * scan[1])
        with h5py.File(path, "w") as file:
            if version is not None:
                file.attrs["version"] = version
            data = file.create_dataset(
                "electron_events/frames", (len(frames),), h5py.vlen_dtype(np.dtype(kind)), **dataset
            )
            for row, frame in enumerate(frames):
                data[row] = np.asarray(frame, kind)
            data.attrs["Nx"], data.attrs["Ny"] = detector[1], detector[0]
            at = file.create_dataset("electron_events/scan_positions", data=positions)
            at.attrs["Nx"], at.attrs["Ny"] = scan[1], scan[0]
        return path

    return write


def _events_by_position(recording):
    indptr, indices = recording.read_rows(0, recording.scan_shape[0])[:2]
    return [indices[a:b].tolist() for a, b in pairwise(indptr)]


@pytest.fixture
def events_of():
    """A function that reads a whole recording into one list of pixels per position."""
    return _events_by_position
