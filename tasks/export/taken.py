"""What is exported: images or dense patterns of a dataset's results, with their axes and story."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from tasks.report.known import best_image, image_names
from tasks.store import layout
from tasks.store.events import EventStore, open_store
from tasks.store.publish import DamagedResultError, read_manifest

DENSE = "dense"
EVENTS = "events"
IMAGES = "images"


class ExportError(ValueError):
    """Something that cannot be exported; says what is there and what can be."""


@dataclass(frozen=True)
class Axis:
    """An axis of an array."""

    name: str
    size: int
    scale: float
    """Distance of neighbouring samples [unit]."""
    offset: float
    """Of the first sample [unit]."""
    unit: str
    """Å or 1/Å."""


@dataclass(frozen=True)
class Taken:
    """Arrays of one shape that are exported together."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    """What each is, in words."""
    units: tuple[str, ...]
    arrays: tuple[Any, ...]
    """NumPy arrays, or a Zarr array that is read chunk by chunk."""
    axes: tuple[Axis, ...]
    title: str
    about: dict[str, Any]
    """Calibration, dose and source, as JSON values, and the identity of the results."""

    @property
    def stack(self) -> np.ndarray:
        """(names, …) float32: images along a first axis."""
        return np.stack([np.asarray(array, np.float32) for array in self.arrays])

    def calibrated(self, key: str) -> float | None:
        """A number of the calibration, by the job's key; None where there is none."""
        value = (self.about.get("calibration") or {}).get(key)
        value = value.get("value") if isinstance(value, dict) else value
        return float(value) if isinstance(value, int | float) else None


def take(source: Path, what: str | None) -> Taken:
    """Take images or patterns out of a dataset's results.

    Parameters
    ----------
    source : Path
        Folder of a dataset, with ``results.zarr``.
    what : str or None
        ``images`` (all of the scan), ``dense`` (the patterns of ``dense.zarr``) or the name of an
        image; when absent, the image that stands for the dataset.

    Returns
    -------
    Taken
        Images as (y, x) float32, patterns as (y, x, ky, kx).

    Raises
    ------
    ExportError
        If the results are not whole, or do not hold it.
    """
    manifest = read_manifest(source)
    if manifest is None or not (source / layout.RESULTS).is_dir():
        raise ExportError(
            f"{source}: there are no finished results here; expected the folder of a dataset with "
            f"{layout.RESULTS} and {layout.MANIFEST}, as phasemill run leaves it."
        )
    results = xr.open_zarr(source / layout.RESULTS, chunks=None)
    about = {key: results.attrs[key] for key in ("calibration", "dose", "source")
             if key in results.attrs}  # fmt: skip
    about |= {"results": manifest.identity}
    title = str(results.attrs.get("title", source.name))
    if what == DENSE:
        return _dense(source, title, about)
    names = _chosen(results, source, what)
    images = [results[name].transpose(*sorted(results[name].dims, reverse=True)) for name in names]
    attrs = [image.attrs for image in images]
    return Taken(
        names=tuple(names),
        labels=tuple(str(a.get("long_name", n)) for n, a in zip(names, attrs, strict=True)),
        units=tuple(str(a.get("units", "1")) for a in attrs),
        arrays=tuple(np.asarray(image.values, np.float32) for image in images),
        axes=tuple(_axis(images[0], str(dim)) for dim in images[0].dims),
        title=title,
        about=about,
    )


def take_events(source: Path) -> EventStore:
    """Open the events of a dataset: its results' folder, or an event store itself.

    Raises
    ------
    ExportError
        If there is no event store.
    """
    kept = layout.event_store(layout.work_folder(source.resolve().parent, source.resolve().name))
    path = kept if kept.is_dir() else source
    try:
        return open_store(path)
    except DamagedResultError as error:
        raise ExportError(
            f"{source}: its events are not here; give a dataset's folder whose night still has its "
            f".phasemill folder, or an event store ({error})"
        ) from error


def blocks(array: Any) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """Chunks of a Zarr array with their places, one at a time in memory."""
    rows, cols = array.chunks[:2]
    for row in range(0, array.shape[0], rows):
        for col in range(0, array.shape[1], cols):
            at = (slice(row, row + rows), slice(col, col + cols))
            yield at, np.asarray(array[at])


def _chosen(results: xr.Dataset, source: Path, what: str | None) -> list[str]:
    names = image_names(results)
    if what is None:
        best = best_image(results)
        names = [] if best is None else [best]
    elif what == IMAGES:
        names = [name for name in names if set(results[name].dims) == {"y", "x"}]
    elif what in names:
        names = [what]
    else:
        raise ExportError(
            f"{source}: there is no image {what!r}; it has {', '.join(names)}, and 'images' stands "
            "for all of the scan"
        )
    if not names:
        raise ExportError(f"{source}: its results hold no image")
    return names


def _dense(source: Path, title: str, about: dict[str, Any]) -> Taken:
    path = source / layout.DENSE
    if not path.is_dir():
        raise ExportError(
            f"{source}: there is no {layout.DENSE}; ask for it in the job with dense: {{bin: …}}"
        )
    array = zarr.open_array(str(path), path="counts", mode="r")
    found = xr.open_zarr(path, chunks=None)["counts"]
    axes = tuple(_axis(found, str(dim)) for dim in found.dims)
    label = str(found.attrs.get("long_name", "electrons"))
    return Taken((DENSE,), (label,), (str(found.attrs.get("units", "e")),), (array,), axes, title,
                 about)  # fmt: skip


def _axis(array: xr.DataArray, dim: str) -> Axis:
    values = np.asarray(array[dim].values, float)
    scale = float(np.diff(values).mean()) if values.size > 1 else 1.0
    return Axis(dim, values.size, scale, float(values[0]), str(array[dim].attrs.get("units", "Å")))
