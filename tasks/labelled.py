"""Variables of the results with what a reader needs to know of each: name, unit, origin."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from tasks.store.publish import Manifest

FAINT = 0.02
"""Part of the brightest amplitude under which a probe's phase is noise."""

Variable = tuple[tuple[str, ...], np.ndarray, str, str]
"""Dimensions, data, long name, units."""
Axis = tuple[np.ndarray, str, str]
"""Values, long name, units."""


def labelled(
    variables: Mapping[str, Variable], axes: Mapping[str, Axis], step: str, manifest: Manifest
) -> xr.Dataset:
    """Put variables together with their axes, and say which step made them, and how.

    Parameters
    ----------
    variables, axes : mapping
        By name.
    step : str
        Name of the step.
    manifest : Manifest
        Of the finished step.

    Returns
    -------
    xarray.Dataset
        Each variable with ``long_name``, ``units``, ``step`` and ``parameters``.
    """
    own = {"step": step, "parameters": manifest.parameters}
    return xr.Dataset(
        {
            name: (dims, data, {"long_name": long_name, "units": units} | own)
            for name, (dims, data, long_name, units) in variables.items()
        },
        {
            name: (name, data, {"long_name": long_name, "units": units})
            for name, (data, long_name, units) in axes.items()
        },
    )


def probe_phase(probe: np.ndarray) -> np.ndarray:
    """Phase of a probe where it is bright enough to have one.

    Parameters
    ----------
    probe : (n, n) complex
        In real space.

    Returns
    -------
    (n, n) float32
        Zero where the probe is bright, on the average; NaN where it is faint [rad].
    """
    size = np.abs(probe)
    turn = np.conj(np.sum(probe * size))
    phase = np.where(size > FAINT * size.max(), np.angle(probe * turn), np.nan)
    return phase.astype(np.float32)


def pixel_axis(side: int, sampling: float, long_name: str) -> Axis:
    """Axis of a window whose middle pixel is at 0 [Å]."""
    return (np.arange(side) - side // 2) * sampling, long_name, "Å"
