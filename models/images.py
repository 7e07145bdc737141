"""Pictures to learn from: any picture's crop, turned and stretched, is a phase that could be.

Photographs come from libraries that carry them under a clear licence and are read from there, by
the choice of who trains and not by what happens to be installed; procedural ones are drawn; a
user's own may be added. All lie in one atlas, and crops are taken from it without end: each at a
random place, turned, zoomed, mirrored, and stretched to a random range of phases, which no two are
likely to share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numba import njit

from models.procedural import procedural_images

PHOTOGRAPHS = {
    "scikit-image": (
    "astronaut", "camera", "cell", "chelsea", "clock", "coins", "grass", "gravel", "horse",
    "hubble_deep_field", "immunohistochemistry", "retina", "rocket", "text",
    ),
    "matplotlib": ("grace_hopper.jpg",),
    "scikit-learn": ("china.jpg", "flower.jpg"),
}  # fmt: skip
"""By the library that carries them. Those of scikit-image are in the public domain or have no known
restriction, as it states; that of Matplotlib is an official portrait of the US Navy and so in the
public domain; those of scikit-learn are CC BY 2.0, their authors named beside them."""
USUAL_PHOTOGRAPHS = ("scikit-image",)
"""Libraries that are taken from unless others are asked for: what is installed decides nothing."""
HELD_OUT_PHOTOGRAPHS = ("coffee", "brick")
"""Never trained on: what networks are validated with."""
LONGEST_SIDE = 512
LEVELS = 3
"""A picture also lies in the atlas at half and a quarter of its size, as long as it is larger
than twice a crop."""
SMALLEST_SIDE = 72
ZOOM = (0.7, 1.4)
"""Pixels of a picture that one pixel of a crop steps over."""
PHASE_RANGE = (0.1, 3.0)
"""Least and greatest range of phases in a crop [rad]; its logarithm is even between them."""


@dataclass(frozen=True)
class Atlas:
    """Grey pictures, one after another."""

    pixels: np.ndarray
    """(all,) float32."""
    starts: np.ndarray
    """(pictures,) int64: first pixel of each."""
    shapes: np.ndarray
    """(pictures, 2) int64: rows and columns of each."""

    @classmethod
    def of(cls, pictures: Sequence[np.ndarray]) -> "Atlas":
        """Lay grey pictures out, each also at smaller sizes.

        Raises
        ------
        ValueError
            If there is none, or one is too small for a crop.
        """
        levels: list[np.ndarray] = []
        for number, picture in enumerate(pictures):
            if picture.ndim != 2 or min(picture.shape) < SMALLEST_SIDE:
                raise ValueError(
                    f"picture {number} has shape {picture.shape}; expected a grey one of at least "
                    f"{SMALLEST_SIDE} x {SMALLEST_SIDE} pixels"
                )
            levels += _pyramid(np.asarray(picture, np.float32))
        if not levels:
            raise ValueError("there is no picture to learn from")
        sizes = [level.size for level in levels]
        return cls(
            np.concatenate([level.ravel() for level in levels]),
            np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
            np.array([level.shape for level in levels], np.int64),
        )

    def phases(
        self,
        count: int,
        side: int,
        rng: np.random.Generator,
        phase_range: tuple[float, float] = PHASE_RANGE,
    ) -> np.ndarray:
        """Random phase objects.

        Parameters
        ----------
        count : int
            How many.
        side : int
            Rows and columns of each.
        rng : numpy.random.Generator
            Decides all.
        phase_range : (low, high)
            Of the phases' range in an object [rad].

        Returns
        -------
        (count, side, side) float32
            Phase [rad], from minus to plus half of the object's range.
        """
        which = rng.integers(len(self.starts), size=count)
        places = rng.random((count, 2))
        angles = rng.uniform(0, 2 * np.pi, count)
        zooms = log_uniform(ZOOM, count, rng)
        mirrors = rng.choice([-1.0, 1.0], count)
        ranges = log_uniform(phase_range, count, rng) * rng.choice([-1.0, 1.0], count)
        steps = np.stack([zooms * np.cos(angles), zooms * np.sin(angles), mirrors], axis=1)
        return _crops(
            self.pixels, self.starts[which], self.shapes[which], places, steps, ranges, side
        )


def training_atlas(
    seed: int,
    own: Sequence[np.ndarray] = (),
    procedural: int = 48,
    photographs: Sequence[str] = USUAL_PHOTOGRAPHS,
) -> Atlas:
    """Pictures to train with.

    Parameters
    ----------
    seed : int
        Decides the procedural ones.
    own : sequence of (rows, cols) arrays
        The user's pictures, grey.
    procedural : int
        How many to draw.
    photographs : sequence of str
        Libraries whose photographs are taken: keys of ``PHOTOGRAPHS``.

    Raises
    ------
    ValueError
        If a library is not known, named twice, or not installed.
    """
    check_photographs(photographs)
    drawn = procedural_images(procedural, np.random.default_rng([seed, 1]))
    taken = [photograph(name, library) for library in photographs for name in PHOTOGRAPHS[library]]
    return Atlas.of([*own, *drawn, *taken])


def check_photographs(libraries: Sequence[str]) -> dict[str, str]:
    """Make sure that libraries have photographs and are here; their names and versions.

    Raises
    ------
    ValueError
        If a library is not known, named twice, or not installed.
    """
    found: dict[str, str] = {}
    for library in libraries:
        if library not in PHOTOGRAPHS or library in found:
            raise ValueError(
                f"photographs of '{library}': name each library once, of {', '.join(PHOTOGRAPHS)}"
            )
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            raise ValueError(
                f"photographs of '{library}': it is not installed; pip install {library}, or "
                "leave it out"
            ) from None
    return found


def held_out_atlas() -> Atlas:
    """Photographs that no network was trained on."""
    return Atlas.of([photograph(name) for name in HELD_OUT_PHOTOGRAPHS])


@lru_cache
def photograph(name: str, library: str = "scikit-image") -> np.ndarray:
    """A photograph that a library carries, grey, as (rows, cols) float32."""
    if library == "scikit-image":
        from skimage import data

        return grey(getattr(data, name)())
    if library == "scikit-learn":
        from sklearn.datasets import load_sample_image

        return grey(load_sample_image(name))
    from matplotlib import cbook
    from PIL import Image

    with Image.open(str(cbook.get_sample_data(name, asfileobj=False))) as picture:
        return grey(np.asarray(picture.convert("RGB")))


def grey(picture: np.ndarray) -> np.ndarray:
    """Make any picture grey and no larger than needed.

    Parameters
    ----------
    picture : (rows, cols) or (rows, cols, channels) array
        A fourth channel, which says what is transparent, is left out.

    Returns
    -------
    (rows, cols) float32
        Averaged down until its longest side is at most ``LONGEST_SIDE``.
    """
    picture = np.asarray(picture, np.float32)
    if picture.ndim == 3:
        picture = picture[..., :3].mean(axis=-1)
    while max(picture.shape) > LONGEST_SIDE:
        picture = _halved(picture)
    return picture


def log_uniform(between: tuple[float, float], count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) float64: random numbers whose logarithm is even between two."""
    return np.exp(rng.uniform(np.log(between[0]), np.log(between[1]), count))


