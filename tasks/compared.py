"""Compared: the images of two halves of the electrons, and how far each pair of them agrees."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gpu_kernels.dpc import filled
from gpu_kernels.frc import fourier_ring_correlation
from gpu_kernels.frc_curve import FrcCurve
from gpu_kernels.inpaint import Filler
from models.geometry import Geometry
from tasks.detectors import Annulus, MaskDetector
from tasks.device import on_device
from tasks.store import layout
from tasks.store.events import open_store, read_array
from tasks.store.publish import Manifest

LINEAR = ("virtual", "dpc", "ssb")
"""Methods whose images are linear in the counts, so that the noise of a ring is spread evenly."""
OWN_GRID = ("epie", "cnn")
"""Methods whose images lie on a grid of their own, and not on that of the scan."""
OUTERMOST = 2
"""Rings before the Nyquist frequency of such a grid that are left out. What no pattern decides
there a method fills in alike in both halves, and Hann's window carries it so far in."""

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
                even=first.step in LINEAR,
                band_limit=band_limit(first, geometry),
            ),
        )
        for first, second in zip(*images, strict=True)
    ]


def band_limit(image: HalfImage, geometry: Geometry) -> float:
    """Frequency beyond which an image is not compared [1/Å].

    Parameters
    ----------
    image : HalfImage
        Of a half.
    geometry : Geometry
        Of the recording.

    Returns
    -------
    float
        2 k0, beyond which no electrons of the disk interfere; on a grid of the method's own at most
        ``OUTERMOST`` rings less than its Nyquist frequency.
    """
    limit = 2 * geometry.aperture
    if image.step in OWN_GRID:
        width = max(1 / (n * d) for n, d in zip(image.values.shape, image.pixel, strict=True))
        # Rings are named by their middle, which rounding must not put beyond.
        limit = min(limit, 0.5 / max(image.pixel) - (OUTERMOST - 1e-9) * width)
    return limit


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
