"""Groups and arrays are laid out, and single chunks written, past Zarr; no byte may tell."""

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec

from tasks.store import events
from tasks.store.chunks import CODEC
from tasks.store.files import hash_file
from tasks.store.zarr_json import group_attributes, lay_out_array, write_group


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def made_by_zarr(path, shape, dtype, chunks, together=0, separator="/"):
    return zarr.create_array(
        str(path),
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=(together * chunks[0], *chunks[1:]) if together else None,
        serializer=BytesCodec(),
        compressors=(BloscCodec(typesize=np.dtype(dtype).itemsize, **CODEC), Crc32cCodec()),
        fill_value=0,
        chunk_key_encoding={"name": "default", "separator": separator},
        config={"write_empty_chunks": True},
    )


@pytest.mark.parametrize(
    "dtype", ["uint16", "uint32", ">u4", "int64", "float32", "float64", "complex64", "bool"]
)
@pytest.mark.parametrize("shape", [(1000,), (30, 40), (0,), (2, 3, 4)])
def test_one_chunk_has_the_bytes_that_zarr_writes(tmp_path, dtype, shape):
    data = np.random.default_rng(0).integers(0, 2**10, shape).astype(dtype)
    chunk = [max(1, n) for n in shape]
    zarrs = made_by_zarr(tmp_path / "zarr", shape, data.dtype, chunk, separator=".")
    if data.size:
        zarrs[...] = data
    events.write_array(tmp_path, "ours", data)
    ours, theirs = files_of(tmp_path / "ours"), files_of(tmp_path / "zarr")
    assert ours == theirs
    np.testing.assert_array_equal(events.read_array(tmp_path, "ours"), data)


@pytest.mark.parametrize("together", [0, 3])
def test_array_is_laid_out_as_zarr_does(tmp_path, together):
    shape, chunks = (70, 9, 10), (32, 4, 10)
    made_by_zarr(tmp_path / "zarr", shape, "uint16", chunks, together)
    lay_out_array(tmp_path, "ours", shape, "uint16", chunks, together)
    assert files_of(tmp_path / "ours") == files_of(tmp_path / "zarr")


@pytest.mark.parametrize("shape", [(70, 9, 10), (64, 8, 10)])
def test_chunks_of_an_array_are_read_as_zarr_reads_them_and_missed(tmp_path, shape):
    array = made_by_zarr(tmp_path / "array", shape, "int64", (32, 4, 10))
    data = np.random.default_rng(0).integers(0, 2**40, shape)
    array[...] = data
    np.testing.assert_array_equal(events.read_array(tmp_path, "array"), data)
    (tmp_path / "array" / "c" / "1" / "1" / "0").unlink()
    with pytest.raises(events.DamagedResultError, match="array cannot be read"):
        events.read_array(tmp_path, "array")


def test_array_of_another_shape_is_replaced_whole(tmp_path):
    events.write_array(tmp_path, "array", np.arange(12).reshape(3, 4))
    events.write_array(tmp_path, "array", np.arange(5.0))
    assert zarr.open_array(str(tmp_path / "array"), mode="r").shape == (5,)
    assert sorted(files_of(tmp_path / "array")) == ["c.0", "zarr.json"]


@pytest.mark.parametrize("shape", [(1000,), (30, 40)])
def test_array_whose_chunk_lies_in_folders_is_read_at_once_too(tmp_path, shape, monkeypatch):
    data = np.random.default_rng(0).integers(0, 2**10, shape).astype("uint32")
    made_by_zarr(tmp_path / "array", shape, data.dtype, shape)[...] = data
    monkeypatch.setattr(zarr, "open_array", None)
    np.testing.assert_array_equal(events.read_array(tmp_path, "array"), data)


def test_columns_of_an_array_are_written_in_their_order(tmp_path):
    data = np.arange(12).reshape(3, 4).T
    events.write_array(tmp_path, "array", data)
    np.testing.assert_array_equal(events.read_array(tmp_path, "array"), data)


def test_group_of_a_slab_has_the_bytes_that_zarr_writes(tmp_path):
    zarr.create_group(str(tmp_path / "zarr"), path="slabs/00000")
    events.write_slab(tmp_path / "ours", 0, {})
    assert files_of(tmp_path / "ours") == {
        name: content
        for name, content in files_of(tmp_path / "zarr").items()
        if name.startswith("slabs/")
    }


def test_hashes_of_a_slab_are_those_of_its_files(tmp_path):
    arrays = {"indices": np.arange(5000, dtype=np.uint32), "empty": np.zeros(0, np.int64)}
    written = events.write_slab(tmp_path, 3, arrays)
    group = tmp_path / "slabs" / "00003"
    assert written == {path: hash_file(path) for path in group.rglob("*") if path.is_file()}


def test_attributes_of_a_group_have_the_bytes_that_zarr_writes(tmp_path):
    first, then = {"slab_rows": 3}, {"rate": 0.1, "none": None, "µ": ["Å", {"x": True}]}
    group = zarr.open_group(str(tmp_path / "zarr"), mode="a")
    for attributes in (first, then):
        group.attrs.update(attributes)
        write_group(tmp_path / "ours", **attributes)
        assert files_of(tmp_path / "ours") == files_of(tmp_path / "zarr")
    assert group_attributes(tmp_path / "ours") == first | then
