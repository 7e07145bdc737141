"""A network at work: patches of measured patterns, how far to trust them, and what is expected.

Patterns go through the network in batches of one size, the last one filled up, so that a patch does
not depend on how a scan was cut.
"""

from functools import lru_cache
from math import pi, sqrt

import numpy as np
import torch
from scipy.special import gammaln

from models.answers import Answers
from models.forward import SUPPORT_THRESHOLD, central, intensity, scan_windows
from models.lessons import VALIDATION_SEED, Lessons, Score, score
from models.networks import PatchNetwork
from models.unrolled import UnrolledPatch

BATCH = 512
STITCHED_THRESHOLD = 0.05
"""Part of the brightest |P|² from which on a pixel of a patch counts in the image: on patches of a
trained network, 18 such pixels gave a fifth less error than the 9 of the support, or than 39."""


def for_probe(network: PatchNetwork, probe: np.ndarray, electrons: float) -> PatchNetwork:
    """A network of all probes, made ready for one.

    Parameters
    ----------
    network : PatchNetwork
        One that takes any probe.
    probe : (side, side) complex
        In real space, centred, on any scale.
    electrons : float
        Mean electrons of the beam [e].

    Returns
    -------
    PatchNetwork
        With the same weights, and a patch as large as the probe.

    Raises
    ------
    ValueError
        If it was made for its own probe only.
    """
    if not isinstance(network, UnrolledPatch):
        raise ValueError("this network works with the probe that it was trained for alone")
    options = network.options | {"electrons": electrons, "head": None}
    ready = UnrolledPatch(probe, **options)
    ready.load_state_dict(network.state_dict() | dict(ready.named_buffers()))
    return ready.eval()


def retrieve(network: PatchNetwork, roots: np.ndarray, electrons: float) -> np.ndarray:
    """Patches of patterns.

    Parameters
    ----------
    network : PatchNetwork
        For the probe of the patterns.
    roots : (patterns, side, side) float32
        √counts, zero frequency at pixel side // 2.
    electrons : float
        Mean electrons of the beam [e].

    Returns
    -------
    (patterns, head, head) float32
        Phases [rad], each without its mean over the lit pixels.
    """
    answers = Answers(network, electrons, BATCH)
    weight = torch.from_numpy(patch_weights(network)).to(answers.device)
    found = np.empty((len(roots), network.head, network.head), np.float32)
    for first in range(0, len(roots), BATCH):
        part = torch.from_numpy(np.ascontiguousarray(roots[first : first + BATCH], np.float32))
        patches = answers(part.to(answers.device))
        patches = patches - (patches * weight).sum(dim=(-2, -1), keepdim=True)
        found[first : first + len(part)] = patches.cpu().numpy()
    return found


def patch_weights(network: PatchNetwork) -> np.ndarray:
    """(head, head) float32: what each pixel of a patch counts in the image, summing to 1."""
    light = central(network.probe, network.head).abs().square().cpu().numpy()
    light = np.where(light > STITCHED_THRESHOLD * light.max(), light, 0)
    return (light / light.sum()).astype(np.float32)


def noise_floor(network: UnrolledPatch, electrons: float) -> float:
    """Mean |error| of the lit pixels that counting noise alone leaves of a weak object [rad].

    From the covariance of the first, linear step; no estimate without knowledge of images is
    better.
    """
    dose = torch.tensor([electrons], dtype=torch.float32)
    covariance = network.sight(network.probe[None], dose).inverse[0].double()
    light = central(network.probe, network.head).abs().square().flatten()
    lit = (light > SUPPORT_THRESHOLD * light.max()).double()
    mean = torch.eye(lit.numel()) - lit / lit.sum()
    variance = (mean.double() @ covariance @ mean.double().T).diagonal()
    return sqrt(2 / pi) * float((variance.sqrt() * lit).sum() / lit.sum())


def validated(network: PatchNetwork, tests: Lessons) -> Score:
    """Score of a network on unseen pictures."""
    return score(network, tests.lesson(VALIDATION_SEED, 1, 1024))


def misfits(
    roots: np.ndarray, phases: np.ndarray, probes: np.ndarray, electrons: float
) -> np.ndarray:
    """How far patterns are from what phases predict, in units of counting noise.

    Parameters
    ----------
    roots : (patterns, side, side) float32
        √counts, zero frequency at pixel side // 2.
    phases : (patterns, side, side) float32
        Around each position [rad].
    probes : (patterns, side, side) complex64
        Each shifted by the part of a pixel that its position has, Σ|P|² = 1.
    electrons : float
        Mean electrons of the beam [e].

    Returns
    -------
    (patterns,) float64
        Σ (√n − √μ)² over what is expected of Poisson numbers n of mean μ: 1 where the model holds.
    """
    mean = (
        electrons * intensity(torch.from_numpy(phases), torch.from_numpy(probes)).double().numpy()
    )
    found = ((roots - np.sqrt(mean)) ** 2).sum(axis=(1, 2))
    return found / _expected(mean).sum(axis=(1, 2))


def bare_misfits(roots: np.ndarray, probe: np.ndarray, electrons: float) -> np.ndarray:
    """How far patterns are from that of the probe alone, in units of counting noise.

    Parameters
    ----------
    roots : (patterns, side, side) float32
        √counts, zero frequency at pixel side // 2.
    probe : (side, side) complex64
        Centred on pixel side // 2, Σ|P|² = 1; where it stands makes no difference.
    electrons : float
        Mean electrons of the beam [e].

    Returns
    -------
    (patterns,) float64
        See ``misfits``: 1 where there is no specimen.
    """
    blank = np.zeros((1, *probe.shape), np.float32)
    return misfits(roots, blank, np.asarray(probe, np.complex64)[None], electrons)


def scan_misfits(
    roots: np.ndarray, phase: np.ndarray, positions: np.ndarray, probe: np.ndarray, electrons: float
) -> np.ndarray:
    """How far the patterns of a scan are from what an image predicts, in units of counting noise.

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

    Returns
    -------
    (patterns,) float64
        See ``misfits``.
    """
    found = np.empty(len(positions))
    for part, _, _, phases, probes in scan_windows(phase, positions, probe, BATCH):
        found[part] = misfits(roots[part], phases.numpy(), probes.numpy(), electrons)
    return found


def expected_roots(
    phase: np.ndarray, positions: np.ndarray, probe: np.ndarray, electrons: float
) -> np.ndarray:
    """Roots of the patterns that a scan of an image gives without counting noise.

    Parameters
    ----------
    phase, positions, probe, electrons
        As in ``scan_misfits``.

    Returns
    -------
    (patterns, side, side) float32
        √(expected electrons), zero frequency at pixel side // 2.
    """
    found = np.empty((len(positions), *probe.shape), np.float32)
    for part, _, _, phases, probes in scan_windows(phase, positions, probe, BATCH):
        found[part] = np.sqrt(electrons * intensity(phases, probes).numpy())
    return found


def _expected(mean: np.ndarray) -> np.ndarray:
    """Mean of (√n − √μ)² for Poisson numbers n of mean μ."""
    at, values = _table()
    return np.interp(np.log(np.maximum(mean, 1e-12)), at, values)


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray]:
    mean, n = np.exp(np.linspace(np.log(1e-12), np.log(400), 600)), np.arange(700.0)
    chance = np.exp(n * np.log(mean)[:, None] - mean[:, None] - gammaln(n + 1))
    return np.log(mean), 2 * mean - 2 * np.sqrt(mean) * (chance * np.sqrt(n)).sum(axis=1)
