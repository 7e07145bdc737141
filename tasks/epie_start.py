"""What ePIE starts from: nothing, or the phase that the network found before it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import map_coordinates

from gpu_kernels.epie import blank
from gpu_kernels.epie_settings import Epie
from tasks.epie_setup import EpieSetup
from tasks.store import layout
from tasks.store.events import read_array
from tasks.store.publish import read_manifest

BELIEVED = 1.5
"""Median misfit up to which the network's phase is a start, and not a mistake to be undone."""

Start = tuple[np.ndarray, tuple[int, int]]


def identity_of_start(work: Path, start: str) -> dict[str, str]:
    """Identity of the step that ePIE starts from, by its name; empty where there is none.

    Raises
    ------
    ValueError
        If that step left nothing.
    """
    if start == "flat":
        return {}
    manifest = read_manifest(layout.step_folder(work, start))
    if manifest is None:
        raise ValueError(
            f"epie: it is to start from the step '{start}', which has not run; add it to the "
            "steps, or give epie: {start: flat}."
        )
    return {start: manifest.identity}


def going_on(algorithm: Epie, start: Start | None) -> Epie:
    """The algorithm from where it starts: from a phase that is nearly right, all positions at once.

    Small batches bring low frequencies quickly, and noise; where the former are there already, they
    leave nothing but the latter.
    """
    if start is None or algorithm.batch_size or algorithm.batch_shares:
        return algorithm
    return replace(algorithm, batch_shares=((1.0, 1.0),))


def start_of(setup: EpieSetup, members: np.ndarray | None = None) -> Start | None:
    """Object under the windows of some positions of a dataset, or of all, with its first pixel.

    Returns
    -------
    (object, origin) or None
        As ``gpu_kernels.epie.epie`` takes it: e^(iφ) of the network's phase with the slope that was
        taken from it, and with its value at the edge beyond the scan. None to start from ones, as
        where that phase does not explain the patterns.
    """
    if setup.settings.start == "flat":
        return None
    folder = layout.step_folder(setup.work, "cnn")
    manifest = read_manifest(folder)
    assert manifest is not None, "its identity was asked for before"
    if not manifest.summary["misfit_median"] < BELIEVED:
        return None
    positions = setup.positions if members is None else setup.positions[members]
    obj, origin = blank(positions, setup.grid.side)
    rows, cols = (first + np.arange(n) for first, n in zip(origin, obj.shape, strict=True))
    sampling = setup.grid.sampling
    # The object lies in the frame after the mirror: the rotation alone is between it and the scan.
    turn = replace(setup.geometry, flip=False)
    y, x = turn.detector_to_scan(rows[:, None] * sampling, cols[None, :] * sampling)
    axes = (read_array(folder, f"phase_{axis}") for axis in "yx")
    at = [(place - axis[0]) / (axis[1] - axis[0]) for place, axis in zip((y, x), axes, strict=True)]
    phase = map_coordinates(read_array(folder, "phase").astype(float), at, mode="nearest")
    slope_y, slope_x = manifest.summary["plane"]
    return np.exp(1j * (phase + slope_y * y + slope_x * x)).astype(np.complex64), origin
