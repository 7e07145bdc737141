"""What the search for the probe leaves for the results: the probe itself, on the specimen."""

from pathlib import Path

import numpy as np
import xarray as xr

from tasks.labelled import Variable, labelled, pixel_axis, probe_phase
from tasks.store import layout
from tasks.store.events import read_array
from tasks.store.publish import Manifest


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
        (y_found, x_found) [Å], along the axes of the detector.
    """
    wave = read_array(layout.step_folder(work, "probe"), "probe_wave")
    side, sampling = wave.shape[0], manifest.summary["sampling_angstrom"]
    probe = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(wave), norm="ortho"))
    dims, size = ("y_found", "x_found"), np.abs(probe).astype(np.float32)
    what = "probe found from the patterns"
    variables: dict[str, Variable] = {
        "found_probe": (dims, probe.astype(np.complex64), what, "e^(1/2)"),
        "found_probe_amplitude": (dims, size, f"amplitude of the {what}", "e^(1/2)"),
        "found_probe_phase": (dims, probe_phase(probe), f"phase of the {what}", "rad"),
    }
    axes = {
        "y_found": pixel_axis(side, sampling, "detector rows"),
        "x_found": pixel_axis(side, sampling, "detector columns"),
    }
    return labelled(variables, axes, "probe", manifest)
