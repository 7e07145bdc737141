"""The picture of the demo beside its truth: python docs/figures/demo.py demo."""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr

mpl.use("Agg")
import matplotlib.pyplot as plt

TITLES = {
    "wpo_wiener_phase": "weak-phase, Wiener",
    "ssb_phase": "single sideband",
    "dpc_phase": "DPC",
}


def main(output: Path) -> None:
    """Draw the true phase and those that the mill found."""
    results = xr.open_zarr(output / "demo" / "results.zarr", chunks=None)
    with np.load(output / "demo_electrons_truth.npz", allow_pickle=False) as truth:
        images = {"the specimen": truth["phase"]}
    images |= {title: results[name].values for name, title in TITLES.items()}
    figure, axes = plt.subplots(2, 2, figsize=(7.4, 7.8), layout="constrained")
    extent = np.array([0, results.x[-1], results.y[-1], 0]) / 10
    for axis, (title, image) in zip(axes.flat, images.items(), strict=True):
        low, high = np.percentile(image, (0.5, 99.5))
        axis.imshow(image, cmap="gray", vmin=low, vmax=high, extent=extent)
        axis.set(title=f"{title}: {low:.2f} to {high:.2f} rad", xlabel="x [nm]", ylabel="y [nm]")
        axis.title.set_fontsize("small")
        axis.label_outer()
    figure.savefig(Path(__file__).parents[1] / "images" / "demo_truth.png", dpi=60)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
