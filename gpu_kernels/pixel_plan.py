"""What each detector pixel contributes to: virtual detectors, the disk's moments, radii, bins.

Pixels that belong to the same virtual detectors and the same ring form a *class*. One look-up per
electron then finds all of these: a frame's histogram of classes is turned into its place in the
images by small sums. The disk and the dense bins have tables of their own, so that each is small.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from gpu_kernels.circle import circle_of
from gpu_kernels.computed_pixels import bin_rule, ring_rule

MOST = 0xFFFF
"""Classes, bins and pixels along a side are fewer than this."""


@dataclass(frozen=True)
class PixelPlan:
    """Look-up tables of a detector; built once and used for every slab."""

    detector_shape: tuple[int, int]
    label: np.ndarray
    """(pixels,) uint8 or uint16: class of each pixel."""
    classes: int
    members: np.ndarray
    """(masks, classes) bool: which classes each virtual detector counts."""
    rings: np.ndarray
    """(classes,) int64: ring of each class."""
    ring_count: int
    disk: np.ndarray
    """(pixels,) uint8: 1 inside the disk."""
    dense_bin: np.ndarray
    """(pixels,) uint16: bin in the dense array; ``dense_size`` outside the window."""
    dense_size: int
    """Bins of the dense array, 0 for none."""
    with_masks: bool
    with_disk: bool
    rings_about: tuple[float, float, float] | None = None
    """(row, col, width) of the rings [px], where they are those of ``radial_bins``."""

    @cached_property
    def circle(self) -> np.ndarray | None:
        """(3,) float32: the disk as a circle, row, col [px] and radius² [px²], if it is one."""
        return circle_of(self.disk.reshape(self.detector_shape).astype(bool))

    @cached_property
    def ring_rule(self) -> np.ndarray | None:
        """How to compute each pixel's class, if it is its ring; for ``rings_of``."""
        if self.rings_about is None or self.classes != self.ring_count:
            return None
        return ring_rule(self.label, self.detector_shape, self.rings_about)

    @cached_property
    def bin_rule(self) -> np.ndarray | None:
        """How to compute each pixel's dense bin, if the bins are a window's; for ``bins_of``."""
        if not self.dense_size:
            return None
        return bin_rule(self.dense_bin, self.detector_shape, self.dense_size)

    @cached_property
    def runs(self) -> np.ndarray:
        """(runs, 2) uint64: first class and end of each run that a virtual detector counts."""
        edges = np.diff(np.pad(self.members.astype(np.int8), ((0, 0), (1, 1))), axis=1)
        return np.stack([np.nonzero(edges == side)[1] for side in (1, -1)], axis=1).astype(
            np.uint64
        )

    @cached_property
    def starts(self) -> np.ndarray:
        """Where in ``runs`` each virtual detector begins, (masks + 1,) int64."""
        padded = np.pad(self.members, ((0, 0), (1, 0)))
        return np.concatenate([[0], np.cumsum((padded[:, 1:] > padded[:, :-1]).sum(axis=1))])


def plan_pixels(
    detector_shape: tuple[int, int],
    *,
    masks: np.ndarray | None = None,
    com_mask: np.ndarray | None = None,
    radial_bin: np.ndarray | None = None,
    rings_about: tuple[float, float, float] | None = None,
    dense_bin: np.ndarray | None = None,
    dense_size: int = 0,
) -> PixelPlan:
    """Build the look-up table of a detector.

    Parameters
    ----------
    detector_shape : (rows, cols)
        Of the detector.
    masks : (n, rows, cols) bool, optional
        Virtual detectors.
    com_mask : (rows, cols) bool, optional
        Pixels of the bright-field disk, whose moments are summed.
    radial_bin : (rows, cols) int, optional
        Ring of each pixel; the last ring is the overflow.
    rings_about : (row, col, width), optional
        Centre and width of the rings [px], where they are those of ``radial_bins``: they are then
        computed rather than looked up, which is faster.
    dense_bin : (rows, cols) int, optional
        Bin of each pixel in the dense array; negative outside the window.
    dense_size : int
        Number of dense bins.

    Returns
    -------
    PixelPlan
        For ``reduce_events``.

    Raises
    ------
    ValueError
        If a shape does not fit the detector, or there are more than 65,535 classes or bins.
    """
    rows, cols = detector_shape
    for name, array in (("masks", masks), ("com_mask", com_mask), ("radial_bin", radial_bin),
                        ("dense_bin", dense_bin)):  # fmt: skip
        if array is not None and array.shape[-2:] != (rows, cols):
            raise ValueError(f"{name} is {array.shape[-2:]}, the detector is {rows} x {cols}")
    if max(rows, cols) >= MOST or dense_size >= MOST:
        raise ValueError(
            f"a detector of {rows} x {cols} with {dense_size} bins: at most {MOST - 1} of each"
        )
    pixels = rows * cols
    flat_masks = np.zeros((0, pixels), bool) if masks is None else masks.reshape(-1, pixels)
    disk = np.zeros(pixels, np.uint8) if com_mask is None else com_mask.ravel().astype(bool)
    rings = np.zeros(pixels, np.int64) if radial_bin is None else radial_bin.ravel()
    # The ring is the first key, so that neighbouring classes are of the same or the next ring.
    label, example = _classes([rings, *flat_masks])
    if example.size >= MOST:
        raise ValueError(f"{example.size} classes of pixels, at most {MOST - 1}; use wider rings")
    bins, size = np.zeros(pixels, np.uint16), 0
    if dense_bin is not None:
        size = dense_size
        if (dense_bin >= size).any():
            raise ValueError(f"dense_bin reaches {dense_bin.max()} of {size} bins")
        bins = np.where(dense_bin.ravel() < 0, size, dense_bin.ravel()).astype(np.uint16)
    return PixelPlan(
        detector_shape=(rows, cols),
        label=label.astype(np.uint8 if example.size <= 1 << 8 else np.uint16),
        classes=example.size,
        members=flat_masks[:, example].astype(bool),
        rings=rings[example].astype(np.int64),
        ring_count=0 if radial_bin is None else int(rings.max()) + 1,
        disk=disk.astype(np.uint8),
        dense_bin=bins,
        dense_size=size,
        with_masks=masks is not None,
        with_disk=com_mask is not None,
        rings_about=rings_about,
    )


