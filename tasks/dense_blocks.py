"""The bright-field disk as a dense array of counts, in blocks of detector pixels.

(pixels, scan_y, scan_x), the layout in which the scan is Fourier-transformed: written slab by slab
of scan rows, read block by block of pixels.
"""

import json
from pathlib import Path

import numpy as np

from tasks.store.chunks import ShardReader, write_shard
from tasks.store.publish import DamagedResultError
from tasks.store.zarr_json import NAME

PIXELS_PER_BLOCK = 32
"""Detector pixels of one chunk of the dense array, and of one unit of the transforms."""


def write_blocks(
    array: Path, slab: int, counts: np.ndarray, slab_shape: tuple[int, int]
) -> tuple[Path, str]:
    """Write one slab's part of every block, together in one shard.

    Parameters
    ----------
    array : Path
        Folder of the array.
    slab : int
        Which slab.
    counts : (pixels, slab rows, scan_x)
        Of all pixels.
    slab_shape : (slab rows, scan_x)
        Of a whole slab; the last one may have fewer rows.

    Returns
    -------
    file : Path
    sha256 : str
        Of what was written there.
    """
    blocks = (
        counts[first : first + PIXELS_PER_BLOCK]
        for first in range(0, len(counts), PIXELS_PER_BLOCK)
    )
    return write_shard(array, (0, slab, 0), blocks, (PIXELS_PER_BLOCK, *slab_shape))


def blocks_of(pixels: int) -> int:
    """How many blocks hold so many pixels."""
    return -(-pixels // PIXELS_PER_BLOCK)


class DenseBlocks:
    """The disk's counts, (pixels, scan_y, scan_x), of which blocks of pixels are read."""

    def __init__(self, reduced: Path) -> None:
        """Open what the step left in its folder."""
        self._folder = reduced / "dense"
        words = json.loads((self._folder / NAME).read_bytes())
        self.shape: tuple[int, int, int] = tuple(words["shape"])
        self.dtype = np.dtype(words["data_type"])
        self._chunk = tuple(words["codecs"][0]["configuration"]["chunk_shape"])
        self._shards = ShardReader(self._folder, self.dtype, self._chunk, blocks_of(self.shape[0]))

    def __getitem__(self, pixels: slice) -> np.ndarray:
        """(pixels, scan_y, scan_x) of some pixels in turn, from whole blocks.

        Raises
        ------
        DamagedResultError
            If a chunk is missing or its checksum is wrong.
        """
        first, last, _ = pixels.indices(self.shape[0])
        blocks = range(first // PIXELS_PER_BLOCK, -(-last // PIXELS_PER_BLOCK))
        begin = blocks.start * PIXELS_PER_BLOCK
        counts: np.ndarray = np.empty((len(blocks) * PIXELS_PER_BLOCK, *self.shape[1:]), self.dtype)
        for number, block in enumerate(blocks):
            own = slice(number * PIXELS_PER_BLOCK, (number + 1) * PIXELS_PER_BLOCK)
            for slab, row in enumerate(range(0, self.shape[1], self._chunk[1])):
                counts[own, row : row + self._chunk[1]] = self._read(block, slab)[
                    :, : self.shape[1] - row
                ]
        return counts[first - begin : last - begin]

    def _read(self, block: int, slab: int) -> np.ndarray:
        try:
            return self._shards.read((0, slab, 0), block)
        except (OSError, ValueError, RuntimeError) as error:
            raise DamagedResultError(
                f"{self._folder}: block {block} of pixels cannot be read in slab {slab} ({error}); "
                "run the job again to make it anew."
            ) from error
