"""Blocks of the disk's pixels lie together in shards, which Zarr reads as it reads its own."""

import numpy as np
import pytest
import zarr

from tasks.dense_blocks import PIXELS_PER_BLOCK, DenseBlocks, blocks_of, write_blocks
from tasks.store.publish import DamagedResultError
from tasks.store.zarr_json import lay_out_array

PIXELS, ROWS, COLS, SLAB = 70, 5, 6, 2


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(3, (PIXELS, ROWS, COLS)).astype(np.uint16)


@pytest.fixture
def folder(tmp_path, counts):
    zarr.create_group(str(tmp_path))
    chunk = PIXELS_PER_BLOCK, SLAB, COLS
    lay_out_array(tmp_path, "dense", counts.shape, counts.dtype, chunk, blocks_of(PIXELS))
    for slab, row in enumerate(range(0, ROWS, SLAB)):
        write_blocks(tmp_path / "dense", slab, counts[:, row : row + SLAB], (SLAB, COLS))
    return tmp_path


def test_zarr_reads_the_shards(folder, counts):
    np.testing.assert_array_equal(zarr.open_array(str(folder), path="dense", mode="r")[:], counts)


@pytest.mark.parametrize("pixels", [slice(0, 32), slice(5, 40), slice(64, 70), slice(0, 70)])
def test_pixels_are_read_from_their_blocks(folder, counts, pixels):
    np.testing.assert_array_equal(DenseBlocks(folder)[pixels], counts[pixels])


@pytest.mark.parametrize("place", [20, -20], ids=["in a chunk", "in the index"])
def test_flipped_bit_is_refused_with_the_block_and_the_slab(folder, place):
    shard = folder / "dense" / "c" / "0" / "1" / "0"
    data = bytearray(shard.read_bytes())
    data[place] ^= 4
    shard.write_bytes(data)
    with pytest.raises(DamagedResultError, match="block 0 of pixels cannot be read in slab 1"):
        DenseBlocks(folder)[0:32]