def _classes(keys: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Number the pixels by their keys, in the order of the keys, and give a pixel of each number.

    Key after key, each time with the numbers that there are: nothing has to be sorted.
    """
    label = np.zeros(keys[0].size, np.int64)
    for key in keys:
        joined = label * (int(key.max()) + 1) + key
        label = (np.cumsum(np.bincount(joined) > 0) - 1)[joined]
    example = np.empty(int(label.max()) + 1, np.int64)
    example[label] = np.arange(label.size)
    return label, example


def radii(detector_shape: tuple[int, int], center: tuple[float, float]) -> np.ndarray:
    """(rows, cols) float64, read-only: distance of each pixel from a centre (row, col) [px]."""
    rows, cols = detector_shape
    return _radii(int(rows), int(cols), float(center[0]), float(center[1]))


@lru_cache(maxsize=1)
def _radii(rows: int, cols: int, row: float, col: float) -> np.ndarray:
    # Kept for the next mask around the same centre; one, since a large detector's are 100 MB.
    y, x = np.indices((rows, cols))
    found = np.hypot(y - row, x - col)
    found.flags.writeable = False
    return found


def annular_masks(
    detector_shape: tuple[int, int],
    center: tuple[float, float],
    edges: list[tuple[float, float]],
) -> np.ndarray:
    """Masks of annuli: a pixel belongs to one if inner <= distance < outer.

    Parameters
    ----------
    detector_shape : (rows, cols)
        Of the detector.
    center : (row, col)
        Common centre [px], of any fraction of a pixel.
    edges : list of (inner, outer)
        Radii [px].

    Returns
    -------
    (n, rows, cols) bool
        One mask for each pair.
    """
    r = radii(detector_shape, center)
    return np.array([(r >= inner) & (r < outer) for inner, outer in edges])


def radial_bins(
    detector_shape: tuple[int, int], center: tuple[float, float], width: float, rings: int
) -> np.ndarray:
    """(rows, cols) int64: ring ``floor(r / width)`` of each pixel; ring ``rings`` is overflow."""
    return np.minimum(np.floor(radii(detector_shape, center) / width), rings).astype(np.int64)


def window_bins(
    detector_shape: tuple[int, int],
    center: tuple[float, float],
    bin: int,
    bins: int | tuple[int, int],
) -> tuple[np.ndarray, tuple[int, int]]:
    """Crop a window around a centre and bin it.

    The window is a whole number of bins; the centre of bin ``i`` lies at
    ``origin + bin (i + 1/2) - 1/2`` on the detector.

    Parameters
    ----------
    detector_shape : (rows, cols)
        Of the detector.
    center : (row, col)
        About which the window lies, to the nearest pixel [px].
    bin : int
        Detector pixels along a side of a bin.
    bins : int or (rows, cols)
        Bins of the window.

    Returns
    -------
    dense_bin : (rows, cols) int32
        ``bin_row * bins + bin_col``; -1 outside the window.
    origin : (row, col)
        Of the window's first pixel, which may lie off the detector.
    """
    shape = (bins, bins) if isinstance(bins, int) else bins
    first_row, first_col = (
        round(c - (bin * n - 1) / 2) for c, n in zip(center, shape, strict=True)
    )
    row = (np.arange(detector_shape[0]) - first_row) // bin
    col = (np.arange(detector_shape[1]) - first_col) // bin
    inside = ((row >= 0) & (row < shape[0]))[:, None] & ((col >= 0) & (col < shape[1]))
    dense_bin = np.where(inside, row[:, None] * shape[1] + col, -1).astype(np.int32)
    return dense_bin, (first_row, first_col)
