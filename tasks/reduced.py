"""What the reduction leaves for the results: images, averaged patterns, rings, dense patterns."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from models.geometry import Geometry
from tasks import dense
from tasks.reduce import RadialSettings, ReduceSettings
from tasks.regions import VACUUM
from tasks.store import layout
from tasks.store.events import EventStore, read_array
from tasks.store.links import link_array
from tasks.store.publish import Manifest

STANDARD = {"bf": "bright field", "abf": "annular bright field", "adf": "annular dark field"}


def reduced_variables(work: Path, settings: ReduceSettings, reduced: Manifest) -> xr.Dataset:
    """Variables that the reduction adds to a dataset's results; ``angles`` gives them their axis.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    settings : ReduceSettings
        What was asked for.
    reduced : Manifest
        Of the finished step.

    Returns
    -------
    xarray.Dataset
        ``virtual_<name>`` over (y, x) [e]; ``pacbed_<name>`` and ``vacuum`` over (ky, kx), mean
        electrons of a pixel and frame [e]; ``radial_profile`` over ``radius``, the same; where all
        rings were asked for, ``radial_overflow`` over (y, x) [e].
    """
    folder = layout.step_folder(work, "reduce")
    variables: dict[str, Any] = {}
    kept = reduced.summary["kept"]
    if settings.annuli:
        for detector, image in zip(settings.annuli, read_array(folder, "virtual"), strict=True):
            name = detector.name.removeprefix("virtual_")
            facts = detector.parameters | {"electrons": kept[detector.name][0]}
            attrs = _attrs(STANDARD.get(name, f"detector {name.replace('_', ' ')}"), "e", facts)
            variables[detector.name] = (("y", "x"), image.astype(np.float32), attrs)
    for region, facts in reduced.summary["regions"].items():
        name, long_name = f"pacbed_{region}", f"mean diffraction pattern of region {region}"
        if region == VACUUM:
            # Its square root is the measured amplitude of the probe in the aperture.
            name, long_name = VACUUM, "mean diffraction pattern in vacuum, the probe's intensity"
        pattern = read_array(folder, f"region_{region}") / facts["frames"]
        variables[name] = (("ky", "kx"), pattern, _attrs(long_name, "e", facts))
    if settings.radial is not None:
        variables["radial_profile"] = _profile(folder, settings.radial, reduced)
        if settings.radial.full:
            overflow = read_array(folder, "radial_overflow")
            facts = {"beyond_px": settings.radial.rings * settings.radial.width}
            label = "electrons beyond the last ring"
            variables["radial_overflow"] = (("y", "x"), overflow, _attrs(label, "e", facts))
    return xr.Dataset(variables)


def angles(radial: RadialSettings, geometry: Geometry) -> tuple[str, np.ndarray, dict[str, str]]:
    """Coordinate ``radius``: the scattering angle at the middle of each ring [mrad]."""
    middle = (np.arange(radial.rings) + 0.5) * radial.width
    per_pixel = 1e3 * geometry.semiangle / geometry.radius
    return "radius", middle * per_pixel, {"long_name": "scattering angle", "units": "mrad"}


def _profile(folder: Path, radial: RadialSettings, reduced: Manifest) -> Any:
    electrons, pixels = (read_array(folder, f"ring_{name}") for name in ("electrons", "pixels"))
    frames = max(1, reduced.summary["frames"])
    profile = np.full(radial.rings, np.nan)
    np.divide(electrons[:-1], pixels[:-1] * frames, out=profile, where=pixels[:-1] > 0)
    facts = {
        "ring_px": radial.width,
        "electrons": int(electrons[:-1].sum()),
        "electrons_beyond": int(electrons[-1]),
        "frames": frames,
    }
    return ("radius",), profile, _attrs("mean electrons of a pixel and frame", "e", facts)


def _attrs(long_name: str, units: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"long_name": long_name, "units": units, "step": "reduce", "parameters": parameters}


def link_radial(work: Path, results: Path) -> None:
    """Give the results the rings of every position, ``radial`` over (y, x, radius) [e]."""
    attrs = _attrs("electrons in each ring", "e", {})
    source = layout.step_folder(work, "reduce")
    link_array(source, "radial", results, "radial", ("y", "x", "radius"), attrs)


def publish_dense(
    work: Path,
    path: Path,
    settings: ReduceSettings,
    events: EventStore,
    geometry: Geometry,
    reduced: Manifest,
    title: str,
) -> None:
    """Write the 4D array beside the results: a Zarr group that xarray opens.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    path : Path
        The group to write: ``counts`` over (y, x, ky, kx) [e], with coordinates in Å and 1/Å.
    settings, events, geometry, reduced
        Of the dataset.
    title : str
        Its name.
    """
    export = settings.export
    assert export is not None
    rows, cols = dense.bin_centres(export, settings.detector_shape)
    inside, outside = reduced.summary["kept"]["export"]
    axes = {
        "y": np.arange(events.scan_shape[0]) * geometry.scan_step[0],
        "x": np.arange(events.scan_shape[1]) * geometry.scan_step[1],
        "ky": (rows - geometry.center[0]) * geometry.pixel_wavevector,
        "kx": (cols - geometry.center[1]) * geometry.pixel_wavevector,
    }
    units = {"y": "Å", "x": "Å", "ky": "1/Å", "kx": "1/Å"}
    xr.Dataset(
        coords={name: (name, axis, {"units": units[name]}) for name, axis in axes.items()},
        attrs={
            "title": title,
            "bin_px": export.bin,
            "electrons": inside,
            "electrons_outside": outside,
            "frames": "frames_present of the results says how many frames each position has",
        },
    ).to_zarr(path, mode="w", zarr_format=3, consolidated=False)
    source = layout.step_folder(work, "reduce")
    link_array(source, dense.NAME, path, "counts", tuple(axes), _attrs("electrons", "e", {}))
