"""Draw docs/images/probe_cnn.png: what a network makes of one scan with three beliefs of the probe.

    .venv/bin/python docs/figures/probe.py PROBE.npy FOUND.npy FLAT.npy IMAGES_TRUE.npz \
        IMAGES_FOUND.npz IMAGES_FLAT.npz

The probes are complex, the images those that benchmarks/cnn.py saves. Under each stands how far it
is from the truth.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np

from benchmarks.cnn import compared, flat

matplotlib.use("Agg")
from matplotlib import pyplot as plt

METHODS = {"shipped": "network alone", "shipped, refined": "refined"}
OUT = Path(__file__).resolve().parents[1] / "images" / "probe_cnn.png"
TITLES = ("true probe", "probe found from the patterns", "flat wavefront")


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("probes", type=Path, nargs=3)
    parser.add_argument("images", type=Path, nargs=3)
    args = parser.parse_args()
    figure, axes = plt.subplots(3, 4, figsize=(10.5, 8.2), layout="constrained")
    for one in axes[::2, 0]:
        one.axis("off")
    known = np.load(args.images[0])["truth"]
    low, high = np.percentile(flat(known), (0.5, 99.5))
    shown = {"cmap": "gray", "vmin": low, "vmax": high}
    axes[1, 0].imshow(flat(known), **shown)
    axes[1, 0].set_title("true phase", fontsize=9)
    for column, (title, probe, images) in enumerate(
        zip(TITLES, args.probes, args.images, strict=True), start=1
    ):
        wave = np.load(probe)[8:24, 8:24]
        axes[0, column].imshow(_coloured(wave))
        axes[0, column].set_title(title, fontsize=9)
        fields = np.load(images)
        for row, (name, label) in enumerate(METHODS.items(), start=1):
            found = compared(fields[name], known)
            axes[row, column].imshow(flat(fields[name]), **shown)
            axes[row, column].set_xlabel(
                f"rms {1e3 * found['rms']:.1f} mrad, FRC {found['frc']:.3f}", fontsize=9
            )
            if column == 1:
                axes[row, column].set_ylabel(label, fontsize=9)
    for one in axes.ravel():
        one.set_xticks([])
        one.set_yticks([])
    axes[0, 1].set_ylabel("probe", fontsize=9)
    figure.savefig(OUT, dpi=130, metadata={"Software": None})


def _coloured(wave: np.ndarray) -> np.ndarray:
    """Phase as hue, amplitude as brightness."""
    turn = np.angle(wave * np.conj(np.sum(wave * np.abs(wave))))
    hue = plt.get_cmap("twilight")((turn / (2 * np.pi)) % 1)[..., :3]
    return hue * (np.abs(wave) / np.abs(wave).max())[..., None]


if __name__ == "__main__":
    main()
