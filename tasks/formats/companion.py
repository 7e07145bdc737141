"""What another file of the session says of the microscope: voltage, convergence and scan step.

Event files hold none of it, but the image that the microscope's own software took beside the scan
does (a HAADF in ``.dm4``, an ``.emd``, anything that rosettasciio reads).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from rsciio import IO_PLUGINS

from tasks.files import why_unreadable
from tasks.formats.hdf5 import first_line
from tasks.formats.recording import RecordingError, times
from tasks.roots import refuse_links_out

IN_ANGSTROM = {"Å": 1.0, "A": 1.0, "angstrom": 1.0, "nm": 10.0, "pm": 0.01, "µm": 1e4, "μm": 1e4,
               "um": 1e4, "m": 1e10}  # fmt: skip
READERS = (
    "DigitalMicrograph", "EMD", "TIA", "HSPY", "ZSPY", "NeXus", "TIFF", "MRC", "TVIPS", "Blockfile",
    "EMPAD", "QuantumDetector", "Arina",
)  # fmt: skip
"""Those of rosettasciio that take a file for data: others evaluate or unpickle parts of theirs."""
SIGNIFICANT = 6
"""Digits of a pixel size that are kept: such files hold single precision."""


@dataclass(frozen=True)
class Companion:
    """What was found; None where the file does not say it."""

    path: str
    voltage_kv: float | None
    semiangle_mrad: float | None
    scan_step_angstrom: tuple[float, float] | None
    """(y, x): the size of the image's pixels."""
    shape: tuple[int, int] | None
    """(rows, columns) of the image."""

    @property
    def keys(self) -> dict[str, Any]:
        """What it gives, by the job's keys."""
        names = ("voltage_kv", "semiangle_mrad", "scan_step_angstrom")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def check_scan(self, scan_shape: tuple[int, int], scan_bin: int = 1) -> None:
        """Hold the image against the scan whose step it is to give.

        Parameters
        ----------
        scan_shape : (rows, cols)
            Of the scan, binned where it is.
        scan_bin : int
            Positions along a side that are summed into one.

        Raises
        ------
        RecordingError
            If it has another number of pixels; one column more or less may be that of the flyback.
        """
        if self.shape is None:
            return
        rows, cols = self.shape
        columns = {n // scan_bin for n in (cols - 1, cols, cols + 1)}
        if rows // scan_bin == scan_shape[0] and scan_shape[1] in columns:
            return
        binned = f", each of {scan_bin} x {scan_bin}" if scan_bin > 1 else ""
        raise RecordingError(
            f"{self.path}: its image has {times(self.shape)} pixels and the scan "
            f"{times(scan_shape)} positions{binned}, so the size of its pixels is not the scan "
            "step; give scan_step_angstrom in the job."
        )


def read_companion(path: str) -> Companion:
    """Read what a file says of the microscope.

    Parameters
    ----------
    path : str
        A file with an image, in a format that rosettasciio reads; its suffix says which.

    Returns
    -------
    Companion
        Of the largest image in it.

    Raises
    ------
    RecordingError
        If it cannot be read, or says nothing of the microscope.
    """
    signals = readable_signals(path)
    found = max(signals, key=lambda s: (len(s["data"].shape) == 2, np.prod(s["data"].shape)))
    companion = companion_of(path, instrument_of(found), axes_of(found))
    if not companion.keys:
        raise RecordingError(
            f"{path}: it says neither voltage nor convergence angle nor the size of its pixels"
        )
    return companion


def companion_of(path: str, tem: dict[str, Any], axes: list[dict[str, Any]]) -> Companion:
    """Gather what is said of the TEM, by hyperspy's names, and of two axes with scale and units."""
    energy, angle = (positive(tem.get(name)) for name in ("beam_energy", "convergence_angle"))
    return Companion(path, energy, angle, *_pixels(axes))


def readable_signals(path: str) -> list[dict[str, Any]]:
    """Signals of a file, by the first of rosettasciio's readers for its suffix that can read it.

    Raises
    ------
    RecordingError
        If none can.
    """
    suffix = Path(path).suffix.lower().lstrip(".")
    readers = [
        plugin
        for plugin in IO_PLUGINS
        if plugin["name"] in READERS and suffix in map(str.lower, plugin["file_extensions"])
    ]
    if (why := why_unreadable(path)) is not None:
        raise RecordingError(f"{path}: {why}")
    if not readers:
        raise RecordingError(
            f"{path}: no file with the suffix .{suffix} is read as metadata; .dm4, .dm3, .emd, "
            ".ser and .hspy are the usual ones"
        )
    refuse_links_out(path)
    why = "no reader for it"
    for plugin in readers:
        try:
            return import_module(plugin["api"]).file_reader(path, lazy=True)
        except Exception as error:  # its readers raise whatever their formats bring
            why = f"{plugin['name']}: {type(error).__name__}: {first_line(error)}"
    raise RecordingError(f"{path}: it cannot be read as metadata ({why})")


def instrument_of(signal: dict[str, Any]) -> dict[str, Any]:
    """What is known of the TEM, also where the reader only says which of its tags hold it."""
    instruments = signal.get("metadata", {}).get("Acquisition_instrument", {})
    found = dict(instruments.get("TEM", {}))
    for tag, (target, convert) in (signal.get("mapping") or {}).items():
        name = target.rsplit(".", 1)[-1]
        if name in ("beam_energy", "convergence_angle") and name not in found:
            for value in _at(signal.get("original_metadata", {}), tag.split(".")):
                found[name] = value if convert is None else convert(value)
    return found


def axes_of(signal: dict[str, Any], navigate: bool | None = None) -> list[dict[str, Any]]:
    """Axes in the order of the array; all, or those that are navigated or not."""
    axes = sorted(signal.get("axes", []), key=lambda axis: axis.get("index_in_array", 0))
    return [a for a in axes if navigate is None or bool(a.get("navigate")) == navigate]


def length_in_angstrom(unit: str) -> float | None:
    """How many Å a unit of length is, by the names that files have for it."""
    return IN_ANGSTROM.get(unit)


def positive(value: Any) -> float | None:
    """A number above zero, None for anything else."""
    usable = isinstance(value, int | float | np.number) and np.isfinite(value) and value > 0
    return float(value) if usable else None


def _at(tree: Any, names: list[str]) -> Iterator[Any]:
    for name in names:
        if not isinstance(tree, dict) or name not in tree:
            return
        tree = tree[name]
    yield tree


def _pixels(
    axes: list[dict[str, Any]],
) -> tuple[tuple[float, float] | None, tuple[int, int] | None]:
    """Size of an image's pixels [Å] and its shape; None where it has no length."""
    if len(axes) != 2:
        return None, None
    shape = tuple(int(axis["size"]) for axis in axes)
    units = [length_in_angstrom(str(axis.get("units"))) for axis in axes]
    steps = [positive(axis.get("scale")) for axis in axes]
    if None in units or None in steps:
        return None, shape  # type: ignore[return-value]
    lengths = (float(f"{s * u:.{SIGNIFICANT}g}") for s, u in zip(steps, units, strict=True))  # type: ignore[operator]
    return tuple(lengths), shape  # type: ignore[return-value]
