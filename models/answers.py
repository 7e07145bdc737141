"""A network's answers to batches of one size: what no pattern changes is worked out once.

On a GPU the many small kernels of a batch cost more to start than to run, so that they are recorded
once, as a CUDA graph, and played again for each batch.
"""

from threading import Lock

import torch

from models.networks import PatchNetwork
from models.unrolled import UnrolledPatch

WARM_UPS = 3
"""Runs before the recording, in which libraries choose their kernels."""
_recording = Lock()
"""torch records one graph at a time in a process, and waits for the device before it begins."""


class Answers:
    """Patches of patterns, a batch at a time, where the network lives.

    Parameters
    ----------
    network : PatchNetwork
        For the probe of the patterns.
    electrons : float
        Mean electrons of the beam [e].
    batch : int
        Patterns of a batch; fewer are filled up with empty ones.
    half : bool
        On a GPU, convolutions and products of matrices in bfloat16.
    """

    def __init__(
        self, network: PatchNetwork, electrons: float, batch: int, half: bool = False
    ) -> None:
        self.device = network.probe.device
        self._network, self._half = network, half and self.device.type == "cuda"
        self._dose = torch.tensor([electrons], dtype=torch.float32, device=self.device)
        self._filled = torch.zeros((batch, network.side, network.side), device=self.device)
        self._sight = None
        with torch.no_grad():
            if isinstance(network, UnrolledPatch):
                self._sight = network.sight(network.probe[None], self._dose)
        self._graph: torch.cuda.CUDAGraph | None = None
        if self.device.type == "cuda":
            self._record()

    def __call__(self, roots: torch.Tensor) -> torch.Tensor:
        """Retrieve some patches.

        Parameters
        ----------
        roots : (patterns, side, side) float32
            √counts, zero frequency at pixel side // 2; at most a batch.

        Returns
        -------
        (patterns, head, head) float32
            Phases [rad], where the network lives; on a GPU overwritten by the next call.
        """
        self._filled[: len(roots)] = roots
        self._filled[len(roots) :] = 0
        if self._graph is None:
            return self._answer()[: len(roots)]
        self._graph.replay()
        return self._answered[: len(roots)]

    def _answer(self) -> torch.Tensor:
        with (
            torch.no_grad(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self._half),
        ):
            if self._sight is not None and isinstance(self._network, UnrolledPatch):
                found = self._network.stages(self._filled[None], self._sight)[-1][0]
            else:
                found = self._network(self._filled[None], self._dose)[0]
        return found.float()

    def _record(self) -> None:
        with _recording:
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(WARM_UPS):
                    self._answer()
            torch.cuda.current_stream().wait_stream(aside)
            self._graph = torch.cuda.CUDAGraph()
            # Of this thread alone: others may ask the device for what they like meanwhile.
            with torch.cuda.graph(self._graph, stream=aside, capture_error_mode="thread_local"):
                self._answered = self._answer()
