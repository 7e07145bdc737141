"""Defocus, astigmatism, rotation and mirror from the shifts of images seen by parts of the disk.

A detector pixel at k sees the specimen from its own direction: its image is shifted by −∇χ(k)/2π,
turned to the scan's axes. For the aberrations of second order that is linear in k,

    shift(k) = M k,  M = −λ R(θ) S,  S = [[C10 − C12a, C12b], [C12b, C10 + C12a]]  on (y, x),

so that M's polar decomposition gives θ, C10 and C12 at once (a rotation by 180° with all signs
turned is the same M), and its determinant the mirror. At a defocus that is large against the depth
of focus this needs no starting value. Lupini et al., Microsc. Microanal. 22 (2016) 941 used the
same shifts. Host work on some tens of images; there is nothing in it for a GPU.
"""

from dataclasses import dataclass
from itertools import product
from math import atan2, pi

import numpy as np
import scipy.fft
from scipy import ndimage, optimize

PATCHES_ACROSS = 5
"""Cells across the disk: 21 of them lie in it."""
FREQUENCIES = 1000
"""Strongest spatial frequencies by which the matrix is refined."""
REACH = 2
"""Pairs of cells up to so many cells apart are compared."""


@dataclass(frozen=True)
class Patches:
    """Images of the parts of the disk."""

    images: np.ndarray
    """(patches, scan_y, scan_x) float32: electrons."""
    k_row: np.ndarray
    k_col: np.ndarray
    """(patches,) float64: mean wave vector on the detector's axes as they are [1/Å]."""
    cells: np.ndarray
    """(patches, 2) int64: row and column of the cell."""


@dataclass(frozen=True)
class ShiftFit:
    """Shifts that are linear in k, and what they mean."""

    matrix: np.ndarray
    """(2, 2) float64: shift (y, x) [Å] = matrix · (k_row, k_col) [1/Å]."""
    flip: bool
    """Whether the detector's axes are transposed: the sign of the determinant."""
    rotation: float
    """θ in [0, π) [rad]; θ + π turns the signs of the aberrations."""
    C10: float
    C12a: float
    C12b: float
    """Second order that belongs to ``rotation`` [Å], azimuth in the frame after the mirror."""
    significance: float
    """How far the images' agreement after the shifts is above chance, in standard deviations."""
    misfit: float
    """Root mean square of measured minus linear shifts, over their own root mean square."""

    @property
    def reliable(self) -> bool:
        """Whether the shifts may be believed."""
        return self.significance > 6 and self.misfit < 0.35


class PatchSums:
    """Adds the pixels of the disk up to images of its parts, block after block."""

    def __init__(
        self, k_row: np.ndarray, k_col: np.ndarray, aperture: float, scan_shape: tuple[int, ...]
    ) -> None:
        """Cut the disk into cells.

        Parameters
        ----------
        k_row, k_col : (pixels,) float64
            Wave vectors of all pixels in order, on the detector's axes as they are [1/Å].
        aperture : float
            k0 [1/Å].
        scan_shape : (scan_y, scan_x)
            Positions.
        """
        side = 2 * aperture / PATCHES_ACROSS
        inside = np.hypot(k_row, k_col) < 0.97 * aperture
        cell = [np.floor((k + aperture) / side).astype(int) for k in (k_row, k_col)]
        cell = [np.clip(part, 0, PATCHES_ACROSS - 1) for part in cell]
        self._number = np.where(inside, cell[0] * PATCHES_ACROSS + cell[1], -1)
        self._k = (k_row, k_col)
        self._sums = np.zeros((PATCHES_ACROSS**2, *scan_shape), dtype=np.float32)
        self._seen = 0

    def add(self, block: np.ndarray) -> None:
        """Add the next pixels, (pixels, scan_y, scan_x) counts."""
        own = self._number[self._seen : self._seen + len(block)]
        for patch in np.unique(own[own >= 0]):
            self._sums[patch] += block[own == patch].sum(axis=0, dtype=np.float32)
        self._seen += len(block)

    def finish(self) -> Patches:
        """Cells that lie in the disk by a good part.

        Raises
        ------
        ValueError
            If not all pixels were added.
        """
        if self._seen != self._number.size:
            raise ValueError(
                f"{self._seen} of {self._number.size} pixels were added; add all of them first"
            )
        inside = self._number >= 0
        number = self._number[inside]
        size = np.bincount(number, minlength=len(self._sums))
        used = np.nonzero((size > 0.4 * size.max()) & (self._sums.sum(axis=(1, 2)) > 0))[0]
        k_row, k_col = (
            np.bincount(number, k[inside], len(self._sums))[used] / size[used] for k in self._k
        )
        cells = np.stack(np.divmod(used, PATCHES_ACROSS), axis=1)
        return Patches(self._sums[used], k_row, k_col, cells)


