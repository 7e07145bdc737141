"""Draw docs/images/probe_cnn.png: what a network makes of one scan with three beliefs of the probe.

    .venv/bin/python docs/figures/probe.py PROBE.npy FOUND.npy FLAT.npy IMAGES_TRUE.npz \
        IMAGES_FOUND.npz IMAGES_FLAT.npz

The probes are complex, the images those that benchmarks/cnn.py saves.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

OUT = Path(__file__).resolve().parents[1] / "images" / "probe_cnn.png"
TITLES = ("true probe", "probe found from the patterns", "flat wavefront")


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("probes", type=Path, nargs=3)
    parser.add_argument("images", type=Path, nargs=3)
    args = parser.parse_args()
    figure, axes = plt.subplots(2, 4, figsize=(10.5, 5.4), layout="constrained")
    axes[0, 0].axis("off")
    known = np.load(args.images[0])["truth"]
    low, high = np.percentile(known - known.mean(), (0.5, 99.5))
    shown = {"cmap": "gray", "vmin": low, "vmax": high}
    axes[1, 0].imshow(known - known.mean(), **shown)
    axes[1, 0].set_title("true phase", fontsize=9)
    for column, (title, probe, images) in enumerate(
        zip(TITLES, args.probes, args.images, strict=True), start=1
    ):
        wave = np.load(probe)[8:24, 8:24]
        axes[0, column].imshow(_coloured(wave))
        axes[0, column].set_title(title, fontsize=9)
        image = np.load(images)["trained"]
        axes[1, column].imshow(image - image.mean(), **shown)
    for one in axes.ravel():
        one.set_xticks([])
        one.set_yticks([])
    axes[0, 1].set_ylabel("probe", fontsize=9)
    axes[1, 0].set_ylabel("phase", fontsize=9)
    figure.savefig(OUT, dpi=130, metadata={"Software": None})


def _coloured(wave: np.ndarray) -> np.ndarray:
    """Phase as hue, amplitude as brightness."""
    turn = np.angle(wave * np.conj(np.sum(wave * np.abs(wave))))
    hue = plt.get_cmap("twilight")((turn / (2 * np.pi)) % 1)[..., :3]
    return hue * (np.abs(wave) / np.abs(wave).max())[..., None]


if __name__ == "__main__":
    main()
