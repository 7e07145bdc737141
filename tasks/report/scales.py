"""Sizes that people read: pixel sizes, scale bars, ticks and numbers with their units."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

NARROW = "\u202f"
"""Narrow no-break space between groups of three digits."""
ANGSTROM_NAMES = {"Å", "\u212b", "A", "angstrom", "Angstrom", "angstroms"}
"""Ways to write Å: the letter, the sign, and words."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Grid:
    """The pixels of an image in space."""

    step: tuple[float, float]
    """Size of a pixel along (rows, columns) [unit]."""
    unit: str
    """Å, 1/Å, or px where the sizes are unknown."""
    origin: tuple[float, float] = (0.0, 0.0)
    """(row, col) at which both coordinates are zero [px]."""


@dataclass(frozen=True)
class ScaleBar:
    """A round length on an image."""

    fraction: float
    """Its part of the image's width."""
    label: str


def grid_of(image: xr.DataArray) -> Grid:
    """Pixel size and origin of an image, from its coordinates.

    An axis of a single pixel has no step of its own and takes that of the other axis.

    Parameters
    ----------
    image : xarray.DataArray
        (rows, columns); coordinates may be absent.

    Returns
    -------
    Grid
        In px where neither axis has usable coordinates.
    """
    axes = [_axis(image, dim) for dim in image.dims]
    found = next((axis for axis in axes if axis is not None), None)
    if found is None:
        return Grid((1.0, 1.0), "px")
    rows, cols = (axis or (found[0], found[1], 0.0) for axis in axes)
    return Grid((rows[0], cols[0]), found[1], (rows[2], cols[2]))


def scale_bar(width: float, unit: str, share: float = 0.3) -> ScaleBar:
    """The longest round bar (1, 2 or 5 times a power of ten) within a share of an image's width.

    Parameters
    ----------
    width : float
        Width of the image [unit].
    unit : str
        Å turns into nm and µm where these read better.
    share : float
        Greatest part of the width.
    """
    length = _round_down(width * share)
    return ScaleBar(length / width, length_label(length, unit))


def length_label(length: float, unit: str) -> str:
    """A length with the unit in which it reads best."""
    if unit == "Å" and length >= 10_000:
        return f"{length / 10_000:g} µm"
    if unit == "Å" and length >= 10:
        return f"{length / 10:g} nm"
    return f"{number(length)} {inverse_unit(unit)}"


def inverse_unit(unit: str) -> str:
    """A unit as it reads after a number: 1/Å turns into Å⁻¹."""
    return f"{unit[2:]}⁻¹" if unit.startswith("1/") else unit


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between two limits, about ``count`` of them."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    step = _round_down((high - low) / count * 1.25)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def number(value: Any, digits: int = 4) -> str:
    """A number as people write it: grouped digits, a true minus, powers of ten as such.

    Parameters
    ----------
    value : number, bool, None or sequence of these
        None and NaN give a dash; pairs are joined by commas.
    digits : int
        Significant digits of what is not whole.
    """
    if value is None:
        return "—"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(number(part, digits) for part in value)
    if isinstance(value, int | np.integer):
        return _signed(f"{int(value):,}")
    if not isinstance(value, float | np.floating):
        return str(value)
    value = float(value)
    if not math.isfinite(value):
        return "—" if math.isnan(value) else _signed(f"{value:+}".replace("inf", "∞").lstrip("+"))
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent >= 7 or exponent < -3:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        return _signed(f"{mantissa} × 10{str(int(power)).translate(SUPERSCRIPTS)}")
    text = f"{value:,.{max(0, digits - 1 - exponent)}f}"
    return _signed(text.rstrip("0").rstrip(".") if "." in text else text)


def rounded(value: float, digits: int = 3) -> str:
    """A number of which only the first digits mean something: 3 013 470 reads 3 010 000."""
    return number(float(f"{value:.{digits}g}"))


def with_uncertainty(value: Any, uncertainty: Any) -> str:
    """A value with its uncertainty, both to the decimals that the uncertainty justifies."""
    if isinstance(value, list | tuple):
        parts = uncertainty if isinstance(uncertainty, list | tuple) else [uncertainty] * len(value)
        return ", ".join(with_uncertainty(v, u) for v, u in zip(value, parts, strict=False))
    usable = (
        isinstance(uncertainty, int | float)
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(uncertainty)
        and uncertainty > 0
    )
    if not usable:
        return number(value, 5)
    decimals = 1 - math.floor(math.log10(uncertainty))
    if decimals > 6:
        return f"{number(value, 6)} ± {number(float(uncertainty), 2)}"
    places = max(0, decimals)
    both = (f"{round(x, decimals):,.{places}f}" for x in (float(value), float(uncertainty)))
    return " ± ".join(_signed(text) for text in both)


def seconds_label(seconds: float) -> str:
    """A duration with the unit in which it reads best."""
    if seconds < 100:
        return f"{number(float(seconds), 3)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def plain_unit(unit: str) -> str:
    """A unit with Å written as the one letter, and a root as a root."""
    if unit.strip() == "e^(1/2)":
        return "√e"
    head, slash, tail = unit.strip().rpartition("/")
    return f"{head}{slash}{'Å' if tail in ANGSTROM_NAMES else tail}"


def _axis(image: xr.DataArray, dim: Any) -> tuple[float, str, float] | None:
    # (step, unit, pixel of coordinate zero); None where the coordinates do not say.
    if dim not in image.coords or image.sizes[dim] < 2:
        return None
    values = np.asarray(image.coords[dim].values, dtype=float)
    step = float(values[-1] - values[0]) / (values.size - 1)
    if not math.isfinite(step) or step <= 0:
        return None
    default = "1/Å" if str(dim).startswith("k") else "Å"
    unit = plain_unit(str(image.coords[dim].attrs.get("units", default)))
    return step, unit, float(-values[0] / step) + 0.0


def _round_down(length: float) -> float:
    power = 10.0 ** math.floor(math.log10(length))
    return next(power * m for m in (5, 2, 1) if power * m <= length * (1 + 1e-12))


def _signed(text: str) -> str:
    return text.replace(",", NARROW).replace("-", "−")
