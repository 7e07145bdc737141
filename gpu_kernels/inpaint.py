"""Filling scan positions that were not recorded, for the Fourier transform alone."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from gpu_kernels.backend import Array, as_library, beside
from gpu_kernels.fourier import libraries


class Filler:
    """Fills missing positions of any image of one scan by the mean of the nearest recorded ones.

    A hole would otherwise be a dark spot that every frequency sees. What is filled in carries no
    information; the positions are named in the report.
    """

    def __init__(self, missing: np.ndarray) -> None:
        """Find the neighbours of each missing position once.

        Parameters
        ----------
        missing : (scan_y, scan_x) bool
            Positions without data.
        """
        self._at = np.nonzero(missing)
        self._from: list[tuple[np.ndarray, np.ndarray]] = []
        if missing.all():
            raise ValueError(f"all {missing.size} positions of the scan are missing")
        if not self._at[0].size:
            return
        nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
        rows, cols = missing.shape
        for shift in ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)):
            y = np.clip(self._at[0] + shift[0], 0, rows - 1)
            x = np.clip(self._at[1] + shift[1], 0, cols - 1)
            self._from.append((nearest[0][y, x], nearest[1][y, x]))

    @property
    def count(self) -> int:
        """How many positions are filled."""
        return int(self._at[0].size)

    def fill(self, block: Array) -> Array:
        """Fill a block, in place where it lives on the host.

        Parameters
        ----------
        block : (..., scan_y, scan_x) float
            Images of the scan.

        Returns
        -------
        The same array, or one beside it on the device.
        """
        if not self._from:
            return block
        images = as_library(block)
        xp, _ = libraries(images)
        at, sources = xp.asarray(self._at), [xp.asarray(one) for one in self._from]
        images[..., at[0], at[1]] = xp.stack([images[..., y, x] for y, x in sources]).mean(axis=0)
        return beside(images, block)
