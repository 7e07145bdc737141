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
"""Part of detail that bins may damp before the report says so, and that finer ones should."""
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
        ``bin_px``; ``loss``, 0 to 1 in the worst direction, of ``detail_angstrom``, 1/k0 or what is
        finest in the scan; ``undone_to_angstrom``, the detail from which on not all of
        the damping is undone, or None; and, where bins damp much, ``finer``: ``disk_bins`` that a
        job should ask for, with its ``bin_px`` and ``loss``.
    """
    k0, pixel = geometry.aperture, microscope.pixel_wavevector
    scan_ends = 0.5 / max(geometry.scan_step)
    judged = min(k0, scan_ends)

    def loss(settings: ReduceSettings) -> float:
        return round(1 - damping(geometry, settings.bin * pixel, judged), 4)

    lost = [
        q for q in np.arange(0.1, 2, 0.05) * k0
        if q < scan_ends and damping(geometry, reduced.bin * pixel, q) < LEAST_TRANSFER
    ]  # fmt: skip
    facts: dict[str, Any] = {
        "bin_px": reduced.bin,
        "loss": loss(reduced),
        "detail_angstrom": 1 / judged,
        "undone_to_angstrom": float(1 / lost[0]) if lost else None,
    }
    if facts["loss"] > SAID_FROM and reduced.bin > 1:
        finer = [
            replace(reduced, disk_bins=min(MOST_BINS, round(2 * reduced.radius / side)))
            for side in range(reduced.bin - 1, 0, -1)
        ]
        best = next((one for one in finer if loss(one) < SMALL_LOSS), finer[-1])
        facts["finer"] = {
            "disk_bins": best.disk_bins, "bin_px": best.bin, "loss": loss(best)
        }  # fmt: skip
    return facts


def ssb_flags(manifest: Manifest) -> list[dict[str, str]]:
    """Say where the width of the detector's bins costs detail."""
    facts = manifest.summary["bins"]
    loss, finer = facts["loss"], facts.get("finer")
    if loss <= SAID_FROM:
        return []
    text = (
        f"aberrations wind over bins of {facts['bin_px']} px, which damps detail at "
        f"{facts['detail_angstrom']:.3g} Å by up to {loss:.0%}; SSB puts it back, with more noise"
    )
    end = facts["undone_to_angstrom"]
    if end is not None:
        text += f", and not all of it beyond {end:.3g} Å"
    if finer is not None:
        own = ", the detector's own pixels," if finer["bin_px"] == 1 else ""
        text += f". disk_bins: {finer['disk_bins']}{own} would lose {finer['loss']:.1%}"
    best = finer or facts
    if best["bin_px"] == 1 and best["loss"] > SAID_FROM:
        text += (
            ". The detector is coarse for this lens: more pixels across the disk, or less defocus, "
            "would damp less"
        )
    return [{"flag": "bins", "level": "ok" if end is None else "warn", "text": text}]
