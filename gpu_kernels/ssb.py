"""Single-sideband ptychography, streamed over blocks of detector pixels.

Every block is transformed over the scan and added to the sums of each spatial frequency; G(k, Q)
of all pixels never exists. The sums of blocks add up, so that they may be computed anywhere.
Pelz et al., real-time interactive ptychography from electron event representation data; the weak
phase object in the form G = |A|²δ + iΦΓ, Γ = A*(k)A(k−Q) − A(k)A*(k+Q).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpu_kernels.backend import Array, as_library, device_zeros, on_gpu, to_device, to_host
from gpu_kernels.fourier import ScanTransform, half_plane, parts_of
from gpu_kernels.ssb_geometry import SsbGeometry
from gpu_kernels.ssb_reduce import FIELDS, PIXELS_AT_ONCE, UNSCALED, over_rows, reduce_block
from gpu_kernels.ssb_reduce_gpu import packed, reduce_on_gpu

BYTES_AT_ONCE = 16 * 2**20
"""Of transformed pixels that exist at a time on the CPU; larger was no faster."""


@dataclass
class SsbSums:
    """Partial sums of SSB; those of different pixels add up."""

    fields: Array
    """(10, scan_y, columns) float64: see ``ssb_reduce.FIELDS``."""
    noise_count: int
    """Terms of ``noise``."""
    electrons: float
    """Sum of G(k, 0) over the pixels: all their counts. A number on the device where the fields
    are there, so that nobody waits for it."""

    @classmethod
    def none(cls, geometry: SsbGeometry, like: Array | None = None) -> "SsbSums":
        """Of no pixel; on the device where the array is there, else on the host."""
        zeros = np.zeros if like is None or not on_gpu(like) else device_zeros
        shape = (FIELDS, geometry.scan_shape[0], geometry.columns)
        return cls(zeros(shape, np.float64), 0, 0.0)

    @property
    def noise(self) -> float:
        """Sum of |G|² at frequencies beyond 2 k0, where there is nothing but noise."""
        return float(as_library(self.fields[9]).sum())

    def on_host(self) -> "SsbSums":
        """The same, on the host."""
        return SsbSums(to_host(self.fields), self.noise_count, float(self.electrons))

    def __add__(self, other: "SsbSums") -> "SsbSums":
        return SsbSums(
            self.fields + other.fields,
            self.noise_count + other.noise_count,
            self.electrons + other.electrons,
        )


def ssb_partial(
    block: Array,
    k_y: np.ndarray,
    k_x: np.ndarray,
    geometry: SsbGeometry,
    dtype: Any = np.float32,
    into: SsbSums | None = None,
) -> SsbSums:
    """Sums of a block of detector pixels.

    Parameters
    ----------
    block : (pixels, scan_y, scan_x)
        Counts of pixels inside the disk (those outside add nothing); missing positions filled.
    k_y, k_x : (pixels,) float64
        Their wave vectors in the detector's frame, after the mirror [1/Å].
    geometry : SsbGeometry
        Scan, aperture and aberrations.
    dtype : float32 or float64
        Precision of the transform and of the sums of up to 32 pixels; sums of more are float64.
    into : SsbSums, optional
        Sums of other pixels, to which these are added; so there is one array of sums, not three.

    Returns
    -------
    SsbSums
        ``into``, if it is given; else where the block lives.

    Raises
    ------
    ValueError
        If the block's shape is not that of the pixels and the scan.
    """
    expected = (k_y.size, *geometry.scan_shape)
    if tuple(block.shape) != expected:
        raise ValueError(
            f"a block of {tuple(block.shape)} values was given; {k_y.size} wave vectors and a scan "
            f"of {geometry.scan_shape[0]} x {geometry.scan_shape[1]} positions need {expected}"
        )
    chosen = np.flatnonzero(np.hypot(k_y, k_x) < geometry.aperture)
    total = SsbSums.none(geometry, block) if into is None else into
    for part, spectrum in _spectra(block, chosen, geometry, dtype):
        total = ssb_of_spectrum(spectrum, k_y[part], k_x[part], geometry, into=total)
    return total


def ssb_of_spectrum(
    spectrum: Array,
    k_y: np.ndarray,
    k_x: np.ndarray,
    geometry: SsbGeometry,
    threads: int = 1,
    into: SsbSums | None = None,
) -> SsbSums:
    """Sums of pixels whose transform is kept: what new aberrations need, and nothing else.

    Parameters
    ----------
    spectrum : (pixels, scan_y, columns or more) complex
        From ``scan_spectrum``; columns beyond those of the geometry are not read.
    k_y, k_x, geometry
        As in ``ssb_partial``; the pixels are inside the disk.
    threads : int
        On the CPU, over rows of frequencies; the sums are the same to the bit for any number.
    into : SsbSums, optional
        As in ``ssb_partial``.

    Returns
    -------
    SsbSums
        ``into``, if it is given; else where the spectrum lives.
    """
    total = SsbSums.none(geometry, spectrum) if into is None else into
    q_y, _ = geometry.frequencies()
    parts = parts_of(spectrum)
    if not on_gpu(spectrum):  # on a device it is to be without gaps, and the sums tell where to end
        parts = parts[:, :, : geometry.columns]
    sums_of_parts(parts, k_y, k_x, q_y, geometry, threads=threads, sums=total.fields)
    total.noise_count += geometry.noise_frequencies * k_y.size
    total.electrons += as_library(parts[:, 0, 0, 0]).sum(dtype=np.float64)
    return total


def sums_of_parts(
    parts: Array,
    k_y: np.ndarray,
    k_x: np.ndarray,
    q_y: np.ndarray,
    geometry: SsbGeometry,
    scale: Array | None = None,
    everything: bool = True,
    threads: int = 1,
    sums: Array | None = None,
) -> Array:
    """Sums over all pixels of G, as it lies in memory.

    Parameters
    ----------
    parts : (pixels, rows, columns, 2) float32, float64 or int16
        Real and imaginary part of G(k, Q). On a device without gaps, where it may have more columns
        than ``sums``.
    k_y, k_x, geometry
        As in ``ssb_partial``; pixels outside the disk add nothing.
    q_y : (rows,) float64
        Frequencies of the rows [1/Å]; those of the columns begin at 0.
    scale : (groups, rows, columns) float32, optional
        What the parts of each ``PIXELS_AT_ONCE`` pixels are to be multiplied by.
    everything : bool
        Whether the double overlap and the noise are summed as well as the single sidebands.
    threads : int
        As in ``ssb_of_spectrum``.
    sums : (10, rows, columns) float64, optional
        Added to; on the host, or beside ``parts``.

    Returns
    -------
    (10, rows, columns) float64
        ``sums``, or a new array on the host; see ``ssb_reduce.FIELDS``.
    """
    k_y, k_x = geometry.on_scan(k_y, k_x)
    step, chi = 1 / (geometry.scan_shape[1] * geometry.scan_step[1]), geometry.chi()
    _, rows, columns, _ = parts.shape
    sums = np.zeros((FIELDS, rows, columns)) if sums is None else sums
    if on_gpu(parts):
        there = sums if on_gpu(sums) else device_zeros(sums.shape, np.float64)
        numbers = to_device(packed(k_y, k_x, q_y, step, geometry.aperture, chi))
        reduce_on_gpu(parts, numbers, there, scale, everything)
        if there is not sums:
            sums += to_host(there)
        return sums

    def add(rows: tuple[int, int]) -> None:
        for group, first in enumerate(range(0, k_y.size, PIXELS_AT_ONCE)):
            at = slice(first, first + PIXELS_AT_ONCE)
            of_group = UNSCALED if scale is None else scale[group]
            reduce_block(
                parts[at], k_y[at], k_x[at], q_y, step, geometry.aperture, chi, sums, rows,
                of_group, everything,
            )  # fmt: skip

    over_rows(add, rows, threads)
    return sums


def _spectra(
    block: Array, chosen: np.ndarray, geometry: SsbGeometry, dtype: Any
) -> Iterator[tuple[np.ndarray, Array]]:
    """Transforms of the chosen pixels, some at a time, and which pixels they are."""
    if on_gpu(block):
        if chosen.size:
            every = chosen.size == block.shape[0]
            yield chosen, half_plane(block if every else block[chosen], dtype)
        return
    transform = ScanTransform(geometry.scan_shape, geometry.columns, dtype)
    one = geometry.scan_shape[0] * geometry.columns * transform.complex_type.itemsize
    at_once = max(2, min(PIXELS_AT_ONCE, BYTES_AT_ONCE // one // 2 * 2))
    kept = np.empty(
        (min(at_once, chosen.size), geometry.scan_shape[0], geometry.columns),
        dtype=transform.complex_type,
    )
    for first in range(0, chosen.size, at_once):
        part = chosen[first : first + at_once]
        yield part, transform(block, part, kept[: part.size])
