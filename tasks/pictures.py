"""Pictures of a folder or a Zarr array, for networks to learn from."""

from pathlib import Path

import numpy as np
import zarr
from PIL import Image, UnidentifiedImageError

from models.images import SMALLEST_SIDE, grey

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".npy")


ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")


class PictureError(ValueError):
    """A folder of pictures that cannot be used."""


def read_pictures(folder: Path) -> list[np.ndarray]:
    """Read the pictures of a folder, in the order of their names, or of a Zarr array, one by one.

    Parameters
    ----------
    folder : Path
        Holds images, or ``.npy`` arrays of two or three dimensions; or is a Zarr array of shape
        (pictures, rows, cols) or (rows, cols), or a group of such arrays.

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
        raise PictureError(
            f"{folder}: is no folder; --images takes a folder of pictures, or a Zarr array."
        )
    if any((folder / name).exists() for name in ZARR_FILES):
        return _read_zarr(folder)
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
    return _checked(picture, str(path))


def _read_zarr(path: Path) -> list[np.ndarray]:
    try:
        found = zarr.open(path, mode="r")
        arrays = (
            [found] if isinstance(found, zarr.Array) else [a for _, a in sorted(found.arrays())]
        )
    except (OSError, ValueError, KeyError) as error:
        raise PictureError(f"{path}: cannot be read as Zarr ({error}).") from None
    pictures = []
    for array in arrays:
        name = f"{path}/{array.path}".rstrip("/")
        if array.ndim not in (2, 3) or array.dtype.kind not in "uif":
            raise PictureError(
                f"{name}: holds {array.dtype} of shape {array.shape}; expected numbers over "
                "(pictures, rows, cols) or (rows, cols)."
            )
        # One at a time: only what is left after averaging down is kept.
        for number in range(array.shape[0] if array.ndim == 3 else 1):
            one = array[number] if array.ndim == 3 else array[...]
            pictures.append(_checked(np.asarray(one), f"{name}, picture {number}"))
    if not pictures:
        raise PictureError(f"{path}: has no array of pictures.")
    return pictures


def _checked(picture: np.ndarray, name: str) -> np.ndarray:
    if picture.ndim not in (2, 3) or min(picture.shape[:2]) < SMALLEST_SIDE:
        raise PictureError(
            f"{name}: has the shape {picture.shape}; expected at least {SMALLEST_SIDE} rows and "
            "columns, and at most a third axis of colours."
        )
    found = grey(picture)
    if not np.isfinite(found).all():
        raise PictureError(f"{name}: holds values that are not finite.")
    return found
