"""Seams of ePIE in tiles: how far four tiles are from the whole, and what FRC sees along the seams.

    .venv/bin/python benchmarks/epie_tiles.py [--rounds 50]

A simulated scan (MoS₂, 56 x 56 positions of 0.4 Å, 27,000 electrons each, known probe), once as a
whole and once as 2 x 2 tiles on two workers. Squares on the seams are cut out of both images and
compared ring by ring; so are squares inside of the tiles. The second comparison, with another order
of positions, says by how much two runs of one program differ.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")

import numpy as np
import xarray as xr
from rich.console import Console

from flows.job import check_job
from flows.overnight import run_night
from gpu_kernels.frc import fourier_ring_correlation
from tasks.simulate import simulate
from tasks.simulation import small_simulation

SCAN = small_simulation(scan_shape=(56, 56), electrons=27_000.0)
EDGE = 4
"""Pixels at the border that are not compared."""
SEAMS = ((2, 1), (1, 2), (2, 2), (2, 3), (3, 2))
INSIDE = ((1, 1), (1, 3), (3, 1), (3, 3))
"""Middles of squares, in quarters of the image."""


def main() -> None:
    """Print one row a comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    rounds = {"iterations": parser.parse_args().rounds, "probe_step": 0}
    with tempfile.TemporaryDirectory() as folder:
        found = mill(
            Path(folder),
            whole=rounds | {"tiles": 1},
            tiled=rounds | {"tiles": 2},
            other=rounds | {"tiles": 1, "seed": 1},
        )
    whole = found["whole"]
    step = float(whole.x_obj[1] - whole.x_obj[0])
    print("| compared with the whole | rms [mrad] | least FRC at a seam | least FRC elsewhere |")
    print("|---|---|---|---|")
    for name, words in (("tiled", "2 x 2 tiles"), ("other", "the whole, another order")):
        one, two = (inner(found[n]) for n in (name, "whole"))
        rest = phase_between(one, two)
        least = [
            min(least_frc(one, two, at, step) for at in squares) for squares in (SEAMS, INSIDE)
        ]
        print(f"| {words} | {1e3 * rest.std():.2f} | {least[0]:.5f} | {least[1]:.5f} |", flush=True)


def mill(folder: Path, **datasets: dict) -> dict[str, xr.Dataset]:
    """Results of the same recording by different settings of ePIE."""
    simulate(SCAN, folder / "scan.h5")
    given = {
        "path": str(folder / "scan.h5"), "voltage_kv": 80, "semiangle_mrad": 25,
        "scan_step_angstrom": 0.4, "steps": ["epie"], "flip": SCAN.flip,
        "scan_rotation_deg": float(np.rad2deg(SCAN.rotation)),
        "aberrations": SCAN.aberrations.nonzero(), "center_px": list(SCAN.center),
        "semiangle_px": SCAN.radius,
    }  # fmt: skip
    listed = [given | {"name": name, "epie": epie} for name, epie in datasets.items()]
    job = {"output": str(folder / "out"), "cluster": "local", "datasets": listed}
    run_night(check_job(job, "job", folder), [], False, Console(quiet=True), True)
    return {
        name: xr.open_zarr(folder / "out" / name / "results.zarr", chunks=None).load()
        for name in datasets
    }


def inner(found: xr.Dataset) -> np.ndarray:
    """The object without its border."""
    return found.epie_object.values[EDGE:-EDGE, EDGE:-EDGE].astype(complex)


def phase_between(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Phase of one object over the other, without constant and plane, which no pattern tells."""
    ratio = one * two.conj()
    phase = np.angle(ratio * np.exp(-1j * np.angle(ratio.mean())))
    terms = np.stack([np.ones(phase.shape), *np.indices(phase.shape)], axis=-1).reshape(-1, 3)
    return phase - (terms @ np.linalg.lstsq(terms, phase.ravel())[0]).reshape(phase.shape)


def least_frc(one: np.ndarray, two: np.ndarray, at: tuple[int, int], step: float) -> float:
    """Least correlation in any ring up to Nyquist, in a square of a third of the image's side."""
    size = min(one.shape)
    square = tuple(slice(a * size // 4 - size // 6, a * size // 4 + size // 6) for a in at)
    curve = fourier_ring_correlation(np.angle(one[square]), np.angle(two[square]), (step, step))
    return float(np.nanmin(curve.correlation[1:]))


if __name__ == "__main__":
    main()
