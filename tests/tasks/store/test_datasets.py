"""Datasets are written with the very bytes that xarray and Zarr write."""

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from tasks.store.chunks import CODEC
from tasks.store.datasets import consolidate, write_zarr


def example() -> xr.Dataset:
    rng = np.random.default_rng(0)
    image = rng.random((30, 40)).astype(np.float32)
    told = {"units": "rad", "parameters": {"q": 1.5, "none": None, "pair": (1, 2)}}
    found = xr.Dataset(
        {
            "phase": (("y", "x"), image, told | {"mean": np.float64(2.5), "list": np.arange(3)}),
            "columns": (("x", "y"), image.T),
            "object": (("y", "x"), image + 1j * image),
            "present": ("y", np.arange(30) > 3),
            "count": ("f", np.arange(5, dtype=np.uint16)),
            "gaps": ("f", np.array([1, np.nan, 3, 4, 5.0])),
            "no_value": ("f", np.full(5, np.nan, np.float32)),
            "zeros": (("y", "x"), np.zeros((30, 40), np.uint8)),
            "one": ((), np.float64(3.5)),
        },
        coords={"y": ("y", np.arange(30) / 3, {"units": "Å"}), "f": ("f", np.arange(5))},
        attrs={"title": "a scan", "quality": [{"flag": "tuned"}], "seed": np.int64(3)},
    )
    return found.set_coords("gaps")


def written_by_xarray(dataset, path, group=None):
    codecs = {
        name: (BloscCodec(typesize=one.dtype.itemsize, **CODEC), Crc32cCodec())
        for name, one in dataset.variables.items()
    }
    encoding = {
        name: {"compressors": codecs[name], "chunks": one.shape}
        for name, one in dataset.variables.items()
    }
    dataset.to_zarr(
        path, group=group, mode="a" if group else "w", zarr_format=3, consolidated=False,
        encoding=encoding,
    )  # fmt: skip


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_dataset_and_its_groups_have_the_bytes_that_xarray_writes(tmp_path):
    curves = example()[["count", "gaps"]]
    written_by_xarray(example(), tmp_path / "xarray")
    written_by_xarray(curves, tmp_path / "xarray", "frc")
    zarr.consolidate_metadata(tmp_path / "xarray")
    write_zarr(example(), tmp_path / "ours")
    write_zarr(curves, tmp_path / "ours", "frc")
    assert files_of(tmp_path / "ours") == files_of(tmp_path / "xarray")


def test_what_was_read_is_written_as_it_was(tmp_path):
    write_zarr(example(), tmp_path / "once")
    found = xr.open_zarr(tmp_path / "once", chunks=None).load()
    xr.testing.assert_identical(found, xr.open_zarr(tmp_path / "once", chunks=None))
    np.testing.assert_array_equal(found["gaps"], example()["gaps"])
    write_zarr(found, tmp_path / "twice")
    assert files_of(tmp_path / "twice") == files_of(tmp_path / "once")


def test_dataset_replaces_the_one_that_is_there(tmp_path):
    write_zarr(example(), tmp_path / "results")
    write_zarr(example()[["count"]], tmp_path / "results")
    assert not (tmp_path / "results" / "phase").exists()
    assert list(xr.open_zarr(tmp_path / "results", chunks=None).data_vars) == ["count"]


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_metadata_of_an_array_that_came_later_is_kept_with_the_others(tmp_path):
    write_zarr(example(), tmp_path)
    zarr.create_array(tmp_path, name="later", shape=(3,), dtype="f4")
    consolidate(tmp_path)
    ours = (tmp_path / "zarr.json").read_bytes()
    zarr.consolidate_metadata(tmp_path)
    assert (tmp_path / "zarr.json").read_bytes() == ours


def test_words_are_no_results(tmp_path):
    with pytest.raises(TypeError, match="name.*<U3 is no type of results; give numbers or bool"):
        write_zarr(xr.Dataset({"name": ("f", np.array(["one", "two"]))}), tmp_path / "results")
