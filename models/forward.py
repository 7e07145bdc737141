"""What a thin phase object does to a probe, differentiable: patterns |F[P · e^(iφ)]|² in batches.

It is the world in which the networks learn: a probe on a small real-space window, a phase that
only shifts the wave, and electrons that are counted. Windows are periodic, so whatever leaves the
detector's edge comes back at the other, as on the grid of Chang et al., Phys. Rev. Lett. 130,
016101 (2023).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.fft
import torch

SUPPORT_THRESHOLD = 0.16
"""Part of the brightest |P|² from which on a pixel counts as lit, as the paper has it."""


def unit_probe(probe: np.ndarray) -> np.ndarray:
    """Probe with Σ|P|² = 1, so that a pattern holds as many electrons as it is multiplied by.

    Parameters
    ----------
    probe : (side, side) complex
        In real space, centred on pixel side // 2, on any scale.

    Returns
    -------
    (side, side) complex64

    Raises
    ------
    ValueError
        If it is not a square of finite numbers, or holds nothing.
    """
    probe = np.asarray(probe)
    if probe.ndim != 2 or probe.shape[0] != probe.shape[1] or probe.shape[0] % 2:
        raise ValueError(
            f"a probe of shape {probe.shape}; expected a square with an even number of pixels"
        )
    power = float(np.sum(np.abs(probe.astype(complex)) ** 2))
    if not (np.isfinite(power) and power > 0):
        raise ValueError(f"a probe whose intensity sums to {power}; expected a positive number")
    return (probe / np.sqrt(power)).astype(np.complex64)


def lit_support(probe: np.ndarray, threshold: float = SUPPORT_THRESHOLD) -> np.ndarray:
    """(side, side) bool: the pixels whose phase the pattern tells, |P|² > threshold · max."""
    light = np.abs(probe) ** 2
    return light > threshold * light.max()


def head_size(probe: np.ndarray, share: float = 0.97) -> int:
    """Side of the smallest centred window, of whole fours, that holds a share of |P|² [px]."""
    light, side = np.abs(probe) ** 2, probe.shape[0]
    total = light.sum()
    for size in range(4, side + 1, 4):
        low = side // 2 - size // 2
        if light[low : low + size, low : low + size].sum() >= share * total:
            return size
    return side


def central(fields: torch.Tensor, size: int) -> torch.Tensor:
    """(…, size, size): the middle of (…, side, side) fields, about pixel side // 2."""
    low = fields.shape[-1] // 2 - size // 2
    return fields[..., low : low + size, low : low + size]


def intensity(phase: torch.Tensor, probe: torch.Tensor) -> torch.Tensor:
    """Diffraction patterns of phase objects.

    Parameters
    ----------
    phase : (batch, side, side) float
        Phase around the probe [rad].
    probe : (side, side) or (batch, side, side) complex
        ψ(r), centred on pixel side // 2.

    Returns
    -------
    (batch, side, side) float
        |F[P · e^(iφ)]|² with zero frequency at pixel side // 2 and an orthonormal F, so that the
        sum of each is Σ|P|².
    """
    wave = torch.fft.fft2(probe * torch.polar(torch.ones_like(phase), phase), norm="ortho")
    return torch.fft.fftshift(wave.real**2 + wave.imag**2, dim=(-2, -1))


class Windows(NamedTuple):
    """Some positions of a scan, and what their probes meet."""

    part: slice
    """Which positions."""
    rows: np.ndarray
    cols: np.ndarray
    """(positions, side) int64: pixels of the image that the window of each lies on."""
    phases: torch.Tensor
    """(positions, side, side) float32: of the image there, 0 beyond it [rad]."""
    probes: torch.Tensor
    """(positions, side, side) complex64: shifted by the part of a pixel that each position has."""


def scan_windows(
    phase: np.ndarray, positions: np.ndarray, probe: np.ndarray, batch: int
) -> Iterator[Windows]:
    """Cut the windows of a scan out of an image, with the probe of each.

    Parameters
    ----------
    phase : (rows, cols) float
        The image; 0 beyond it [rad].
    positions : (patterns, 2) float64
        (y, x) of the probe's centre on the image [px].
    probe : (side, side) complex64
        Centred on pixel side // 2.
    batch : int
        How many at a time.

    Yields
    ------
    Windows
    """
    side = probe.shape[0]
    padded = np.pad(np.asarray(phase, np.float32), side)
    whole = np.floor(positions + 0.5).astype(int)
    spectrum, k = scipy.fft.fft2(probe), scipy.fft.fftfreq(side)
    for first in range(0, len(positions), batch):
        part = slice(first, first + batch)
        away, corner = (positions - whole)[part], whole[part] - side // 2
        ramp_y, ramp_x = (np.exp(-2j * np.pi * away[:, axis, None] * k) for axis in (0, 1))
        probes = scipy.fft.ifft2(spectrum * ramp_y[:, :, None] * ramp_x[:, None, :])
        rows, cols = (corner[:, axis, None] + np.arange(side) for axis in (0, 1))
        cut = padded[side + rows[:, :, None], side + cols[:, None, :]]
        yield Windows(
            part, rows, cols, torch.from_numpy(cut), torch.from_numpy(probes.astype(np.complex64))
        )


def counted_roots(
    patterns: torch.Tensor, electrons: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Roots of counted electrons, √n with n a Poisson number of each pixel's mean.

    The root has the same noise everywhere: a standard deviation of 1/2 where a few electrons hit.

    Parameters
    ----------
    patterns : (batch, side, side) float
        Part of the beam that hits each pixel.
    electrons : (batch,) float
        Mean electrons of the beam [e].
    generator : torch.Generator
        Decides the noise.

    Returns
    -------
    (batch, side, side) float
    """
    return torch.poisson(patterns * electrons[:, None, None], generator=generator).sqrt()


def weighted_demeaned(fields: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Take the weighted mean of each field away: a constant phase changes no pattern.

    Parameters
    ----------
    fields : (batch, rows, cols) float
        Phases [rad].
    weight : (rows, cols) float
        Sums to 1.

    Returns
    -------
    (batch, rows, cols) float
    """
    return fields - (fields * weight).sum(dim=(-2, -1), keepdim=True)
