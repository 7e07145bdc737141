"""What ePIE leaves for the results: object, probe, error of each round, and what to think of it."""

from pathlib import Path

import numpy as np
import xarray as xr

from tasks.labelled import Variable, labelled, pixel_axis, probe_phase
from tasks.store import layout
from tasks.store.events import read_array
from tasks.store.publish import Manifest

FAR_FROM_NOISE = 2.0
"""A residual of so many times that of counting noise is worth a warning."""


def epie_variables(work: Path, manifest: Manifest) -> xr.Dataset:
    """Variables that ePIE adds to a dataset's results.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    manifest : Manifest
        Of the finished step.

    Returns
    -------
    xarray.Dataset
        ``epie_object`` complex64, ``epie_phase`` [rad] and ``epie_amplitude`` over (y_obj, x_obj)
        [Å], along the axes of the scan; ``epie_probe`` complex64, ``epie_probe_amplitude`` and
        ``epie_probe_phase`` over (y_probe, x_probe) [Å], along those of the detector;
        ``epie_residual`` over ``epie_round``; where positions were refined, ``epie_moved_y`` and
        ``epie_moved_x`` over (y, x) [Å].
    """
    folder, facts = layout.step_folder(work, "epie"), manifest.summary
    obj, probe = read_array(folder, "object"), read_array(folder, "probe")
    on_object, on_probe = ("y_obj", "x_obj"), ("y_probe", "x_probe")
    variables: dict[str, Variable] = {
        "epie_object": (on_object, obj, "object from ePIE", "1"),
        "epie_phase": (on_object, np.angle(obj).astype(np.float32), "phase from ePIE", "rad"),
        "epie_amplitude": (on_object, np.abs(obj), "amplitude from ePIE", "1"),
        "epie_probe": (on_probe, probe, "probe from ePIE", "e^(1/2)"),
        "epie_probe_amplitude": (
            on_probe, np.abs(probe), "amplitude of the probe from ePIE", "e^(1/2)",
        ),
        "epie_probe_phase": (
            on_probe, probe_phase(probe), "phase of the probe from ePIE", "rad",
        ),
        "epie_residual": (
            ("epie_round",), read_array(folder, "residuals"),
            "sum (|wave| - root of counts)² / counts of each round of ePIE", "1",
        ),
    }  # fmt: skip
    moved = read_array(folder, "moved")
    if moved.any():
        for axis, name in enumerate(("y", "x")):
            label = f"how far ePIE moved positions along {name}"
            variables[f"epie_moved_{name}"] = (("y", "x"), moved[..., axis], label, "Å")
    side, sampling = facts["side"], facts["sampling"]
    rounds = np.arange(1, facts["rounds"] + 1)
    axes = {
        "y_obj": (read_array(folder, "object_y"), "slow scan axis", "Å"),
        "x_obj": (read_array(folder, "object_x"), "fast scan axis", "Å"),
        "y_probe": pixel_axis(side, sampling, "detector rows"),
        "x_probe": pixel_axis(side, sampling, "detector columns"),
        "epie_round": (rounds, "round through all positions", "1"),
    }
    found = labelled(variables, axes, "epie", manifest)
    found["epie_residual"].attrs["noise"] = facts["noise"]
    return found


def epie_flags(manifest: Manifest) -> list[dict[str, str]]:
    """Say what the reconstruction itself tells of its quality."""
    facts, flags = manifest.summary, []
    if facts["extent"] < facts["probe_room"]:
        flags.append({"flag": "ePIE window", "level": "warn", "text":
            f"The probe needs a window of {facts['probe_room']:.4g} Å, and the detector's pixels "
            f"allow {facts['extent']:.4g} Å; ePIE sees it cut off."})  # fmt: skip
    ratio = facts["residual"] / facts["noise"]
    if ratio > FAR_FROM_NOISE:
        flags.append({"flag": "ePIE residual", "level": "warn", "text":
            f"ePIE's residual is {ratio:.3g} times that of counting noise: the patterns hold more "
            "than object and probe explain."})  # fmt: skip
    return flags
