"""A stitched phase made more likely: Newton steps on the likelihood of all patterns of a scan.

A network sees one pattern at a time, so that what neighbouring patterns tell together is left
over. From an image that is nearly right it is found in a few linear solves. The gradient is that of
the Poisson likelihood of the counts, exact, with each probe at its sub-pixel position; the matrix
is the Fisher information of a pattern without specimen, the same at every position, so that the
gradient alone has to look at patterns.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from models.forward import central, scan_windows
from models.networks import NOISE
from models.unrolled import information

BACKGROUND = 0.2
"""Electrons that may always hit a pixel: a single one in the dark does not outweigh the disk."""
DAMPING = 0.003
"""Of the greatest information of a pixel, what is added to each: what no pattern tells stays."""
STEP = 0.8
"""Part of the solved change that is made: a specimen's patterns tell more than one without, by up
to twice, and whole steps from afar swing about the truth."""
CAUTION = 0.75
"""Part of what makes a pattern's pixels interfere that a cautious step counts with. A probe without
aberrations leaves half of a weak phase unseen, and a step along what is unseen is without end."""
WINDOW = 16
"""Side of the part of a probe's window whose information counts in the matrix [px]."""
BATCH = 512
TOLERANCE, MOST_ROUNDS = 1e-3, 30
"""Of the conjugate gradients: more exact than the matrix is."""


class Score(NamedTuple):
    """Derivative of the log-likelihood for a part of the image."""

    corner: tuple[int, int]
    """(row, col) of its first pixel on the image; may be negative."""
    slope: np.ndarray
    """(rows, cols) float64 [1/rad]."""


def score_of(
    roots: np.ndarray,
    phase: np.ndarray,
    positions: np.ndarray,
    probe: np.ndarray,
    electrons: float,
    device: str = "cpu",
) -> Score:
    """Which change of an image makes some patterns more likely.

    Parameters
    ----------
    roots : (patterns, side, side) float32
        √counts, zero frequency at pixel side // 2.
    phase : (rows, cols) float
        The image in the patterns' frame; 0 beyond it [rad].
    positions : (patterns, 2) float64
        (y, x) of the probe's centre on the image [px].
    probe : (side, side) complex64
        Centred on pixel side // 2, Σ|P|² = 1.
    electrons : float
        Mean electrons of the beam [e].
    device : str
        Of torch, where the work is done.

    Returns
    -------
    Score
        Σ over the patterns of ∂ ln Poisson(n; μ) / ∂φ, over the pixels that their windows reach.
    """
    side = probe.shape[0]
    low = np.floor(positions.min(axis=0) + 0.5).astype(int) - side // 2
    high = np.floor(positions.max(axis=0) + 0.5).astype(int) + side - side // 2
    slope = torch.zeros(tuple(high - low), dtype=torch.float64, device=device)
    for part, rows, cols, windows, probes in scan_windows(phase, positions, probe, BATCH):
        counts = torch.from_numpy(roots[part]).square()
        each = _slopes(counts.to(device), windows.to(device), probes.to(device), electrons)
        y, x = (torch.from_numpy(n).to(device) for n in (rows - low[0], cols - low[1]))
        at = y[:, :, None], x[:, None]
        slope.index_put_(at, each.double(), accumulate=True)
    return Score((int(low[0]), int(low[1])), slope.cpu().numpy())


def improved(
    phase: np.ndarray,
    scores: list[Score],
    positions: np.ndarray,
    probe: np.ndarray,
    electrons: float,
    device: str = "cpu",
    cautious: bool = False,
) -> np.ndarray:
    """An image after one step, from the scores of all its patterns.

    Parameters
    ----------
    phase : (rows, cols) float
        The image that the scores are of [rad].
    scores : list of Score
        Which together saw every position once.
    positions, probe, electrons, device
        As in ``score_of``.
    cautious : bool
        Go slower where single patterns tell little; the image that it leads to is the same.

    Returns
    -------
    (rows, cols) float32
        After ``STEP`` of the change that solves (Σ_p A_pᵀ H A_p + damping) · change = score, with
        A_p the cut about a position and H the information of a pattern; what no pattern sees is as
        it was [rad].
    """
    whole = np.zeros(phase.shape)
    for part in scores:
        _add(whole, part)
    one = torch.from_numpy(np.asarray(probe, np.complex64))[None].to(device)
    dose = torch.tensor([electrons], dtype=torch.float32, device=device)
    size = min(WINDOW, probe.shape[0])
    lit = central(one, size)
    matrix = information(one, lit, dose)[0].double()
    if cautious:
        apart = torch.diag_embed(lit[0].abs().square().flatten()).double()
        matrix = CAUTION * matrix + (1 - CAUTION) * apart * (electrons / (2 * NOISE**2))
    normal = _Normal(positions, matrix, size, phase.shape)
    change = STEP * _solved(normal, torch.from_numpy(whole).to(device))
    return (np.asarray(phase, float) + change.cpu().numpy()).astype(np.float32)


