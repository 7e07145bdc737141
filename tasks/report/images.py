"""Images as files: float32 TIFF that ImageJ opens with its scale, and PNG to look at.

The TIFF holds the values as they are (NaN where there is none); the PNG is for slides, with a scale
bar and the range of values under it. Neither holds a date, so equal results give equal bytes.
"""

import io
import json
import re
from collections.abc import Collection
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import tifffile
import xarray as xr
from PIL import Image, ImageDraw, ImageFont

from tasks.report.known import OVER_PROBE, OVER_SPECIMEN, kind_of, shown_values
from tasks.report.pictures import colour_ramp, encode, picture
from tasks.report.scales import Grid, grid_of, number, plain_unit, scale_bar

LARGEST_TERM = 10**9
"""Terms of a TIFF resolution stay below 2^31: some readers take them as signed."""
LARGEST_PNG = 4096
STRIP = 52
"""Height of the strip under a PNG [px]."""


def write_images(
    results: xr.Dataset, folder: Path, names: Collection[str] | None = None
) -> list[Path]:
    """Write every image as ``<name>.tif`` and ``<name>.png``.

    Parameters
    ----------
    results : xarray.Dataset
        Real variables over specimen or probe [Å] or over (ky, kx) [1/Å]; others are left out.
    folder : Path
        Is made if it is not there.
    names : collection of str, optional
        Write those of these variables alone.

    Returns
    -------
    list of Path
        The files, in the order of the variables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    dims = (*OVER_SPECIMEN, *OVER_PROBE, {"ky", "kx"})
    for name, variable in results.data_vars.items():
        if names is not None and name not in names:
            continue
        if set(variable.dims) not in dims or variable.dtype.kind not in "fiub" or not variable.size:
            continue
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", str(name)).lstrip(".") or "image"
        image = variable.transpose(*sorted(variable.dims, key=str, reverse=True))
        for suffix, write in ((".tif", tiff_of), (".png", _write_png)):
            path = folder / f"{stem}{suffix}"
            path.write_bytes(write(results, str(name), image))
            files.append(path)
    return files


def tiff_of(results: xr.Dataset, name: str, image: xr.DataArray) -> bytes:
    """A variable as a float32 TIFF whose pixel size and unit ImageJ reads."""
    grid = grid_of(image)
    values = np.ascontiguousarray(image.values, dtype=np.float32)
    finite = values[np.isfinite(values)]
    metadata: dict[str, Any] = {
        "axes": "YX",
        "hyperstack": False,
        "unit": _escaped(grid.unit if grid.unit != "px" else "pixel"),
        "vunit": _escaped(plain_unit(str(image.attrs.get("units", "")))),
        "xorigin": repr(round(grid.origin[1], 6)),
        "yorigin": repr(round(grid.origin[0], 6)),
        "Info": _info(results, name, image),
    }
    if finite.size:
        low, high = np.percentile(finite, (0.5, 99.5))
        metadata |= {"min": repr(float(low)), "max": repr(float(high))}
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        values,
        imagej=True,
        photometric="minisblack",
        resolution=(_per_unit(grid.step[1]), _per_unit(grid.step[0])),
        resolutionunit="NONE",
        software=False,
        datetime=None,
        metadata=metadata,
    )
    return file.getvalue()


def _write_png(results: xr.Dataset, name: str, image: xr.DataArray) -> bytes:
    grid, kind = grid_of(image), kind_of(name, image)
    of_detector = "ky" in image.dims
    values = image.values if of_detector else shown_values(results, name).values
    drawn = picture(values, kind.colours, limit=LARGEST_PNG, log=of_detector)
    # The scale bar wants square pixels, so the picture is resampled where the steps differ.
    extent = [n * s for n, s in zip(image.shape, grid.step, strict=True)]
    rows, cols = drawn.shape
    square = max(1, round(rows * min(max(extent[1] / extent[0], 0.2), 5)))
    # A third of the bytes where there is no colour anyway.
    mode = "L" if kind.colours == "gray" and not drawn.missing else "RGB"
    pixels = drawn.pixels.convert(mode)
    if abs(square - cols) > 1:
        pixels = pixels.resize((square, rows), Image.Resampling.NEAREST)
    canvas = Image.new(mode, (max(420, pixels.width), pixels.height + STRIP), "white")
    canvas.paste(pixels, ((canvas.width - pixels.width) // 2, 0))
    unit = plain_unit(str(image.attrs.get("units", "")))
    scale = scale_bar(extent[1], grid.unit) if 0.2 <= extent[1] / extent[0] <= 5 else None
    _draw_strip(
        canvas,
        pixels.height,
        bar=(round(scale.fraction * pixels.width), scale.label) if scale else None,
        ramp=colour_ramp(kind.colours),
        values=f"{number(drawn.low, 3)} … {number(drawn.high, 3)} {unit}",
    )
    return encode(canvas)


def _draw_strip(
    canvas: Image.Image, top: int, bar: tuple[int, str] | None, ramp: bytes, values: str
) -> None:
    draw, font = ImageDraw.Draw(canvas), _font(15)
    if bar:
        draw.rectangle((8, top + 10, 8 + bar[0], top + 15), fill="black")
        draw.text((8, top + 22), bar[1], font=font, fill="black")
    right = canvas.width - 9
    colours = Image.open(io.BytesIO(ramp)).convert(canvas.mode).resize((180, 10))
    canvas.paste(colours, (right - 180, top + 8))
    draw.rectangle((right - 181, top + 7, right, top + 18), outline="black")
    draw.text((right, top + 22), values, font=font, fill="black", anchor="ra")


@lru_cache(maxsize=2)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # The font that comes with Matplotlib, so that no machine draws its own.
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _per_unit(step: float) -> tuple[int, int]:
    inverse = 1 / Fraction(step)
    most = max(1, min(LARGEST_TERM, int(LARGEST_TERM / inverse)))
    ratio = inverse.limit_denominator(most)
    return ratio.numerator, ratio.denominator


def _escaped(text: str) -> str:
    # ImageJ reads its description as java.util.Properties and writes it so, too: \u00c5 is Å.
    return "".join(c if " " <= c <= "~" and c != "\\" else f"\\u{ord(c):04x}" for c in text)


def _info(results: xr.Dataset, name: str, image: xr.DataArray) -> str:
    """Text that ImageJ shows under Image > Show Info."""
    grid: Grid = grid_of(image)
    lines = {
        "title": results.attrs.get("title", ""),
        "variable": name,
        "long_name": image.attrs.get("long_name", ""),
        "units": image.attrs.get("units", ""),
        "pixel_size": f"{grid.step[0]:.9g} x {grid.step[1]:.9g} {grid.unit} (y, x)",
        "parameters": json.dumps(image.attrs.get("parameters", {}), sort_keys=True, default=str),
    }
    return "".join(f"{key}: {value}\n" for key, value in lines.items())
