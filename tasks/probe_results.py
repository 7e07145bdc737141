"""What the search for the probe leaves for the results: the probe itself, on the specimen."""

from pathlib import Path

import numpy as np
import xarray as xr

from tasks.store import layout
from tasks.store.events import read_array
from tasks.store.publish import Manifest

FAINT = 0.02
"""Part of the brightest amplitude under which a probe's phase is noise."""


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
    size = np.abs(probe)
    turn = np.conj(np.sum(probe * size))
    phase = np.where(size > FAINT * size.max(), np.angle(probe * turn), np.nan)
    own = {"step": "probe", "parameters": manifest.parameters}
    across = (np.arange(side) - side // 2) * sampling
    variables = {
        "found_probe": (probe.astype(np.complex64), "probe found from the patterns", "e^(1/2)"),
        "found_probe_amplitude": (
            size.astype(np.float32), "amplitude of the probe found from the patterns", "e^(1/2)",
        ),
        "found_probe_phase": (
            phase.astype(np.float32), "phase of the probe found from the patterns", "rad",
        ),
    }  # fmt: skip
    return xr.Dataset(
        {
            name: (("y_found", "x_found"), data, {"long_name": long_name, "units": units} | own)
            for name, (data, long_name, units) in variables.items()
        },
        {
            name: (name, across, {"long_name": f"detector {along}", "units": "Å"})
            for name, along in (("y_found", "rows"), ("x_found", "columns"))
        },
    )
