"""FRC: every image made again from each half of the electrons, and how far the two agree.

Each electron goes to one of two halves by a fair coin, so the halves are independent measurements
of one specimen by one microscope, and what their images have in common is signal. The halves share
the calibration of the whole: it is that with which the images in the results were made, so it is
that whose resolution is asked for; a few numbers fitted to all electrons cannot correlate an image,
whereas halves that were calibrated apart could differ by the sign of the contrast.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client

from gpu_kernels.frc import resolution, signal_to_noise
from gpu_kernels.frc_curve import THRESHOLDS, FrcCurve, mean_curve
from tasks.calibrate import calibration_folder, read_calibration
from tasks.compared import HalfImage, Method, compared
from tasks.detectors import Annulus, MaskDetector
from tasks.device import note_device
from tasks.halved import reduce_halves
from tasks.memory import PARTED_AGAIN
from tasks.reduce import ReduceSettings
from tasks.regions import VACUUM
from tasks.store import layout
from tasks.store.datasets import write_zarr
from tasks.store.events import open_store
from tasks.store.halves import identity_of_half, publish_halves
from tasks.store.publish import Manifest, published
from tasks.swapped import swapped_halves
from tasks.units import run_units, stage

VERSION = 8
CURVES = "curves.zarr"
SPLITS, POSITIONS = 8, 2 * PARTED_AGAIN
"""Partings of the electrons that an image is judged by which is made of sums over each position, at
most, and positions of all of them: 8 up to 256 x 256, one from 1024 x 512 on. Rings of a larger
scan hold more frequencies, whose mean leaves less to chance by itself."""

SUMMED = ("dpc",)
"""Methods of such images, beside virtual ones; those of other methods have one parting."""


@dataclass(frozen=True)
class FrcSettings:
    """How the events are split, and what counts as resolved."""

    seed: int = 0
    """Of the coins."""
    threshold: str = "0.143"
    """The one whose resolution stands for an image."""
    virtual: bool = True
    """Also compare the images of the virtual detectors."""


def frc(
    work: Path,
    inputs: Mapping[str, str],
    reduced: ReduceSettings,
    settings: FrcSettings,
    methods: Mapping[str, Method],
    halves: Callable[[], list[tuple[Manifest, bool]]],
    client: Client | None = None,
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Write the Fourier ring correlation of the halves of each image.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    inputs : mapping
        Identities of ``ingest``, ``calibrate`` and of the step of each method, which hold all that
        decides the images.
    reduced : ReduceSettings
        How the events were reduced.
    settings : FrcSettings
        Seed and threshold.
    methods : mapping
        By the name of their step.
    halves : callable
        Gives what ``make_halves`` does, and has them made where they are not.
    client, force
        As for every step.

    Returns
    -------
    manifest : Manifest
        Of the step's folder, which holds the curves (``read_curves``). Its summary has
        ``resolution_angstrom`` by image, None where noise hides everything.
    reused : bool
        Whether it was there before.
    """

    def write(aside: Path) -> dict[str, Any]:
        made = halves()
        start = time.monotonic()
        folders = [layout.half_folder(work, number) for number in (0, 1)]
        for number, (half, (manifest, _)) in enumerate(zip(folders, made, strict=True)):
            for device in manifest.summary["devices"]:
                note_device(device)
            with stage(f"frc, half {number + 1} of 2"):
                _make_images(work, half, f"{inputs['calibrate']} {manifest.identity}", methods)
        curves = _curves(work, folders, reduced, settings, methods, client)
        write_zarr(curves, aside / CURVES)
        shutil.rmtree(folders[0].parent)
        seconds = sum(manifest.seconds for manifest, _ in made) + time.monotonic() - start
        images = curves.filter_by_attrs(kind="frc").data_vars.items()
        return {
            "resolution_angstrom": {str(n): c.attrs["resolution_angstrom"] for n, c in images},
            "seconds": round(seconds, 3),
        }

    return published(
        layout.step_folder(work, "frc"),
        step="frc",
        version=VERSION,
        inputs=inputs,
        parameters=asdict(settings) | {"methods": sorted(methods)},
        write=write,
        force=force,
    )


