"""What other programs make of a recording: run by the environment of the peers, one at a time.

    .venv-peers-phase/bin/python benchmarks/phase_peers.py FOLDER PEER [--repeats 3]

FOLDER holds ``counts.npy``, (scan_y, scan_x, detector_y, detector_x), and ``scan.json``. Prints one
line of JSON: for each thing that was done the least wall time and the least CPU time of the repeats
[s] and the memory that it took beyond the counts [MB]; arrays go to FOLDER as ``PEER_name.npy``.
"""

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

warnings.filterwarnings("ignore")
os.environ.setdefault("TQDM_DISABLE", "1")


class Bench:
    """Times the works of one peer."""

    def __init__(self, folder: Path, peer: str, repeats: int) -> None:
        """Read the recording."""
        self.folder, self.peer, self.repeats = folder, peer, repeats
        self.counts = np.load(folder / "counts.npy")
        self.scan = json.loads((folder / "scan.json").read_text())
        self.found: dict[str, Any] = {}

    def time(self, name: str, work: Callable[[], Any], repeats: int | None = None) -> Any:
        """Do it some times; answers with what the last gave."""
        before, walls, cpus = resident(), [], []
        for _ in range(repeats or self.repeats):
            wall, cpu = time.perf_counter(), time.process_time()
            answer = work()
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        self.found[name] = {"wall": min(walls), "cpu": min(cpus), "mb": peak() - before}
        return answer

    def keep(self, name: str, array: Any) -> None:
        """Write an array for the comparison."""
        np.save(self.folder / f"{self.peer}_{name}.npy", np.asarray(array))


def resident() -> float:
    """Resident memory now [MB]; from here on, ``peak`` is the largest."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak() -> float:
    """Largest resident memory since ``resident`` [MB]."""
    return _status("VmHWM")


def _status(name: str) -> float:
    # Not getrusage, whose maximum a process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(one for one in lines if one.startswith(name))
    return int(line.split()[1]) / 1024


def floor(bench: Bench) -> None:
    """One read of the counts, and FFTW's real transforms of the disk's pixels."""
    import pyfftw

    scan, counts = bench.scan, bench.counts
    row, col = np.indices(counts.shape[2:])
    disk = np.hypot(row - scan["center"][0], col - scan["center"][1]) < scan["radius"]
    pixels = np.ascontiguousarray(counts[:, :, disk].transpose(2, 0, 1))
    images = pyfftw.empty_aligned((16, *counts.shape[:2]), "float32")
    bench.time("read", lambda: counts.sum(dtype=np.int64))
    for name, threads in (("transforms", 1), ("transforms, all cores", scan["threads"])):
        plan = pyfftw.builders.rfft2(images, threads=threads, planner_effort="FFTW_MEASURE")

        def transform(plan: Any = plan) -> None:
            for first in range(0, len(pixels), len(images)):
                images[: len(pixels[first : first + len(images)])] = pixels[
                    first : first + len(images)
                ]
                plan()

        bench.time(name, transform)
    bench.found["disk_pixels"] = len(pixels)


def dataset(bench: Bench) -> Any:
    """Quantem's form of the recording."""
    from quantem.core.datastructures import Dataset4d

    scan = bench.scan
    step, pixel = scan["step"], scan["semiangle"] / scan["wavelength"] / scan["radius"]
    return Dataset4d.from_array(
        bench.counts.astype(np.float32), sampling=(*step, pixel, pixel),
        units=("A", "A", "A^-1", "A^-1"),
    )  # fmt: skip


def other_azimuths(lens: dict[str, float], rotation_deg: float) -> dict[str, float]:
    """Azimuths of ours in quantem's convention, or the reverse: π/2 − φ + θ, on the scan's axes."""
    turn = np.pi / 2 + np.deg2rad(rotation_deg)
    return {name: turn - value if name.startswith("phi") else value for name, value in lens.items()}


def prepared(bench: Bench, known: bool) -> Any:
    """Quantem's direct ptychography with the disk's centre given."""
    from quantem.diffractive_imaging.direct_ptychography import DirectPtychography

    scan = bench.scan
    lens = other_azimuths(scan["aberrations"], scan["rotation_deg"]) if known else {}
    return DirectPtychography.from_dataset4d(
        dataset(bench), energy=scan["energy"], semiangle_cutoff=scan["semiangle"] * 1e3,
        aberration_coefs=lens, rotation_angle=scan["rotation_deg"] if known else None,
        force_measured_origin=tuple(scan["center"]), verbose=False,
    )  # fmt: skip


def quantem(bench: Bench) -> None:
    """Single sideband and Wiener at the known lens."""
    direct = bench.time("prepare", lambda: prepared(bench, known=True), repeats=1)
    for kernel in ("ssb", "wiener") if bench.scan["object"] else ("ssb",):
        bench.time(kernel, lambda k=kernel: direct.reconstruct(deconvolution_kernel=k), repeats=1)
        bench.keep(kernel, direct.corrected_bf.detach().cpu().numpy())


