"""Small arrays of counts in every container, and the events that they say."""

import h5py
import hdf5plugin
import numpy as np
import zarr

SCAN, DETECTOR = (3, 5), (6, 4)


def counts(dtype="u2", seed=0):
    return np.random.default_rng(seed).poisson(0.4, (*SCAN, *DETECTOR)).astype(dtype)


def expected_events(data):
    flat = data.reshape(-1, DETECTOR[0] * DETECTOR[1]).astype(int)
    return [np.repeat(np.arange(row.size), row).tolist() for row in flat]


def save(kind, path, data):
    """Write data as one container and give the path back."""
    if kind == "npy":
        with open(path, "wb") as file:  # so that no suffix is added
            np.save(file, data)
        return path
    if kind == "fortran npy":
        return save("npy", path, np.asfortranarray(data))
    if kind.startswith("zarr"):
        zarr.create_array(str(path), data=data, chunks=(1, 5, 6, 4), zarr_format=int(kind[-1]))
        return path
    options = {"hdf5": {}, "gzip": {"compression": "gzip", "chunks": (1, 2, 6, 4)},
               "bitshuffle": hdf5plugin.Bitshuffle(cname="lz4")}[kind]  # fmt: skip
    with h5py.File(path, "w") as file:
        file.create_dataset("experiment/data", data=data, **options)
    return path
