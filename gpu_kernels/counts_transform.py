"""The transform over the scan of counts as they are, of frequencies below 2 k0 alone.

On a device, where rows have the 1,024 positions of ``rows_of_counts``, counts are read as they are
and only the columns that are wanted are written, row by row for all pixels, so that the library's
pass along columns goes over memory without gaps: 10 bytes a count where there are 21. Elsewhere
counts are widened and the library transforms them whole. On the host it is
``fourier.ScanTransform``.
"""

from typing import Any

import numpy as np
import scipy.fft

from gpu_kernels.backend import Array, cupy, device_empty, on_gpu, to_device, to_host
from gpu_kernels.fourier import ScanTransform, half_plane, parts_of, plan_of
from gpu_kernels.rows_of_counts import LENGTH, rows_of_counts, turns_of_a_row

ALIGNED = 16
"""Numbers to whose multiple the columns are rounded up: lines of the cache."""


class CountsTransform:
    """Transforms blocks of one shape, each with the same plans.

    Parameters
    ----------
    block : (pixels, scan_y, scan_x)
        Counts; only its shape is looked at, and where it lives.
    columns : int
        Frequencies Q_x = 0, 1, … along x that are wanted, at most scan_x // 2 + 1.
    """

    def __init__(self, block: Array, columns: int) -> None:
        pixels, rows, length = block.shape
        there, self._plan = on_gpu(block), None
        self.rows_first = there and length == LENGTH
        """Whether G comes with its rows first, and its pixels second."""
        self._host = None if there else ScanTransform((rows, length), columns)
        if not there:
            return
        if not self.rows_first:
            self._plan = plan_of(device_empty(block.shape, np.float32), "R2C")
            return
        self._columns = min(length // 2 + 1, -(-columns // ALIGNED) * ALIGNED)
        self._turns = turns_of_a_row()
        if cupy is not None:
            others, one, cufft = pixels * self._columns, (rows,), cupy.cuda.cufft
            self._plan = cufft.PlanNd(
                one, one, others, 1, one, others, 1, cufft.CUFFT_C2C, others, "C", 0, None
            )  # fmt: skip

    def __call__(self, block: Array, queue: Any = 0) -> Array:
        """Transform a block.

        Parameters
        ----------
        block : (pixels, scan_y, scan_x)
            Counts where those were that it was made for, without gaps.
        queue : numba stream
            That goes with CuPy's current one.

        Returns
        -------
        (pixels, scan_y, columns or more, 2) float32
            Real and imaginary part of G(k, Q), without gaps, where the counts live; where
            ``rows_first`` is true (scan_y, pixels, columns or more, 2).
        """
        if self._host is not None:
            return parts_of(self._host(block))
        if not self.rows_first:
            return parts_of(half_plane(block, queue=queue, plan=self._plan))
        pixels, rows, _ = block.shape
        found = device_empty((rows, pixels, self._columns), np.complex64)
        rows_of_counts(block, self._turns, found, queue)
        if self._plan is None:  # the simulator
            return parts_of(to_device(scipy.fft.fft(to_host(found), axis=0)))
        self._plan.fft(found, found, cupy.cuda.cufft.CUFFT_FORWARD)
        return parts_of(found)
