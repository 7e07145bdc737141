"""The step ``cnn`` on recordings as others write them, through the whole mill, against the truth.

    PYTHONPATH=. .venv/bin/python benchmarks/cnn_files.py PROBE.npy [NAME ...] [--train auto]

Each recording is a dense file of patterns simulated as in ``benchmarks/cnn.py``, milled with
``steps: [cnn, epie]``; ePIE makes 50 rounds from a flat start on the same patterns. The images are
compared with the specimen's phase where the results' axes say that they lie.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
import zarr
from rich.console import Console
from scipy.ndimage import map_coordinates

from benchmarks import cnn
from flows.job import check_job
from flows.overnight import run_night
from models.electron import wavelength

RADIUS = 7.5
"""Of the disk [px]."""
SEMIANGLE = 1e3 * wavelength(80e3) * RADIUS / (cnn.SIDE * cnn.PIXEL)
MIDDLE = cnn.SIDE // 2


@dataclass(frozen=True)
class Recording:
    """How the patterns are taken and written, and what the job says of them."""

    specimen: str
    suffix: str = "h5"
    shape: tuple[int, int] = (64, 64)
    step: tuple[float, float] = (cnn.STEP, cnn.STEP)
    """[px]"""
    rotation: float = 0.0
    """[degrees]"""
    flip: bool = False
    dose: float = 1.0
    strength: float = 1.0
    scatter: float = 0.0
    """Standard deviation of the positions, which the job then has from a file [Å]."""
    given: bool = True
    """Whether the job holds centre, radius, rotation, mirror and aberrations."""
    train: str = "never"
    refine: int = 4
    more: dict[str, Any] = field(default_factory=dict)
    """Further keys of the dataset."""


RECORDINGS = {
    "hbn": Recording("hbn"),
    "graphene": Recording("graphene"),
    "gold": Recording("gold"),
    "trained": Recording("hbn", train="auto"),
    "nothing_given": Recording("hbn", given=False),
    "wrong_angle": Recording("hbn", more={"semiangle_mrad": 1.03 * SEMIANGLE}),
    "scattered": Recording("graphene", "npy", scatter=0.08),
    "turned": Recording("gold", "zarr", (48, 72), rotation=30.0, flip=True),
    "coarse": Recording("gold", step=(1.4, 1.1)),
    "few_electrons": Recording("graphene", dose=0.1),
    "strong": Recording("gold", strength=6.0),
}


def main() -> None:
    """Mill each recording and print the figures of its images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("probe", type=Path)
    parser.add_argument("names", nargs="*", default=list(RECORDINGS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--train", choices=("auto", "never", "always"), help="for every recording")
    parser.add_argument("--refine", type=int, default=4, help="rounds; 0: the network alone")
    options = parser.parse_args()
    for name in options.names:
        one = replace(RECORDINGS[name], refine=options.refine)
        if options.train:
            one = replace(one, train=options.train)
        with tempfile.TemporaryDirectory() as folder:
            measure(name, one, options.probe.resolve(), options.seed, Path(folder))


def measure(name: str, one: Recording, probe: Path, seed: int, folder: Path) -> None:
    """Simulate one recording, mill it and compare."""
    y, x = (np.indices(one.shape).reshape(2, -1) * np.array(one.step)[:, None]) * cnn.PIXEL
    rng = np.random.default_rng(99)
    y, x = (axis + rng.normal(0, one.scatter, axis.size) for axis in (y, x))
    positions = np.stack([y, x], axis=1)
    lowest = np.floor(turned(positions, one.rotation).min(axis=0))
    counts, truth = cnn.scanned(
        one.specimen, np.load(probe), turned(positions, one.rotation) - lowest,
        cnn.ELECTRONS * one.dose, seed, one.strength,
    )  # fmt: skip
    counts = counts.transpose(0, 2, 1) if one.flip else counts
    dataset = told(one, written(folder, one, counts), probe, folder, positions)
    job = {"output": str(folder / "out"), "cluster": "threads", "datasets": [dataset]}
    cpu = time.process_time()
    row = run_night(check_job(job, "job", folder), [], False, Console(quiet=True), True)[
        "datasets"
    ][0]
    cpu = time.process_time() - cpu
    if row["status"] != "ok":
        raise SystemExit(f"{name}: {row['reason']}")
    print(f"{name}: {one.specimen}, {cpu:.0f} s of CPU")
    found = xr.open_zarr(folder / "out" / "x" / "results.zarr", chunks=None)
    for image, axis in (("cnn_phase_stitched", "cnn"), ("cnn_phase", "cnn"), ("epie_phase", "obj")):
        if image not in found:
            continue
        grid = np.meshgrid(found[f"y_{axis}"], found[f"x_{axis}"], indexing="ij")
        at = turned(np.stack(grid, axis=-1).reshape(-1, 2), one.rotation) - lowest + cnn.SIDE
        known = map_coordinates(truth, at.T, order=5, mode="wrap").reshape(grid[0].shape)
        figures = cnn.compared(found[image].values.astype(float), known)
        print(f"    {image:20}", "  ".join(f"{key} {value:.4f}" for key, value in figures.items()))
    print(f"    median misfit {float(found['cnn_misfit'].median()):.3f}", flush=True)


def turned(positions: np.ndarray, rotation: float) -> np.ndarray:
    """Scan positions (n, 2) [Å] in the detector's frame [px]."""
    cos, sin = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    return positions @ np.array([[cos, -sin], [sin, cos]]) / cnn.PIXEL


def written(folder: Path, one: Recording, counts: np.ndarray) -> Path:
    """The patterns as a file: in scan order, or for npy as a stack."""
    path = folder / f"scan.{one.suffix}"
    patterns = counts.reshape(*one.shape, cnn.SIDE, cnn.SIDE)
    if one.suffix == "npy":
        np.save(path, counts)
    elif one.suffix == "zarr":
        zarr.save_array(str(path), patterns)
    else:
        with h5py.File(path, "w") as file:
            file["patterns"] = patterns
    return path


def told(
    one: Recording, path: Path, probe: Path, folder: Path, positions: np.ndarray
) -> dict[str, Any]:
    """The recording's entry in a job."""
    dataset: dict[str, Any] = {
        "path": str(path), "name": "x", "voltage_kv": 80, "semiangle_mrad": SEMIANGLE,
        "scan_step_angstrom": [step * cnn.PIXEL for step in one.step], "probe": str(probe),
        "steps": ["cnn", "epie"], "cnn": {"train": one.train, "refine": one.refine},
        "epie": {"start": "flat", "iterations": 50, "probe_step": 0},
    }  # fmt: skip
    if one.suffix == "npy":
        dataset["scan_shape"] = list(one.shape)
    if one.given:
        dataset |= {
            "center_px": [MIDDLE, MIDDLE], "semiangle_px": RADIUS, "flip": one.flip,
            "scan_rotation_deg": one.rotation, "aberrations": {"C10": 0},
        }  # fmt: skip
    if one.scatter:
        file = folder / "positions.npy"
        np.save(file, positions.reshape(*one.shape, 2))
        for step in ("cnn", "epie"):
            dataset[step]["positions"] = str(file)
    return dataset | one.more


if __name__ == "__main__":
    main()
