"""Guards for bitshuffle in HDF5, whose decoder trusts its numbers and ends the program on bad ones.

Dectris detectors write this filter. A chunk begins with its size when unpacked (8 bytes) and the
size of its blocks (4 bytes), both big-endian; the filter's own settings name the size of an item.
https://github.com/kiyo-masui/bitshuffle, ``src/bshuf_h5filter.c``.
"""

from itertools import product

import h5py
import numpy as np

from tasks.formats.recording import RecordingError

FILTER = 32008
LZ4, ZSTD = 2, 3
MOST_BLOCK_BYTES = 1 << 24


def check_settings(path: str, data: h5py.Dataset) -> bool:
    """Tell whether a dataset is bitshuffled alone, and refuse settings that cannot be.

    Raises
    ------
    RecordingError
        If the filter's settings contradict the dataset.
    """
    plist = data.id.get_create_plist()
    filters = [plist.get_filter(n) for n in range(plist.get_nfilters())]
    settings = [values for number, _, values, _ in filters if number == FILTER]
    for values in settings:
        item, block = (*values, 0, 0, 0, 0)[2:4]
        if item != data.dtype.itemsize or block % 8 or block * item > MOST_BLOCK_BYTES:
            raise RecordingError(
                f"{path}: {data.name}: its bitshuffle filter is set to items of {item} bytes in "
                f"blocks of {block}, the array has items of {data.dtype.itemsize}; the file is "
                "damaged."
            )
    return len(filters) == 1 and bool(settings) and (*settings[0], 0, 0, 0)[4] in (LZ4, ZSTD)


def check_chunks(path: str, data: h5py.Dataset, spans: list[tuple[int, int]]) -> None:
    """Refuse chunks whose first numbers the decoder must not see.

    Parameters
    ----------
    path : str
        The file.
    data : h5py.Dataset
        Bitshuffled, as ``check_settings`` found.
    spans : list of (first, last)
        Items along the first axes that will be read; the other axes are read whole.

    Raises
    ------
    RecordingError
        With the place of the chunk.
    """
    whole = int(np.prod(data.chunks)) * data.dtype.itemsize
    unit = 8 * data.dtype.itemsize
    spans = [*spans, *((0, size) for size in data.shape[len(spans) :])]
    grid = [
        range(first // step * step, last, step)
        for (first, last), step in zip(spans, data.chunks, strict=True)
    ]
    for corner in product(*grid):
        # The chunk as it is stored: HDF5 would walk through all chunks to tell where one lies.
        try:
            skipped, stored = data.id.read_direct_chunk(corner)
        except (RuntimeError, OSError, ValueError):
            continue  # not written; or lost, which is looked for where frames are empty
        if skipped:
            continue  # not packed
        size, block = int.from_bytes(stored[:8], "big"), int.from_bytes(stored[8:12], "big")
        if size != whole or block % unit or not 0 < block <= MOST_BLOCK_BYTES:
            raise RecordingError(
                f"{path}: {data.name}: the chunk at {corner} says that it has {size} bytes in "
                f"blocks of {block}; a chunk has {whole}. The file is damaged."
            )
