"""DPC: the beam's deflection on the scan's axes, and its integral, the phase."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpu_kernels.backend import to_host
from gpu_kernels.dpc import deflection, filled, integrate, integrate_iteratively
from tasks.calibrate import open_calibrated
from tasks.device import on_device
from tasks.store import layout
from tasks.store.events import read_array, write_array
from tasks.store.publish import Manifest, published
from tasks.store.zarr_json import write_group
from tasks.units import report

VERSION = 1


@dataclass(frozen=True)
class DpcSettings:
    """How the deflection is integrated; see ``gpu_kernels.dpc``."""

    method: str = "closed"
    boundary: str = "mirror"
    iterations: int = 64
    high_pass: float = 0.0
    low_pass: float = 0.0


def dpc(
    work: Path, identity_of_calibration: str, settings: DpcSettings, force: bool = False
) -> tuple[Manifest, bool]:
    """Write ``com_y``, ``com_x`` [1/Å] and ``dpc_phase`` [rad]; NaN where nothing was recorded."""

    def write(aside: Path) -> dict[str, Any]:
        report("dpc", 0, 1)
        write_group(aside)
        for name, image in _images(work, settings).items():
            write_array(aside, name, image.astype(np.float32))
        report("dpc", 1, 1)
        return {}

    return published(
        layout.step_folder(work, "dpc"),
        step="dpc",
        version=VERSION,
        inputs={"calibrate": identity_of_calibration},
        parameters=asdict(settings),
        write=write,
        force=force,
    )


def _images(work: Path, settings: DpcSettings) -> dict[str, np.ndarray]:
    events, geometry, _ = open_calibrated(work)
    reduced = layout.step_folder(work, "reduce")
    electrons = read_array(reduced, "com_electrons")
    unusable = (events.array("frames_present") == 0) | (events.array("sector_mask") != 0)
    com_y, com_x = deflection(
        read_array(reduced, "com_sums"),
        np.where(unusable, 0, electrons),
        geometry.center,
        geometry.pixel_wavevector,
        geometry.rotation,
        geometry.flip,
    )
    bare = (settings.boundary, settings.high_pass, settings.low_pass)
    if settings.method == "iterative":
        y, x = on_device(com_y), on_device(com_x)
        phase = integrate_iteratively(y, x, geometry.scan_step, settings.iterations, *bare)
    else:
        y, x = on_device(filled(com_y)), on_device(filled(com_x))
        phase = integrate(y, x, geometry.scan_step, *bare)
    return {"com_y": com_y, "com_x": com_x, "dpc_phase": to_host(phase)}
