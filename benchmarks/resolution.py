"""Resolution by halves of the electrons beside that against the truth, for every method of a job.

    python -m benchmarks.resolution [--size 96] [--doses 300 3000] [--seeds 1 2 3 4] [--specimen S]

Simulated scans (0.3 Å steps, the demo's aberrations, calibration given), each milled as a
job would be. Halves agree by 0.143 where the image from all electrons agrees with the truth by 0.5.
The truth of SSB and the weak-phase estimate is the specimen's phase, that of ePIE its transmission
on ePIE's own grid. Virtual images and DPC keep the aberrations, so they are held against the
images that the same detectors and the same integration give of the scan without counting noise.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")

import numpy as np
import scipy.fft
import xarray as xr
from rich.console import Console

from flows.job import check_job
from flows.overnight import run_night
from gpu_kernels.dpc import deflection, integrate
from gpu_kernels.frc import fourier_ring_correlation, resolution
from models.specimens import SPECIMENS
from tasks.compared import HalfImage, band_limit
from tasks.detectors import standard_annuli
from tasks.simulate import simulate, specimen_of, truth_path
from tasks.simulation import Simulation, small_simulation

STEP = 0.3
AT_ONCE = 64
FINER, BORDER = 4, 8
"""ePIE's truth is drawn on a grid so much finer, with a border of so many of its pixels."""


class Row(NamedTuple):
    """An image's resolution by both ways [Å]."""

    name: str
    halves: float
    spread: tuple[float, float]
    truth: float
    limited: bool
    """Both curves are above their threshold up to the last ring."""

    @property
    def agrees(self) -> bool:
        """Whether both are the same to 10 %, or both say that nothing is resolved."""
        if not (np.isfinite(self.halves) and np.isfinite(self.truth)):
            return not (np.isfinite(self.halves) or np.isfinite(self.truth))
        return abs(self.halves / self.truth - 1) <= 0.1

    @property
    def told(self) -> bool:
        """Whether the spread of the halves reaches to within 10 % of the truth."""
        return self.spread[0] / 1.1 <= self.truth <= self.spread[1] * 1.1