def quantem_blind(bench: Bench) -> None:
    """Rotation and aberrations from the data: shifts first, then the residual's gradient."""
    direct = prepared(bench, known=False)

    def fit() -> None:
        direct.fit_hyperparameters_cross_correlation()
        names = ("C10", "C12", "phi12", "C21", "phi21", "rotation_angle")
        direct.fit_hyperparameters_gradient(parameters=names, deconvolution_kernel="ssb")

    bench.time("fit", fit, repeats=1)
    state, theta = direct.hyperparameter_state, direct.hyperparameter_state.current_rotation_angle()
    lens = {key: float(value) for key, value in state.current_aberrations().items()}
    bench.found["rotation_deg"] = float(theta)
    bench.found["aberrations"] = other_azimuths(lens, float(theta))
    direct.reconstruct(deconvolution_kernel="wiener")
    bench.keep("wiener", direct.corrected_bf.detach().cpu().numpy())


def ptychography40(bench: Bench) -> None:
    """Masks and their application by LiberTEM, on one core: its executor without processes."""
    from libertem.api import Context
    from libertem.common.container import MaskContainer
    from libertem.corrections.coordinates import rotate_deg
    from ptychography40.reconstruction.ssb import SSB_UDF, generate_masks

    scan = bench.scan
    common = {
        "lamb": scan["wavelength"] * 1e-10, "dpix": np.array(scan["step"]) * 1e-10,
        "semiconv": scan["semiangle"], "semiconv_pix": scan["radius"],
        "cy": scan["center"][0], "cx": scan["center"][1],
        "transformation": rotate_deg(-scan["rotation_deg"]), "cutoff": 1,
    }  # fmt: skip
    shape = bench.counts.shape
    masks = bench.time(
        "masks",
        lambda: generate_masks(
            reconstruct_shape=shape[:2], mask_shape=shape[2:], dtype=np.float32, method="subpix",
            **common,
        ),
        repeats=1,
    )  # fmt: skip
    container = MaskContainer(
        mask_factories=lambda: masks, dtype=masks.dtype, use_sparse="scipy.sparse.csc",
        count=masks.shape[0],
    )  # fmt: skip
    context = Context.make_with("inline")
    data = context.load("memory", data=bench.counts, sig_dims=2, num_partitions=1)
    udf = SSB_UDF(dtype=np.float32, mask_container=container, method="subpix", **common)
    result = bench.time("ssb", lambda: context.run_udf(dataset=data, udf=udf), repeats=1)
    bench.keep("ssb", result["phase"].data)


def libertem(bench: Bench) -> None:
    """Centre of mass over the disk, and the rotation by its curl."""
    from libertem.api import Context
    from libertem.udf.com import CoMUDF, guess_corrections

    scan = bench.scan
    context = Context.make_with("inline")
    data = context.load("memory", data=bench.counts, sig_dims=2, num_partitions=1)
    udf = CoMUDF.with_params(cy=scan["center"][0], cx=scan["center"][1], r=scan["radius"])
    context.run_udf(dataset=data, udf=udf)  # compiles
    result = bench.time("com", lambda: context.run_udf(dataset=data, udf=udf))
    field = np.array(result["raw_shifts"].data)
    y, x = field[..., 0], field[..., 1]
    guess = bench.time("rotation", lambda: guess_corrections(y, x))
    bench.found["rotation_deg"], bench.found["flip"] = -float(guess[0]), bool(guess[1])


def py4dstem(bench: Bench) -> None:
    """Centre of mass, rotation and iterative DPC."""
    import py4DSTEM

    scan = bench.scan
    step, pixel = scan["step"], scan["semiangle"] / scan["wavelength"] / scan["radius"]
    cube = py4DSTEM.DataCube(bench.counts.astype(np.float32))
    cube.calibration.set_R_pixel_size(step[0])
    cube.calibration.set_R_pixel_units("A")
    cube.calibration.set_Q_pixel_size(pixel)
    cube.calibration.set_Q_pixel_units("A^-1")

    def prepare() -> Any:
        dpc = py4DSTEM.process.phase.DPC(datacube=cube, energy=scan["energy"], verbose=False)
        dpc.preprocess(plot_center_of_mass=False, plot_rotation=False)
        return dpc

    dpc = bench.time("com_and_rotation", prepare, repeats=1)
    bench.found["rotation_deg"] = float(np.rad2deg(dpc._rotation_best_rad))
    bench.found["flip"] = bool(dpc._rotation_best_transpose)
    bench.time("dpc_64", lambda: dpc.reconstruct(reset=True, max_iter=64, progress_bar=False))
    bench.keep("dpc", dpc.object_phase * 2 * np.pi)


PEERS = {one.__name__: one for one in
         (floor, quantem, quantem_blind, ptychography40, libertem, py4dstem)}  # fmt: skip


def main() -> None:
    """Run one peer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    bench = Bench(options.folder, options.peer, options.repeats)
    stdout, sys.stdout = sys.stdout, sys.stderr  # what peers print is no part of the answer
    PEERS[options.peer](bench)
    print(json.dumps(bench.found), file=stdout)


if __name__ == "__main__":
    main()
