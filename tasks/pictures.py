"""Pictures of a folder, for networks to learn from."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from models.images import SMALLEST_SIDE, grey

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".npy")


class PictureError(ValueError):
    """A folder of pictures that cannot be used."""


def read_pictures(folder: Path) -> list[np.ndarray]:
    """Read the pictures of a folder, in the order of their names.

    Parameters
    ----------
    folder : Path
        Holds images, or ``.npy`` arrays of two or three dimensions.

    Returns
    -------
    list of (rows, cols) float32
        Grey.

    Raises
    ------
    PictureError
        If there is none, or one cannot be read or is too small.
    """
    if not folder.is_dir():
        raise PictureError(f"{folder}: is no folder; --images takes a folder of pictures.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise PictureError(f"{folder}: has no picture; known are {', '.join(SUFFIXES)}.")
    return [_read(path) for path in files]


def _read(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".npy":
            picture = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as image:
                picture = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, UnidentifiedImageError) as error:
        raise PictureError(f"{path}: cannot be read as a picture ({error}).") from None
    if picture.ndim not in (2, 3) or min(picture.shape[:2]) < SMALLEST_SIDE:
        raise PictureError(
            f"{path}: has the shape {picture.shape}; expected at least {SMALLEST_SIDE} rows and "
            "columns, and at most a third axis of colours."
        )
    found = grey(picture)
    if not np.isfinite(found).all():
        raise PictureError(f"{path}: holds values that are not finite.")
    return found
