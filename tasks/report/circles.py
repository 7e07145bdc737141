"""Circles that are drawn on patterns and spectra: the disk, the detectors' edges, the aperture."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot
from typing import Any

import numpy as np
import xarray as xr

from models.electron import wavelength
from tasks.report.known import kind_of
from tasks.report.scales import length_label, number

STYLES = 6
"""Styles of circles that the page's style sheet knows."""


@dataclass(frozen=True)
class Circle:
    """A circle on an image, in parts of its width and height."""

    label: str
    style: str
    """Class of the style sheet: ``r0`` to ``r5`` on patterns, ``one`` and ``two`` on spectra."""
    x: float
    y: float
    rx: float
    ry: float


@dataclass(frozen=True)
class Optics:
    """What a figure needs to know of the microscope; None where the results do not say."""

    center: tuple[float, float] | None = None
    """(row, col) of the disk [px]."""
    radius: float | None = None
    """Of the disk [px]."""
    semiangle: float | None = None
    """[mrad]"""
    wavelength: float | None = None
    """[Å]"""

    @classmethod
    def of(cls, calibration: dict[str, Any]) -> "Optics":
        """Take it from the root attribute ``calibration`` of the results."""

        def value(key: str) -> Any:
            entry = calibration.get(key)
            found = entry.get("value") if isinstance(entry, dict) else None
            return found if found is not None and np.all(np.isfinite(found)) else None

        center, radius, voltage = value("center_px"), value("semiangle_px"), value("voltage_kv")
        return cls(
            center=(float(center[0]), float(center[1])) if np.size(center) == 2 else None,
            radius=float(radius) if radius else None,
            semiangle=float(value("semiangle_mrad")) if value("semiangle_mrad") else None,
            wavelength=wavelength(1e3 * float(voltage)) if voltage else None,
        )

    @property
    def aperture(self) -> float | None:
        """Radius of the aperture α/λ [1/Å]."""
        if self.semiangle is None or self.wavelength is None:
            return None
        return 1e-3 * self.semiangle / self.wavelength

    def milliradian(self, wavevector: float) -> str:
        """The angle of a wave vector [1/Å], or nothing where the wavelength is not known."""
        if self.wavelength is None:
            return ""
        return f"{number(1e3 * wavevector * self.wavelength, 3)} mrad"


def detector_circles(
    results: xr.Dataset, shape: tuple[int, ...], optics: Optics
) -> tuple[Circle, ...]:
    """The disk and the edges of the virtual detectors on a pattern.

    Parameters
    ----------
    results : xarray.Dataset
        The attribute ``parameters`` of each ``virtual_…`` holds ``inner`` and ``outer`` [px].
    shape : (rows, columns)
        Of the detector.
    optics : Optics
        Without a centre or a radius there are no circles.

    Returns
    -------
    tuple of Circle
        Edges that fall together are one circle; those outside the detector are left out.
    """
    if optics.center is None or optics.radius is None:
        return ()
    names = {round(optics.radius, 2): ["disk"]}
    for detector, edge in _edges(results):
        names.setdefault(round(edge, 2), []).append(detector)
    corner = hypot(*(max(c, n - c) for c, n in zip(optics.center, shape, strict=True)))
    per_px = optics.semiangle / optics.radius if optics.semiangle else None
    circles: list[Circle] = []
    for radius, shared in names.items():
        if radius < corner:
            text = f"{', '.join(shared)}: {number(radius, 4)} px"
            text += f", {number(radius * per_px, 3)} mrad" if per_px else ""
            style = f"r{min(len(circles), STYLES - 1)}"
            circles.append(_circle(text, style, optics.center, (radius, radius), shape))
    return tuple(circles)


def aperture_circles(
    shape: tuple[int, ...], step: tuple[float, float], optics: Optics
) -> tuple[tuple[Circle, ...], str]:
    """The aperture α and twice it on a centred spectrum.

    Parameters
    ----------
    shape : (rows, columns)
        Of the spectrum.
    step : (rows, columns)
        Size of its pixels [1/Å].
    optics : Optics
        Without an aperture there are no circles.

    Returns
    -------
    circles : tuple of Circle
    beyond : str
        Which of the two lie wholly outside, for the note; empty where none does.
    """
    if optics.aperture is None:
        return (), ""
    middle = float(shape[0] // 2), float(shape[1] // 2)
    corner = hypot(*(n * s / 2 for n, s in zip(shape, step, strict=True)))
    circles, beyond = [], []
    for style, name, radius in (("one", "α", optics.aperture), ("two", "2α", 2 * optics.aperture)):
        if radius > corner:
            beyond.append(name)
            continue
        label = f"{name}: {number(radius, 3)} Å⁻¹, {length_label(float(f'{1 / radius:.3g}'), 'Å')}"
        circles.append(_circle(label, style, middle, (radius / step[0], radius / step[1]), shape))
    outside = f"{' and '.join(beyond)} beyond the scan's highest frequency" if beyond else ""
    return tuple(circles), outside


def _edges(results: xr.Dataset) -> Iterator[tuple[str, float]]:
    for name, image in results.data_vars.items():
        parameters = image.attrs.get("parameters")
        if not str(name).startswith("virtual_") or not isinstance(parameters, dict):
            continue
        title = kind_of(str(name), image).title.lower()
        for side in ("inner", "outer"):
            edge = parameters.get(side, parameters.get(f"{side}_px"))
            if isinstance(edge, int | float) and edge > 0:
                yield f"{title} ({side})", float(edge)


def _circle(
    label: str,
    style: str,
    center: tuple[float, float],
    radii: tuple[float, float],
    shape: tuple[int, ...],
) -> Circle:
    return Circle(
        label=f"{label[0].upper()}{label[1:]}" if label[0].isascii() else label,
        style=style,
        x=(center[1] + 0.5) / shape[1],
        y=(center[0] + 0.5) / shape[0],
        rx=radii[1] / shape[1],
        ry=radii[0] / shape[0],
    )
