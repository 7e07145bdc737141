"""The picture of the known specimens: python docs/figures/specimens.py."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from models.specimens import SPECIMENS, build_specimen

mpl.use("Agg")
import matplotlib.pyplot as plt

SIDE, STEP, ENERGY = 160, 0.2, 80e3


def main() -> None:
    """Draw the phase of each at 80 kV."""
    figure, axes = plt.subplots(1, 4, figsize=(11, 3.1), layout="constrained")
    for axis, name in zip(axes, SPECIMENS, strict=True):
        rng = np.random.default_rng(1)
        phase = build_specimen(name, (SIDE * STEP,) * 2, ENERGY, rng).phase(
            (SIDE,) * 2, (STEP,) * 2
        )
        low, high = np.percentile(phase, (0.5, 99.5))
        extent = np.array([0, SIDE, SIDE, 0]) * STEP / 10
        axis.imshow(phase, cmap="gray", vmin=low, vmax=high, extent=extent)
        axis.set(title=f"{name}: {low:.2f} to {high:.2f} rad", xlabel="x [nm]")
        axis.title.set_fontsize("small")
    axes[0].set_ylabel("y [nm]")
    figure.savefig(Path(__file__).parents[1] / "images" / "specimens.png", dpi=70)


if __name__ == "__main__":
    main()
