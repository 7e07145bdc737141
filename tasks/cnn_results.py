"""What the network leaves for the results: its phase, how far to trust it, and what to know."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tasks.labelled import Variable, labelled
from tasks.store import layout
from tasks.store.events import read_array
from tasks.store.publish import Manifest

UNTRUSTED = 1.5
"""A misfit of so many times that of counting noise: the phase does not explain the pattern."""
MANY = 0.05
"""Part of the positions from which on such misfits are worth a warning."""
LEFT = 0.05
"""Part of what the specimen does to the patterns that a phase may leave unexplained."""
SURE = 3.0
"""Standard errors from which on a difference is no chance."""
POOR = 2.0
"""An error of so many times that which counting noise leaves is worth a warning."""


def cnn_variables(work: Path, manifest: Manifest) -> xr.Dataset:
    """Variables that the network adds to a dataset's results.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    manifest : Manifest
        Of the finished step.

    Returns
    -------
    xarray.Dataset
        ``cnn_phase`` [rad] over (y_cnn, x_cnn) [Å], along the axes of the scan; ``cnn_misfit``
        over (y, x); ``cnn_phase_stitched``, what the network alone had to say, where the phase was
        refined.
    """
    folder = layout.step_folder(work, "cnn")
    variables: dict[str, Variable] = {
        "cnn_phase": (
            ("y_cnn", "x_cnn"), read_array(folder, "phase"),
            "phase from the neural network", "rad",
        ),
        "cnn_misfit": (
            ("y", "x"), read_array(folder, "misfit"),
            "misfit of the network's phase, of counting noise", "1",
        ),
    }  # fmt: skip
    axes = {
        "y_cnn": (read_array(folder, "phase_y"), "slow scan axis", "Å"),
        "x_cnn": (read_array(folder, "phase_x"), "fast scan axis", "Å"),
    }
    if manifest.parameters["refine"]:
        variables["cnn_phase_stitched"] = (
            ("y_cnn", "x_cnn"), read_array(folder, "phase_stitched"),
            "phase from the neural network, before it was refined", "rad",
        )  # fmt: skip
    return labelled(variables, axes, "cnn", manifest)


def cnn_flags(work: Path, manifest: Manifest) -> list[dict[str, str]]:
    """Say which network it was, how good it is for this probe, and where it fails."""
    facts = manifest.summary
    milli = {name: f"{1e3 * facts[name]:.3g}" for name in ("error", "error_before", "floor")}
    which = (
        f"was trained for this probe ({milli['error_before']} mrad before)"
        if facts["trained"]
        else "served as it came"
    )
    flags = [{"flag": "network", "level": "ok", "text":
        f"The network {which}; on patterns simulated for this probe and dose its error is "
        f"{milli['error']} mrad, counting noise alone leaves {milli['floor']}."}]  # fmt: skip
    if facts["error"] > POOR * facts["floor"]:
        flags[0]["level"] = "warn"
        flags[0]["text"] += " Train it longer, cnn: {train: always, steps: …}."
    if facts.get("tiles", 1) > 1:
        flags.append({"flag": "network tiles", "level": "ok", "text":
            f"The scan was stitched in {facts['tiles']} tiles; where they overlap, each differs "
            f"from their mean by {1e3 * facts['disagreement']:.3g} mrad."})  # fmt: skip
    if manifest.parameters["refine"]:
        flags.append(_refinement(facts))
    flags.append(_explanation(facts))
    misfit = read_array(layout.step_folder(work, "cnn"), "misfit")
    misfit = misfit[np.isfinite(misfit)]
    share = float(np.mean(misfit > UNTRUSTED))
    if share > MANY:
        flags.append({"flag": "network misfit", "level": "warn", "text":
            f"At {100 * share:.3g} % of the positions the network's phase explains the pattern "
            f"{UNTRUSTED:g} times worse than counting noise allows; see cnn_misfit. Strong "
            "scattering, or a wrong probe."})  # fmt: skip
    return flags


def _refinement(facts: dict[str, Any]) -> dict[str, str]:
    before, after = (f"{facts[f'misfit_median{of}']:.3g}" for of in ("_stitched", ""))
    if not facts["refined"]:
        text = (
            f"Fitting the network's phase to all patterns did not bring its misfit, {before}, "
            "down; it stands as stitched. Strong scattering, or a wrong probe."
        )
        return {"flag": "network refinement", "level": "warn", "text": text}
    text = (
        f"{facts['refined']} rounds of fitting the network's phase to all patterns took the median "
        f"misfit from {before} to {after}; cnn_phase_stitched is the phase before."
    )
    if facts["refined_anew"]:
        text += (
            " They began from no phase at all, which explained the patterns better than that of "
            "the network: a probe with hardly an aberration, which leaves half of a phase unseen "
            "in each pattern, or a wrong one."
        )
    level = "warn" if facts["refined_anew"] else "ok"
    return {"flag": "network refinement", "level": level, "text": text}


def _explanation(facts: dict[str, Any]) -> dict[str, str]:
    """How much of what the specimen does to the patterns the phase accounts for.

    Where a specimen is weak, a wrong phase changes each pattern by less than counting noise does;
    in the mean over all of them it shows.
    """
    name = "network explains"
    left, there = facts["misfit_mean"] - 1, facts["misfit_bare"] - 1
    sure = SURE * facts["misfit_doubt"]
    if there < sure:
        return {"flag": name, "level": "warn", "text":
            "The patterns are those of the probe alone, as far as counting noise tells: there is "
            "no specimen that the phase could show."}  # fmt: skip
    if left > sure and left > LEFT * there:
        return {"flag": name, "level": "warn", "text":
            f"The phase leaves {100 * left / there:.2g} % of what the specimen does to the "
            "patterns unexplained. A wrong probe, scan step or rotation; bad pixels or an unsteady "
            "beam; or a specimen that is no thin phase object."}  # fmt: skip
    part = max(left, sure) / there
    return {"flag": name, "level": "ok", "text":
        f"The phase explains what the specimen does to the patterns but for {100 * part:.2g} % "
        "or less."}  # fmt: skip
