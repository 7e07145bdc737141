"""Joining the opposite edges of a scan, which a Fourier transform takes for neighbours.

An image is no torus: where its last row meets its first there is a step, and what the lens spreads
over one edge is read from the other. So the scan is made a little longer, and each pixel of the
detector fades there from its last value to its first. The phase of that strip is thrown away.

MoS2 of 128 x 128 positions that do not repeat: correlation with the object of both sidebands, and
of their Wiener-weighted form, at a dose in e/Å² (mean of three).

===============  =============  =============  =============  =============
strip            no noise       1e5            1e4            1e3
===============  =============  =============  =============  =============
none             0.984 / 0.984  0.972 / 0.980  0.884 / 0.967  0.527 / 0.914
**4 positions**  0.993 / 0.993  0.984 / 0.988  0.916 / 0.973  0.596 / 0.918
8                0.993 / 0.993  0.984 / 0.988  0.919 / 0.973  0.591 / 0.908
===============  =============  =============  =============  =============

A longer strip holds noise of long waves, which the Wiener weights take for signal.
"""

import numpy as np
from scipy.fft import next_fast_len

from gpu_kernels.backend import Array, as_library, beside
from gpu_kernels.fourier import libraries

STRIP = 4
"""Positions between the edges, at least; more, where a longer transform is a quicker one."""


def joined_shape(scan_shape: tuple[int, int]) -> tuple[int, int]:
    """Positions of a scan with a strip after its last row and its last column."""
    rows, cols = (int(next_fast_len(n + STRIP, real=True)) for n in scan_shape)
    return rows, cols


def join_edges(block: Array, shape: tuple[int, int]) -> Array:
    """Continue a scan until its edges meet.

    Parameters
    ----------
    block : (pixels, scan_y, scan_x)
        Counts; missing positions filled.
    shape : (rows, cols)
        From ``joined_shape``.

    Returns
    -------
    (pixels, rows, cols) float32
        The counts, and between the edges what lies on a line from one to the other. It lives where
        ``block`` lives.
    """
    counts = as_library(block)
    xp, _ = libraries(counts)
    pixels, rows, cols = counts.shape
    out = xp.empty((pixels, *shape), np.float32)
    out[:, :rows, :cols] = counts
    down = xp.asarray(_ramp(shape[0] - rows))[:, None]
    out[:, rows:, :cols] = (1 - down) * out[:, rows - 1 : rows, :cols] + down * out[:, :1, :cols]
    right = xp.asarray(_ramp(shape[1] - cols))
    out[:, :, cols:] = (1 - right) * out[:, :, cols - 1 : cols] + right * out[:, :, :1]
    return beside(out, block)


def _ramp(length: int) -> np.ndarray:
    return (np.arange(1, length + 1) / (length + 1)).astype(np.float32)
