"""What other programs make of an iterative reconstruction, run by the environment of the peers.

    .venv-peers-epie/bin/python benchmarks/epie_peers.py FOLDER PEER [--iterations 50] [--seed 0]

FOLDER holds ``counts.npy`` (rows, columns, side, side) with the zero frequency first, ``probe.npy``
(centred, Σ|probe|² electrons) and ``scan.json``. One line of JSON says how much CPU and wall time a
round took, and ``PEER.npy`` in the folder is the object. Each program keeps the known probe and the
exact positions, and runs on one thread. Settings are those with the smallest error of the ten or so
that were tried for each; RESULTS.md has the others.

Pty-chi and py4DSTEM transform without a factor, so their probe is divided by the side; quantem and
py4DSTEM keep the probe's centre in the corner.
"""

import argparse
import json
import os
import sys
import time
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

warnings.filterwarnings("ignore")
os.environ.setdefault("TQDM_DISABLE", "1")


def ptychi(scan: dict, counts: np.ndarray, probe: np.ndarray, iterations: int, seed: int) -> Any:
    """Pty-chi's least-squares maximum likelihood, closer after 50 rounds than its ePIE and rPIE."""
    # It imports a blur from torchvision, whose builds do not fit the CPU build of torch.
    stub = types.ModuleType("torchvision.transforms")
    stub.GaussianBlur = None  # type: ignore[attr-defined]
    sys.modules |= {"torchvision": types.ModuleType("torchvision"), stub.__name__: stub}
    import ptychi.api as api
    import torch
    from ptychi.api.task import PtychographyTask

    rows, cols = counts.shape[:2]
    y, x = np.indices((rows, cols)).reshape(2, -1) * scan["step_px"]
    extent = int(np.ceil(rows * scan["step_px"])) + probe.shape[0] + 6
    options = api.LSQMLOptions()
    options.data_options.data = counts.reshape(-1, *probe.shape).astype(np.float32)
    options.data_options.fft_shift = False
    options.object_options.initial_guess = torch.ones((1, extent, extent), dtype=torch.complex64)
    options.object_options.pixel_size_m = scan["pixel"] * 1e-10
    options.object_options.optimizable = True
    options.object_options.step_size = 1.0
    options.probe_options.initial_guess = (probe / len(probe))[None, None].astype(np.complex64)
    options.probe_options.optimizable = False
    options.probe_position_options.position_y_px = y - y.mean()
    options.probe_position_options.position_x_px = x - x.mean()
    options.reconstructor_options.num_epochs = iterations
    options.reconstructor_options.rescale_probe_intensity_in_first_epoch = False
    options.reconstructor_options.batching_mode = api.BatchingModes.COMPACT
    options.reconstructor_options.momentum_acceleration_gain = 0.8
    options.reconstructor_options.batch_size = 2048
    options.reconstructor_options.default_device = api.Devices.CPU
    options.reconstructor_options.random_seed = seed
    task = PtychographyTask(options)
    yield
    task.run()
    yield task.get_data_to_cpu("object", as_numpy=True)


def py4dstem(scan: dict, counts: np.ndarray, probe: np.ndarray, iterations: int, seed: int) -> Any:
    """py4DSTEM's single-slice gradient descent, in batches."""
    import py4DSTEM

    side, step = len(probe), scan["step_px"] * scan["pixel"]
    data = scipy.fft.fftshift(counts, axes=(2, 3)).astype(np.float32)
    cube = py4DSTEM.DataCube(data=data)
    cube.calibration.set_R_pixel_size(step)
    cube.calibration.set_R_pixel_units("A")
    cube.calibration.set_Q_pixel_size(1 / (side * scan["pixel"]))
    cube.calibration.set_Q_pixel_units("A^-1")
    middle = np.full(counts.shape[:2], side / 2)
    run = py4DSTEM.process.phase.SingleslicePtychography(
        datacube=cube, energy=80e3, verbose=False, semiangle_cutoff=30,
        initial_probe_guess=(scipy.fft.ifftshift(probe) / side).astype(np.complex64), device="cpu",
    )  # fmt: skip
    run.preprocess(
        plot_center_of_mass=False, plot_rotation=False, plot_probe_overlaps=False,
        force_com_rotation=0, force_com_transpose=False, force_com_measured=(middle, middle),
        fit_function="constant",
    )  # fmt: skip
    yield
    run.reconstruct(
        num_iter=iterations, max_batch_size=1024, seed_random=seed, step_size=1.0,
        normalization_min=0.5, fix_probe=True, fix_probe_com=False, progress_bar=False, reset=True,
        gaussian_filter=False, butterworth_filter=False, tv_denoise=False,
    )  # fmt: skip
    yield run._object


def quantem(scan: dict, counts: np.ndarray, probe: np.ndarray, iterations: int, seed: int) -> Any:
    """Quantem's ptychography with its analytic gradient, the fastest of its forms here."""
    from quantem.core.datastructures import Dataset4dstem
    from quantem.diffractive_imaging.dataset_models import PtychographyDatasetRaster
    from quantem.diffractive_imaging.detector_models import DetectorPixelated
    from quantem.diffractive_imaging.object_models import ObjectPixelated
    from quantem.diffractive_imaging.probe_models import ProbePixelated
    from quantem.diffractive_imaging.ptychography import Ptychography

    side, step = len(probe), scan["step_px"] * scan["pixel"]
    k = 1 / (side * scan["pixel"])
    data = scipy.fft.fftshift(counts, axes=(2, 3)).astype(np.float32)
    cube = Dataset4dstem.from_array(
        data, sampling=(step, step, k, k), units=("A", "A", "A^-1", "A^-1")
    )
    dataset = PtychographyDatasetRaster.from_dataset4dstem(
        cube, verbose=0, learn_descan=False, learn_scan_positions=False
    )
    dataset.preprocess(com_fit_function="no_shift", plot_rotation=False, plot_com=False,
                       force_com_rotation=0, force_com_transpose=False)  # fmt: skip
    run = Ptychography.from_models(
        dset=dataset,
        obj_model=ObjectPixelated.from_uniform(obj_type="complex"),
        probe_model=ProbePixelated.from_array(
            scipy.fft.ifftshift(probe).astype(np.complex64),
            probe_params={"energy": 80e3, "semiangle_cutoff": 30, "defocus": 0},
        ),
        detector_model=DetectorPixelated(),
        verbose=0,
        rng=seed,
    )
    run.preprocess(obj_padding_px=(side // 2, side // 2), plot_rotation=False, plot_com=False)
    yield
    run.reconstruct(
        num_iters=iterations, batch_size=2048, autograd=False,
        optimizer_params={"object": {"type": "sgd", "lr": 0.5, "momentum": 0.9}},
    )  # fmt: skip
    obj = run.obj
    yield obj.detach().cpu().numpy() if hasattr(obj, "detach") else obj


PEERS = {"ptychi": ptychi, "py4dstem": py4dstem, "quantem": quantem}


def main() -> None:
    """Time one program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the order of positions")
    given = parser.parse_args()
    scan = json.loads((given.folder / "scan.json").read_text())
    counts, probe = (np.load(given.folder / f"{name}.npy") for name in ("counts", "probe"))
    work = PEERS[given.peer](scan, counts, probe, given.iterations, given.seed)
    next(work)  # everything but the iterations
    wall, cpu = time.perf_counter(), time.process_time()
    obj = next(work)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    np.save(given.folder / f"{given.peer}.npy", np.squeeze(np.asarray(obj)))
    print(json.dumps({"wall": wall / given.iterations, "cpu": cpu / given.iterations}))


if __name__ == "__main__":
    main()
