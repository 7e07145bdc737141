"""G(k, Q) held in memory, so that a change of the lens recomputes nothing but the last sum.

A microscopist who turns the defocus waits for the sum over detector pixels alone: the transform of
the scan stays. What is held are the frequencies below 2 k0 of one half plane.

    held = HeldTrotters.of(blocks, scan_shape, scan_step, highest=2 * aperture)
    image = held.phase(k_y, k_x, geometry, threads=2).image
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft

from gpu_kernels.backend import Array, as_library, on_gpu, to_device, to_host
from gpu_kernels.bin_transfer import BinTransfer, limited
from gpu_kernels.chi import chi_turns
from gpu_kernels.fourier import libraries, scan_frequencies
from gpu_kernels.hold_spectrum import HANN, Collector
from gpu_kernels.kept_phase import KeptPhase
from gpu_kernels.ssb import sums_of_parts
from gpu_kernels.ssb_finish import Estimate, phase_spectrum
from gpu_kernels.ssb_geometry import SsbGeometry
from gpu_kernels.ssb_reduce import PIXELS_AT_ONCE
from gpu_kernels.wiener import noise_of_sums, ring_wiener


@dataclass(frozen=True)
class HeldPhase:
    """A phase and what it was made from."""

    image: np.ndarray
    """(scan_y, scan_x) float32 [rad]."""
    spectrum: np.ndarray
    """(scan_y, scan_x // 2 + 1) complex64: Φ(Q), Wiener-weighted if that was asked for."""


@dataclass(frozen=True)
class Trotters:
    """A few spatial frequencies over all held pixels."""

    q_y: np.ndarray
    q_x: np.ndarray
    """(frequencies,) float64 [1/Å]."""
    before: np.ndarray
    """(frequencies, pixels) complex128: G(k, Q) over the disk's mean intensity; 0 outside it."""
    after: np.ndarray
    """The same with the phase of iΓ taken away: where the aberrations are right, each frequency has
    one phase wherever ``covered``, that of Φ(Q)."""
    covered: np.ndarray
    """(frequencies, pixels) uint8: 0 outside both sidebands, 1 right, 2 left, 3 both."""


@dataclass(frozen=True)
class HeldTrotters:
    """G(k, Q) of a scan."""

    parts: Array
    """(pixels, rows, columns, 2) int16 or float32: real and imaginary part."""
    scale: Array | None
    """(groups, rows, columns) float32: unit of the integers of each ``PIXELS_AT_ONCE`` pixels."""
    rows: np.ndarray
    """(rows,) int64: which rows of the scan's transform are held."""
    scan_shape: tuple[int, int]
    scan_step: tuple[float, float]
    """(y, x) [Å]."""
    mean: np.ndarray
    """(pixels,) float64: mean count of a position [e]."""
    noise: np.ndarray
    """(pixels,) float64: Σ|G|² beyond the held frequencies."""
    noise_count: int
    """Terms of that sum for one pixel."""
    power: np.ndarray
    """(scan_y, columns) float64: Σ_k|G|² of some pixels, of the scan faded at its edges."""

    @classmethod
    def of(
        cls,
        blocks: Iterable[Array],
        pixels: int,
        scan_shape: tuple[int, int],
        scan_step: tuple[float, float],
        highest: float,
        integers: bool = True,
    ) -> "HeldTrotters":
        """Transform counts and keep what matters.

        Parameters
        ----------
        blocks : iterable of (some pixels, scan_y, scan_x)
            Counts of the disk's pixels and of those that it may come to cover, in the order of
            their wave vectors; missing positions filled. They decide where G lives.
        pixels : int
            How many pixels the blocks have in all.
        scan_shape, scan_step : (y, x)
            Positions; their distance [Å].
        highest : float
            Frequencies to hold [1/Å]: twice the largest aperture that will be asked for.
        integers : bool
            Hold 16-bit integers; else single precision.

        Raises
        ------
        ValueError
            If the blocks do not have that many pixels, or not the scan's shape.
        """
        held = Collector(pixels, scan_shape, scan_step, highest, integers)
        for block in blocks:
            held.add(block)
        held.check_complete()
        return cls(
            held.parts, held.scale if integers else None, held.rows, scan_shape, scan_step,
            held.mean, held.noise, int(held.beyond.sum()), to_host(held.power),
        )  # fmt: skip

    @property
    def columns(self) -> int:
        """Number of frequencies along x, from 0 on."""
        return int(self.parts.shape[2])

    @cached_property
    def _kept(self) -> KeptPhase:
        return KeptPhase(self.parts, self.rows, self.scan_shape, self.scan_step, self.scale)

    @property
    def nbytes(self) -> int:
        """Bytes of G."""
        return int(self.parts.nbytes) + (0 if self.scale is None else int(self.scale.nbytes))

    def phase(
        self,
        k_y: np.ndarray,
        k_x: np.ndarray,
        geometry: SsbGeometry,
        estimate: Estimate = "both",
        wiener: bool = False,
        threads: int = 1,
        bin_width: float = 0.0,
    ) -> HeldPhase:
        """Phase for an aperture, a rotation and aberrations.

        Parameters
        ----------
        k_y, k_x : (pixels,) float64
            Wave vectors of the held pixels in the detector's frame, after the mirror [1/Å]. They
            hold the disk's centre and radius; pixels outside the aperture add nothing.
        geometry : SsbGeometry
            Aperture, rotation and aberrations, on the scan that is held.
        estimate : str
            ``both``, ``left``, ``right`` or ``wpo``, see ``gpu_kernels.ssb.ssb_finish``.
        wiener : bool
            Weigh each ring of frequencies by the signal in it.
        threads : int
            On the CPU.
        bin_width : float
            Side of a pixel, whose damping is undone [1/Å]; 0 for a point.

        Returns
        -------
        HeldPhase
            On the host.

        Raises
        ------
        ValueError
            If no pixel is inside the aperture, or the estimate is unknown.
        """
        inside, intensity = self._disk(k_y, k_x, geometry)
        bins = None
        if bin_width > 0:
            bins = BinTransfer.of(k_y, k_x, geometry, bin_width, threads)
        if on_gpu(self.parts) and estimate == "both" and not wiener:
            return self._at_once(k_y, k_x, geometry, intensity, bins)
        q_y, q_x = scan_frequencies(self.scan_shape, self.scan_step)
        fields = sums_of_parts(
            self.parts, k_y, k_x, q_y[self.rows], geometry, self.scale, estimate == "wpo", threads
        )
        found, weight = phase_spectrum(fields, intensity, estimate)
        if bins is not None:
            divisor = limited(bins.at(q_y[self.rows], q_x[: self.columns], estimate))
            found, weight = found / divisor, weight * abs(divisor) ** 2
        if wiener:
            electrons = self.mean[inside].mean() * self.scan_shape[0] * self.scan_shape[1]
            noise = noise_of_sums(
                self.noise[inside].sum(), self.noise_count * int(inside.sum()), electrons, intensity
            )
            q = np.hypot(q_y[self.rows, None], q_x[: self.columns])
            found = ring_wiener(found, weight, noise, q, 2 * max(q_y[1:2].max(initial=0), q_x[1]))
        spectrum = np.zeros((self.scan_shape[0], self.scan_shape[1] // 2 + 1), np.complex64)
        spectrum[self.rows, : self.columns] = found
        image = scipy.fft.irfft2(spectrum, s=self.scan_shape, workers=threads)
        return HeldPhase(image, spectrum)

    def _at_once(
        self,
        k_y: np.ndarray,
        k_x: np.ndarray,
        geometry: SsbGeometry,
        intensity: float,
        bins: BinTransfer | None,
    ) -> HeldPhase:
        """Phase from both sidebands on a device, by what is recorded there."""
        image = self._kept(k_y, k_x, geometry, intensity)
        spectrum = as_library(self._kept.spectrum)
        if bins is not None:
            q_y, q_x = map(to_device, scan_frequencies(self.scan_shape, self.scan_step))
            spectrum = spectrum / limited(bins.at(q_y, q_x))
            _, fft = libraries(spectrum)
            image = fft.irfft2(spectrum, s=self.scan_shape, norm="forward")
        positions = self.scan_shape[0] * self.scan_shape[1]
        spectrum = to_host(spectrum) * positions
        return HeldPhase(to_host(image).astype(np.float32), spectrum.astype(np.complex64))

    def strongest(self, count: int, band: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Strongest spatial frequencies of the scan.

        Parameters
        ----------
        count : int
            How many at most.
        band : (lowest, highest)
            [1/Å].

        Returns
        -------
        row, col : (frequencies,) int64
            In the half plane of the scan's transform; no two are neighbours.
        """
        q_y, q_x = scan_frequencies(self.scan_shape, self.scan_step)
        q = np.hypot(q_y[:, None], q_x[: self.columns])
        left = np.where((q > band[0]) & (q < band[1]), self.power, 0.0)
        left[: self.scan_shape[0] // 2 + 1, 0] = 0  # of a pair ±Q, one
        found: list[tuple[int, int]] = []
        while len(found) < count and left.max() > 0:
            row, col = (int(at) for at in np.unravel_index(int(left.argmax()), left.shape))
            found.append((row, col))
            around = np.arange(row - 2, row + 3) % left.shape[0]
            left[around[:, None], np.arange(max(col - 2, 0), min(col + 3, left.shape[1]))] = 0
        at = np.array(found, dtype=np.int64).reshape(-1, 2)
        return at[:, 0], at[:, 1]

    def trotters(
        self,
        row: np.ndarray,
        col: np.ndarray,
        k_y: np.ndarray,
        k_x: np.ndarray,
        geometry: SsbGeometry,
    ) -> Trotters:
        """Some frequencies over all pixels, as they are and with the lens taken away.

        Parameters
        ----------
        row, col : (frequencies,) int64
            From ``strongest``.
        k_y, k_x, geometry
            As in ``phase``.

        Returns
        -------
        Trotters
            Of the scan faded at its edges (Hann): an image is no torus, and what does not fit
            together at its edges would cover the lens.

        Raises
        ------
        ValueError
            If no pixel is inside the aperture.
        """
        inside, intensity = self._disk(k_y, k_x, geometry)
        q_y, q_x = scan_frequencies(self.scan_shape, self.scan_step)
        q_y, q_x = q_y[row], q_x[col]
        g = np.stack([self._faded(r, c) for r, c in zip(row, col, strict=True)])
        turned_y, turned_x = geometry.on_scan(k_y, k_x)
        before = np.where(inside, g / intensity, 0)
        sidebands = _gamma(turned_y, turned_x, q_y, q_x, geometry)
        gamma = sidebands[0] - sidebands[1]
        covered = ((sidebands[0] != 0) + 2 * (sidebands[1] != 0)).astype(np.uint8) * inside
        after = before * np.conj(1j * gamma) / np.maximum(np.abs(gamma), 1e-12)
        return Trotters(q_y, q_x, before, np.where(covered > 0, after, 0), covered)

    def _disk(
        self, k_y: np.ndarray, k_x: np.ndarray, geometry: SsbGeometry
    ) -> tuple[np.ndarray, float]:
        inside = np.hypot(k_y, k_x) < geometry.aperture
        intensity = float(self.mean[inside].mean()) if inside.any() else 0.0
        if not intensity > 0:
            raise ValueError(
                f"{int(inside.sum())} of {inside.size} held pixels are inside the aperture, with "
                f"{intensity:g} e each; check the disk's centre and radius"
            )
        return inside, intensity

    def _faded(self, row: int, col: int) -> np.ndarray:
        """G of one frequency for a scan multiplied by a Hann window: ¼, −½ … of its neighbours."""
        total = np.zeros(self.mean.size, np.complex128)
        place = {int(r): at for at, r in enumerate(self.rows)}
        for dy, dx in np.ndindex(3, 3):
            y, x = (row + dy - 1) % self.scan_shape[0], col + dx - 1
            if x < 0:
                y, x, conjugate = (-y) % self.scan_shape[0], -x, True
            else:
                conjugate = False
            if y not in place or x >= self.columns:
                continue
            at = place[y]
            value = to_host(self.parts[:, at, x]).astype(np.float64)
            if self.scale is not None:
                unit = to_host(self.scale[:, at, x]).astype(np.float64)
                value *= np.repeat(unit, PIXELS_AT_ONCE)[: len(value), None]
            number = value[:, 0] + 1j * (-value[:, 1] if conjugate else value[:, 1])
            total += (HANN[dy] * HANN[dx]) * number
        return total


def _gamma(
    k_y: np.ndarray, k_x: np.ndarray, q_y: np.ndarray, q_x: np.ndarray, geometry: SsbGeometry
) -> tuple[np.ndarray, np.ndarray]:
    """Right and left sideband A*(k)A(k−Q) and A(k)A*(k+Q), on the scan's axes."""
    chi, k0 = geometry.chi(), geometry.aperture
    here = chi_turns.py_func(chi, k_y, k_x)
    sides = []
    for sign in (-1, 1):
        y, x = k_y + sign * q_y[:, None], k_x + sign * q_x[:, None]
        turns = sign * (chi_turns.py_func(chi, y, x) - here)
        covered = (np.hypot(y, x) < k0) & (np.hypot(k_y, k_x) < k0)
        sides.append(np.where(covered, np.exp(2j * np.pi * turns), 0))
    return sides[0], sides[1]
