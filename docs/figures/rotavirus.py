"""The picture of right and wrong calibrations: python docs/figures/rotavirus.py rotavirus_out."""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr

mpl.use("Agg")
import matplotlib.pyplot as plt

TITLES = {
    "fitted": "as fitted: {rotation:.1f}°, C10 {focus:.1f} µm",
    "no_defocus": "no defocus",
    "other_sign": "other sign of C10 alone",
    "mirrored": "mirrored rotation",
}


def main(output: Path) -> None:
    """Draw the weak-phase image of each dataset on one scale."""
    figure, axes = plt.subplots(2, 2, figsize=(7.4, 7.8), layout="constrained")
    for axis, (name, title) in zip(axes.flat, TITLES.items(), strict=True):
        results = xr.open_zarr(output / name / "results.zarr", chunks=None)
        phase = results["wpo_wiener_phase"]
        fit = results.attrs["calibration"]
        text = title.format(
            rotation=fit["scan_rotation_deg"]["value"],
            focus=fit["aberrations"]["C10"]["value"] * 1e-4,
        )
        limit = 0.25
        extent = np.array([0, phase.x[-1], phase.y[-1], 0]) * 1e-4
        shown = axis.imshow(phase, cmap="gray", vmin=-limit, vmax=limit, extent=extent)
        axis.set(title=text, xlabel="x [µm]", ylabel="y [µm]")
        axis.label_outer()
    figure.colorbar(shown, ax=axes, shrink=0.6, label="phase [rad]")
    figure.savefig(Path(__file__).parents[1] / "images" / "rotavirus_signs.png", dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