def _pyramid(picture: np.ndarray) -> list[np.ndarray]:
    levels = [picture]
    while len(levels) < LEVELS and min(levels[-1].shape) >= 2 * SMALLEST_SIDE:
        levels.append(_halved(levels[-1]))
    return levels


def _halved(picture: np.ndarray) -> np.ndarray:
    rows, cols = (n // 2 for n in picture.shape)
    return picture[: 2 * rows, : 2 * cols].reshape(rows, 2, cols, 2).mean(axis=(1, 3))


@njit(nogil=True, cache=True)
def _crops(
    pixels: np.ndarray,
    starts: np.ndarray,
    shapes: np.ndarray,
    places: np.ndarray,
    steps: np.ndarray,
    ranges: np.ndarray,
    side: int,
) -> np.ndarray:
    crops = np.empty((starts.size, side, side), np.float32)
    middle = (side - 1) / 2
    for n in range(starts.size):
        rows, cols, cos, sin = shapes[n, 0], shapes[n, 1], steps[n, 0], steps[n, 1]
        # The turned crop stays inside the picture: its corners are this far from its middle.
        reach = middle * (abs(cos) + abs(sin)) + 1
        y0 = min(reach, (rows - 1) / 2) + places[n, 0] * max(0.0, rows - 1 - 2 * reach)
        x0 = min(reach, (cols - 1) / 2) + places[n, 1] * max(0.0, cols - 1 - 2 * reach)
        low, high = np.inf, -np.inf
        for i in range(side):
            for j in range(side):
                v, u = i - middle, (j - middle) * steps[n, 2]
                y = min(max(y0 + cos * v - sin * u, 0.0), rows - 1.001)
                x = min(max(x0 + sin * v + cos * u, 0.0), cols - 1.001)
                a, b = int(y), int(x)
                fy, fx = y - a, x - b
                at = starts[n] + a * cols + b
                value = (1 - fy) * ((1 - fx) * pixels[at] + fx * pixels[at + 1]) + fy * (
                    (1 - fx) * pixels[at + cols] + fx * pixels[at + cols + 1]
                )
                crops[n, i, j] = value
                low, high = min(low, value), max(high, value)
        span = high - low
        for i in range(side):
            for j in range(side):
                share = (crops[n, i, j] - low) / span - 0.5 if span > 0 else 0.0
                crops[n, i, j] = share * ranges[n]
    return crops