def fit_shifts(
    patches: Patches,
    window: np.ndarray,
    scan_step: tuple[float, float],
    wavelength: float,
) -> ShiftFit:
    """Fit one matrix to the shifts of all parts of the disk.

    Parameters
    ----------
    patches : Patches
        From ``PatchSums``.
    window : (scan_y, scan_x) float64
        0 where positions are missing; fades at the edges.
    scan_step : (y, x)
        [Å].
    wavelength : float
        [Å].

    Returns
    -------
    ShiftFit
        Look at ``reliable`` before it is used.
    """
    spectra, q_y, q_x = _spectra(patches, window, scan_step)
    steps, shifts, heights = _pair_shifts(spectra, patches, window.shape, scan_step)
    matrix, misfit = _linear(steps, shifts, heights)
    matrix, significance = _refine(matrix, spectra, patches, q_y, q_x)
    flip, rotation, second = decompose(matrix, wavelength)
    return ShiftFit(matrix, flip, rotation, *second, significance, misfit)


def decompose(
    matrix: np.ndarray, wavelength: float
) -> tuple[bool, float, tuple[float, float, float]]:
    """Polar decomposition of the shift matrix.

    Parameters
    ----------
    matrix : (2, 2) float64
        Shift (y, x) [Å] per wave vector (k_row, k_col) [1/Å].
    wavelength : float
        [Å].

    Returns
    -------
    flip : bool
        Mirror; C10 must be larger than C12 for it to be known.
    rotation : float
        In [0, π) [rad].
    second : (C10, C12a, C12b)
        [Å].
    """
    flip = bool(np.linalg.det(matrix) < 0)
    turned = matrix[:, ::-1] if flip else matrix  # k after the mirror is (k_col, k_row)
    angle = atan2(turned[1, 0] - turned[0, 1], turned[0, 0] + turned[1, 1])
    rotation = angle % pi
    back = np.array([[np.cos(rotation), np.sin(rotation)], [-np.sin(rotation), np.cos(rotation)]])
    s = -back @ turned / wavelength
    return flip, rotation, (
        float(s[0, 0] + s[1, 1]) / 2,
        float(s[1, 1] - s[0, 0]) / 2,
        float(s[0, 1] + s[1, 0]) / 2,
    )  # fmt: skip


def _spectra(patches, window, scan_step):
    """Band-passed transforms of the images, in units of their noise, without what all share."""
    images = patches.images.astype(np.float64)
    present = window > 0
    mean = images[:, present].mean(axis=1)[:, None, None]
    spectra = scipy.fft.rfft2((images - mean) / np.sqrt(mean) * window)
    q_y = scipy.fft.fftfreq(window.shape[0])[:, None] + np.zeros(spectra.shape[1:])
    q_x = scipy.fft.rfftfreq(window.shape[1])[None] + np.zeros(spectra.shape[1:])
    q = np.hypot(q_y, q_x)
    # Each frequency counts by the signal in it: power beyond that of the noise, smoothed.
    power = (np.abs(spectra) ** 2).mean(axis=0)
    power = ndimage.uniform_filter(power, 5, mode="nearest")
    excess = np.clip(power - 1, 0, None) / power**2
    band = (q > 3 / min(window.shape)) & (q < 0.5)
    twice = np.where(q_x > 0, 1.0, 0.5)
    return spectra * np.sqrt(excess * band * twice), q_y / scan_step[0], q_x / scan_step[1]


