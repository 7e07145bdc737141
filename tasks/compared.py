"""Compared: the images of two halves of the electrons, and how far each pair of them agrees."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpu_kernels.dpc import filled
from gpu_kernels.frc import FrcCurve, fourier_ring_correlation
from gpu_kernels.inpaint import Filler
from models.geometry import Geometry
from tasks.detectors import Annulus, MaskDetector
from tasks.device import on_device
from tasks.store import layout
from tasks.store.events import open_store, read_array
from tasks.store.publish import Manifest

BAND_LIMITED = ("virtual", "dpc", "ssb")
"""Methods whose images hold nothing beyond 2 k0, whatever the scan step."""

UNANCHORED = ("epie",)
"""Methods that find an object, but not where it lies: their halves are moved onto each other."""

Method = Callable[[Path, str], tuple[Manifest, bool]]
"""Makes the images of one method as a step of its own name: called with a folder of steps that has
an event store, its reductions and its calibration, and with the identity of the latter."""


class HalfImage(NamedTuple):
    """An image of a half that is compared with that of the other half."""

    name: str
    step: str
    values: np.ndarray
    """(rows, columns) float64, or complex128 where it is an object."""
    pixel: tuple[float, float]
    """Size of a pixel [Å]."""


def compared(
    halves: Sequence[Path],
    geometry: Geometry,
    annuli: Sequence[Annulus | MaskDetector],
    methods: Mapping[str, Method],
) -> list[tuple[HalfImage, FrcCurve]]:
    """Compare each image of one half with that of the other.

    Parameters
    ----------
    halves : two Paths
        Folders of the halves' steps.
    geometry : Geometry
        Of the whole.
    annuli : sequence of Annulus and MaskDetector
        Virtual detectors whose images are among the reductions, and are to be compared.
    methods : mapping
        By the name of their step, which has been made in both halves.

    Returns
    -------
    list of (HalfImage, FrcCurve)
        The image of the first half, and how it agrees with the second's.
    """
    images = [_images(half, geometry.scan_step, annuli, methods) for half in halves]
    return [
        (
            first,
            fourier_ring_correlation(
                on_device(first.values),
                on_device(second.values),
                first.pixel,
                register=first.step in UNANCHORED,
                band_limit=2 * geometry.aperture if first.step in BAND_LIMITED else np.inf,
            ),
        )
        for first, second in zip(*images, strict=True)
    ]


def _images(
    half: Path,
    scan_step: tuple[float, float],
    annuli: Sequence[Annulus | MaskDetector],
    methods: Mapping[str, Method],
) -> list[HalfImage]:
    found: list[HalfImage] = []
    if annuli:
        events = open_store(layout.event_store(half))
        # What is not recorded is a hole in both halves, and would be taken for signal.
        filler, scale = Filler(events.unusable()), events.frame_scale()
        counts = read_array(layout.step_folder(half, "reduce"), "virtual").astype(np.float64)
        for detector, image in zip(annuli, filler.fill(counts * scale), strict=True):
            found.append(HalfImage(detector.name, "virtual", image, scan_step))
    for step in methods:
        folder = layout.step_folder(half, step)
        # The object itself and not its phase, which would wrap where it is strong.
        own = next((name for name in ("object", "phase") if (folder / name).is_dir()), None)
        if own is not None:
            down, across = (
                float(np.diff(read_array(folder, f"{own}_{axis}")).mean()) for axis in "yx"
            )
            image = read_array(folder, own)
            image = image.astype(np.complex128 if np.iscomplexobj(image) else np.float64)
            found.append(HalfImage(f"{step}_phase", step, image, (down, across)))
            continue
        for path in sorted(folder.glob("*_phase")):
            image = filled(read_array(folder, path.name).astype(np.float64))
            found.append(HalfImage(path.name, step, image, scan_step))
    return found
