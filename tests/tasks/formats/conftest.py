"""Hand-made recordings: the smallest file that shows each layout and each fault."""

import struct
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


def _tag(name, value):
    """A tag of Gatan's DM4: a mapping is a group, everything else data with its type."""
    head = struct.pack(">bh", 20 if isinstance(value, dict) else 21, len(name)) + name.encode()
    if isinstance(value, dict):
        body = _group(value)
    elif isinstance(value, str):
        body = _data([20, 4, len(value)], value.encode("utf-16-le"))
    elif isinstance(value, np.ndarray):
        body = _data([20, 6, value.size], value.astype("<f4").tobytes())
    elif isinstance(value, int):
        body = _data([5], struct.pack("<I", value))
    else:
        body = _data([6], struct.pack("<f", value))
    return head + struct.pack(">q", len(body)) + body


def _data(info, data):
    return b"%%%%" + struct.pack(f">{len(info) + 1}q", len(info), *info) + data


def _group(values):
    tags = b"".join(_tag(name, value) for name, value in values.items())
    return struct.pack(">bbq", 1, 0, len(values)) + tags


@pytest.fixture
def write_dm4():
    """A function that writes frames as Digital Micrograph does, with the microscope's voltage."""

    def write(path, axes, volts=300e3, data=None):
        shape = [size for size, _, _ in axes]
        names = "abcd"[: len(axes)]  # the fastest axis first
        fastest_first = dict(zip(names, axes[::-1], strict=True))
        image = {
            "ImageData": {
                "Calibrations": {
                    "Brightness": {"Origin": 0.0, "Scale": 1.0, "Units": ""},
                    "Dimension": {
                        name: {"Origin": 0.0, "Scale": scale, "Units": unit}
                        for name, (_, scale, unit) in fastest_first.items()
                    },
                },
                "Data": np.zeros(shape) if data is None else data,
                "DataType": 2,
                "Dimensions": {name: size for name, (size, _, _) in fastest_first.items()},
                "PixelDepth": 4,
            },
            "ImageTags": {
                "Microscope Info": {"Voltage": volts, "Illumination Mode": "STEM NANOPROBE"},
                "DigiScan": {"Rotation": 90.0},
            },
            "Name": "HAADF",
        }
        body = _group({"ImageList": {"TagGroup0": image}, "InImageMode": 1})
        path.write_bytes(struct.pack(">iqi", 4, len(body), 1) + body + bytes(8))
        return path

    return write
