"""The network beside ePIE and the yardsticks, on simulated scans of which everything is known.

    .venv/bin/python benchmarks/cnn.py PROBE.npy [--dose 1 0.3] [--steps 300]

Patterns come from a grid twice as fine as the one that anything here knows, at sub-pixel positions;
the truth is the specimen's phase up to the coarse grid's frequencies. The image is compared without
its plane, 8 px inside of the scan.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import scipy.fft
import torch

from gpu_kernels.epie import epie
from gpu_kernels.epie_settings import Epie
from gpu_kernels.frc import fourier_ring_correlation
from gpu_kernels.stitch import stitch
from models.forward import central, lit_support, unit_probe
from models.images import held_out_atlas, training_atlas
from models.joint_phase import improved, score_of
from models.lessons import Lessons
from models.networks import LinearPatch, PatchNetwork
from models.probe_family import OneProbe
from models.retrieval import for_probe, patch_weights, retrieve, scan_misfits
from models.specimens import build_specimen
from models.training import Recipe, begin, fit_ridge, train
from models.unrolled import UnrolledPatch
from models.weights import load_network
from tasks.network import SHIPPED

PIXEL, STEP, SIDE, ELECTRONS = 0.286, 0.8696, 32, 27_882.0
"""Å, px, px, e: those of the published h-BN scan."""
MARGIN = SIDE // 2
"""Around the scan, which the probe's edge still lights [px]."""
INSIDE = 8
"""Margin of the comparison [px]."""
STRENGTHS = {"hbn": 4.0, "graphene": 4.0, "gold": 1.0}
"""Factors of the specimens' phases: crystals as strong as the published one's."""