def main() -> None:
    """Print a row for each image of each draw, and how many agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=96, help="positions along a side")
    parser.add_argument("--doses", type=float, nargs="+", default=[300.0, 3000.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--specimen", choices=list(SPECIMENS), default="mos2")
    given = parser.parse_args()
    for dose in given.doses:
        rows: list[Row] = []
        print(f"{dose:g} electrons a frame\n| draw | image | halves [Å] | 1σ | truth [Å] |")
        print("|---|---|---|---|---|")
        for seed in given.seeds:
            with tempfile.TemporaryDirectory() as folder:
                found = judge(scan_of(given.size, dose, seed, given.specimen), Path(folder))
            for row in found:
                ends = "–".join(f"{end:.3g}" for end in row.spread)
                print(
                    f"| {seed} | {row.name} | {'≤ ' * row.limited}{row.halves:.3f} | {ends} | "
                    f"{row.truth:.3f} | {'' if row.agrees else 'apart'}",
                    flush=True,
                )
            rows += found
        for name in dict.fromkeys(row.name for row in rows):
            own = [row for row in rows if row.name == name]
            agree, told = (sum(getattr(row, key) for row in own) for key in ("agrees", "told"))
            print(f"{name}: {agree} of {len(own)} to 10 %, {told} within the spread and 10 %")


def scan_of(size: int, electrons: float, seed: int, specimen: str = "mos2") -> Simulation:
    """A draw: vacancies, film and noise are those of the seed."""
    return small_simulation(
        scan_shape=(size, size), scan_step=(STEP, STEP), detector_shape=(48, 48), radius=11.3,
        center=(23.4, 24.8), electrons=electrons, missing_fraction=0.0, lost_sectors=0, seed=seed,
        specimen=specimen,
    )  # fmt: skip


def judge(scan: Simulation, folder: Path) -> list[Row]:
    """Mill a scan, and compare what its halves say with the truth."""
    results, curves = milled(scan, folder)
    truth = np.load(truth_path(folder / "scan.h5"))["phase"].astype(float)
    clean, band = noise_free(scan), 2 * scan.geometry.aperture
    rows = []
    for name, curve in curves.filter_by_attrs(kind="frc").data_vars.items():
        if name == "epie_phase":
            image, expected = results.epie_object.values, transmission(scan, results)
            pixel = float(results.y_obj[1] - results.y_obj[0])
            own = HalfImage(str(name), "epie", image.astype(complex), (pixel, pixel))
            against = fourier_ring_correlation(
                own.values, expected, own.pixel, register=True,
                band_limit=band_limit(own, scan.geometry),
            )  # fmt: skip
        else:
            expected = clean.get(str(name), truth)
            image = results[name].values.astype(float)
            against = fourier_ring_correlation(
                image, expected, scan.scan_step, even=True, band_limit=band
            )
        known, told = resolution(against, "0.5"), curve.attrs
        length = told["resolution_angstrom"] or float("inf")
        ends = [float("inf") if end is None else end for end in told["spread_angstrom"]["0.143"]]
        limited = known.limited and told["at_limit"]["0.143"]
        rows.append(Row(str(name), length, (ends[0], ends[1]), known.length, limited))
    return rows


def milled(scan: Simulation, folder: Path) -> tuple[xr.Dataset, xr.Dataset]:
    """Results and curves of a job with every method that needs no training."""
    simulate(scan, folder / "scan.h5")
    dataset = {
        "path": str(folder / "scan.h5"), "name": "x", "voltage_kv": scan.energy / 1e3,
        "semiangle_mrad": scan.semiangle * 1e3, "scan_step_angstrom": STEP, "flip": scan.flip,
        "scan_rotation_deg": float(np.rad2deg(scan.rotation)), "center_px": list(scan.center),
        "semiangle_px": scan.radius, "aberrations": scan.aberrations.nonzero(),
        "steps": ["virtual", "dpc", "ssb", "epie", "frc"], "epie": {"probe_step": 0},
        "frc": {"methods": ["virtual", "dpc", "ssb", "epie"]},
    }  # fmt: skip
    job = {"output": str(folder / "out"), "cluster": "threads", "datasets": [dataset]}
    (row,) = run_night(check_job(job, "job", folder), [], False, Console(quiet=True), True)[
        "datasets"
    ]
    assert row["status"] == "ok", row["reason"]
    path = folder / "out" / "x" / "results.zarr"
    results, curves = (xr.open_zarr(path, group=one, chunks=None).load() for one in (None, "frc"))
    return results, curves


def noise_free(scan: Simulation) -> dict[str, np.ndarray]:
    """Virtual images and the DPC phase from the expected patterns."""
    model, geometry = scan.forward_model, scan.geometry
    canvas = model.canvas(specimen_of(scan), scan.scan_shape)
    y, x = np.indices(scan.scan_shape).reshape(2, -1).astype(float)
    at = model.positions(y, x)
    rows, cols = np.indices(scan.detector_shape)
    disk = np.hypot(rows - scan.center[0], cols - scan.center[1]) < scan.radius
    detectors = standard_annuli(scan.radius, scan.detector_shape)
    weights = [one.mask(scan.detector_shape, scan.center) for one in detectors]
    weights += [disk, disk * rows, disk * cols]
    sums = np.concatenate(
        [
            np.tensordot(model.patterns(canvas, at[i : i + AT_ONCE]), np.array(weights, float), (
                (1, 2), (1, 2)))
            for i in range(0, len(at), AT_ONCE)
        ]
    ).reshape(*scan.scan_shape, -1)  # fmt: skip
    *images, total, down, right = np.moveaxis(sums, -1, 0)
    com = deflection(
        np.stack([down, right], axis=-1), total, geometry.center, geometry.pixel_wavevector,
        geometry.rotation, geometry.flip,
    )  # fmt: skip
    found = {one.name: image for one, image in zip(detectors, images, strict=True)}
    return found | {"dpc_phase": integrate(*com, geometry.scan_step)}


def transmission(scan: Simulation, results: xr.Dataset) -> np.ndarray:
    """The specimen on ePIE's grid, up to its highest frequency."""
    y, x = results.y_obj.values, results.x_obj.values
    pixel = float(y[1] - y[0])
    shape = tuple(FINER * (n.size + 2 * BORDER) for n in (y, x))
    origin = float(y[0]) - BORDER * pixel, float(x[0]) - BORDER * pixel
    fine = np.exp(1j * specimen_of(scan).phase(shape, (pixel / FINER,) * 2, origin))
    kept = [scipy.fft.fftfreq(n // FINER, FINER / n).astype(int) for n in shape]
    coarse = scipy.fft.ifft2(scipy.fft.fft2(fine)[np.ix_(*kept)]) / FINER**2
    return coarse[BORDER:-BORDER, BORDER:-BORDER]


if __name__ == "__main__":
    main()
