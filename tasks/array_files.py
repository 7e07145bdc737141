"""Arrays that a job names: a measured probe, positions of it, and a camera's references."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from gpu_kernels.row_fft import SIDES
from tasks.files import why_unreadable

MOST_BYTES = 1 << 30
OFF_CENTRE, COMPACT = 1 / 8, 0.3
"""Of a probe's window, how far from its middle the light may lie; and how compact it must be, as
the length of its mean direction, for this to be told."""


class ArrayFileError(ValueError):
    """A file that does not hold the array that is needed."""


@dataclass(frozen=True)
class ArrayFile:
    """A file that a job names, and the hash of what it held when the work began."""

    path: str
    sha256: str

    @classmethod
    def at(cls, path: str, read: Callable[[str], np.ndarray]) -> "ArrayFile":
        """Read a file with one of the readers below and remember what it holds.

        Raises
        ------
        ArrayFileError
            If the reader refuses it.
        """
        return cls(path, _hash(read(path)))

    @property
    def parameters(self) -> dict[str, str]:
        """What identifies the array wherever it lies."""
        return {"file": Path(self.path).name, "sha256": self.sha256}

    def read(self, read: Callable[[str], np.ndarray]) -> np.ndarray:
        """The array as its reader gives it.

        Raises
        ------
        ArrayFileError
            If the file has changed, or the reader refuses it.
        """
        array = read(self.path)
        if _hash(array) != self.sha256:
            raise ArrayFileError(f"{self.path}: it has changed since the work began; start again.")
        return array


def parameters_of(settings: Any) -> dict[str, Any]:
    """What of a step's settings decides its result; a file counts by what is in it."""
    files = {
        one.name: value.parameters
        for one in fields(settings)
        if isinstance(value := getattr(settings, one.name), ArrayFile)
    }
    return asdict(settings) | files


def read_probe(path: str) -> np.ndarray:
    """Read a probe.

    Parameters
    ----------
    path : str
        An ``.npy`` file.

    Returns
    -------
    (side, side) complex128
        In real space.

    Raises
    ------
    ArrayFileError
        If it does not hold one.
    """
    probe = _load(path)
    if probe.dtype.kind != "c" or probe.ndim != 2 or probe.shape[0] != probe.shape[1]:
        raise ArrayFileError(
            f"{path}: a probe is a square complex array; this holds {_described(probe)}."
        )
    if probe.shape[0] not in SIDES:
        raise ArrayFileError(
            f"{path}: a probe of {probe.shape[0]} x {probe.shape[1]} pixels has no transform; its "
            f"side can be {', '.join(map(str, SIDES))}."
        )
    if not np.isfinite(probe).all() or not probe.any():
        raise ArrayFileError(f"{path}: the probe is zero everywhere, or not finite somewhere.")
    _refuse_off_centre(path, probe)
    return probe.astype(np.complex128)


def read_positions(path: str) -> np.ndarray:
    """Read positions of the probe.

    Parameters
    ----------
    path : str
        An ``.npy`` file.

    Returns
    -------
    (rows, cols, 2) or (positions, 2) float64
        (y, x) of each scan position, along the axes of the scan [Å].

    Raises
    ------
    ArrayFileError
        If it does not hold them.
    """
    positions = _load(path)
    numbers = positions.dtype.kind in "fiu" and positions.ndim in (2, 3)
    if not numbers or positions.shape[-1] != 2:
        raise ArrayFileError(
            f"{path}: positions are numbers (rows, columns, 2) or (positions, 2), y and x in Å of "
            f"each scan position; this holds {_described(positions)}."
        )
    if not np.isfinite(positions).all():
        raise ArrayFileError(f"{path}: the positions are not finite everywhere.")
    return positions.astype(float)


def read_reference(path: str) -> np.ndarray:
    """Read a dark frame or a gain.

    Parameters
    ----------
    path : str
        An ``.npy`` file.

    Returns
    -------
    (rows, cols) float32
        One value a pixel.

    Raises
    ------
    ArrayFileError
        If it does not hold one.
    """
    image = _load(path)
    if image.dtype.kind not in "fiu" or image.ndim != 2:
        raise ArrayFileError(
            f"{path}: a reference is one image of numbers (rows, columns); this holds "
            f"{_described(image)}."
        )
    if not np.isfinite(image).all():
        raise ArrayFileError(f"{path}: the reference is not finite everywhere.")
    return image.astype(np.float32)


def _refuse_off_centre(path: str, probe: np.ndarray) -> None:
    """A probe in a corner of its window, as a transform leaves it, would light the wrong pixels."""
    side, light = len(probe), np.abs(probe.astype(complex)) ** 2
    turn = np.exp(2j * np.pi * np.arange(side) / side)
    # Around the window's edges there is no middle but that of angles.
    means = [light.sum(axis=1 - axis) @ turn / light.sum() for axis in (0, 1)]
    middle = [float(np.angle(mean) / (2 * np.pi) * side % side) for mean in means]
    compact = min(abs(mean) for mean in means) > COMPACT
    if compact and max(abs(at - side // 2) for at in middle) > side * OFF_CENTRE:
        raise ArrayFileError(
            f"{path}: the probe lies about ({middle[0]:.1f}, {middle[1]:.1f}) px; expected it in "
            f"the middle of its window, ({side // 2}, {side // 2}). numpy.fft.fftshift moves one "
            "there from the corner."
        )


def _load(path: str) -> np.ndarray:
    if (why := why_unreadable(path)) is not None:
        raise ArrayFileError(f"{path}: {why}")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise ArrayFileError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # whatever damage does to the parsing of a file
        raise ArrayFileError(
            f"{path}: this is no .npy file of numbers ({type(error).__name__}: {error})."
        ) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ArrayFileError(f"{path}: this holds several arrays; give an .npy file of one.")
    if array.nbytes > MOST_BYTES:
        raise ArrayFileError(f"{path}: {array.nbytes} bytes are too many; at most {MOST_BYTES}.")
    return np.array(array)


def _described(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {array.shape}"


def _hash(array: np.ndarray) -> str:
    head = repr((array.shape, array.dtype.str)).encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()
