"""What the width of binned pixels costs SSB, and a sentence on it for the report."""

from dataclasses import replace
from typing import Any

import numpy as np

from gpu_kernels.bin_transfer import LEAST_TRANSFER, damping
from gpu_kernels.ssb_geometry import SsbGeometry
from models.geometry import Geometry
from tasks.reduce import ReduceSettings
from tasks.store.publish import Manifest

SAID_FROM, SMALL_LOSS = 0.10, 0.03
"""Part of |Q| = k0 that bins may damp before the report says so, and that finer ones should."""
MOST_BINS = 256
"""Across the disk, that a job may ask for."""


def bins_facts(
    reduced: ReduceSettings, microscope: Geometry, geometry: SsbGeometry
) -> dict[str, Any]:
    """Find out how much bins damp, and which would damp less.

    Parameters
    ----------
    reduced : ReduceSettings
        How detector pixels were binned.
    microscope : Geometry
        What a pixel is in 1/Å.
    geometry : SsbGeometry
        The same microscope with its aberrations, as SSB takes them.

    Returns
    -------
    dict
        ``bin_px``; ``loss_at_aperture``, 0 to 1, in the worst direction at |Q| = k0;
        ``aperture_angstrom``, 1/k0; ``undone_to_angstrom``, the detail from which on not all of the
        damping is undone, or None; and, where they damp much, ``finer``: the first two for the bins
        that a job should ask for, with its ``disk_bins``.
    """
    k0, pixel = geometry.aperture, microscope.pixel_wavevector

    def loss(settings: ReduceSettings) -> float:
        return round(1 - damping(geometry, settings.bin * pixel, k0), 4)

    facts: dict[str, Any] = {"bin_px": reduced.bin, "loss_at_aperture": loss(reduced)}
    whole = [
        q for q in np.arange(0.1, 2, 0.05)
        if damping(geometry, reduced.bin * pixel, q * k0) < LEAST_TRANSFER
    ]  # fmt: skip
    facts["undone_to_angstrom"] = float(1 / (whole[0] * k0)) if whole else None
    facts["aperture_angstrom"] = 1 / k0
    if facts["loss_at_aperture"] > SAID_FROM and reduced.bin > 1:
        finer = [
            replace(reduced, disk_bins=min(MOST_BINS, round(2 * reduced.radius / side)))
            for side in range(reduced.bin - 1, 0, -1)
        ]
        best = next((one for one in finer if loss(one) < SMALL_LOSS), finer[-1])
        facts["finer"] = {
            "disk_bins": best.disk_bins, "bin_px": best.bin, "loss_at_aperture": loss(best)
        }  # fmt: skip
    return facts


def ssb_flags(manifest: Manifest) -> list[dict[str, str]]:
    """Say where the width of the detector's bins costs detail."""
    facts = manifest.summary["bins"]
    loss, finer = facts["loss_at_aperture"], facts.get("finer")
    if loss <= SAID_FROM:
        return []
    text = (
        f"aberrations wind over bins of {facts['bin_px']} px, which damps detail at "
        f"{facts['aperture_angstrom']:.3g} Å by up to {loss:.0%}; SSB puts it back, with more noise"
    )
    end = facts["undone_to_angstrom"]
    if end is not None:
        text += f", and not all of it beyond {end:.3g} Å"
    if finer is not None:
        text += f". disk_bins: {finer['disk_bins']} would lose {finer['loss_at_aperture']:.1%}"
    if (finer or facts)["loss_at_aperture"] > SMALL_LOSS and (finer or facts)["bin_px"] == 1:
        text += (
            ". The detector's own pixels are coarse for this lens: more of them across the disk, "
            "or less defocus, would damp less"
        )
    return [{"flag": "bins", "level": "ok" if end is None else "warn", "text": text}]
