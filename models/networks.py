"""Networks that see one diffraction pattern and say the phases that the probe lit.

All take the roots of counted patterns, in groups that share a probe and a dose, and answer with the
phases of the ``head`` x ``head`` pixels around the probe's centre; a constant in each answer is
without meaning. This file has what they share and the two yardsticks: one matrix, and dense layers.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from models.forward import head_size, intensity, unit_probe

NOISE = 0.5
"""Standard deviation of the root of a Poisson number: roots are measured in it."""


class PatchNetwork(nn.Module):
    """What all networks share: the probe that they are made for, and how patterns enter.

    Parameters
    ----------
    probe : (side, side) complex
        In real space, centred, on any scale.
    electrons : float
        Middle of the doses that it is to see [e].
    head : int, optional
        Side of the answered patch; holds 97 % of the probe where it is not given [px].
    """

    probe: torch.Tensor
    vacuum: torch.Tensor
    many_probes = False
    """Whether it takes any probe, or only the one that it was made for."""

    def __init__(self, probe: np.ndarray, electrons: float, head: int | None = None) -> None:
        super().__init__()
        probe = unit_probe(probe)
        self.side, self.electrons = probe.shape[0], float(electrons)
        self.head = head or head_size(probe)
        self.register_buffer("probe", torch.from_numpy(probe))
        vacuum = intensity(torch.zeros(1, self.side, self.side), self.probe)[0].sqrt()
        self.register_buffer("vacuum", vacuum)

    @property
    def options(self) -> dict[str, Any]:
        """What it takes, beside the probe, to build the same network again."""
        return {"electrons": self.electrons, "head": self.head}

    def forward(
        self, roots: torch.Tensor, electrons: torch.Tensor, probes: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Retrieve patches.

        Parameters
        ----------
        roots : (groups, patterns, side, side) float32
            √counts, zero frequency at pixel side // 2.
        electrons : (groups,) float32
            Mean electrons of the beam [e].
        probes : (groups, side, side) complex64, optional
            Of each group, Σ|P|² = 1; the network's own where absent.

        Returns
        -------
        (groups, patterns, head, head) float32
            Phases [rad].
        """
        groups, patterns = roots.shape[:2]
        each = electrons.repeat_interleave(patterns)
        answer = self.patches(roots.flatten(0, 1), each)
        return answer.view(groups, patterns, self.head, self.head)

    def patches(self, roots: torch.Tensor, electrons: torch.Tensor) -> torch.Tensor:
        """(batch, head, head) from (batch, side, side) roots of (batch,) electrons."""
        raise NotImplementedError

    def signal(self, roots: torch.Tensor, electrons: torch.Tensor) -> torch.Tensor:
        """What the specimen changed, in standard deviations of the noise: (batch, side · side)."""
        vacuum = self.vacuum * electrons.sqrt()[:, None, None]
        return ((roots - vacuum) / NOISE).flatten(1)


class LinearPatch(PatchNetwork):
    """One matrix from the signal to the phases, found by ridge regression: the least yardstick."""

    def __init__(self, probe: np.ndarray, electrons: float, head: int | None = None) -> None:
        super().__init__(probe, electrons, head)
        self.matrix = nn.Parameter(torch.zeros(self.side**2, self.head**2))

    def patches(self, roots: torch.Tensor, electrons: torch.Tensor) -> torch.Tensor:
        """Multiply; the gain falls with the root of the dose, as the signal rises with it."""
        gain = (self.electrons / electrons).sqrt()[:, None]
        return (gain * (self.signal(roots, electrons) @ self.matrix)).unflatten(1, (self.head,) * 2)


class DensePatch(PatchNetwork):
    """Dense layers alone: the cheapest network that works, and the second yardstick."""

    def __init__(
        self, probe: np.ndarray, electrons: float, head: int | None = None, width: int = 512
    ) -> None:
        super().__init__(probe, electrons, head)
        self.width = width
        inner = [layer for _ in range(3) for layer in (nn.Linear(width, width), nn.GELU())]
        self.layers = nn.Sequential(
            nn.Linear(self.side**2 + 1, width), nn.GELU(), *inner, nn.Linear(width, self.head**2)
        )

    @property
    def options(self) -> dict[str, Any]:
        """With the width of its layers."""
        return super().options | {"width": self.width}

    def patches(self, roots: torch.Tensor, electrons: torch.Tensor) -> torch.Tensor:
        """Run the layers over signal and dose."""
        dose = (electrons / self.electrons).log()[:, None]
        seen = torch.cat([self.signal(roots, electrons), dose], dim=1)
        return self.layers(seen).unflatten(1, (self.head,) * 2)
