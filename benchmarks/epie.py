"""ePIE beside pty-chi, quantem and py4DSTEM: CPU time of a round, and our error after 50 of them.

    .venv/bin/python benchmarks/epie.py .venv-peers-epie/bin/python PROBE.npy

A simulated bilayer of h-BN under a measured probe (32 x 32, in pixels of 0.286 Å): 64 x 64
positions, 27,882 electrons a pattern, the probe known, one thread for everyone, one after another.
What a round costs does not depend on how well it converges; the images of the others, which would
want settings of their own, are not compared.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from gpu_kernels.epie import Epie, EpieResult, epie
from models.specimens import build_specimen

PIXEL, STEP_PX, ROWS, BORDER = 0.286, 0.87, 64, 20
DOSE = 27_882.0
PEERS = ("ptychi", "quantem", "py4dstem")
BATCH, STEP = 512, 0.5


def main() -> None:
    """Print one row a program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", help="of the peers' environment")
    parser.add_argument("probe", type=Path)
    parser.add_argument("--iterations", type=int, default=50)
    given = parser.parse_args()
    probe = np.load(given.probe)
    probe = probe * np.sqrt(DOSE / np.sum(np.abs(probe) ** 2))
    counts, places, phase = simulated(probe)
    print("| program | CPU s a round | |\n|---|---|---|")
    epie(counts[:64], places[:64], probe, Epie(iterations=1))  # compiled
    start = time.process_time()
    found = epie(counts, places, probe, Epie(iterations=given.iterations))
    seconds = (time.process_time() - start) / given.iterations
    rms, correlation = error(found, phase)
    print(f"| here | {seconds:.4f} | {1e3 * rms:.1f} mrad, correlation {correlation:.4f} |")
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "counts.npy", counts.reshape(ROWS, ROWS, *probe.shape))
        np.save(Path(folder) / "probe.npy", probe)
        for peer in PEERS:
            print(f"| {peer} | {run(given, Path(folder), peer):.4f} | |", flush=True)


def simulated(probe: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (positions, side, side), places (positions, 2) [px] and the phase on their pixels."""
    side, size = len(probe), int(ROWS * STEP_PX) + 2 * BORDER
    phase = np.zeros((size, size))
    for seed, turn in ((3, 0.0), (4, np.deg2rad(18))):
        layer = build_specimen(
            "hbn", (ROWS * STEP_PX * PIXEL,) * 2, 80e3, np.random.default_rng(seed),
            margin=2 * BORDER * PIXEL,
        )  # fmt: skip
        phase += layer.phase((size, size), (PIXEL, PIXEL), (-BORDER * PIXEL,) * 2, turn)
    places = np.stack(np.indices((ROWS, ROWS)), axis=-1).reshape(-1, 2) * STEP_PX + BORDER
    k, obj = np.fft.fftfreq(side, 1 / side), np.exp(1j * phase)
    counts = np.empty((len(places), side, side), np.uint16)
    rng, spectrum = np.random.default_rng(1), np.fft.fft2(probe)
    for number, at in enumerate(places):
        corner = np.floor(at + 0.5).astype(int) - side // 2
        y, x = at - side // 2 - corner
        here = np.fft.ifft2(spectrum * np.exp(-2j * np.pi * (k[:, None] * y + k * x) / side))
        wave = here * obj[tuple(slice(c, c + side) for c in corner)]
        counts[number] = rng.poisson(np.abs(np.fft.fft2(wave, norm="ortho")) ** 2)
    return counts, places, phase


def run(given: argparse.Namespace, folder: Path, peer: str) -> float:
    """Let a program reconstruct; CPU time of a round [s]."""
    scan = {"step_px": STEP_PX, "pixel": PIXEL, "step": STEP, "batch": BATCH}
    (folder / "scan.json").write_text(json.dumps(scan))
    script = Path(__file__).with_name("epie_peers.py")
    told = subprocess.run(
        [given.python, script, folder, peer, "--iterations", str(given.iterations)],
        check=True, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    ).stdout  # fmt: skip
    return float(json.loads(told.splitlines()[-1])["cpu"])


def error(found: EpieResult, phase: np.ndarray) -> tuple[float, float]:
    """(rms [rad], correlation) in the scan's interior; the constant is free."""
    edge = BORDER + 6
    truth = phase[edge:-edge, edge:-edge]
    rows, cols = (
        slice(edge - first, edge - first + n)
        for first, n in zip(found.origin, truth.shape, strict=True)
    )
    image = np.angle(found.obj * np.exp(-1j * np.angle(found.obj.mean())))[rows, cols]
    rest = image - image.mean() - truth + truth.mean()
    return float(np.sqrt(np.mean(rest**2))), float(np.corrcoef(image.ravel(), truth.ravel())[0, 1])


if __name__ == "__main__":
    main()
