"""How well a probe lets each diffraction pattern foretell its neighbour's: blind, without training.

For a weak phase φ the counts follow I − |A|² = J φ, J the derivative of |F[P(1 + iφ)]|². Ridge
regression turns one pattern into phases, P moved by the scan's step turns them into a forecast of
the neighbour. Counting noise of two patterns is independent, so forecast and neighbour correlate by
what the specimen does alone, and most where the probe is right. All pairs of a scan enter through
three covariances, so a trial costs a few small products of matrices, however many pairs there are.
The correlation is relative: a probe that answers small phases gains nothing by it, as it does in
the absolute disagreement of Chang et al., Phys. Rev. Lett. 130, 016101 (2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

PRIOR = 0.1
"""Standard deviation of a node's phase before anything is known [rad]."""


@dataclass(frozen=True)
class DiskGrid:
    """Detector pixels that are looked at, on a grid of ``side`` pixels whose window is periodic."""

    side: int
    rows: np.ndarray
    """(pixels,) float: of each, from the disk's centre [px of the grid]."""
    cols: np.ndarray
    amplitude: np.ndarray
    """(pixels,) float: √ of the mean counts without specimen."""
    wavefronts: np.ndarray
    """(aberrations, pixels) float: χ of one rad at the edge of each aberration [rad]."""


@dataclass(frozen=True)
class Covariances:
    """Second moments of whitened patterns d = (I − |A|²)/|A|, (pixels, pixels) each."""

    own: np.ndarray
    """Mean of d dᵀ over all patterns."""
    across: tuple[np.ndarray, ...]
    """Mean of d₁ d₂ᵀ over the pairs of each direction."""
    steps: tuple[tuple[float, float], ...]
    """Where the second of a pair lies from the first, (row, col) in the detector's frame [px of
    the real-space window]."""


