"""A phase object made of round bumps at known places, exact on any grid.

Each bump is a sum of Gaussians, so the phase can be computed on any grid, turned by any angle, at
any point: the scan and the detector need not share axes, and the truth is the same on both. Its
frame is that of the scan, with (0, 0) Å at the first scan position.
"""

from dataclasses import dataclass
from math import cos, sin

import numpy as np

from models.atoms import Profile

REACH = 6.0
"""A Gaussian is followed to so many standard deviations, where it is 1.5e-8 of its height."""
VALUES_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Bumps:
    """Bumps of one profile at many places."""

    positions: np.ndarray
    """(n, 2) float64: (y, x) [Å]."""
    profile: Profile
    scale: np.ndarray
    """(n,) float64: factor of the profile at each place, such as the atoms in a column."""

    @property
    def reach(self) -> float:
        """Distance from a place beyond which the bump is zero [Å]."""
        return REACH * float(self.profile.sigmas.max())


@dataclass(frozen=True)
class PhaseObject:
    """A specimen that shifts the electron's phase and absorbs nothing."""

    name: str
    bumps: tuple[Bumps, ...]
    period: tuple[float, float] | None = None
    """Period along (y, x) [Å]; None: it does not repeat."""

    def phase(
        self,
        shape: tuple[int, int],
        step: tuple[float, float],
        origin: tuple[float, float] = (0.0, 0.0),
        rotation: float = 0.0,
    ) -> np.ndarray:
        """Phase on a grid, which may be turned against the specimen.

        Parameters
        ----------
        shape : (rows, cols)
            Of the grid.
        step : (float, float)
            Distance of its points along its own y and x [Å].
        origin : (float, float)
            Place of its first point on its own axes [Å].
        rotation : float
            The specimen's coordinates are R(rotation) times the grid's, R as in geometry.py [rad].

        Returns
        -------
        (rows, cols) float64
            Phase [rad].
        """
        image = np.zeros(shape)
        for bumps in self.bumps:
            seen = self._repeated(bumps, shape, step, origin, rotation)
            c, s = cos(rotation), sin(rotation)
            y, x = seen.positions.T
            at = np.stack([c * y + s * x - origin[0], c * x - s * y - origin[1]], axis=1)
            _add(image, at / step, seen, step)
        return image

    def _repeated(
        self,
        bumps: Bumps,
        shape: tuple[int, int],
        step: tuple[float, float],
        origin: tuple[float, float],
        rotation: float,
    ) -> Bumps:
        """Bumps in every period that a grid reaches into."""
        if self.period is None:
            return bumps
        c, s = cos(rotation), sin(rotation)
        ends = [(o, o + (n - 1) * d) for o, n, d in zip(origin, shape, step, strict=True)]
        corners = np.array([(c * y - s * x, s * y + c * x) for y in ends[0] for x in ends[1]])
        low = np.floor((corners.min(axis=0) - bumps.reach) / self.period).astype(int) - 1
        high = np.ceil((corners.max(axis=0) + bumps.reach) / self.period).astype(int) + 1
        shifts = np.stack(
            np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True))), axis=-1
        ).reshape(-1, 1, 2) * np.asarray(self.period)
        positions = (bumps.positions + shifts).reshape(-1, 2)
        return Bumps(positions, bumps.profile, np.tile(bumps.scale, len(shifts)))


def _add(image: np.ndarray, at: np.ndarray, bumps: Bumps, step: tuple[float, float]) -> None:
    """Add bumps at positions [px] to an image, window by window."""
    half = np.ceil(bumps.reach / np.asarray(step)).astype(int)
    near = ((at > -half - 1) & (at < np.asarray(image.shape) + half)).all(axis=1)
    at, scale = at[near], bumps.scale[near]
    windows = [np.arange(-h, h + 1) for h in half]
    padded = np.zeros(tuple(np.asarray(image.shape) + 4 * half + 4))
    chunk = max(1, VALUES_AT_ONCE // (windows[0].size * windows[1].size))
    for first in range(0, len(at), chunk):
        part, weight = at[first : first + chunk], scale[first : first + chunk]
        whole = np.round(part).astype(int)
        lines = []
        for axis in (0, 1):
            distance = (windows[axis] - (part - whole)[:, axis, None]) * step[axis]
            lines.append(
                np.exp(-0.5 * (distance[:, None] / bumps.profile.sigmas[None, :, None]) ** 2)
            )
        lines[0] *= bumps.profile.heights[:, None] * weight[:, None, None]
        values = np.matmul(lines[0].transpose(0, 2, 1), lines[1])
        rows = whole[:, 0, None, None] + windows[0][:, None] + 2 * half[0] + 1
        cols = whole[:, 1, None, None] + windows[1] + 2 * half[1] + 1
        flat = np.bincount(
            (rows * padded.shape[1] + cols).ravel(), values.ravel(), minlength=padded.size
        )
        padded += flat.reshape(padded.shape)
    inner = padded[2 * half[0] + 1 :, 2 * half[1] + 1 :]
    image += inner[: image.shape[0], : image.shape[1]]