def read_curves(work: Path) -> xr.Dataset:
    """Curves that the step left.

    Returns
    -------
    xarray.Dataset
        ``<image>`` over ``frequency`` [1/Å], NaN in rings that hold nothing, with the attributes
        ``resolution_angstrom`` (at the chosen ``threshold``), ``resolutions_angstrom`` by
        threshold, ``spread_angstrom`` (finest and coarsest within one standard deviation, None for
        no resolution), ``at_limit`` (the image resolves this much or more) and ``gaps`` [1/Å]
        likewise, and ``splits`` (partings of the electrons that the curve is the mean of);
        ``<image>_snr``, the spectral signal-to-noise ratio of the image from all electrons;
        ``<image>_sigma``, the spread that noise alone of the halves' own powers has in the curve;
        ``threshold_half_bit``; and along the frequencies ``pixels``, those of each ring, and
        ``sigma``, the spread of white noise with one split (n leave √((1 + 1/n)/2) of it). Images
        on another grid have an axis of their own, ``frequency_epie``, with ``pixels_epie`` and so
        on.
    """
    return xr.open_zarr(layout.step_folder(work, "frc") / CURVES, chunks=None).load()


def make_halves(
    work: Path,
    identity_of_events: str,
    reduced: ReduceSettings,
    settings: FrcSettings,
    client: Client | None = None,
) -> list[tuple[Manifest, bool]]:
    """Split the electrons and reduce both halves, which needs no calibration yet.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    identity_of_events : str
        Of its event store.
    reduced, settings, client
        As for ``frc``, which takes the halves away when they are compared.

    Returns
    -------
    list of (Manifest, bool)
        For each half, that of its reductions, and whether they were there before.
    """
    works = [layout.half_folder(work, number) for number in (0, 1)]
    whole = open_store(layout.event_store(work))
    lean = replace(
        reduced,
        annuli=reduced.annuli if settings.virtual else (),
        radial=None,
        regions=(),
        pick_vacuum=False,
        export=None,
    )
    identities = [identity_of_half(identity_of_events, settings.seed, n) for n in (0, 1)]
    with stage("frc, halves"):
        made = reduce_halves(whole, works, identities, settings.seed, lean, client)
    events = [int(manifest.summary["events"]) for manifest, _ in made]
    if sum(events) != whole.events:
        raise RuntimeError(
            f"{whole.path}: the halves hold {events[0]} and {events[1]} of {whole.events} "
            "electrons; this is a fault of the program, please report it."
        )
    publish_halves(whole, identity_of_events, works, settings.seed, events)
    return made


