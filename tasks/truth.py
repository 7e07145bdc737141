"""Compare what was found in a simulated recording with what it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import degrees, pi
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
import xarray as xr

from models.aberrations import CARTESIAN, NAMES, ORDERS, Aberrations, phase_shift
from models.electron import wavelength
from tasks.store import layout

EDGE = 2.0
"""Margin of the scan that images are compared without [Å]: there the probe reaches beyond it."""
PIXELS_ACROSS = 65
"""Of the aperture, where wavefronts are compared."""


class TruthError(ValueError):
    """Results and truth that cannot be of one recording."""


class Quantity(NamedTuple):
    """A number of the microscope, as it was and as it was found."""

    name: str
    unit: str
    truth: float | bool
    fitted: float | bool | None
    """None where it was neither given nor fitted: taken as zero."""
    uncertainty: float | None


class ImageMatch(NamedTuple):
    """How alike a phase image is to the specimen, up to the spatial frequency 2 α/λ."""

    name: str
    correlation: float
    scale: float
    """Its phases are so many times the true ones (least squares)."""


@dataclass(frozen=True)
class Comparison:
    """Everything that can be told apart from the truth."""

    quantities: tuple[Quantity, ...]
    wavefront: float
    """Root mean square over the aperture of what is left of the aberrations after their
    correction, but for piston and tilt, which move the image alone [rad]."""
    images: tuple[ImageMatch, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "quantities": [quantity._asdict() for quantity in self.quantities],
            "wavefront_rad": self.wavefront,
            "images": [image._asdict() for image in self.images],
        }


def compare(folder: Path, truth: Path) -> Comparison:
    """Compare the results of a simulated recording with its truth.

    Parameters
    ----------
    folder : Path
        Of the dataset: holds ``results.zarr``.
    truth : Path
        What ``simulate`` wrote beside the recording.

    Returns
    -------
    Comparison

    Raises
    ------
    TruthError
        If the images have another shape than the specimen.
    """
    with (
        np.load(truth, allow_pickle=False) as known,
        xr.open_zarr(folder / layout.RESULTS, chunks=None, consolidated=False) as results,
    ):
        phase, step = known["phase"], tuple(known["scan_step"])
        names = sorted(
            str(name)
            for name, image in results.data_vars.items()
            if str(name).endswith("_phase") and image.dims == ("y", "x")
        )
        if shapes := {results[n].shape for n in names} - {phase.shape}:
            raise TruthError(
                f"{folder}: images of {shapes.pop()} pixels, the specimen of {truth} has "
                f"{phase.shape}; they are not of one recording. With a flyback column, give the "
                "job 'drop_flyback: true'."
            )
        band = 2 * float(known["semiangle"]) / wavelength(float(known["energy"]))
        return Comparison(
            tuple(_quantities(results.attrs["calibration"], known)),
            _wavefront(results.attrs["calibration"]["aberrations"], known),
            tuple(match_of(name, results[name].values, phase, step, band) for name in names),
        )


def match_of(
    name: str, image: np.ndarray, truth: np.ndarray, step: tuple[float, ...], band: float
) -> ImageMatch:
    """Compare a phase image with the true phase.

    Parameters
    ----------
    name : str
        Of the image.
    image, truth : (scan_y, scan_x)
        Phases [rad]; the mean of neither counts, as no method can know it.
    step : (float, float)
        Scan step along (y, x) [Å].
    band : float
        Both are compared up to this spatial frequency [1/Å].
    """
    image = np.where(np.isfinite(image), image, np.nanmean(image))
    q_y, q_x = (scipy.fft.fftfreq(n, d) for n, d in zip(truth.shape, step, strict=True))
    inside = np.hypot(q_y[:, None], q_x) < band
    edges = [min(int(np.ceil(EDGE / d)), n // 4) for n, d in zip(truth.shape, step, strict=True)]
    inner = tuple(slice(e, n - e) for e, n in zip(edges, truth.shape, strict=True))
    seen, true = (
        scipy.fft.ifft2(scipy.fft.fft2(one.astype(float)) * inside).real[inner]
        for one in (image, truth)
    )
    seen, true = seen - seen.mean(), true - true.mean()
    product = float((seen * true).sum())
    norm = float(np.sqrt((seen**2).sum() * (true**2).sum()))
    return ImageMatch(name, product / norm if norm else 0.0, product / float((true**2).sum()))


def _quantities(calibration: Mapping[str, Any], known: Mapping[str, np.ndarray]) -> list[Quantity]:
    center, turn = calibration["center_px"], calibration["scan_rotation_deg"]
    sigmas = center["uncertainty"] or (None, None)
    rows = [
        Quantity(f"disk centre, {axis}", "px", float(true), float(found), sigma)
        for axis, true, found, sigma in zip(
            ("row", "column"), known["center"], center["value"], sigmas, strict=True
        )
    ]
    true_turn = degrees(float(known["rotation"]))
    found_turn = _nearest(turn["value"], true_turn, 360)
    rows += [
        _quantity("disk radius", "px", float(known["radius"]), calibration["semiangle_px"]),
        Quantity("scan rotation", "°", true_turn, found_turn, turn["uncertainty"]),
        Quantity("mirror", "", bool(known["flip"]), bool(calibration["flip"]["value"]), None),
    ]
    lens = Aberrations.from_cartesian(known["aberrations"])
    found = calibration["aberrations"]
    for name in NAMES:
        true = getattr(lens, name)
        if name in found:
            rows.append(_aberration(name, true, found[name]))
        elif true:
            rows.append(Quantity(name, _unit(name), true, None, None))
    return rows


def _aberration(name: str, true: float, found: Mapping[str, Any]) -> Quantity:
    if not name.startswith("phi"):
        return _quantity(name, "Å", true, found)
    _, m = ORDERS["C" + name[3:]]
    azimuth = _nearest(found["value"], true, 2 * pi / m)
    return Quantity(name, "rad", true, azimuth, found["uncertainty"])


def _quantity(name: str, unit: str, true: float, found: Mapping[str, Any]) -> Quantity:
    return Quantity(name, unit, true, float(found["value"]), found["uncertainty"])


def _nearest(angle: float, to: float, period: float) -> float:
    """The same angle in the period around another: an azimuth has m of them."""
    return to + (angle - to + period / 2) % period - period / 2


def _unit(name: str) -> str:
    return "rad" if name.startswith("phi") else "Å"


def _wavefront(found: Mapping[str, Any], known: Mapping[str, np.ndarray]) -> float:
    corrected = Aberrations(**{name: float(entry["value"]) for name, entry in found.items()})
    left = known["aberrations"] - corrected.cartesian()[: len(CARTESIAN)]
    lam = wavelength(float(known["energy"]))
    cutoff = float(known["semiangle"]) / lam
    along = np.linspace(-cutoff, cutoff, PIXELS_ACROSS)
    k_y, k_x = (axis[np.hypot(along[:, None], along) <= cutoff]
                for axis in np.meshgrid(along, along, indexing="ij"))  # fmt: skip
    chi = phase_shift(k_y, k_x, lam, Aberrations.from_cartesian(left))
    plane = np.stack([np.ones(k_y.size), k_y, k_x], axis=1)
    chi -= plane @ np.linalg.lstsq(plane, chi, rcond=None)[0]
    return float(np.sqrt(np.mean(chi**2)))
