"""Draw docs/images/cnn_overlap.png: network and ePIE as fewer and fewer positions are taken.

    .venv/bin/python benchmarks/cnn.py PROBE.npy --scan 96 --stride 1 2 3 4 --specimens hbn \
        --methods shipped epie --save IMAGES.npz
    .venv/bin/python docs/figures/overlap.py IMAGES_hbn_1.npz … IMAGES_hbn_4.npz

Under each image stands what docs/cnn.md says of it.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np

from benchmarks.cnn import INSIDE, PIXEL, STEP, compared, flat
from gpu_kernels.frc import fourier_ring_correlation

matplotlib.use("Agg")
from matplotlib import pyplot as plt

OUT = Path(__file__).resolve().parents[1] / "images" / "cnn_overlap.png"
METHODS = {"shipped": "network alone", "shipped, refined": "network, refined", "epie": "ePIE, 50"}
SHOWN = 56
"""Pixels of each image's middle that are drawn."""


def main() -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, nargs="+")
    files = parser.parse_args().images
    rows = len(METHODS) + 1
    figure, axes = plt.subplots(
        rows, len(files), figsize=(2.7 * len(files), 2.75 * rows), layout="constrained"
    )
    for column, file in enumerate(files):
        stride = int(file.stem.rsplit("_", 1)[1])
        fields = dict(np.load(file))
        truth = flat(fields["truth"])
        low, high = np.percentile(truth, (0.5, 99.5))
        curves = axes[-1, column]
        for row, (name, label) in enumerate(METHODS.items()):
            found = compared(fields[name], fields["truth"])
            axis = axes[row, column]
            start = (len(truth) - SHOWN) // 2
            middle = flat(fields[name])[start : start + SHOWN, start : start + SHOWN]
            axis.imshow(middle, cmap="gray", vmin=low, vmax=high)
            axis.set(xticks=[], yticks=[])
            axis.set_xlabel(f"FRC {found['frc']:.3f}, rms {1e3 * found['rms']:.1f} mrad", size=9)
            if column == 0:
                axis.set_ylabel(label)
            inner = (slice(INSIDE, -INSIDE),) * 2
            curve = fourier_ring_correlation(flat(fields[name][inner]), flat(truth[inner]))
            curves.plot(curve.frequency / PIXEL, curve.correlation, label=label)
        axes[0, column].set_title(f"every {stride * STEP * PIXEL:.2f} Å", size=10)
        curves.axhline(0.5, color="0.6", lw=0.8, ls="--")
        curves.axhline(0.143, color="0.6", lw=0.8, ls=":")
        curves.set(ylim=(-0.1, 1.05), xlabel="spatial frequency [1/Å]")
    axes[-1, 0].set_ylabel("FRC with the truth")
    axes[-1, 0].legend(fontsize=8, loc="lower left")
    figure.savefig(OUT, dpi=100)


if __name__ == "__main__":
    main()
