"""The bright-field disk as a dense array of counts, in blocks of detector pixels.

(pixels, scan_y, scan_x), the layout in which the scan is Fourier-transformed: written slab by slab
of scan rows, read block by block of pixels.
"""

from pathlib import Path

import numpy as np
import zarr

from tasks.store.chunks import read_chunk, write_chunk
from tasks.store.publish import DamagedResultError

PIXELS_PER_BLOCK = 32
"""Detector pixels of one chunk of the dense array, and of one unit of the transforms."""


def write_blocks(
    array: Path, slab: int, counts: np.ndarray, slab_shape: tuple[int, int]
) -> list[Path]:
    """Write one slab's part of every block.

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
    list of Path
        The files.
    """
    return [
        write_chunk(
            array, (block, slab, 0),
            counts[PIXELS_PER_BLOCK * block : PIXELS_PER_BLOCK * (block + 1)],
            (PIXELS_PER_BLOCK, *slab_shape), flat=True,
        )
        for block in range(-(-len(counts) // PIXELS_PER_BLOCK))
    ]  # fmt: skip


class DenseBlocks:
    """The disk's counts, (pixels, scan_y, scan_x), of which blocks of pixels are read."""

    def __init__(self, reduced: Path) -> None:
        """Open what the step left in its folder."""
        array = zarr.open_array(str(reduced), path="dense", mode="r")
        self._folder = reduced / "dense"
        self.shape: tuple[int, int, int] = array.shape
        self.dtype: np.dtype = array.dtype
        self._chunk = array.chunks

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
            return read_chunk(self._folder, (block, slab, 0), self.dtype, self._chunk, flat=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise DamagedResultError(
                f"{self._folder}: block {block} of pixels cannot be read in slab {slab} ({error}); "
                "run the job again to make it anew."
            ) from error
