"""Filling scan positions that were not recorded, for the Fourier transform alone."""

import numpy as np
from scipy.ndimage import distance_transform_edt


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

    def fill(self, block: np.ndarray) -> np.ndarray:
        """Fill a block in place.

        Parameters
        ----------
        block : (..., scan_y, scan_x) float
            Images of the scan.

        Returns
        -------
        The same array.
        """
        if self._from:
            block[..., self._at[0], self._at[1]] = np.mean(
                [block[..., y, x] for y, x in self._from], axis=0
            )
        return block
