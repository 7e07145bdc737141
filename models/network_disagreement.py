"""The paper's search for a probe: a network of all probes, and how far its patches disagree.

Chang et al., Phys. Rev. Lett. 130, 016101 (2023): the patches that a probe-conditioned network
retrieves from neighbouring patterns overlap, and agree only for the right probe.
"""

from collections.abc import Sequence

import numpy as np
import torch

from models.forward import central
from models.pair_prediction import between_nodes
from models.unrolled import UnrolledPatch


class NetworkDisagreement:
    """Mean disagreement of overlapping patches, relative to their size.

    Parameters
    ----------
    network : UnrolledPatch
        Of all probes; its head is the side of the patches.
    amplitude : (side, side) float
        √ of the mean counts without specimen, zero frequency first.
    wavefronts : (aberrations, side, side) float
        χ of one rad at the edge of each, zero frequency first.
    pairs : sequence of ((n, side, side), (n, side, side)) float
        Counts, zero frequency first, of each direction.
    steps : sequence of (row, col)
        From the first to the second [px].
    """

    def __init__(
        self,
        network: UnrolledPatch,
        amplitude: np.ndarray,
        wavefronts: np.ndarray,
        pairs: Sequence[tuple[np.ndarray, np.ndarray]],
        steps: Sequence[tuple[float, float]],
    ) -> None:
        self._network = network
        self._amplitude = torch.tensor(amplitude, dtype=torch.float32)
        self._wavefronts = torch.tensor(wavefronts, dtype=torch.float32)
        self._electrons = torch.tensor([float(np.sum(np.square(amplitude)))], dtype=torch.float32)
        roots = [np.sqrt(part, dtype=np.float64) for pair in pairs for part in pair]
        self._roots = torch.tensor(
            np.fft.fftshift(np.concatenate(roots), axes=(1, 2)), dtype=torch.float32
        )
        self._sizes = [len(part) for pair in pairs for part in pair]
        head = network.head
        y, x = (a.ravel().astype(float) for a in np.indices((head, head)))
        nodes = np.arange(head, dtype=float)
        self._moved = [between_nodes(y + dy, x + dx, nodes, 1) for dy, dx in steps]

    def __call__(self, aberrations: torch.Tensor) -> torch.Tensor:
        """Relative disagreement of a probe, scalar float32.

        Parameters
        ----------
        aberrations : (n,) float32
            rad at the edge.
        """
        chi = torch.tensordot(aberrations, self._wavefronts[: len(aberrations)], 1)
        wave = self._amplitude * torch.exp(-1j * chi)
        probe = torch.fft.fftshift(torch.fft.ifft2(wave, norm="ortho"))
        probe = (probe / torch.linalg.vector_norm(probe))[None]
        sight = self._network.sight(probe, self._electrons)
        patches = self._network.stages(self._roots[None], sight)[-1][0].flatten(1)
        light = central(probe, self._network.head)[0].abs().flatten() ** 2
        parts = patches.split(self._sizes)
        apart, size = torch.zeros(()), torch.zeros(())
        for first, second, moved in zip(parts[::2], parts[1::2], self._moved, strict=True):
            weight = (light * (moved @ light)).sqrt()
            one, other = first @ moved.T, second
            one, other = (p - (p @ weight)[:, None] / weight.sum() for p in (one, other))
            apart = apart + ((one - other).abs() @ weight).sum()
            size = size + ((one.abs() + other.abs()) @ weight).sum() / 2
        return apart / size