def _pair_shifts(spectra, patches, scan_shape, scan_step):
    """Shift between cells that are some steps apart: the peak of all such pairs' correlation."""
    steps, shifts, heights = [], [], []
    index = {tuple(cell): number for number, cell in enumerate(patches.cells)}
    for dy, dx in product(range(REACH + 1), range(-REACH, REACH + 1)):
        if dy == 0 and dx <= 0:
            continue
        pairs = [(a, index[c[0] + dy, c[1] + dx]) for c, a in index.items()
                 if (c[0] + dy, c[1] + dx) in index]  # fmt: skip
        if not pairs:
            continue
        cross = sum(spectra[b] * np.conj(spectra[a]) for a, b in pairs)
        peak, height = _peak(scipy.fft.irfft2(cross, s=scan_shape))
        steps.append(
            [np.mean([k[b] - k[a] for a, b in pairs]) for k in (patches.k_row, patches.k_col)]
        )
        shifts.append([peak[0] * scan_step[0], peak[1] * scan_step[1]])
        heights.append(height)
    return np.array(steps), np.array(shifts), np.array(heights)


def _peak(correlation):
    """Sub-pixel place (row, col) of the highest peak, and its height in standard deviations."""
    smooth = ndimage.gaussian_filter(correlation, 0.7, mode="wrap")
    rows, cols = correlation.shape
    row, col = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    around = smooth[np.ix_([row - 1, row, (row + 1) % rows], [col - 1, col, (col + 1) % cols])]
    place = []
    for line, at, size in ((around[:, 1], row, rows), (around[1], col, cols)):
        bend = line[0] - 2 * line[1] + line[2]
        part = 0.5 * (line[0] - line[2]) / bend if bend < 0 else 0.0
        at = at + float(np.clip(part, -0.5, 0.5))
        place.append(at - size if at > size / 2 else at)
    spread = 1.4826 * np.median(np.abs(smooth - np.median(smooth)))
    return place, (smooth[row, col] - np.median(smooth)) / max(spread, 1e-300)


def _linear(steps, shifts, heights):
    """Robust least squares for shift = M k."""
    weight = np.clip(heights, 0, 50) ** 2
    for _ in range(5):
        root = np.sqrt(weight)[:, None]
        matrix = np.linalg.lstsq(steps * root, shifts * root, rcond=None)[0].T
        error = np.hypot(*(shifts - steps @ matrix.T).T)
        scale = max(1.4826 * np.median(error), 1e-9)
        weight = np.clip(heights, 0, 50) ** 2 / (1 + (error / (2 * scale)) ** 2)
    total = np.sqrt((weight * (shifts**2).sum(axis=1)).sum())
    return matrix, float(np.sqrt((weight * error**2).sum()) / max(total, 1e-300))


def _refine(matrix, spectra, patches, q_y, q_x):
    """Shift all images back and add them up: the sharpest sum has the right matrix."""
    used = (np.abs(spectra) ** 2).sum(axis=0).ravel()
    some = np.argsort(-used, kind="stable")[: min(FREQUENCIES, int((used > 0).sum()))]
    values = spectra.reshape(len(spectra), -1)[:, some]
    y, x = q_y.ravel()[some], q_x.ravel()[some]
    single = (np.abs(values) ** 2).sum()
    if single == 0:  # images without detail, which agree however they are shifted
        return matrix, 0.0

    def agreement(flat):
        shift = flat.reshape(2, 2) @ np.stack([patches.k_row, patches.k_col])
        phase = np.exp(2j * pi * (shift[0][:, None] * y + shift[1][:, None] * x))
        return float((np.abs((values * phase).sum(axis=0)) ** 2).sum() - single)

    size = max(np.abs(matrix).max(), 1e-12)
    found = optimize.minimize(
        lambda part: -agreement(part * size) / single, matrix.ravel() / size, method="Nelder-Mead",
        options={"xatol": 1e-3, "fatol": 1e-6, "maxiter": 250},
    )  # fmt: skip
    # By chance the cross terms have mean 0 and this variance (independent patches).
    power = np.abs(values) ** 2
    chance = np.sqrt(((power.sum(axis=0)) ** 2 - (power**2).sum(axis=0)).sum())
    return found.x.reshape(2, 2) * size, float(agreement(found.x * size) / max(chance, 1e-300))
