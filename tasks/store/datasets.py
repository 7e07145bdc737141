"""Datasets of results on disk: Zarr v3 that xarray opens, the same bytes every time."""

import warnings
from pathlib import Path

import xarray as xr
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from tasks.store.chunks import CODEC


def write_zarr(dataset: xr.Dataset, path: Path, group: str | None = None) -> None:
    """Write a dataset with checksums, one chunk a variable.

    Parameters
    ----------
    dataset : xarray.Dataset
        In memory.
    path : Path
        The store; it is made where it is not there.
    group : str, optional
        Group of the store to write into, beside what is there.
    """
    encoding = {
        name: {
            "compressors": (BloscCodec(typesize=array.dtype.itemsize, **CODEC), Crc32cCodec()),
            "chunks": array.shape,
        }
        for name, array in dataset.variables.items()
    }
    dataset.to_zarr(
        path,
        group=group,
        mode="w" if group is None else "a",
        zarr_format=3,
        consolidated=False,
        encoding=encoding,
    )
    consolidate(path)


def consolidate(path: Path) -> None:
    """Keep the metadata of all arrays in one place, so that opening reads one file."""
    with warnings.catch_warnings():
        # Every reader that we know takes it; without it xarray warns of a slow opening.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(path)
