"""Find random probes and a real one from simulated patterns, and compare with the truth.

    .venv/bin/python benchmarks/probe.py --probes 10
    .venv/bin/python benchmarks/probe.py --probes 3 --outside 0.1
    .venv/bin/python benchmarks/probe.py --measured PROBE.npy --flat

Patterns are of nine tiles of 32 x 32 positions on a lattice with a smooth film, 27,882 electrons
each. The overlap |<P, P'>| is the largest over shifts, which patterns do not tell.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import fft, ndimage

from models.joint_fit import Block
from models.pair_prediction import DiskGrid, covariances, whitened
from models.probe_family import LIMITS, unit_wavefronts
from models.probe_search import Neighbours, Search, candidates, decide, refine
from models.weights import load_network
from tasks.network import SHIPPED

SIDE, RADIUS, STEP, DOSE = 32, 7.6, 0.8696, 27_882
TILE, TILES, BLOCK, BLOCKS = 32, 9, 20, 4
APART = (1, 3)


@dataclass(frozen=True)
class Found:
    """One trial."""

    start: float
    """Overlap of a flat wavefront."""
    family: float
    """Overlap of the aberrations with the measured amplitude."""
    wave: float
    """Overlap of the wave that is published."""
    freed: bool
    seconds: float
    probe: np.ndarray
    """(SIDE, SIDE) complex64: the published one on the specimen, its middle at pixel SIDE // 2."""


def axes() -> tuple[np.ndarray, np.ndarray]:
    """Wave vectors over the aperture's radius, zero frequency first."""
    k = fft.fftfreq(SIDE, 1 / SIDE) / RADIUS
    y, x = np.broadcast_arrays(k[:, None], k)
    return y, x


def specimen(side: int, rng: np.random.Generator) -> np.ndarray:
    """A twisted double lattice of 0.15 rad under a smooth film of 0.08 rad, (side, side)."""
    y, x = np.mgrid[:side, :side] * 0.286
    phase = np.zeros((side, side))
    for turn in (0.1, 0.1 + np.radians(18)):
        for axis in range(3):
            along = turn + axis * np.pi / 3
            phase += np.cos(2 * np.pi / 2.169 * (np.cos(along) * x + np.sin(along) * y) + turn)
    film = ndimage.gaussian_filter(rng.normal(size=(side, side)), 7)
    return 0.15 * phase / phase.std() + 0.08 * film / film.std()


