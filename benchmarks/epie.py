"""ePIE beside pty-chi, quantem and py4DSTEM: CPU time of a round, and our error after 50 of them.

    .venv/bin/python benchmarks/epie.py .venv-peers-epie/bin/python PROBE.npy [--seed 0]

A simulated bilayer of h-BN under a measured probe (32 x 32, in pixels of 0.286 Å): 64 x 64
positions, 27,882 electrons a pattern, the probe known, one thread for everyone, one after another.
Every program's image is laid on the object to a fraction of a pixel, and freed of its constant and
slope, before it is compared in the scan's interior.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import fourier_shift
from scipy.signal import fftconvolve

from gpu_kernels.epie import epie
from gpu_kernels.epie_settings import Epie
from models.specimens import build_specimen

PIXEL, STEP_PX, ROWS, BORDER = 0.286, 0.87, 64, 20
DOSE = 27_882.0
PEERS = ("ptychi", "quantem", "py4dstem")
EDGE = BORDER + 6
"""Pixels around the interior: the scan's border, and what a few positions only have seen."""


def main() -> None:
    """Print one row a program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", help="of the peers' environment")
    parser.add_argument("probe", type=Path)
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the order of positions")
    given = parser.parse_args()
    probe = np.load(given.probe)
    probe = probe * np.sqrt(DOSE / np.sum(np.abs(probe) ** 2))
    counts, places, phase = simulated(probe)
    print("| program | CPU s a round | rms [mrad] | correlation |\n|---|---|---|---|")
    epie(counts[:64], places[:64], probe, Epie(iterations=1))  # compiled
    start = time.process_time()
    found = epie(counts, places, probe, Epie(iterations=given.iterations, seed=given.seed))
    seconds = (time.process_time() - start) / given.iterations
    print(row("here", seconds, found.obj, phase), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "counts.npy", counts.reshape(ROWS, ROWS, *probe.shape))
        np.save(Path(folder) / "probe.npy", probe)
        for peer in PEERS:
            seconds = run(given, Path(folder), peer)
            print(row(peer, seconds, np.load(Path(folder) / f"{peer}.npy"), phase), flush=True)


def row(program: str, seconds: float, obj: np.ndarray, phase: np.ndarray) -> str:
    """Row of the table."""
    rms, correlation = error(obj, phase)
    return f"| {program} | {seconds:.4f} | {1e3 * rms:.2f} | {correlation:.4f} |"


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
    scan = {"step_px": STEP_PX, "pixel": PIXEL}
    (folder / "scan.json").write_text(json.dumps(scan))
    script = Path(__file__).with_name("epie_peers.py")
    told = subprocess.run(
        [given.python, script, folder, peer, "--iterations", str(given.iterations),
         "--seed", str(given.seed)],
        check=True, capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    ).stdout  # fmt: skip
    return float(json.loads(told.splitlines()[-1])["cpu"])


def error(obj: np.ndarray, phase: np.ndarray) -> tuple[float, float]:
    """(rms [rad], correlation) in the scan's interior, wherever the object lies on its grid."""
    image = np.angle(obj * np.exp(-1j * np.angle(obj.mean())))
    truth = phase[EDGE:-EDGE, EDGE:-EDGE]
    area, pattern = np.ones_like(truth), (truth - truth.mean())[::-1, ::-1]
    spread = fftconvolve(image**2, area, "valid")
    spread -= fftconvolve(image, area, "valid") ** 2 / truth.size
    likeness = fftconvolve(image, pattern, "valid") / np.sqrt(np.maximum(spread, 1e-9))
    y, x = np.unravel_index(likeness.argmax(), likeness.shape)
    image = image[y : y + truth.shape[0], x : x + truth.shape[1]]
    plane = [np.ones(truth.shape), *np.indices(truth.shape)]
    shift = np.zeros(2)
    for _ in range(6):  # Gauss-Newton; programs place their grids a tenth of a pixel apart
        truth, moved_y, moved_x = (a[EDGE:-EDGE, EDGE:-EDGE] for a in moved(phase, shift))
        shift += fit([*plane, -moved_y, -moved_x], image - truth)[0][3:]
    truth = moved(phase, shift)[0][EDGE:-EDGE, EDGE:-EDGE]
    rest = fit(plane, image - truth)[1]
    return float(rest.std()), float(np.corrcoef((truth + rest).ravel(), truth.ravel())[0, 1])


def moved(phase: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, ...]:
    """The phase moved by a shift [px], and its derivatives along both axes."""
    at = np.fft.ifft2(fourier_shift(np.fft.fft2(phase), shift)).real
    return (at, *np.gradient(at))


def fit(terms: list[np.ndarray], image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares coefficients of images that add up to one, and what is left of it."""
    basis = np.stack(terms, axis=-1).reshape(-1, len(terms))
    found = np.linalg.lstsq(basis, image.ravel(), rcond=None)[0]
    return found, image - (basis @ found).reshape(image.shape)


if __name__ == "__main__":
    main()
