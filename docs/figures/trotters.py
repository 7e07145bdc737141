"""The picture of the interfering disks: python docs/figures/trotters.py."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from models.aberrations import Aberrations
from models.probe import aperture_function
from tasks.simulation import Simulation

mpl.use("Agg")
import matplotlib.pyplot as plt

PIXELS = 240


def main() -> None:
    """Draw Γ over the disk for one spatial frequency, without and with aberrations."""
    demo = Simulation()
    k0 = demo.geometry.aperture
    along = np.linspace(-1.75, 1.75, PIXELS) * k0
    k_y, k_x = np.meshgrid(along, along, indexing="ij")
    q_y, q_x = 0.25 * k0, 0.75 * k0
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
    extent = np.array([-1.75, 1.75, 1.75, -1.75])

    inside, plus, minus = (np.hypot(k_y - s * q_y, k_x - s * q_x) < k0 for s in (0, 1, -1))
    parts = np.full(inside.shape, np.nan)
    for number, part in enumerate(
        (inside & ~plus & ~minus, inside & plus & ~minus, inside & minus & ~plus,
         inside & plus & minus)
    ):  # fmt: skip
        parts[part] = number
    colours = mpl.colors.ListedColormap(["#e8e8e8", "#d55e00", "#0072b2", "#999999"])
    axes[0].imshow(parts, cmap=colours, extent=extent)
    for text, at in (("right\nsideband", (0.64, 0.21)), ("left\nsideband", (-0.64, -0.21)),
                     ("both", (0, 0))):  # fmt: skip
        axes[0].text(*at, text, ha="center", va="center", color="white", fontsize="x-small")
    axes[0].set_title("where k is covered", fontsize="small")

    for axis, lens, title in (
        (axes[1], Aberrations(), "phase of Γ, no aberrations"),
        (axes[2], demo.aberrations, "phase of Γ, the demo's aberrations"),
    ):
        a = [
            aperture_function(k_y + s * q_y, k_x + s * q_x, demo.energy, demo.semiangle, lens)
            for s in (0, -1, 1)
        ]
        gamma = np.conj(a[0]) * a[1] - a[0] * np.conj(a[2])
        seen = np.where(np.abs(gamma) > 1e-6, np.angle(gamma), np.nan)
        shown = axis.imshow(seen, cmap="twilight", vmin=-np.pi, vmax=np.pi, extent=extent)
        axis.set_title(title, fontsize="small")
    for axis in axes:
        for s, style in ((0, "-"), (1, ":"), (-1, ":")):
            circle = plt.Circle((s * q_x / k0, s * q_y / k0), 1, fill=False, ls=style, lw=1)
            axis.add_patch(circle)
        axis.set(xlabel="kx / k0", ylabel="ky / k0")
        axis.label_outer()
    figure.colorbar(shown, ax=axes, shrink=0.8, label="[rad]", ticks=[-np.pi, 0, np.pi],
                    format=lambda v, _: {-3: "−π", 0: "0", 3: "π"}[int(v)])  # fmt: skip
    figure.savefig(Path(__file__).parents[1] / "images" / "trotters.png", dpi=80)


if __name__ == "__main__":
    main()
