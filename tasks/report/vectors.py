"""Fields of vectors as pictures: the colour is the direction, its strength the length."""

from functools import lru_cache

import numpy as np
from PIL import Image

from tasks.report.pictures import HATCH_COLOURS, Picture, encode, enlarge, hatching, shrink

FROM_OKLAB = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
"""Oklab to the cube roots of the eye's three responses (B. Ottosson, 2020)."""
TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
"""The eye's three responses to linear sRGB."""

FULL = 97
"""Percentile of lengths with the full colour, so that a few heavy atoms do not darken the rest."""


def vector_picture(
    down: np.ndarray, right: np.ndarray, limit: int = 1200
) -> tuple[Picture, tuple[float, float]]:
    """Draw a field of vectors, less their mean, in the colours of ``vector_colours``.

    Parameters
    ----------
    down, right : (rows, columns)
        Components along rows and columns.
    limit : int
        As for ``picture``.

    Returns
    -------
    picture : Picture
        Its ``high`` is the length that has the full colour, the percentile ``FULL``.
    mean : (float, float)
        The mean (down, right) that was taken away.
    """
    usable = np.isfinite(down) & np.isfinite(right)
    parts = [np.where(usable, part, np.nan).astype(np.float64) for part in (down, right)]
    means = [float(part[usable].mean()) if usable.any() else 0.0 for part in parts]
    parts = [part - mean for part, mean in zip(parts, means, strict=True)]
    lengths = np.hypot(parts[0][usable], parts[1][usable])
    full = float(np.percentile(lengths, FULL)) if lengths.size else 0.0
    (small_down, binned), (small_right, _) = (shrink(part, limit) for part in parts)
    gap = enlarge(np.isnan(small_down))
    colours = vector_colours(small_down / (full or 1.0), small_right / (full or 1.0))
    pixels = enlarge(colours)
    hatched = hatching(gap.shape)
    pixels[gap] = np.array(HATCH_COLOURS, dtype=np.uint8)[hatched[gap]]
    greatest = float(lengths.max()) if lengths.size else 0.0
    drawn = Picture(
        pixels=Image.fromarray(pixels),
        shape=gap.shape,
        low=0.0,
        high=full,
        least=0.0,
        greatest=greatest,
        binned=binned,
        missing=int(usable.size - usable.sum()),
    )
    return drawn, (means[0], means[1])


def vector_colours(down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Colours of vectors: hue for direction, from near black at zero to full colour at length 1.

    Right is yellow and left is blue, up is light and down is dark, so that the direction can also
    be read without telling red from green.

    Parameters
    ----------
    down, right : (rows, columns)
        Components; longer vectors than 1 are cut, NaN gives black.

    Returns
    -------
    (rows, columns, 3) uint8
        sRGB.
    """
    down, right = np.nan_to_num(down), np.nan_to_num(right)
    length = np.hypot(down, right)
    cut = 1 / np.maximum(length, 1)
    up, right, length = -down * cut, right * cut, length * cut
    lightness = 0.18 + 0.46 * length + 0.16 * up
    a, b = 0.12 * up, 0.125 * right
    responses = np.stack([lightness, a, b], axis=-1) @ FROM_OKLAB.T
    linear = np.clip(responses * responses * responses @ TO_RGB.T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * curved).astype(np.uint8)


@lru_cache(maxsize=1)
def colour_wheel(size: int = 96) -> bytes:
    """The key to ``vector_colours``: a disk (PNG, transparent around) of all vectors up to 1."""
    along = (np.arange(size) + 0.5) / size * 2 - 1
    down, right = np.meshgrid(along, along, indexing="ij")
    inside = np.clip((1 - np.hypot(down, right)) * size / 2 + 0.5, 0, 1)
    alpha = np.round(255 * inside).astype(np.uint8)
    return encode(Image.fromarray(np.dstack([vector_colours(down, right), alpha])))
