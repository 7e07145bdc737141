"""What the width of detector bins leaves of the phase that sidebands carry.

A bin sums over its area, while Γ is taken at its centre. The phase of Γ winds over the bin by the
slope of χ(k) − χ(k − Q), which damps the sum: by sinc(d t_y) sinc(d t_x), with t that slope [turns]
along the sides of a bin of width d. For defocus and astigmatism t is the same all over the disk;
for defocus alone it is λ C10 Q. And of a bin on the rim of the disk, or of a copy of it, only a
part is a sideband, but it counts as a whole one. Both together are a factor of Φ(Q), the transfer

    T(Q) = Σ_k Γ*(k) ⟨Γ⟩_k / Σ_k |Γ(k)|² / ⟨|A|²⟩

with ⟨⟩_k the mean over bin k, and ⟨|A|²⟩ that over all bins of the disk, by which Φ is normalised.
It is smooth: it is summed at some hundreds of frequencies, and read between them.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import cos, pi, sin, sqrt

import numpy as np
from numba import njit

from gpu_kernels.backend import Array, as_library, beside
from gpu_kernels.chi import chi_turns
from gpu_kernels.fourier import libraries
from gpu_kernels.ssb_geometry import SsbGeometry

LEAST_TRANSFER = 0.3
"""Below, a frequency is lifted no further. Its noise would grow more than 3.3 times; each per cent
by which C10 is wrong would change the phase's scale by nearly four; and the sinc's first zero,
where contrast turns over, is near: the lobes beyond it reach no more than 0.22."""
NARROWEST = 2.0
"""Bins that |Q| is to span for its own transfer; a smaller one has that of this size. So narrow a
sideband lies on the rim all along, and its transfer hangs on how sharp the disk's edge is to a part
of a bin, which nobody has measured: lifted by it, real recordings drown in clouds."""
RADII, ANGLES, POWER = 20, 16, 1.5
"""Of the table: |Q| from 0 to 2 k0, closer together where few bins are in a sideband; and
directions of the half plane."""
FREQUENCIES_AT_ONCE = 2**20
"""That are read from the table together: each takes some hundred bytes meanwhile."""
POINTS = 5
"""Along the sides of a bin that a rim cuts; odd."""
PARTS = {"both": [0, 1], "right": [0], "left": [1], "wpo": [0, 1, 2], "common": [3]}
"""Which sums each estimate takes: those of the right sideband, the left one, the double overlap;
and those of single sidebands for an absorption, to which both copies add."""


@dataclass(frozen=True)
class BinTransfer:
    """The transfer of a disk's bins at the frequencies of a table."""

    aperture: float
    """k0 [1/Å]."""
    smallest: float
    """Smaller |Q| have the transfer of this one, ``NARROWEST`` bins [1/Å]."""
    overlap: np.ndarray
    """(4, RADII + 1, ANGLES + 1) complex128: Σ Γ*⟨Γ⟩ over ⟨|A|²⟩; see ``PARTS``."""
    weight: np.ndarray
    """The same shape, float64: Σ|Γ|² of the bins' centres."""

    @classmethod
    def of(
        cls,
        k_y: np.ndarray,
        k_x: np.ndarray,
        geometry: SsbGeometry,
        width: float,
        threads: int = 1,
    ) -> "BinTransfer":
        """Sum over the bins of a disk.

        Parameters
        ----------
        k_y, k_x : (bins,) float64
            Wave vectors of their centres in the detector's frame, after the mirror [1/Å]; those
            outside the disk add nothing.
        geometry : SsbGeometry
            Aperture, rotation and aberrations.
        width : float
            Side of a bin [1/Å].
        threads : int
            That share the table's frequencies; the sums are the same for any number.
        """
        inside = np.hypot(k_y, k_x) < geometry.aperture
        k_y, k_x = geometry.on_scan(k_y[inside], k_x[inside])
        # The bin's sides, as vectors on the scan's axes.
        sides = np.stack(geometry.on_scan(np.array([width, 0.0]), np.array([0.0, width])), axis=1)
        at = (np.arange(POINTS) + 0.5) / POINTS - 0.5
        y = k_y[:, None, None] + at[:, None] * sides[0, 0] + at * sides[1, 0]
        x = k_x[:, None, None] + at[:, None] * sides[0, 1] + at * sides[1, 1]
        covered = float(np.mean(np.hypot(y, x) < geometry.aperture)) if k_y.size else 1.0
        radii = 2 * geometry.aperture * (np.arange(RADII + 1) / RADII) ** POWER
        angles = np.pi * (np.arange(ANGLES + 1) / ANGLES - 0.5)
        q_y, q_x = radii[:, None] * np.sin(angles), radii[:, None] * np.cos(angles)
        overlap, weight = np.zeros((4, q_y.size), np.complex128), np.zeros((4, q_y.size))
        bins = k_y, k_x, sides, at, geometry.chi(), geometry.aperture

        def share(first: int) -> None:
            some = slice(first, None, threads)  # the outermost have fewer bins
            sums = [np.ascontiguousarray(one[:, some]) for one in (overlap, weight)]
            _sum_bins(*bins, *(q.ravel()[some].copy() for q in (q_y, q_x)), *sums)
            overlap[:, some], weight[:, some] = sums

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(share, range(threads)))
        weight[3] = weight[0] + weight[1]
        shape = (4, *q_y.shape)
        return cls(
            geometry.aperture, NARROWEST * width, overlap.reshape(shape) / covered,
            weight.reshape(shape),
        )  # fmt: skip

    def at(self, q_y: Array, q_x: Array, estimate: str = "both") -> Array:
        """Transfer of an estimate.

        Parameters
        ----------
        q_y : (rows,) float64
        q_x : (columns,) float64
            Frequencies of the scan [1/Å], those along x not negative.
        estimate : str
            As in ``ssb_finish``; or ``common``, that of the amplitude.

        Returns
        -------
        (rows, columns) complex128
            1 where nothing is known; it lives where ``q_y`` lives.
        """
        y, x = as_library(q_y), as_library(q_x)
        xp, _ = libraries(y)
        sums = xp.asarray(self._summed(estimate))
        rows = max(1, FREQUENCIES_AT_ONCE // max(1, x.size))
        parts = [
            self._between(sums, y[first : first + rows, None], x)
            for first in range(0, y.size, rows)
        ]
        return beside(xp.concatenate(parts), q_y)

    def _between(self, sums: Array, y: Array, x: Array) -> Array:
        """Transfer between the nodes of a table of both sums, for some rows."""
        xp, _ = libraries(y)
        size = xp.maximum(xp.hypot(y, x), self.smallest)
        ring = RADII * xp.minimum(size / (2 * self.aperture), 1) ** (1 / POWER)
        turn = ANGLES * (xp.arctan2(y, x) / pi + 0.5)
        low = xp.minimum(ring.astype(xp.int64), RADII - 1)
        left = xp.clip(turn.astype(xp.int64), 0, ANGLES - 1)
        ring, turn = ring - low, turn - left
        # Nodes of both sums are weighed before they are divided: one without bins counts nothing.
        found = (1 - ring) * ((1 - turn) * sums[:, low, left] + turn * sums[:, low, left + 1])
        found += ring * ((1 - turn) * sums[:, low + 1, left] + turn * sums[:, low + 1, left + 1])
        known = found[1].real > 0
        return xp.where(known, found[0] / xp.where(known, found[1].real, 1), 1)

    def _summed(self, estimate: str) -> np.ndarray:
        parts = PARTS[estimate]
        return np.stack([self.overlap[parts].sum(axis=0), self.weight[parts].sum(axis=0) + 0j])


def limited(transfer: Array) -> Array:
    """What to divide Φ(Q) by.

    Parameters
    ----------
    transfer : (rows, columns) complex128
        From ``BinTransfer.at``.

    Returns
    -------
    (rows, columns) complex128
        The transfer; where its size is below ``LEAST_TRANSFER``, with that size: such a frequency
        keeps what damping is left, with the right sign. For a library: see ``as_library``.
    """
    transfer = as_library(transfer)
    xp, _ = libraries(transfer)
    size = xp.abs(transfer)
    phase = xp.where(size > 0, transfer / xp.where(size > 0, size, 1), 1)
    return phase * xp.maximum(size, LEAST_TRANSFER)


def damping(geometry: SsbGeometry, width: float, q: float) -> float:
    """Least factor by which the width of bins damps frequencies of one size.

    Parameters
    ----------
    geometry : SsbGeometry
        Aberrations.
    width : float
        Side of a bin [1/Å].
    q : float
        |Q| [1/Å].

    Returns
    -------
    float
        |sinc sinc| in the middle of the overlap, in the direction where it is least; 1 is none.
    """
    c, least = geometry.chi(), 1.0
    sides = geometry.on_scan(np.array([width, 0.0]), np.array([0.0, width]))
    for angle in np.linspace(0, pi, 36, endpoint=False):
        y, x = q * sin(angle) / 2, q * cos(angle) / 2
        t = np.subtract(_slope(c, y, x), _slope(c, -y, -x))
        along = [t[0] * sides[0][n] + t[1] * sides[1][n] for n in (0, 1)]
        least = min(least, abs(float(np.sinc(along[0]) * np.sinc(along[1]))))
    return least


@njit(nogil=True, cache=True, inline="always")
def _slope(c, y, x):
    """Slope of χ/2π along y and x."""
    along_y = 2 * c[0] * y + c[1] * x + y * (3 * c[3] * y + 2 * c[4] * x) + c[5] * x * x
    along_y += y * y * (4 * c[7] * y + 3 * c[8] * x) + x * x * (2 * c[9] * y + c[10] * x)
    along_x = c[1] * y + 2 * c[2] * x + c[4] * y * y + x * (2 * c[5] * y + 3 * c[6] * x)
    along_x += y * y * (c[8] * y + 2 * c[9] * x) + x * x * (3 * c[10] * y + 4 * c[11] * x)
    return along_y, along_x


@njit(nogil=True, cache=True, inline="always")
def _wave(turns):
    return complex(cos(2 * pi * turns), sin(2 * pi * turns))


@njit(nogil=True, cache=True, inline="always")
def _over_a_side(turns, waves):
    """Waves at the points of a side over which the phase winds by so many turns."""
    step, middle = _wave(turns / waves.size), waves.size // 2
    waves[middle] = 1
    for i in range(middle):
        waves[middle + i + 1] = waves[middle + i] * step
        waves[middle - i - 1] = waves[middle + i + 1].conjugate()


@njit(nogil=True, cache=True, inline="always")
def _sinc(turns):
    return sin(pi * turns) / (pi * turns) if abs(turns) > 1e-6 else 1.0


@njit(nogil=True, cache=True)
def _sum_bins(k_y, k_x, sides, at, c, aperture, q_y, q_x, overlap, weight):
    # χ is taken as straight within a bin, its slope from the bin's centre: what defocus and
    # astigmatism add to it is straight, and what coma and the third order bend is little.
    inside, n = aperture * aperture, at.size
    reach = sqrt((sides * sides).sum() / 4)
    waves = np.empty((4, n), np.complex128)
    off_y, off_x, own = np.empty((n, n)), np.empty((n, n)), np.empty((n, n), np.bool_)
    for i in range(n):
        for j in range(n):
            off_y[i, j] = at[i] * sides[0, 0] + at[j] * sides[1, 0]
            off_x[i, j] = at[i] * sides[0, 1] + at[j] * sides[1, 1]
    for k in range(k_y.size):
        y, x = k_y[k], k_x[k]
        for i in range(n):
            for j in range(n):
                own[i, j] = (y + off_y[i, j]) ** 2 + (x + off_x[i, j]) ** 2 < inside
        here, (here_y, here_x) = chi_turns(c, y, x), _slope(c, y, x)
        cut = abs(sqrt(y * y + x * x) - aperture) < reach
        for q in range(q_y.size):
            my, mx, py, px = y - q_y[q], x - q_x[q], y + q_y[q], x + q_x[q]
            to_m, to_p = my * my + mx * mx, py * py + px * px
            if to_m >= inside and to_p >= inside:
                continue
            right = _wave(here - chi_turns(c, my, mx))
            left = _wave(chi_turns(c, py, px) - here)
            m_y, m_x = _slope(c, my, mx)
            p_y, p_x = _slope(c, py, px)
            m_y, m_x, p_y, p_x = here_y - m_y, here_x - m_x, p_y - here_y, p_x - here_x
            m_0, m_1 = m_y * sides[0, 0] + m_x * sides[0, 1], m_y * sides[1, 0] + m_x * sides[1, 1]
            p_0, p_1 = p_y * sides[0, 0] + p_x * sides[0, 1], p_y * sides[1, 0] + p_x * sides[1, 1]
            part_m, part_p = 0j, 0j
            if cut or abs(sqrt(to_m) - aperture) < reach or abs(sqrt(to_p) - aperture) < reach:
                _over_a_side(m_0, waves[0])
                _over_a_side(m_1, waves[1])
                _over_a_side(p_0, waves[2])
                _over_a_side(p_1, waves[3])
                for i in range(n):
                    for j in range(n):
                        if own[i, j]:
                            dy, dx = off_y[i, j], off_x[i, j]
                            if (my + dy) ** 2 + (mx + dx) ** 2 < inside:
                                part_m += waves[0, i] * waves[1, j]
                            if (py + dy) ** 2 + (px + dx) ** 2 < inside:
                                part_p += waves[2, i] * waves[3, j]
                part_m, part_p = part_m / (n * n), part_p / (n * n)
            else:
                part_m = complex(_sinc(m_0) * _sinc(m_1) if to_m < inside else 0.0)
                part_p = complex(_sinc(p_0) * _sinc(p_1) if to_p < inside else 0.0)
            gamma, number = -left, 1
            if to_m < inside:
                gamma, number = (right - left, 2) if to_p < inside else (right, 0)
            mean = right * part_m - left * part_p
            overlap[number, q] += gamma.conjugate() * mean
            weight[number, q] += gamma.real * gamma.real + gamma.imag * gamma.imag
            if number < 2:
                alone = right if number == 0 else left
                overlap[3, q] += alone.conjugate() * (right * part_m + left * part_p)
