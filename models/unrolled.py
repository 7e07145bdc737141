"""The default network: Gauss-Newton steps on the pattern's misfit, each corrected by convolutions.

From a guess of the phases the pattern follows (forward.py); what the measured pattern has more or
less goes back to the phases through the derivative of |F[P e^(iφ)]| and the inverse of its normal
matrix. Small convolutions see guess, step, uncertainty and probe, and learn only what real images
are like. So the physics of a probe need not be learnt: one set of weights serves every probe and
dose, and a new probe is a matter of one small matrix inverse.

Unrolled iterations with learnt regularisers: Adler and Öktem, IEEE Trans. Med. Imaging 37 (2018)
1322–1332.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models.forward import central
from models.networks import NOISE, PatchNetwork

PRIOR_VARIANCE = 0.05
"""Of the phase of a pixel before anything is known of it [rad²]."""
DARK = 1e-9
"""Part of the beam in a pixel below which the wave's phase there counts for less."""
CORRECTION = 0.3
"""Scale of what the convolutions answer [rad]."""
FEATURES = 6


class Sight(NamedTuple):
    """What is known of some probes and doses before any pattern is seen."""

    probes: torch.Tensor
    """(groups, 1, side, side) complex64, zero place at pixel (0, 0)."""
    dose_root: torch.Tensor
    """(groups, 1, 1, 1): √electrons."""
    inverse: torch.Tensor
    """(groups, head², head²): covariance of the phases, (JᵀJ + 1/variance)⁻¹ [rad²]."""
    known: torch.Tensor
    """(groups, 1, 3, head, head): standard deviation of each phase, real and imaginary probe."""


