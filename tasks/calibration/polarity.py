"""Which of θ and θ + 180° it is: the one at which the specimen advances the electron's phase.

(θ + 180°, χ → −χ) gives the same intensities with an inverted phase, so that neither curl nor
shifts nor explained energy can tell. Atoms, beads and particles are peaks of the phase on a wide
floor: its skewness is positive. The spectrum is flattened first, so that thickness and illumination
at low frequencies do not outweigh the peaks; the same spectrum with random phases says how much
skewness is chance.
"""

import numpy as np
import scipy.fft

from gpu_kernels.scan_modes import Modes
from tasks.calibration.evidence import Evidence

SURROGATES = 48
RING = 3
"""Width of a ring in which the signal's power is estimated, in frequencies of the scan."""


def skewness_of_phase(
    evidence: Evidence, trial: np.ndarray, flip: bool, rng: np.random.Generator
) -> tuple[float, float]:
    """Skewness of the phase at a calibration.

    Parameters
    ----------
    evidence : Evidence
        All frequencies that there are.
    trial : (13,) float64
        Rotation [rad] and Cartesian aberrations [Å].
    flip : bool
        Mirror.
    rng : numpy.random.Generator
        For the random phases.

    Returns
    -------
    skewness : float
        Negative at the wrong one of θ and θ + 180°.
    confidence : float
        In standard deviations of chance, with its sign.
    """
    overlap, weight = (part[0] for part in evidence.project(trial[None], flip))
    seen = weight > 1e-6 * weight.max()
    variance = 1 / np.where(seen, weight, np.inf)
    variance[~seen] = np.inf
    phase = np.where(seen, overlap / (1j * np.where(seen, weight, 1)), 0)
    modes = _flattened(evidence, phase, variance, seen)
    skewness = _skewness(_image(evidence, modes))
    chance = [
        _skewness(_image(evidence, modes * np.exp(2j * np.pi * rng.random(modes.size))))
        for _ in range(SURROGATES)
    ]
    return skewness, skewness / max(float(np.std(chance)), 1e-6)


def _flattened(
    evidence: Evidence, phase: np.ndarray, variance: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """Wiener weights, then every ring of about the same power."""
    modes = evidence.modes
    step = _frequency_step(modes.q_y, modes.q_x, modes.row, modes.col)
    ring = np.floor(np.hypot(modes.q_y, modes.q_x) / (RING * step)).astype(int)
    trust = np.where(seen, 1 / variance, 0)
    excess = np.where(seen, np.abs(phase) ** 2 - np.where(seen, variance, 0), 0)
    signal = np.bincount(ring, excess * trust**2) / np.maximum(np.bincount(ring, trust**2), 1e-300)
    signal = np.maximum(signal, 0)[ring]
    typical = float(np.median(variance[seen]))
    gain = signal / (signal + np.where(seen, variance, 1)) / np.sqrt(signal + typical)
    return np.where(seen, phase * gain, 0)


def _frequency_step(q_y: np.ndarray, q_x: np.ndarray, row: np.ndarray, col: np.ndarray) -> float:
    """The larger distance of neighbouring frequencies along the two axes."""
    x = float(np.max(q_x / np.maximum(col, 1)))
    low = (row > 0) & (q_y > 0)
    y = float(np.max(q_y[low] / row[low])) if low.any() else 0.0
    return max(x, y)


def _image(evidence: Evidence, values: np.ndarray) -> np.ndarray:
    """The image of some frequencies, on the coarsest grid that holds them."""
    modes = evidence.modes
    row = np.rint(modes.q_y / _row_step(modes)).astype(int)
    rows = scipy.fft.next_fast_len(2 * int(np.abs(row).max()) + 2)
    cols = scipy.fft.next_fast_len(2 * int(modes.col.max()) + 2, real=True)
    half = np.zeros((rows, cols // 2 + 1), dtype=np.complex128)
    half[row % rows, modes.col] = values
    edge = modes.col == 0
    half[-row[edge] % rows, 0] = np.conj(values[edge])
    return scipy.fft.irfft2(half, s=(rows, cols))


def _row_step(modes: Modes) -> float:
    low = (modes.row > 0) & (modes.q_y > 0)
    if low.any():
        return float(np.median(modes.q_y[low] / modes.row[low]))
    return max(float(np.abs(modes.q_y).max()), 1e-300)


def _skewness(image: np.ndarray) -> float:
    image = image - image.mean()
    square = image * image  # a power of 3 takes thirty times as long
    return float((square * image).mean() / max(square.mean(), 1e-200) ** 1.5)  # flat: 0
