"""The residual U-Net of Chang et al., Phys. Rev. Lett. 130, 016101 (2023), as a network of patches.

Four times down and up, 16 to 256 channels, every block two 3 x 3 convolutions behind batch
normalisation and ReLU beside a third one, concatenation across, dropout after every level. Their
32 x 32 answer shows each of the 8 x 8 pixels around the probe four by four times; here the blocks
are averaged to one pixel each.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models.networks import PatchNetwork

CHANNELS = (16, 32, 64, 128, 256)
REPEATS = 4
"""Pixels of the answer along a side of a pixel of the patch."""


class PaperUNet(PatchNetwork):
    """9.45 million parameters; sees the roots as they are, at the one dose that it is trained for.

    Raises
    ------
    ValueError
        If patterns cannot be halved four times, or the patch is not a quarter of them.
    """

    def __init__(
        self, probe: np.ndarray, electrons: float, head: int | None = None, dropout: float = 0.2
    ) -> None:
        side = np.shape(probe)[0]
        head = head or side // REPEATS
        if side % 2 ** (len(CHANNELS) - 1) or head * REPEATS != side:
            raise ValueError(
                f"patterns of {side} x {side} pixels and patches of {head} x {head}; the U-Net "
                f"takes sides that divide by {2 ** (len(CHANNELS) - 1)} and patches of a quarter"
            )
        super().__init__(probe, electrons, head)
        self.dropout = nn.Dropout(dropout)
        self.enter = _Block(1, CHANNELS[0])
        self.down = nn.ModuleList(
            nn.Sequential(_Block(a, b, down=True), _Block(b, b)) for a, b in pairwise(CHANNELS)
        )
        ups, entering = [], CHANNELS[-1]
        for across, width in zip(CHANNELS[-2::-1], CHANNELS[:0:-1], strict=True):
            ups.append(nn.Sequential(_UpBlock(entering, width), _Block(width, width)))
            entering = width + across
        self.up = nn.ModuleList(ups)
        self.leave = nn.Sequential(_Block(entering, CHANNELS[1]), _Block(CHANNELS[1], 1))

    def patches(self, roots: torch.Tensor, electrons: torch.Tensor) -> torch.Tensor:
        """Run the U-Net and average its blocks."""
        fields = self.enter(roots[:, None])
        across = []
        for level in self.down:
            across.append(self.dropout(fields))
            fields = level(self.dropout(fields))
        fields = self.dropout(fields)
        for level, beside in zip(self.up, reversed(across), strict=True):
            fields = torch.cat([self.dropout(level(fields)), beside], dim=1)
        return functional.avg_pool2d(self.leave(fields), REPEATS)[:, 0]


class _Block(nn.Module):
    def __init__(self, entering: int, width: int, down: bool = False) -> None:
        super().__init__()
        stride = 2 if down else 1
        self.main = nn.Sequential(
            nn.BatchNorm2d(entering, eps=1e-3), nn.ReLU(),
            nn.Conv2d(entering, width, 3, stride, 1),
            nn.BatchNorm2d(width, eps=1e-3), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1),
        )  # fmt: skip
        self.beside = nn.Conv2d(entering, width, 3, stride, 1)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        return self.main(fields) + self.beside(fields)


class _UpBlock(nn.Module):
    def __init__(self, entering: int, width: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.BatchNorm2d(entering, eps=1e-3), nn.ReLU(),
            nn.ConvTranspose2d(entering, width, 3, 2, 1, output_padding=1),
            nn.BatchNorm2d(width, eps=1e-3), nn.ReLU(),
            nn.ConvTranspose2d(width, width, 3, 1, 1),
        )  # fmt: skip
        self.beside = nn.ConvTranspose2d(entering, width, 3, 2, 1, output_padding=1)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        return self.main(fields) + self.beside(fields)
