"""Aberrations and object together, by the likelihood of a block of neighbouring patterns.

All patterns of a block see one object through one probe, which is that of the aberrations; nothing
is linearised, and the counts enter with their Poisson likelihood. The aperture's amplitude may
follow the data as well, since a mean pattern is not quite that without specimen.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

OBJECT_PRIOR = 0.4
"""Standard deviation of a pixel's phase before anything is known [rad]."""
AMPLITUDE_PRIOR = 0.3
"""Of the logarithm of the aperture's amplitude."""
WAVEFRONT_PRIOR = 0.6
"""Of a free wavefront's departure from the aberrations [rad]."""
BACKGROUND = 0.02
"""Electrons a pixel that are always allowed, so that no count is impossible."""


class Fit(NamedTuple):
    """What a block says."""

    aberrations: np.ndarray
    """(n,) float: rad at the edge."""
    wave: np.ndarray
    """(side, side) complex64: A, zero frequency first."""
    phase: np.ndarray
    """Object [rad]."""
    deviance: float
    """−2 ln likelihood over that of the counts themselves, over all pixels."""


@dataclass
class Block:
    """Patterns at neighbouring scan positions.

    Parameters
    ----------
    patterns : (n, side, side) float
        Counts, zero frequency first, as in all arrays of wave vectors here.
    positions : (n, 2) float
        (row, col) in the detector's frame [px of the real-space window].
    amplitude : (side, side) float
        √ of the mean counts without specimen, the first guess.
    wavefronts : (aberrations, side, side) float
        χ of one rad at the edge of each.
    """

    patterns: np.ndarray
    positions: np.ndarray
    amplitude: np.ndarray
    wavefronts: np.ndarray

    def __post_init__(self) -> None:
        side = self.patterns.shape[-1]
        whole = np.floor(self.positions).astype(int)
        rest = self.positions - whole
        whole -= whole.min(axis=0)
        k = np.fft.fftfreq(side)
        ramp = k[:, None] * rest[:, 0, None, None] + k * rest[:, 1, None, None]
        self.shape = tuple(int(n) for n in whole.max(axis=0) + side)
        self._ramps = torch.tensor(np.exp(-2j * np.pi * ramp), dtype=torch.complex64)
        r = np.arange(side)
        self._windows = torch.tensor(
            (whole[:, 0, None, None] + r[:, None]) * self.shape[1] + whole[:, 1, None, None] + r
        )
        self._counts = torch.tensor(self.patterns, dtype=torch.float32)
        self._amplitude = torch.tensor(self.amplitude, dtype=torch.float32)
        self._wavefronts = torch.tensor(self.wavefronts, dtype=torch.float32)

    def deviance(
        self,
        aberrations: torch.Tensor,
        phase: torch.Tensor,
        log_amplitude: torch.Tensor,
        extra: torch.Tensor,
    ) -> torch.Tensor:
        """−2 ln likelihood of the counts, a scalar; 0 for a model that equals them.

        Parameters
        ----------
        aberrations : (n,) float32
            Cartesian, in rad at the aperture's edge.
        phase : (rows, cols) float32
            Of the object [rad].
        log_amplitude, extra : (side, side) float32
            Natural logarithm of what the amplitude in the aperture is multiplied by, and what the
            wavefront has beyond the aberrations [rad].
        """
        wave = self.wave(aberrations, log_amplitude, extra)
        probe = torch.fft.fftshift(torch.fft.ifft2(wave * self._ramps), dim=(-2, -1))
        window = phase.view(-1)[self._windows]
        exit_waves = torch.fft.fft2(probe * torch.polar(torch.ones_like(window), window))
        mean = exit_waves.real**2 + exit_waves.imag**2 + BACKGROUND
        counts = self._counts
        return 2 * (mean - counts + torch.xlogy(counts, (counts + 1e-9) / mean)).sum()

    def wave(
        self, aberrations: torch.Tensor, log_amplitude: torch.Tensor, extra: torch.Tensor
    ) -> torch.Tensor:
        """(side, side) complex64: A."""
        chi = torch.tensordot(aberrations, self._wavefronts[: len(aberrations)], 1) + extra
        return self._amplitude * torch.exp(torch.complex(log_amplitude, -chi))

    def misfit(self, aberrations: np.ndarray, steps: int = 25) -> float:
        """Deviance of fixed aberrations, with the best object for them."""
        return self.fit(aberrations, object_steps=steps, steps=0).deviance

    def fit(
        self,
        aberrations: np.ndarray,
        object_steps: int = 30,
        steps: int = 60,
        free_steps: int = 0,
    ) -> Fit:
        """Fit object, aberrations and amplitude from a first guess of the aberrations.

        Parameters
        ----------
        aberrations : (n,) float
            Where to begin, rad at the edge.
        object_steps, steps : int
            Iterations of L-BFGS for the object alone, then for all of them.
        free_steps : int
            Further ones, in which every pixel of the wavefront is free.
        """
        side = self.patterns.shape[-1]
        found = torch.tensor(aberrations, dtype=torch.float32, requires_grad=True)
        phase = torch.zeros(self.shape, requires_grad=True)
        log_amplitude = torch.zeros((side, side), requires_grad=True)
        extra = torch.zeros((side, side), requires_grad=True)
        everything = (found, phase, log_amplitude, extra)

        def descend(free: list[torch.Tensor], count: int) -> None:
            if count == 0:
                return
            search = torch.optim.LBFGS(
                free, max_iter=count, history_size=15, line_search_fn="strong_wolfe"
            )

            def closure() -> torch.Tensor:
                search.zero_grad()
                loss = self.deviance(*everything)
                for field, prior in (
                    (phase, OBJECT_PRIOR), (log_amplitude, AMPLITUDE_PRIOR),
                    (extra, WAVEFRONT_PRIOR),
                ):  # fmt: skip
                    loss = loss + (field**2).sum() / prior**2
                loss.backward()
                return loss

            search.step(closure)

        descend([phase], object_steps)
        descend([phase, found, log_amplitude], steps)
        descend([phase, found, log_amplitude, extra], free_steps)
        with torch.no_grad():
            deviance = float(self.deviance(*everything))
            wave = self.wave(found, log_amplitude, extra).numpy()
        return Fit(found.detach().numpy().astype(float), wave, phase.detach().numpy(), deviance)
