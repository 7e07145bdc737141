"""Phases of what is held, for any calibration: SSB, the weak-phase estimate, DPC; and trotters."""

from dataclasses import dataclass

import numpy as np

from gpu_kernels.dpc import deflection, filled, integrate
from gpu_kernels.held_trotters import HeldPhase
from gpu_kernels.ssb_finish import Estimate
from gpu_kernels.ssb_geometry import SsbGeometry
from models.aberrations import Aberrations
from models.geometry import Geometry
from tasks.calibration.evidence import frequency_band
from tasks.explore.held import THREADS, Held

TROTTERS = 9


@dataclass(frozen=True)
class Trial:
    """A calibration to look through."""

    geometry: Geometry
    aberrations: Aberrations


@dataclass(frozen=True)
class TrotterImages:
    """The strongest frequencies on the pixels of the disk."""

    before: np.ndarray
    """(frequencies, rows, cols) complex128: G(k, Q), NaN outside the overlaps."""
    after: np.ndarray
    """The same with the phase of the lens, and the mean phase of each, taken off."""
    q_y: np.ndarray
    q_x: np.ndarray
    """(frequencies,) [1/Å], on the scan's axes."""
    flatness: float
    """|Σ G| / Σ|G| after correction: 1 where every trotter is flat, 0 where phases are random."""


def phase(held: Held, trial: Trial, estimate: Estimate, wiener: bool) -> HeldPhase:
    """Phase for a calibration.

    Raises
    ------
    ValueError
        If the trial's disk holds no pixel or no electron.
    """
    k_y, k_x = trial.geometry.wavevectors(held.rows, held.cols)
    width = held.bin * trial.geometry.pixel_wavevector
    return held.spectrum.phase(k_y, k_x, _terms(held, trial), estimate, wiener, THREADS, width)


def strongest(held: Held) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the nine strongest frequencies, fewer where there are not as many."""
    geometry = held.geometry
    band = frequency_band(held.window.shape, geometry.scan_step, geometry.aperture)
    return held.spectrum.strongest(TROTTERS, band)


def trotters(held: Held, trial: Trial, which: tuple[np.ndarray, np.ndarray]) -> TrotterImages:
    """Trotters of a calibration; ``which`` is from ``strongest``."""
    k_y, k_x = trial.geometry.wavevectors(held.rows, held.cols)
    found = held.spectrum.trotters(*which, k_y, k_x, _terms(held, trial))
    single = (found.covered == 1) | (found.covered == 2)
    total = np.where(single, found.after, 0).sum(axis=1, keepdims=True)
    strength = float(np.abs(found.after[single]).sum())
    after = found.after * np.exp(-1j * np.angle(total))
    row, col = (
        np.round((along - along.min()) / held.bin).astype(int) for along in (held.rows, held.cols)
    )
    sheets = []
    for values in (found.before, after):
        seen = np.where(found.covered > 0, values, 0)
        most = np.quantile(np.abs(seen), 0.98, axis=1, keepdims=True)
        sheet = np.full((len(seen), row.max() + 3, col.max() + 3), np.nan, np.complex128)
        sheet[:, row + 1, col + 1] = seen / np.where(most > 0, most, 1)
        sheets.append(sheet)
    flatness = float(np.abs(total).sum()) / strength if strength > 0 else 0.0
    return TrotterImages(sheets[0], sheets[1], found.q_y, found.q_x, flatness)


def dpc_phase(held: Held, geometry: Geometry) -> np.ndarray:
    """Phase from differential phase contrast, (scan_y, scan_x) [rad].

    The moments are those of the disk as it was held: another centre would only add a constant,
    which has no part in the phase.
    """
    com = deflection(
        held.com_sums,
        np.where(held.unusable, 0, held.com_electrons),
        geometry.center,
        geometry.pixel_wavevector,
        geometry.rotation,
        geometry.flip,
    )
    return integrate(filled(com[0]), filled(com[1]), geometry.scan_step)


def _terms(held: Held, trial: Trial) -> SsbGeometry:
    geometry = trial.geometry
    return SsbGeometry(
        held.window.shape, geometry.scan_step, geometry.rotation, geometry.aperture,
        geometry.wavelength, trial.aberrations.cartesian(),
    )  # fmt: skip