def _slopes(
    counts: torch.Tensor, windows: torch.Tensor, probes: torch.Tensor, electrons: float
) -> torch.Tensor:
    """(patterns, side, side): derivative of each pattern's log-likelihood for its own window."""
    exits = probes * torch.polar(torch.ones_like(windows), windows)
    waves = torch.fft.fft2(exits, norm="ortho")
    means = electrons * (waves.real**2 + waves.imag**2)
    counts = torch.fft.ifftshift(counts, dim=(-2, -1))
    back = torch.fft.ifft2(waves * ((counts - means) / (means + BACKGROUND)), norm="ortho")
    return 2 * electrons * (exits.conj() * back).imag


def _add(image: np.ndarray, score: Score) -> None:
    """Add what of a score lies on the image."""
    low = [max(0, corner) for corner in score.corner]
    high = [
        min(n, corner + m)
        for n, corner, m in zip(image.shape, score.corner, score.slope.shape, strict=True)
    ]
    there = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    here = tuple(
        slice(a - corner, b - corner) for a, b, corner in zip(low, high, score.corner, strict=True)
    )
    image[there] += score.slope[here]


class _Normal:
    """Σ_p A_pᵀ H A_p + damping, block after block, never as a matrix."""

    def __init__(
        self, positions: np.ndarray, matrix: torch.Tensor, size: int, shape: tuple[int, ...]
    ) -> None:
        self.matrix, self.size, self.shape = matrix, size, shape
        whole = np.floor(positions + 0.5).astype(np.int64) + size
        self.centres = torch.from_numpy(whole).to(matrix.device)
        self.damping = 0.0
        diagonal = self._added(matrix.diagonal().expand(len(positions), -1))
        self.damping = DAMPING * float(diagonal.max())
        self.diagonal = diagonal + self.damping

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(image, (self.size,) * 4)
        found = torch.zeros_like(padded)
        for at in self._blocks():
            found.view(-1).index_add_(
                0, at.flatten(), (padded.view(-1)[at] @ self.matrix).flatten()
            )
        return self._inner(found) + self.damping * image

    def _added(self, values: torch.Tensor) -> torch.Tensor:
        padded = values.new_zeros([n + 2 * self.size for n in self.shape])
        first = 0
        for at in self._blocks():
            part = values[first : first + len(at)]
            padded.view(-1).index_add_(0, at.flatten(), part.flatten())
            first += len(at)
        return self._inner(padded)

    def _blocks(self) -> Iterator[torch.Tensor]:
        """(positions, size²) int64, some positions at a time: places on the padded image."""
        along = torch.arange(self.size, device=self.matrix.device) - self.size // 2
        width = self.shape[1] + 2 * self.size
        for centres in self.centres.split(8 * BATCH):
            rows, cols = (centres[:, axis, None] + along for axis in (0, 1))
            yield (rows[:, :, None] * width + cols[:, None, :]).flatten(1)

    def _inner(self, padded: torch.Tensor) -> torch.Tensor:
        return padded[self.size : -self.size, self.size : -self.size].clone()


def _solved(normal: _Normal, right: torch.Tensor) -> torch.Tensor:
    """Conjugate gradients with the diagonal as preconditioner."""
    found, residual = torch.zeros_like(right), right.clone()
    towards = residual / normal.diagonal
    search, product = towards.clone(), (residual * towards).sum()
    enough = TOLERANCE**2 * float(product)
    for _ in range(MOST_ROUNDS):
        if float(product) <= enough:
            break
        applied = normal(search)
        size = product / (search * applied).sum()
        found += size * search
        residual -= size * applied
        towards = residual / normal.diagonal
        before, product = product, (residual * towards).sum()
        search = towards + (product / before) * search
    return found