def count(
    wave: np.ndarray, phase: np.ndarray, places: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(positions, SIDE, SIDE) float32: counted patterns, zero frequency first."""
    k = fft.fftfreq(SIDE)
    patterns = np.empty((len(places), SIDE, SIDE), np.float32)
    for number, (y, x) in enumerate(places):
        row, col = int(y), int(x)
        ramp = np.exp(-2j * np.pi * (k[:, None] * (y - row) + k * (x - col)))
        probe = fft.fftshift(fft.ifft2(wave * ramp))
        out = fft.fft2(probe * np.exp(1j * phase[row : row + SIDE, col : col + SIDE]))
        patterns[number] = rng.poisson(np.abs(out) ** 2)
    return patterns


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """|<P, P'>| of two waves in the aperture, the largest over shifts of a quarter of a pixel."""
    padded = np.zeros((4 * SIDE, 4 * SIDE), complex)
    middle = np.s_[:SIDE, :SIDE]
    padded[middle] = fft.fftshift(np.conj(one) * other)
    best = np.abs(fft.ifft2(padded)).max() * padded.size
    return float(best / np.sqrt((np.abs(one) ** 2).sum() * (np.abs(other) ** 2).sum()))


def in_place(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """A wave whose probe lies where the true one does, which patterns do not tell."""
    fine = 16 * SIDE
    padded = np.zeros((fine, fine), complex)
    padded[:SIDE, :SIDE] = fft.fftshift(np.conj(found) * true)
    best = np.unravel_index(np.abs(fft.ifft2(padded)).argmax(), padded.shape)
    y, x = (fft.fftfreq(SIDE, 1 / SIDE) * n / fine for n in best)
    return found * np.exp(-2j * np.pi * (y[:, None] + x))


def truth(args: argparse.Namespace, rng: np.random.Generator) -> np.ndarray:
    """(SIDE, SIDE) complex: the wave in the aperture that is to be found."""
    y, x = axes()
    if args.measured is not None:
        wave = fft.fft2(fft.ifftshift(np.load(args.measured)))
    else:
        disk = np.clip(RADIUS - RADIUS * np.hypot(y, x) + 0.5, 0, 1) ** 0.5
        chi = np.tensordot(LIMITS * rng.uniform(-1, 1, 7), unit_wavefronts(y, x), 1)
        wave = disk * np.exp(-1j * chi)
    if args.outside:
        noise = rng.normal(size=wave.shape) + 1j * rng.normal(size=wave.shape)
        smooth = ndimage.gaussian_filter(noise, 2, mode="wrap") * np.abs(wave)
        smooth -= wave * np.vdot(wave, smooth) / np.vdot(wave, wave)
        size = np.linalg.norm(wave) / np.linalg.norm(smooth)
        wave = np.sqrt(1 - args.outside) * wave + np.sqrt(args.outside) * size * smooth
    return wave * np.sqrt(DOSE / np.sum(np.abs(wave) ** 2))


def find(wave: np.ndarray, seed: int, flat: bool, objective: str) -> Found:
    """Count patterns of a probe, and find it again."""
    rng = np.random.default_rng(seed + 1)
    phase = specimen(260, rng)
    last = int((len(phase) - SIDE - 2) / STEP) - TILE
    grid = np.stack(np.meshgrid(np.arange(TILE), np.arange(TILE), indexing="ij"), -1)
    tiles = np.stack(
        [
            count(wave, phase, ((grid + rng.integers(0, last, 2)) * STEP).reshape(-1, 2), rng)
            for _ in range(TILES)
        ]
    ).reshape(TILES, TILE, TILE, SIDE, SIDE)
    begin = time.monotonic()
    y, x = axes()
    rho, wavefronts = np.hypot(y, x), unit_wavefronts(y, x)
    mean = tiles.mean(axis=(0, 1, 2))
    used = (rho < 1) & (mean > 0.3 * np.percentile(mean[rho < 0.9], 95))
    amplitude = np.sqrt(mean[used])
    white = whitened(tiles[..., used], amplitude)
    pixels = white.shape[-1]
    pairs, steps = [], []
    for apart in APART:
        for axis in (1, 2):
            along = np.moveaxis(white, axis, 0)
            ends = along[:-apart], along[apart:]
            pairs.append((ends[0].reshape(-1, pixels), ends[1].reshape(-1, pixels)))
            steps.append((apart * STEP * (axis == 1), apart * STEP * (axis == 2)))
    disk = DiskGrid(SIDE, y[used] * RADIUS, x[used] * RADIUS, amplitude, wavefronts[:, used])
    pick = rng.integers(0, len(pairs[0][0]), 50)
    seen = Neighbours(
        disk,
        covariances(white.reshape(-1, pixels), pairs, steps),
        tuple((a[pick], b[pick]) for a, b in pairs[:2]),
        tuple(steps[:2]),
        RADIUS,
        np.sqrt(mean),
        wavefronts,
        tuple(
            tuple(
                np.moveaxis(tiles, axis, 0)[ends].reshape(-1, SIDE, SIDE)[pick]
                for ends in (slice(None, -1), slice(1, None))
            )
            for axis in (1, 2)
        ),
    )
    network = load_network(SHIPPED)[0] if objective == "network" else None
    search = Search(objective, seed=seed, network=network, start=(0.0,) * 7 if flat else None)
    middle = (TILE - BLOCK) // 2
    at = np.s_[middle : middle + BLOCK, middle : middle + BLOCK]
    places = grid[:BLOCK, :BLOCK].reshape(-1, 2) * STEP
    blocks = [
        Block(tiles[n][at].reshape(-1, SIDE, SIDE), places, np.sqrt(mean), wavefronts)
        for n in range(BLOCKS)
    ]
    ordered = decide(blocks[0], candidates(seen, search))
    aberrations, _, fit, freed, _ = refine(blocks, ordered[0])
    seconds = time.monotonic() - begin
    lit = np.sqrt(mean) * (rho < 1.1)
    family = lit * np.exp(-1j * np.tensordot(aberrations, wavefronts, 1))
    probe = fft.fftshift(fft.ifft2(in_place(fit.wave, wave))).astype(np.complex64)
    return Found(
        overlap(wave, lit), overlap(wave, family), overlap(wave, fit.wave), freed, seconds, probe
    )


def main() -> None:
    """Print a line a probe, and the median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probes", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--outside", type=float, default=0.0, help="power outside the family")
    parser.add_argument("--measured", type=Path, help="a complex probe, .npy, instead of random")
    parser.add_argument("--flat", action="store_true", help="begin at a flat wavefront")
    parser.add_argument(
        "--objective",
        choices=["prediction", "relative", "absolute", "network"],
        default="prediction",
    )
    parser.add_argument("--save", type=Path, help="write the last probe that was found, .npy")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("probe  flat     aberrations  wave     free  seconds")
    found = []
    for seed in range(args.first, args.first + (1 if args.measured else args.probes)):
        wave = truth(args, np.random.default_rng(seed + 1000))
        one = find(wave, seed, args.flat, args.objective)
        found.append(one)
        print(
            f"{seed:5d}  {one.start:.4f}   {one.family:.5f}      {one.wave:.5f}  "
            f"{'yes' if one.freed else 'no ':4}  {one.seconds:.0f}",
            flush=True,
        )
    if args.save is not None:
        np.save(args.save, found[-1].probe)
    waves = [one.wave for one in found]
    print(
        f"median {np.median(waves):.5f}, least {min(waves):.5f}, "
        f"{sum(w >= 0.99 for w in waves)} of {len(waves)} from 0.99 on"
    )


if __name__ == "__main__":
    main()