def splits_of(scan: tuple[int, int]) -> int:
    """Partings of the electrons by which images of a scan of so many positions are judged."""
    return max(1, min(SPLITS, POSITIONS // (scan[0] * scan[1])))


def _make_images(work: Path, half: Path, identity: str, methods: Mapping[str, Method]) -> None:
    """Make the images of a half with the calibration of the whole."""
    calibration = layout.step_folder(half, "calibrate")
    shutil.copytree(calibration_folder(work), calibration, dirs_exist_ok=True)
    vacuum = f"region_{VACUUM}"
    known, own = (layout.step_folder(folder, "reduce") / vacuum for folder in (work, half))
    if known.is_dir():  # what a method takes the probe's amplitude from is calibration, and shared
        shutil.copytree(known, own, dirs_exist_ok=True)
    for method in methods.values():
        method(half, identity)


def _curves(
    work: Path,
    halves: list[Path],
    reduced: ReduceSettings,
    settings: FrcSettings,
    methods: Mapping[str, Method],
    client: Client | None,
) -> xr.Dataset:
    geometry, _, _ = read_calibration(work)
    scan = open_store(layout.event_store(work)).scan_shape
    annuli = reduced.annuli if settings.virtual else ()
    summed = {name: method for name, method in methods.items() if name in SUMMED}
    pairs: list[tuple[HalfImage, FrcCurve]] = []

    def compare() -> None:
        pairs.extend(compared(halves, geometry, annuli, methods))

    further = range(splits_of(scan) - 1 if summed or annuli else 0)
    again = [(str(work), halves, annuli, summed, settings.seed, number) for number in further]
    parted = run_units("frc", _parted_again, again, client, meanwhile=compare)
    curves = {
        image.name: [curve, *(curves[image.name] for curves in parted if image.name in curves)]
        for image, curve in pairs
    }
    variables: dict[str, xr.Variable] = {}
    for image, _ in pairs:
        on_scan = (image.values.shape, image.pixel) == (scan, geometry.scan_step)
        grid = "" if on_scan else f"_{image.step}"
        variables |= _variables(image, grid, mean_curve(curves[image.name]), settings)
    facts = {"seed": settings.seed, "threshold": settings.threshold}
    along = [name for name in variables if name.startswith(("frequency", "pixels", "sigma"))]
    return xr.Dataset(variables, attrs=facts).set_coords(along)


def _parted_again(
    work: str,
    halves: list[Path],
    annuli: tuple[Annulus | MaskDetector, ...],
    summed: Mapping[str, Method],
    seed: int,
    number: int,
) -> dict[str, FrcCurve]:
    """How the images of another parting agree that are made of sums over each position."""
    geometry, _, _ = read_calibration(Path(work))
    with swapped_halves(halves, number, seed) as swapped:
        for half, method in product(swapped, summed.values()):
            method(half, f"swapped {number}")
        found = compared(swapped, geometry, annuli, summed)
    return {image.name: curve for image, curve in found}


def _variables(
    image: HalfImage, grid: str, curve: FrcCurve, settings: FrcSettings
) -> dict[str, xr.Variable]:
    """A curve with its axis and what follows from it; ``grid`` ends the names of its axis."""
    name, step = image.name, image.step
    found = {threshold: resolution(curve, threshold) for threshold in THRESHOLDS}
    white = 1 / np.sqrt(curve.independent)
    lengths = {t: _finite(one.length) for t, one in found.items()}
    facts = {
        "kind": "frc",
        "step": step,
        "threshold": settings.threshold,
        "resolution_angstrom": lengths[settings.threshold],
        "resolutions_angstrom": lengths,
        "spread_angstrom": {t: [_finite(end) for end in one.lengths] for t, one in found.items()},
        "at_limit": {t: one.limited for t, one in found.items()},
        "splits": curve.splits,
        "gaps": {t: [list(gap) for gap in one.gaps] for t, one in found.items()},
    }
    rows: dict[str, tuple[np.ndarray, str, str, dict[str, Any]]] = {
        name: (curve.correlation, "Fourier ring correlation of the two halves", "1", facts),
        f"{name}_snr": (
            signal_to_noise(curve.correlation),
            "spectral signal-to-noise ratio of the image from all electrons",
            "1",
            {"kind": "snr", "step": step},
        ),
        f"{name}_sigma": (
            curve.sigma, "standard deviation of noise alone, of the halves' own powers", "1",
            {"kind": "sigma", "step": step},
        ),
        f"threshold_half_bit{grid}": (
            curve.threshold("half_bit"), "half-bit threshold", "1", {"kind": "threshold"},
        ),
        f"frequency{grid}": (curve.frequency, "spatial frequency, middle of the ring", "1/Å", {}),
        f"pixels{grid}": (curve.pixels, "frequencies in the ring", "1", {}),
        f"sigma{grid}": (white, "standard deviation of white noise alone, one split", "1", {}),
    }  # fmt: skip
    return {
        key: xr.Variable(f"frequency{grid}", values, {"long_name": words, "units": units} | more)
        for key, (values, words, units, more) in rows.items()
    }


def _finite(length: float) -> float | None:
    return length if np.isfinite(length) else None