class PatchRegression:
    """Phases from one pattern by ridge regression, for whatever probe.

    Parameters
    ----------
    grid : DiskGrid
        Of K pixels.
    reach : int
        Side of the square of real-space pixels that may be lit.
    spacing : int
        Pixels from node to node of the phase, which is linear in between.
    """

    def __init__(self, grid: DiskGrid, reach: int, spacing: int = 1) -> None:
        self._amplitude = torch.tensor(grid.amplitude, dtype=torch.float32)
        self._wavefronts = torch.tensor(grid.wavefronts, dtype=torch.float32)
        y, x = (a.ravel().astype(float) - reach // 2 for a in np.indices((reach, reach)))
        angle = 2 * np.pi / grid.side * (np.outer(grid.rows, y) + np.outer(grid.cols, x))
        self._waves = torch.tensor(np.exp(-1j * angle), dtype=torch.complex64)
        self._power = float(grid.side) ** 2
        self._pixels, self._spacing = (y, x), spacing
        self._nodes = np.arange(
            -(reach // 2), reach - reach // 2 + spacing - 1, spacing, dtype=float
        )
        self.phases = self.moved(0, 0)

    def moved(self, dy: float, dx: float) -> torch.Tensor:
        """(reach², nodes²): phases at the lit pixels when the probe has moved by (dy, dx) [px]."""
        y, x = self._pixels
        return between_nodes(y + dy, x + dx, self._nodes, self._spacing)

    def at(self, aberrations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Regression for one probe.

        Parameters
        ----------
        aberrations : (n,) float32
            rad at the edge, in the order of the grid's wavefronts, of which it may be the first.

        Returns
        -------
        slopes : (K, reach²) float32
            Change of a whitened pattern with the phase of each lit pixel.
        found : (nodes², K) float32
            Turns a whitened pattern into phases without their mean, which is unseen [rad].
        light : (reach²,) float32
            |P|² of the pixels, sum 1.
        """
        chi = aberrations @ self._wavefronts[: len(aberrations)]
        wave = self._amplitude * torch.exp(-1j * chi)
        lit = (self._waves.conj().T @ wave) / self._power
        turn = (wave.conj() / self._amplitude)[:, None]
        slopes = 2 * (turn * (1j * lit) * self._waves).real
        own = slopes @ self.phases
        normal = own.T @ own + torch.eye(own.shape[1]) / PRIOR**2
        found = torch.cholesky_solve(own.T, torch.linalg.cholesky(normal))
        light = lit.abs() ** 2
        light = light / light.sum()
        found = found - ((self.phases.T @ light) @ found)[None]
        return slopes, found, light


class PairPrediction:
    """1 − correlation of forecast and neighbour, as a function of the aberrations.

    Parameters
    ----------
    regression : PatchRegression
        Of K pixels.
    moments : Covariances
        Of the patterns at those.
    """

    def __init__(self, regression: PatchRegression, moments: Covariances) -> None:
        self._regression = regression
        self._own = torch.tensor(moments.own, dtype=torch.float32)
        self._across = [torch.tensor(c, dtype=torch.float32) for c in moments.across]
        self._moved = [regression.moved(dy, dx) for dy, dx in moments.steps]

    def __call__(self, aberrations: torch.Tensor) -> torch.Tensor:
        """Misfit of a probe.

        Parameters
        ----------
        aberrations : (n,) float32
            rad at the edge.

        Returns
        -------
        scalar float32
            0: every pattern foretells its neighbour to the electron; 1: chance. Noise alone keeps
            it near 1, and no probe changes that part.
        """
        slopes, found, _ = self._regression.at(aberrations)
        spread = found @ self._own @ found.T
        agreement, forecasts = torch.zeros(()), torch.zeros(())
        for across, nodes in zip(self._across, self._moved, strict=True):
            there = slopes @ nodes
            agreement = agreement + ((found @ across).T * there).sum()
            forecasts = forecasts + (spread * (there.T @ there)).sum()
        counted = len(self._across) * torch.trace(self._own)
        return 1 - agreement / torch.sqrt(forecasts * counted)


class PairDisagreement:
    """How far the patches of neighbouring patterns disagree where both are lit.

    The objective of Chang et al.: mean |φ₁ − φ₂| [rad], or relative to the mean |φ|, without which
    small answers win whatever the probe.

    Parameters
    ----------
    regression : PatchRegression
        Of K pixels.
    pairs : sequence of ((n, K), (n, K)) float32
        Whitened patterns, first and second, for each direction.
    steps : sequence of (row, col)
        From the first to the second [px].
    relative : bool
        Divide by the mean |φ|.
    """

    def __init__(
        self,
        regression: PatchRegression,
        pairs: Sequence[tuple[np.ndarray, np.ndarray]],
        steps: Sequence[tuple[float, float]],
        relative: bool = True,
    ) -> None:
        self._regression, self._relative = regression, relative
        self._pairs = [(torch.tensor(a), torch.tensor(b)) for a, b in pairs]
        self._moved = [regression.moved(dy, dx) for dy, dx in steps]

    def __call__(self, aberrations: torch.Tensor) -> torch.Tensor:
        """Disagreement of a probe, scalar float32 [rad, or 1]."""
        _, found, light = self._regression.at(aberrations)
        apart, size, weights = torch.zeros(()), torch.zeros(()), torch.zeros(())
        for (first, second), moved in zip(self._pairs, self._moved, strict=True):
            # Seen by the second: its own pixels, and those of the first where they lie now.
            weight = (light * (moved @ (self._regression.phases.T @ light)).clamp_min(0)).sqrt()
            one = (first @ found.T) @ moved.T
            other = (second @ found.T) @ self._regression.phases.T
            one, other = (x - (x @ weight)[:, None] / weight.sum() for x in (one, other))
            apart = apart + ((one - other).abs() @ weight).sum()
            size = size + ((one.abs() + other.abs()) @ weight).sum() / 2
            weights = weights + weight.sum() * len(one)
        return apart / (size if self._relative else weights)


def whitened(counts: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """(patterns, pixels) float32: (I − |A|²)/|A|, of unit variance where counting noise rules."""
    power = np.square(amplitude)
    return ((counts - power) / amplitude).astype(np.float32)


def coarser(grid: DiskGrid, moments: Covariances, factor: int) -> tuple[DiskGrid, Covariances]:
    """Sum pixels in squares: what a probe needs that is small in its window.

    Parameters
    ----------
    grid, moments
        Of the pixels.
    factor : int
        Pixels along a side of a sum.

    Returns
    -------
    DiskGrid, Covariances
        The same for the sums, which are whitened again.
    """
    cells = np.stack([grid.rows // factor, grid.cols // factor], axis=1)
    _, which = np.unique(cells, axis=0, return_inverse=True)
    which = which.ravel()
    power = np.square(grid.amplitude)
    total = np.bincount(which, power)
    share = np.zeros((total.size, power.size), np.float32)
    share[which, np.arange(power.size)] = grid.amplitude / np.sqrt(total)[which]

    def middle(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.bincount(which, values * power) / total)

    merged = DiskGrid(
        grid.side,
        middle(grid.rows),
        middle(grid.cols),
        np.sqrt(total),
        np.stack([middle(one) for one in grid.wavefronts]),
    )
    across = tuple(share @ one @ share.T for one in moments.across)
    return merged, Covariances(share @ moments.own @ share.T, across, moments.steps)


def covariances(
    patterns: np.ndarray,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    steps: Sequence[tuple[float, float]],
) -> Covariances:
    """Moments of whitened patterns.

    Parameters
    ----------
    patterns : (n, pixels) float32
        All of them.
    pairs : sequence of ((n, pixels), (n, pixels)) float32
        First and second patterns, for each direction.
    steps : sequence of (row, col)
        See ``Covariances``.

    Raises
    ------
    ValueError
        If a direction has no pair.
    """
    for first, second in pairs:
        if len(first) == 0 or first.shape != second.shape:
            raise ValueError(
                f"{len(first)} and {len(second)} patterns; expected as many first as second ones, "
                "and at least one"
            )
    # By torch, whose threads are counted: the sums must not depend on the machine.
    every = torch.from_numpy(patterns)
    own = (every.T @ every / len(every)).numpy()
    across = tuple((torch.from_numpy(a).T @ torch.from_numpy(b) / len(a)).numpy() for a, b in pairs)
    return Covariances(own, across, tuple((float(y), float(x)) for y, x in steps))


def between_nodes(y: np.ndarray, x: np.ndarray, nodes: np.ndarray, spacing: int) -> torch.Tensor:
    """(pixels, nodes²) float32: hat functions of the nodes at points (y, x); 0 outside of them."""
    hats = [np.clip(1 - np.abs(at[:, None] - nodes) / spacing, 0, None) for at in (y, x)]
    return torch.tensor(
        (hats[0][:, :, None] * hats[1][:, None, :]).reshape(len(y), -1), dtype=torch.float32
    )
