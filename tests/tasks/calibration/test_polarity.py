"""A phase in which there is nothing has no polarity."""

import numpy as np

from gpu_kernels.scan_modes import Modes
from tasks.calibration.polarity import skewness_of_phase


class Noise:
    """Frequencies that show less than their noise."""

    def __init__(self):
        row, col = (axis.ravel() for axis in np.mgrid[:6, 1:5])
        self.modes = Modes(0.1 * row, 0.1 * col, row, col, np.ones(row.size))

    def project(self, trials, flip):
        shape = len(trials), self.modes.row.size
        return np.full(shape, 1e-3 + 0j), np.full(shape, 4.0)


def test_no_signal_has_no_skewness():
    skewness = skewness_of_phase(Noise(), np.zeros(13), False, np.random.default_rng(0))
    assert skewness == (0.0, 0.0)
