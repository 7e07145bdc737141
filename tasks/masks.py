"""Masks from files: which pixels of the detector, or positions of the scan, belong to something."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from tasks.files import why_unreadable

NPY = b"\x93NUMPY"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_PIXELS = 1 << 28


class MaskError(ValueError):
    """A file that does not hold a mask, or one that does not fit."""


@dataclass(frozen=True)
class MaskFile:
    """A mask that a job names, and the hash of what it held when the work began."""

    path: str
    sha256: str
    """Of shape and pixels, so that the same mask in another file is the same mask."""

    @classmethod
    def at(cls, path: str) -> "MaskFile":
        """Read a mask file and remember what it holds."""
        return cls(path, _hash(read_mask(path)))

    @property
    def parameters(self) -> dict[str, str]:
        """What identifies the mask wherever it lies."""
        return {"file": Path(self.path).name, "sha256": self.sha256}

    def read(self, shape: tuple[int, int]) -> np.ndarray:
        """The mask, (rows, cols) bool, checked against a shape and its hash.

        Raises
        ------
        MaskError
            If its shape is another, or the file has changed.
        """
        mask = read_mask(self.path)
        check_shape(self.path, mask, shape)
        if _hash(mask) != self.sha256:
            raise MaskError(f"{self.path}: the mask has changed since the work began; start again.")
        return mask


def read_mask(path: str) -> np.ndarray:
    """Read a mask from an ``.npy`` or TIFF file; the format is told by what is in it.

    Parameters
    ----------
    path : str
        The file. It holds one image with 0 (or False) outside and one other value inside.

    Returns
    -------
    (rows, cols) bool
        True inside.

    Raises
    ------
    MaskError
        If the file cannot be read, is no image, has more than two values, or selects nothing.
    """
    image = _image(path)
    if image.ndim != 2 or not image.size:
        raise MaskError(
            f"{path}: a mask is one image of (rows, columns); this has the shape {image.shape}."
        )
    if image.dtype.kind not in "biuf":
        raise MaskError(f"{path}: a mask holds numbers or booleans; this holds {image.dtype}.")
    values = np.unique(image)
    if values.size > 2 or not np.isfinite(values).all() or (values.size == 2 and values[0] != 0):
        shown = ", ".join(f"{value:g}" for value in values[:4])
        raise MaskError(
            f"{path}: a mask is 0 outside and one other value inside; this has {values.size} "
            f"values: {shown}{', …' if values.size > 4 else ''}. Weights are not supported."
        )
    if not values.any():
        raise MaskError(f"{path}: the mask is 0 everywhere, so that it selects nothing.")
    return image != 0


def check_shape(path: str, mask: np.ndarray, shape: tuple[int, int]) -> None:
    """Refuse a mask that does not fit.

    Raises
    ------
    MaskError
        With both shapes.
    """
    if mask.shape != tuple(shape):
        raise MaskError(
            f"{path}: the mask has {mask.shape[0]} x {mask.shape[1]} pixels, {shape[0]} x "
            f"{shape[1]} are needed (rows x columns)."
        )


def _image(path: str) -> np.ndarray:
    if (why := why_unreadable(path)) is not None:
        raise MaskError(f"{path}: {why}")
    try:
        with open(path, "rb") as file:
            head = file.read(8)
        if head.startswith(NPY):
            image = np.load(path, mmap_mode="r", allow_pickle=False)
        elif head[:4] in TIFF:
            with tifffile.TiffFile(path) as tiff:
                if len(tiff.pages) != 1:
                    raise MaskError(f"{path}: a mask is one image; this has {len(tiff.pages)}.")
                image = tiff.pages[0].asarray()
        else:
            raise MaskError(f"{path}: a mask is an .npy or TIFF file; this begins with {head!r}.")
    except MaskError:
        raise
    except OSError as error:
        raise MaskError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # whatever damage does to the parsing of a file
        raise MaskError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); the file is damaged."
        ) from error
    if image.size > MOST_PIXELS:
        raise MaskError(f"{path}: {image.size} pixels are no mask; at most {MOST_PIXELS}.")
    return np.array(image)


def _hash(mask: np.ndarray) -> str:
    digest = hashlib.sha256(repr(mask.shape).encode())
    digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()