def scanned(
    name: str,
    probe: np.ndarray,
    positions: np.ndarray,
    electrons: float,
    seed: int,
    strength: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Counted patterns (n, side, side), zero frequency in the middle, and the true phase."""
    side = int(positions.max()) + 2 * SIDE
    side += side % 2
    specimen = build_specimen(name, (side * PIXEL,) * 2, 80e3, np.random.default_rng(seed),
                              periodic=True)  # fmt: skip
    fine = strength * STRENGTHS[name] * specimen.phase((2 * side,) * 2, (PIXEL / 2,) * 2)
    spectrum = scipy.fft.fftshift(scipy.fft.fft2(fine))[
        side // 2 : -side // 2, side // 2 : -side // 2
    ]
    truth = scipy.fft.ifft2(scipy.fft.ifftshift(spectrum)).real / 4
    wave, shifted = np.exp(1j * fine), scipy.fft.fftshift(scipy.fft.fft2(probe))
    padded = scipy.fft.ifftshift(np.pad(shifted, SIDE // 2))
    k, rng = scipy.fft.fftfreq(2 * SIDE, 1 / (2 * SIDE)), np.random.default_rng([seed, 1])
    counts = np.empty((len(positions), SIDE, SIDE), np.uint16)
    for first in range(0, len(positions), 256):
        at = 2 * (positions[first : first + 256] + SIDE)
        whole = np.floor(at + 0.5).astype(int)
        ramps = [np.exp(-2j * np.pi * np.outer((at - whole)[:, axis], k) / (2 * SIDE))
                 for axis in (0, 1)]  # fmt: skip
        probes = scipy.fft.ifft2(padded * ramps[0][:, :, None] * ramps[1][:, None])
        rows, cols = (whole[:, axis, None] - SIDE + np.arange(2 * SIDE) for axis in (0, 1))
        exits = probes * wave[rows[:, :, None], cols[:, None, :]]
        seen = np.abs(scipy.fft.fftshift(scipy.fft.fft2(exits), axes=(1, 2))) ** 2
        seen = seen[:, SIDE // 2 : -SIDE // 2, SIDE // 2 : -SIDE // 2]
        total = 4 * np.sum(np.abs(shifted) ** 2)
        counts[first : first + 256] = rng.poisson(seen * (4 * electrons / total))
    return counts, truth


def compared(image: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Root mean square error [rad], correlation, slope and mean ring correlation."""
    a, b = (flat(field[INSIDE:-INSIDE, INSIDE:-INSIDE]) for field in (image, truth))
    curve = fourier_ring_correlation(a, b)
    return {
        "rms": float(np.sqrt(np.mean((a - b) ** 2))),
        "corr": float(np.corrcoef(a.ravel(), b.ravel())[0, 1]),
        "slope": float((a * b).sum() / (b * b).sum()),
        "frc": float(np.nanmean(curve.correlation)),
    }


def flat(field: np.ndarray) -> np.ndarray:
    """The same without its plane, which no pattern tells."""
    y, x = np.indices(field.shape).reshape(2, -1)
    design = np.stack([np.ones(y.size), y, x], axis=1)
    plane, *_ = np.linalg.lstsq(design, field.ravel(), rcond=None)
    return (field.ravel() - design @ plane).reshape(field.shape)


def by_network(
    network: PatchNetwork, counts: np.ndarray, positions: np.ndarray, electrons: float, size: int
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Image, patches, and the seconds that patches and stitching took."""
    start = time.process_time()
    patches = retrieve(network, np.sqrt(counts, dtype=np.float32), electrons)
    middle = time.process_time()
    margin, shape = network.head // 2, (size + network.head,) * 2
    wide = stitch(patches, positions + margin, patch_weights(network), shape).image
    image = np.nan_to_num(wide)[margin : margin + size, margin : margin + size]
    return image, patches, middle - start, time.process_time() - middle


def refined(
    image: np.ndarray, counts: np.ndarray, positions: np.ndarray, probe: np.ndarray,
    electrons: float, rounds: int,
) -> tuple[np.ndarray, float]:  # fmt: skip
    """The image after some rounds of fitting it to all patterns, and the seconds of CPU.

    As in the mill, a round that explains the patterns less well is not kept.
    """
    start, roots = time.process_time(), np.sqrt(counts, dtype=np.float32)
    wide, at = np.pad(image, MARGIN, mode="edge"), positions + MARGIN
    least = scan_misfits(roots, wide, at, probe, electrons).mean()
    for _ in range(rounds):
        score = score_of(roots, wide, at, probe, electrons)
        tried = improved(wide, [score], at, probe, electrons)
        misfit = scan_misfits(roots, tried, at, probe, electrons).mean()
        if not misfit < least:
            break
        wide, least = tried, misfit
    return wide[MARGIN:-MARGIN, MARGIN:-MARGIN], time.process_time() - start


def patch_error(
    patches: np.ndarray, truth: np.ndarray, positions: np.ndarray, probe: np.ndarray
) -> float:
    """Mean |error| of the pixels of the support, without the patch's mean [rad]."""
    from scipy.ndimage import map_coordinates

    head = patches.shape[1]
    lit = central(torch.from_numpy(lit_support(probe)), head).numpy()
    offsets = np.argwhere(lit) - head // 2
    at = positions[:, None] + SIDE + offsets
    true = map_coordinates(truth, at.reshape(-1, 2).T, order=5, mode="wrap").reshape(at.shape[:2])
    found = patches[:, lit]
    wrong = found - found.mean(axis=1, keepdims=True) - true + true.mean(axis=1, keepdims=True)
    return float(np.abs(wrong).mean())


def trained_for(
    probe: np.ndarray, electrons: float, steps: int, start: PatchNetwork
) -> PatchNetwork:
    """The shipped network after a training for the probe."""
    one = OneProbe(probe), (electrons, electrons)
    recipe = Recipe(steps=steps, groups=1, patterns=256)
    state = begin(start.train(), recipe)
    train(state, Lessons(training_atlas(0), *one), Lessons(held_out_atlas(), *one), recipe)
    return state.network


def main() -> None:
    """Print one line for each specimen, dose and method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("probe", type=Path)
    parser.add_argument("--believed", type=Path, help="the probe that methods are given instead")
    parser.add_argument("--save", type=Path, help="write the images and the truth, .npz")
    parser.add_argument("--scan", type=int, default=64)
    parser.add_argument("--dose", type=float, nargs="+", default=[1.0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--refine", type=int, default=4, help="rounds on all patterns together")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--stride", type=int, nargs="+", default=[1])
    parser.add_argument("--specimens", nargs="+", default=list(STRENGTHS))
    parser.add_argument("--methods", nargs="+", default=["shipped", "trained", "ridge", "epie"])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    raw = np.load(chosen.probe)
    probe = unit_probe(raw if chosen.believed is None else np.load(chosen.believed))
    for dose in chosen.dose:
        electrons = ELECTRONS * dose
        networks: dict[str, PatchNetwork] = {}
        shipped = partial(for_probe, load_network(SHIPPED)[0], probe, electrons)
        if "shipped" in chosen.methods:
            networks["shipped"] = shipped()
        if "trained" in chosen.methods:
            start = time.process_time()
            networks["trained"] = trained_for(probe, electrons, chosen.steps, shipped())
            print(
                f"trained {chosen.steps} steps in {time.process_time() - start:.0f} s of CPU",
                flush=True,
            )
        if "scratch" in chosen.methods:
            start = time.process_time()
            fresh = UnrolledPatch(probe, electrons)
            networks["scratch"] = trained_for(probe, electrons, chosen.steps, fresh)
            seconds = time.process_time() - start
            print(f"from scratch {chosen.steps} steps in {seconds:.0f} s of CPU", flush=True)
        if "ridge" in chosen.methods:
            lessons = Lessons(training_atlas(0), OneProbe(probe), (electrons, electrons))
            ridge = LinearPatch(probe, electrons)
            networks["ridge"] = fit_ridge(ridge, lessons.lesson(0, 1, 20_000)).eval()
        for name in chosen.specimens:
            for stride in chosen.stride:
                _compare(name, probe, raw, networks, electrons, chosen, stride)


def _compare(name, probe, raw, networks, electrons, chosen, stride) -> None:
    rows, cols = np.indices((chosen.scan, chosen.scan)).reshape(2, -1)
    keep = (rows % stride == 0) & (cols % stride == 0)
    positions = STEP * np.stack([rows, cols], axis=1)
    counts, truth = scanned(name, raw, positions, electrons, seed=chosen.seed)
    counts, positions = counts[keep], positions[keep]
    size = int(positions.max()) + 1
    known = truth[SIDE : SIDE + size, SIDE : SIDE + size]
    label = f"{name:9} dose {electrons / ELECTRONS:<5g} stride {stride}"
    print(f"{label} truth std {flat(known).std():.3f} rad, {len(counts)} patterns", flush=True)
    images = {"truth": known}
    for method, network in networks.items():
        image, patches, a, b = by_network(network, counts, positions, electrons, size)
        images[method] = image
        error = patch_error(patches, truth, positions, probe)
        _line(label, method, compared(image, known), f"L1 {error:.4f}  {a:.1f} + {b:.1f} s")
        if chosen.refine:
            fitted, seconds = refined(image, counts, positions, probe, electrons, chosen.refine)
            images[f"{method}, refined"] = fitted
            _line(label, f"{method}, refined", compared(fitted, known), f"{seconds:.1f} s")
    if "epie" in chosen.methods:
        start = time.process_time()
        found = epie(scipy.fft.ifftshift(counts, axes=(1, 2)), positions,
                     probe * np.sqrt(electrons), Epie(iterations=50))  # fmt: skip
        y, x = -np.array(found.origin)
        phase = np.angle(found.obj * np.conj(found.obj.mean()))[y : y + size, x : x + size]
        images["epie"] = phase
        _line(label, "epie", compared(phase, known), f"{time.process_time() - start:.1f} s")
    if chosen.save is not None:
        np.savez(chosen.save.with_stem(f"{chosen.save.stem}_{name}_{stride}"), **images)


def _line(label: str, method: str, found: dict[str, float], rest: str) -> None:
    numbers = "  ".join(f"{key} {value:.4f}" for key, value in found.items())
    print(f"{label}  {method:16} {numbers}  {rest}", flush=True)


if __name__ == "__main__":
    main()
