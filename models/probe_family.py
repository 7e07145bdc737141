"""Probes of one aperture: the same measured disk, with whatever seven aberrations a lens may have.

The seven of second order are given in rad at the edge of the aperture. Coma moves the probe, and a
moved probe with a moved object gives the same patterns; a tilt takes that shift away. Piston and
tilt are left out for the same reason.
"""

from dataclasses import dataclass

import numpy as np

from models.forward import unit_probe

LIMITS = np.array([2.0, 1.0, 1.0, 1.5, 1.5, 1.0, 1.0])
"""Defocus, twofold astigmatism, coma and threefold astigmatism, two each: from minus to plus so
many rad at the aperture's edge."""
NAMES = ("defocus", "astigmatism_a", "astigmatism_b", "coma_a", "coma_b",
         "threefold_a", "threefold_b")  # fmt: skip
COMA_TILT = 2 / 3
"""Of a coma of 1 rad at the edge, the tilt that best undoes its shift over a full disk."""


@dataclass(frozen=True)
class OneProbe:
    """Always the same probe."""

    probe: np.ndarray
    """(side, side) complex64, Σ|P|² = 1."""

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, side, side) complex64; nothing is drawn."""
        return np.repeat(self.probe[None], count, axis=0)


@dataclass(frozen=True)
class ProbeFamily:
    """All probes of an aperture within limits.

    The aperture's amplitude is the root of a pattern without specimen, or that of a probe.
    """

    amplitude: np.ndarray
    """(side, side) float: |A|, zero frequency at pixel side // 2."""
    radius: float
    """Of the disk [px]."""
    center: tuple[float, float]
    """(row, col) of the disk [px]."""
    limits: tuple[float, ...] = tuple(LIMITS)

    @classmethod
    def around(cls, probe: np.ndarray) -> "ProbeFamily":
        """The family that a probe's aperture belongs to."""
        amplitude = np.abs(np.fft.fftshift(np.fft.fft2(probe)))
        inside = amplitude > 0.5 * np.percentile(amplitude, 95)
        at = np.argwhere(inside).mean(axis=0)
        return cls(amplitude, float(np.sqrt(inside.sum() / np.pi)), (float(at[0]), float(at[1])))

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, side, side) complex64: random probes, Σ|P|² = 1 each."""
        limits = np.asarray(self.limits)
        return np.stack([self.probe(limits * rng.uniform(-1, 1, 7)) for _ in range(count)])

    def probe(self, aberrations: np.ndarray) -> np.ndarray:
        """One probe.

        Parameters
        ----------
        aberrations : (7,) float
            In the order of ``NAMES``, rad at the aperture's edge.

        Returns
        -------
        (side, side) complex64
            Centred on pixel side // 2, Σ|P|² = 1.
        """
        wave = self.amplitude * np.exp(-1j * self.wavefront(aberrations))
        return unit_probe(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(wave))))

    def wavefront(self, aberrations: np.ndarray) -> np.ndarray:
        """(side, side) float64: χ [rad]; constant beyond twice the aperture."""
        y, x = np.indices(self.amplitude.shape).astype(float)
        of_one = unit_wavefronts(
            (y - self.center[0]) / self.radius, (x - self.center[1]) / self.radius
        )
        return np.tensordot(np.asarray(aberrations, dtype=float), of_one, 1)


def unit_wavefronts(y: np.ndarray, x: np.ndarray, third_order: bool = False) -> np.ndarray:
    """χ of each aberration when it is 1 rad at the edge.

    Parameters
    ----------
    y, x : array
        Wave vectors over that of the aperture's edge, of one shape.
    third_order : bool
        Go on to C30, C32 and C34, in the order of ``models.aberrations.CARTESIAN``.

    Returns
    -------
    (7 or 12, …) float64
        In the order of ``NAMES``; constant along a ray beyond twice the aperture.
    """
    rho, phi = np.minimum(np.hypot(y, x), 2.0), np.arctan2(y, x)
    parts = [rho**2]
    for radial, m in ((rho**2, 2), (rho**3 - COMA_TILT * rho, 1), (rho**3, 3)):
        parts += [radial * np.cos(m * phi), radial * np.sin(m * phi)]
    if third_order:
        parts.append(rho**4)
        for m in (2, 4):
            parts += [rho**4 * np.cos(m * phi), rho**4 * np.sin(m * phi)]
    return np.stack(parts)


def edge_scale(wavelength: float, semiangle: float, third_order: bool = False) -> np.ndarray:
    """(7 or 12,) float64: rad at the edge for each Å of the Cartesian coefficients.

    Parameters
    ----------
    wavelength : float
        Of the electrons [Å].
    semiangle : float
        Convergence semi-angle [rad].
    third_order : bool
        As for ``unit_wavefronts``.
    """
    orders = [1, 1, 1, 2, 2, 2, 2] + [3] * 5 * third_order
    return np.array([2 * np.pi / wavelength * semiangle ** (n + 1) / (n + 1) for n in orders])


@dataclass(frozen=True)
class AnyProbe:
    """Probes of every microscope: apertures of some sizes, off-centre, soft edges, halos."""

    side: int = 32
    radii: tuple[float, float] = (6.0, 9.0)
    """Of the disk [px]."""
    off_centre: float = 0.5
    """Greatest distance of the disk's centre from pixel side // 2, along each axis [px]."""
    edges: tuple[float, float] = (0.6, 2.0)
    """Width over which the disk's edge falls off [px]."""
    halo: float = 0.06
    """Greatest amplitude beyond the disk, relative to that within."""
    limits: tuple[float, ...] = (4.0, 1.5, 1.5, 1.5, 1.5, 1.0, 1.0)
    """As in ``ProbeFamily``."""

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, side, side) complex64: random probes, Σ|P|² = 1 each."""
        return np.stack([self._one(rng) for _ in range(count)])

    def _one(self, rng: np.random.Generator) -> np.ndarray:
        radius, edge = rng.uniform(*self.radii), rng.uniform(*self.edges)
        center = self.side / 2 + rng.uniform(-self.off_centre, self.off_centre, 2)
        y, x = np.indices((self.side, self.side))
        rho = np.hypot(y - center[0], x - center[1])
        disk = 1 / (1 + np.exp(np.clip(4 * (rho - radius) / edge, -50, 50)))
        halo = self.halo * rng.random() * np.exp(-np.maximum(rho - radius, 0) / radius)
        family = ProbeFamily(
            np.maximum(disk, halo), radius, (float(center[0]), float(center[1])), self.limits
        )
        return family.draw(1, rng)[0]