class UnrolledPatch(PatchNetwork):
    """Gauss-Newton with learnt corrections; works with any probe.

    Parameters
    ----------
    probe, electrons, head
        See ``PatchNetwork``: the probe that is meant where none is given.
    width : int
        Channels of the convolutions.
    stages : int
        Corrected steps after the first, which is linear.
    """

    many_probes = True

    def __init__(
        self,
        probe: np.ndarray,
        electrons: float,
        head: int | None = None,
        width: int = 24,
        stages: int = 2,
    ) -> None:
        super().__init__(probe, electrons, head)
        self.width = width
        self.corrections = nn.ModuleList(_Correction(width) for _ in range(stages))
        self.step_sizes = nn.Parameter(torch.ones(stages))

    @property
    def options(self) -> dict[str, Any]:
        """With the width and number of its corrections."""
        return super().options | {"width": self.width, "stages": len(self.corrections)}

    def forward(
        self, roots: torch.Tensor, electrons: torch.Tensor, probes: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Retrieve patches, see ``PatchNetwork``."""
        if probes is None:
            probes = self.probe.expand(len(electrons), -1, -1)
        return self.stages(roots, self.sight(probes, electrons))[-1]

    def sight(self, probes: torch.Tensor, electrons: torch.Tensor) -> Sight:
        """Prepare for (groups, side, side) probes and (groups,) doses."""
        lit = central(probes, self.head)
        # The phase of a probe as a whole changes no pattern.
        turn = (lit * lit.abs()).sum(dim=(-2, -1), keepdim=True)
        probes, lit = (p * turn.conj() / turn.abs() for p in (probes, lit))
        inverse = _covariance(probes, lit, electrons)
        deviation = inverse.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt().view(lit.shape)
        shown = lit * self.head / 2
        known = torch.stack([5 * deviation, shown.real, shown.imag], dim=1)[:, None]
        at_corner = torch.fft.ifftshift(probes, dim=(-2, -1))[:, None]
        return Sight(at_corner, electrons.sqrt()[:, None, None, None], inverse, known)

    def stages(self, roots: torch.Tensor, sight: Sight) -> list[torch.Tensor]:
        """Answers after each stage, the last of which counts.

        Parameters
        ----------
        roots : (groups, patterns, side, side) float32
        sight : Sight
            Of the groups.

        Returns
        -------
        list of (groups, patterns, head, head) float32
        """
        roots = torch.fft.ifftshift(roots, dim=(-2, -1))
        phases = self._step(torch.zeros_like(central(roots, self.head)), roots, sight)
        known = sight.known.expand(-1, roots.shape[1], -1, -1, -1)
        answers = []
        for correct, size in zip(self.corrections, self.step_sizes, strict=True):
            step = self._step(phases, roots, sight)
            seen = torch.stack([3 * phases, 3 * step, 3 * (phases + step)], dim=2)
            correction = correct(torch.cat([seen, known], dim=2).flatten(0, 1))
            phases = phases + size * step + correction.view(phases.shape).to(roots.dtype)
            answers.append(phases)
        return answers

    def _step(self, phases: torch.Tensor, roots: torch.Tensor, sight: Sight) -> torch.Tensor:
        """Gauss-Newton step: (JᵀJ + 1/variance)⁻¹ Jᵀ · misfit, the matrix that of no specimen."""
        edge = self.side // 2 - self.head // 2
        rest = self.side - self.head - edge
        whole = torch.fft.ifftshift(functional.pad(phases, (edge, rest, edge, rest)), dim=(-2, -1))
        exit_waves = sight.probes * torch.polar(torch.ones_like(whole), whole)
        waves = torch.fft.fft2(exit_waves, norm="ortho")
        power = waves.real**2 + waves.imag**2
        misfit = (roots - mean_root(power * sight.dose_root**2)) / NOISE
        back = torch.fft.ifft2(waves * (misfit * (power + DARK).rsqrt()), norm="ortho")
        slope = (exit_waves.conj() * back).imag * (sight.dose_root / NOISE)
        slope = central(torch.fft.fftshift(slope, dim=(-2, -1)), self.head)
        # Of what is worked out in bfloat16, sums are kept in single precision.
        return (slope.flatten(2) @ sight.inverse).view(phases.shape).to(roots.dtype)


def mean_root(mean: torch.Tensor) -> torch.Tensor:
    """Mean of √n for a Poisson number n, as a smooth function of the mean of n.

    It is the mean itself where that is small, √mean − 1/(8 √mean) where it is large, and within
    5 % of the truth in between.
    """
    return mean * (mean + 0.25 + 0.75 * torch.exp(-mean)).rsqrt()


def information(probes: torch.Tensor, lit: torch.Tensor, electrons: torch.Tensor) -> torch.Tensor:
    """What a pattern tells of the phases: JᵀJ at no specimen, in closed form.

    With u = ψ/|ψ| of the empty beam, J_kj = Re(u*_k F_kj iP_j) √N / noise, and of Σ_k Re(a)Re(b) =
    ½ Σ_k Re(a*b + ab) the first part is |P|² on the diagonal, and the second the transform of u*²
    at the sum of two places.

    Parameters
    ----------
    probes : (groups, side, side) complex64
        Centred on pixel side // 2, Σ|P|² = 1 each.
    lit : (groups, head, head) complex64
        The middle of each.
    electrons : (groups,) float32
        Mean electrons of the beam [e].

    Returns
    -------
    (groups, head², head²) float32
        Fisher information of the phases [1/rad²].
    """
    head, side = lit.shape[-1], probes.shape[-1]
    waves = torch.fft.fft2(torch.fft.ifftshift(probes, dim=(-2, -1)), norm="ortho")
    units = waves.conj() * (waves.abs().square() + DARK).rsqrt()
    pairs = torch.fft.fft2(units.square(), norm="forward")
    along = torch.arange(head, device=probes.device) - head // 2
    y, x = along.repeat_interleave(head), along.repeat(head)
    between = pairs[:, (y[:, None] + y) % side, (x[:, None] + x) % side]
    lit = lit.flatten(1)
    second = (lit[:, :, None] * lit[:, None, :] * between).real
    normal = torch.diag_embed(lit.abs().square()) - second
    return normal * (electrons / (2 * NOISE**2))[:, None, None]


def _covariance(probes: torch.Tensor, lit: torch.Tensor, electrons: torch.Tensor) -> torch.Tensor:
    """(groups, head², head²): (JᵀJ + 1/variance)⁻¹ at no specimen."""
    prior = torch.eye(lit.shape[-1] ** 2, device=probes.device) / PRIOR_VARIANCE
    matrix = information(probes, lit, electrons).double() + prior
    lower, failed = torch.linalg.cholesky_ex(matrix)
    if failed.any():  # not quite positive, which a dark wave's rounding can make it
        return torch.linalg.inv(matrix).float()
    return torch.cholesky_inverse(lower).float()


class _Correction(nn.Module):
    """What images are like: from the features of each pixel to a correction of its phase."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(FEATURES, width, 3, padding=1)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.leave = nn.Conv2d(width, 1, 3, padding=1)
        # Without training it corrects nothing.
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        fields = functional.gelu(self.enter(features))
        fields = functional.gelu(fields + self.second(functional.gelu(self.first(fields))))
        return CORRECTION * self.leave(fields)
