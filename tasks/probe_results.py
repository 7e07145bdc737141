"""What the search for the probe leaves for the results: the probe itself, on the specimen."""

from pathlib import Path

import numpy as np
import xarray as xr

from models.aberrations import CARTESIAN
from tasks.labelled import Variable, labelled, pixel_axis, probe_phase
from tasks.starting_probe import FOUND
from tasks.store import layout
from tasks.store.events import read_array
from tasks.store.publish import Manifest

LANDSCAPE = ("probe_aberration", "probe_point")


def probe_variables(work: Path, manifest: Manifest) -> xr.Dataset:
    """Variables that the step adds to a dataset's results.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    manifest : Manifest
        Of the finished step.

    Returns
    -------
    xarray.Dataset
        ``found_probe`` complex64, ``found_probe_amplitude`` and ``found_probe_phase`` [rad] over
        (y_found, x_found) [Å], along the axes of the detector; ``probe_misfit`` over
        (probe_aberration, probe_point), how much worse neighbouring patterns agree away from it,
        and ``probe_tried`` [rad], how far away, at the aperture's edge.
    """
    folder = layout.step_folder(work, "probe")
    wave = read_array(folder, FOUND)
    side, sampling = wave.shape[0], manifest.summary["sampling_angstrom"]
    probe = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(wave), norm="ortho"))
    landscape = read_array(folder, "landscape")
    middle = landscape.shape[-1] // 2
    away = landscape[:, 0] - landscape[:, 0, middle, None]
    away *= np.array(manifest.summary["edge_rad_per_angstrom"])[: len(away), None]
    dims, size = ("y_found", "x_found"), np.abs(probe).astype(np.float32)
    what = "probe found from the patterns"
    variables: dict[str, Variable] = {
        "found_probe": (dims, probe.astype(np.complex64), what, "e^(1/2)"),
        "found_probe_amplitude": (dims, size, f"amplitude of the {what}", "e^(1/2)"),
        "found_probe_phase": (dims, probe_phase(probe), f"phase of the {what}", "rad"),
        "probe_misfit": (
            LANDSCAPE, landscape[:, 1], "misfit of neighbouring patterns around the probe", "1",
        ),
        "probe_tried": (LANDSCAPE, away, "change of one aberration, at the aperture's edge", "rad"),
    }  # fmt: skip
    axes = {
        "y_found": pixel_axis(side, sampling, "detector rows"),
        "x_found": pixel_axis(side, sampling, "detector columns"),
    }
    found = labelled(variables, axes, "probe", manifest)
    found["probe_misfit"].attrs["aberrations"] = list(CARTESIAN[: len(landscape)])
    return found
