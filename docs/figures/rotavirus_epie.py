"""The picture of ePIE beside SSB: python docs/figures/rotavirus_epie.py rotavirus_epie_out."""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr

mpl.use("Agg")
import matplotlib.pyplot as plt
from scipy.ndimage import gaussian_filter

BLUR = 2.0
"""Pixels of the object: at 61 electrons each, a pixel alone is mostly noise."""


def main(output: Path) -> None:
    """Draw both phases, the probe and the residual."""
    found = xr.open_zarr(output / "epie" / "results.zarr", chunks=None)
    figure, axes = plt.subplots(2, 2, figsize=(9, 8.4), layout="constrained")
    phase = gaussian_filter(found.epie_phase.values, BLUR)
    picture(axes[0, 0], phase, found.x_obj, found.y_obj, "ePIE, phase [rad]")
    ssb = found.wpo_wiener_phase
    picture(axes[0, 1], ssb.values, ssb.x, ssb.y, "full weak-phase estimate, phase [rad]")
    reach = 250.0
    near = found.epie_probe_amplitude.sel(
        x_probe=slice(-reach, reach), y_probe=slice(-reach, reach)
    )
    extent = np.array([-reach, reach, reach, -reach]) * 0.1
    axes[1, 0].imshow(near, cmap="magma", extent=extent)
    axes[1, 0].set(title="probe, amplitude", xlabel="x [nm]", ylabel="y [nm]")
    residual = found.epie_residual
    axes[1, 1].plot(residual.epie_round, residual, label="residual")
    axes[1, 1].axhline(residual.attrs["noise"], color="0.5", ls="--", label="counting noise")
    axes[1, 1].set(title="residual", xlabel="round")
    axes[1, 1].legend()
    figure.savefig(Path(__file__).parents[1] / "images" / "rotavirus_epie.png", dpi=100)


def picture(
    axis: plt.Axes, image: np.ndarray, x: xr.DataArray, y: xr.DataArray, title: str
) -> None:
    """Draw an image in nm with its range of values."""
    low, high = np.percentile(image, (0.5, 99.7))
    extent = np.array([0, x[-1], y[-1], 0]) * 0.1
    shown = axis.imshow(image, cmap="gray", vmin=low, vmax=high, extent=extent)
    axis.set(title=title, xlabel="x [nm]", ylabel="y [nm]")
    axis.figure.colorbar(shown, ax=axis, shrink=0.8)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
