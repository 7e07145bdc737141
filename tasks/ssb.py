"""SSB: the phase from the interference of disks, streamed over blocks of detector pixels."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from gpu_kernels.backend import Array, as_library, beside
from gpu_kernels.bin_transfer import BinTransfer
from gpu_kernels.fourier import libraries
from gpu_kernels.inpaint import Filler
from gpu_kernels.joined_edges import join_edges, joined_shape
from gpu_kernels.ssb import SsbSums, ssb_partial
from gpu_kernels.ssb_finish import ssb_finish
from gpu_kernels.ssb_geometry import SsbGeometry
from gpu_kernels.wiener import image_of, noise_of_sums, ring_wiener
from tasks.calibrate import Calibrated, open_calibrated
from tasks.dense_blocks import PIXELS_PER_BLOCK, DenseBlocks
from tasks.device import COUNTS_AT_ONCE, blocks_on_device
from tasks.reduce import ReduceSettings, window_wavevectors
from tasks.ssb_bins import bins_facts
from tasks.store import layout
from tasks.store.events import write_array
from tasks.store.publish import Manifest, published
from tasks.store.zarr_json import write_group
from tasks.units import run_units

VERSION = 4
PARTS = 8
"""Partial sums of the transform: fixed, so that the result does not depend on the workers."""


@dataclass(frozen=True)
class SsbSettings:
    """Which sidebands, how the scan's edges meet, and whether Wiener-weighted phases are wanted."""

    sidebands: str = "both"
    edges: str = "joined"
    wiener: bool = True


def ssb(
    work: Path,
    identity_of_calibration: str,
    reduced: ReduceSettings,
    settings: SsbSettings,
    client: Client | None = None,
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Write ``ssb_phase``, ``ssb_amplitude``, ``wpo_phase`` and their Wiener-weighted forms."""

    def write(aside: Path) -> dict[str, Any]:
        write_group(aside)
        images, facts = _images(work, reduced, settings, client)
        for name, image in images.items():
            write_array(aside, name, image.astype(np.float32))
        return facts

    return published(
        layout.step_folder(work, "ssb"),
        step="ssb",
        version=VERSION,
        inputs={"calibrate": identity_of_calibration},
        parameters=asdict(settings),
        write=write,
        force=force,
    )


def _geometry(calibrated: Calibrated, settings: SsbSettings) -> SsbGeometry:
    events, geometry, aberrations = calibrated
    scan_shape = events.scan_shape
    return SsbGeometry(
        joined_shape(scan_shape) if settings.edges == "joined" else scan_shape,
        geometry.scan_step,
        geometry.rotation,
        geometry.aperture,
        geometry.wavelength,
        aberrations.cartesian(),
    )


def _sum_blocks(
    work_path: str, reduced: ReduceSettings, settings: SsbSettings, blocks: list[int]
) -> tuple[SsbSums, int]:
    """Sums over some blocks of pixels, and how many pixels they have."""
    work = Path(work_path)
    calibrated = open_calibrated(work)
    geometry, events = _geometry(calibrated, settings), calibrated.events
    k_y, k_x = calibrated.geometry.wavevectors(*window_wavevectors(reduced))
    filler, scale = Filler(events.unusable()), events.frame_scale()
    dense = DenseBlocks(layout.step_folder(work, "reduce"))
    at_once = max(2, COUNTS_AT_ONCE // (geometry.scan_shape[0] * geometry.scan_shape[1]))
    inside = np.hypot(k_y, k_x) < geometry.aperture
    chosen = [
        pixels[first : first + at_once]
        for block in blocks
        for pixels in [block * PIXELS_PER_BLOCK + np.flatnonzero(inside[_pixels(block)])]
        for first in range(0, pixels.size, at_once)
    ]
    total, pixels = None, 0
    for some, counts in zip(chosen, blocks_on_device(_counts(dense, chosen)), strict=True):
        counts = filler.fill(_scaled(counts, scale))
        if settings.edges == "joined":
            counts = join_edges(counts, geometry.scan_shape)
        total = ssb_partial(counts, k_y[some], k_x[some], geometry, into=total)
        pixels += some.size
    return SsbSums.none(geometry) if total is None else total.on_host(), pixels


def _pixels(block: int) -> slice:
    return slice(block * PIXELS_PER_BLOCK, (block + 1) * PIXELS_PER_BLOCK)


def _counts(dense: DenseBlocks, chosen: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Counts of the chosen pixels of some blocks; each block is read once."""
    held, chunk = -1, np.empty(0)
    for some in chosen:
        if (block := int(some[0]) // PIXELS_PER_BLOCK) != held:
            held, chunk = block, np.asarray(dense[_pixels(block)])
        yield chunk[some - block * PIXELS_PER_BLOCK]


def _scaled(counts: Array, scale: np.ndarray) -> Array:
    there = as_library(counts)
    xp, _ = libraries(there)
    return beside(there * xp.asarray(scale), counts)


def _images(
    work: Path, reduced: ReduceSettings, settings: SsbSettings, client: Client | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    calibrated = open_calibrated(work)
    geometry = _geometry(calibrated, settings)
    blocks = np.array_split(np.arange(-(-reduced.pixels // PIXELS_PER_BLOCK)), PARTS)
    units = [(str(work), reduced, settings, [int(b) for b in part]) for part in blocks if part.size]
    parts = run_units("ssb", _sum_blocks, units, client)
    sums = parts[0][0]
    for part, _ in parts[1:]:
        sums = sums + part
    pixels = sum(p[1] for p in parts)
    rows, cols = calibrated.events.scan_shape
    positions = geometry.scan_shape[0] * geometry.scan_shape[1]
    intensity = sums.electrons / pixels / positions
    noise = noise_of_sums(sums.noise, sums.noise_count, positions * intensity, intensity)
    width = reduced.bin * calibrated.geometry.pixel_wavevector
    bins = BinTransfer.of(
        *calibrated.geometry.wavevectors(*window_wavevectors(reduced)), geometry, width
    )
    images: dict[str, np.ndarray] = {}
    for name, estimate in (("ssb", settings.sidebands), ("wpo", "wpo")):
        found = ssb_finish(sums, intensity, geometry, estimate, bins)  # type: ignore[arg-type]
        if name == "ssb" or not settings.wiener:
            # Unweighted, the full estimate drowns in the few frequencies that it hardly sees.
            images[f"{name}_phase"] = found.phase
        if name == "ssb":
            images["ssb_amplitude"] = found.amplitude
        if settings.wiener:
            q_y = np.fft.fftfreq(geometry.scan_shape[0], geometry.scan_step[0])
            q_x = np.fft.rfftfreq(geometry.scan_shape[1], geometry.scan_step[1])
            q = np.hypot(q_y[:, None], q_x)
            width = 2 * max(q_y[1] if q_y.size > 1 else q_x[1], q_x[1] if q_x.size > 1 else q_y[1])
            weighted = ring_wiener(found.spectrum, found.weight, noise, q, width)
            images[f"{name}_wiener_phase"] = image_of(weighted, geometry.scan_shape)
    facts = {"disk_pixels": pixels, "electrons_per_disk_pixel": intensity, "noise": noise}
    facts["bins"] = bins_facts(reduced, calibrated.geometry, geometry)
    return {name: image[:rows, :cols] for name, image in images.items()}, facts
