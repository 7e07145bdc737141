"""Arrays as pictures: values to colours that colour-blind readers can tell apart, and to PNG.

A picture is made by arithmetic alone, so the same values give the same bytes, on any thread.
"""

import base64
import io
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil

import numpy as np
from matplotlib import colormaps
from PIL import Image

LEVELS = 254
"""Colours for values; two more are kept for the hatching of missing ones."""
HATCH_COLOURS = ((204, 51, 102), (250, 221, 231))
HATCH_PERIOD = 8
SHARP = 480
"""A shorter picture is enlarged, pixel by pixel, to about this size."""
THIN = 5
"""A picture is drawn at most this much longer than wide, however long the scan."""


@dataclass(frozen=True)
class Picture:
    """A picture and what one has to know to read it."""

    pixels: Image.Image
    """As they are shown."""
    shape: tuple[int, int]
    """Pixels (rows, columns)."""
    low: float
    high: float
    """Values of the first and the last colour; equal where all values are equal."""
    least: float
    greatest: float
    """Smallest and greatest value."""
    binned: int
    """Pixels of the array along each side of one that is shown."""
    missing: int
    """Pixels of the array without a value."""

    @cached_property
    def png(self) -> bytes:
        """The picture as a file."""
        return encode(self.pixels)

    @property
    def uri(self) -> str:
        """The picture inside an address."""
        return data_uri(self.png)


def picture(
    image: np.ndarray,
    colours: str = "gray",
    *,
    limit: int = 1200,
    percentiles: tuple[float, float] = (0.5, 99.5),
    log: bool = False,
) -> Picture:
    """Draw an image with a colour table.

    Parameters
    ----------
    image : (rows, columns) real or bool
        What is not finite is missing, and hatched.
    colours : str
        Name of a Matplotlib colour map.
    limit : int
        A longer side is shortened to this many pixels or fewer by averaging squares.
    percentiles : (low, high)
        Values outside are drawn as if they were on the edge [%].
    log : bool
        Colours follow the logarithm; what is not positive has the first colour.

    Returns
    -------
    Picture
    """
    values = np.asarray(image, dtype=np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    finite = values[~np.isnan(values)]
    least, greatest = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
    low, high = _shown_range(finite, percentiles, log)
    small, binned = shrink(values, limit)
    pixels = enlarge(_levels(small, low, high, log))
    return Picture(
        pixels=_coloured(pixels, colours),
        shape=(pixels.shape[0], pixels.shape[1]),
        low=low,
        high=high,
        least=float(least),
        greatest=float(greatest),
        binned=binned,
        missing=int(values.size - finite.size),
    )


@lru_cache(maxsize=8)
def colour_ramp(colours: str) -> bytes:
    """A colour table from its first to its last colour (PNG, 254 × 1)."""
    return encode(_coloured(np.arange(LEVELS, dtype=np.uint8)[None, :], colours))


def shrink(values: np.ndarray, limit: int) -> tuple[np.ndarray, int]:
    """Average squares of pixels so that no side is longer than ``limit``; NaN are left out.

    Returns
    -------
    values : (rows, columns) float64
        NaN where a whole square was NaN.
    binned : int
        Side of the squares; along a side that is already thin they are a pixel wide.
    """
    factor = ceil(max(values.shape) / limit)
    if factor == 1:
        return values, 1
    along = [factor if n * THIN > max(values.shape) else 1 for n in values.shape]
    padding = [(0, -n % f) for n, f in zip(values.shape, along, strict=True)]
    padded = np.pad(values, padding, constant_values=np.nan)
    rows, cols = padded.shape
    blocks = padded.reshape(rows // along[0], along[0], cols // along[1], along[1])
    present = ~np.isnan(blocks)
    count = present.sum(axis=(1, 3))
    total = np.where(present, blocks, 0).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), factor


def enlarge(pixels: np.ndarray) -> np.ndarray:
    """Repeat the pixels of a small picture, and those across a thin one."""
    rows, cols = enlargement(pixels.shape)
    return np.repeat(np.repeat(pixels, rows, axis=0), cols, axis=1)


def enlargement(shape: tuple[int, ...]) -> tuple[int, int]:
    """How often ``enlarge`` repeats (rows, columns)."""
    longest = max(shape[:2])
    both = max(1, ceil(SHARP / longest)) if longest < SHARP else 1
    rows, cols = (max(1, longest // (THIN * n)) for n in shape[:2])
    return both * rows, both * cols


def encode(pixels: Image.Image) -> bytes:
    """PNG of a picture, with nothing in it but the pixels."""
    file = io.BytesIO()
    # Harder compression of three channels takes four times as long and gains nothing; of one, 60 %
    # longer for less than 2 %.
    pixels.save(file, format="PNG", compress_level=3 if pixels.mode.startswith("RGB") else 6)
    return file.getvalue()


def data_uri(png: bytes) -> str:
    """A PNG inside an address."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def hatching(shape: tuple[int, ...]) -> np.ndarray:
    """Which of the two colours of the hatching each pixel has: (rows, columns) of 0 and 1."""
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    return ((rows + cols) % HATCH_PERIOD < HATCH_PERIOD // 2).astype(np.intp)


def _shown_range(
    finite: np.ndarray, percentiles: tuple[float, float], log: bool
) -> tuple[float, float]:
    shown = finite[finite > 0] if log else finite
    if shown.size == 0:
        return 0.0, 0.0
    low, high = np.percentile(shown, percentiles)
    if low == high:  # nearly all values are one value: a few hot pixels must still be seen
        low, high = shown.min(), shown.max()
    return float(low), float(high)


def _levels(values: np.ndarray, low: float, high: float, log: bool) -> np.ndarray:
    if log and low > 0:
        values = np.log(np.where(values < low, low, values))
        low, high = float(np.log(low)), float(np.log(high))
    gap = np.isnan(values)
    share = (np.where(gap, low, values) - low) / (high - low) if high > low else 0.5 * ~gap
    levels = np.clip(np.floor(share * LEVELS), 0, LEVELS - 1).astype(np.uint8)
    return np.where(gap, np.uint8(LEVELS), levels)


def _coloured(levels: np.ndarray, colours: str) -> Image.Image:
    gap = levels >= LEVELS
    if gap.any():
        levels = np.where(gap, LEVELS + hatching(levels.shape), levels).astype(np.uint8)
    pixels = Image.fromarray(np.ascontiguousarray(levels))
    pixels.putpalette(_palette(colours))
    return pixels


@lru_cache(maxsize=8)
def _palette(colours: str) -> bytes:
    table = colormaps[colours](np.linspace(0, 1, LEVELS))[:, :3]
    return np.round(255 * table).astype(np.uint8).tobytes() + bytes(sum(HATCH_COLOURS, ()))
