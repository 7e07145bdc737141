"""Simulate: a scan of a known specimen as electron events, in the layout that stempy writes.

Every frame is |F[probe · exp(iφ)]|² of the specimen under the probe, exact for a thin object, with
Poisson electrons, missing frames and a lost detector sector as real recordings have them.
"""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.fft

from gpu_kernels.frames import events_of_counts
from models.aberrations import Aberrations
from models.bicrystal import lattice_on_film
from models.electron import wavelength
from models.geometry import Geometry
from models.lens import aperture_wave
from tasks.units import report


@dataclass(frozen=True)
class Simulation:
    """A recording to make. Angles in rad inside; surface units as in a job."""

    scan: int = 128
    """Positions along each side."""
    scan_step: float = 0.25
    """[Å]"""
    voltage_kv: float = 80.0
    semiangle_mrad: float = 25.0
    detector: int = 96
    """Pixels along each side."""
    radius: float = 22.4
    """Of the bright-field disk [px]."""
    center: tuple[float, float] = (46.3, 49.1)
    """(row, col) of the disk [px]."""
    scan_rotation_deg: float = -9.0
    electrons: float = 2000.0
    """Mean of a frame."""
    missing: int = 6
    """Frames that were never recorded."""
    lost: int = 2
    """Frames that lost a quarter of the detector."""
    seed: int = 1
    aberrations: Aberrations = field(
        default=Aberrations(
            C10=45.0, C12=18.0, phi12=0.6, C21=700.0, phi21=-0.9, C23=450.0, phi23=0.4, C30=6e3
        )
    )

    @property
    def geometry(self) -> Geometry:
        """Where the disk is and how the scan is turned."""
        return Geometry(
            self.voltage_kv * 1e3,
            self.semiangle_mrad * 1e-3,
            (self.scan_step, self.scan_step),
            self.center,
            self.radius,
            np.deg2rad(self.scan_rotation_deg),
            False,
        )


def specimen(settings: Simulation) -> tuple[np.ndarray, float]:
    """Phase [rad] of the specimen and its pixel [Å]; the scan starts one probe field inside."""
    rng = np.random.default_rng([settings.seed, 0])
    pixel = settings.scan_step / 2
    margin = probe_field(settings)
    side = int(np.ceil((settings.scan * settings.scan_step + 2 * margin) / pixel)) + 2
    return lattice_on_film((side, side), pixel, rng), pixel


def probe_field(settings: Simulation) -> float:
    """Half of the field of one pattern [Å]: the inverse of two detector pixels."""
    return 0.5 / settings.geometry.pixel_wavevector


def row_counts(settings: Simulation, phase: np.ndarray, pixel: float, row: int) -> np.ndarray:
    """Poisson counts of one scan row, (scan, detector, detector) uint16."""
    geometry, size = settings.geometry, settings.detector
    k = (np.arange(size) - size // 2) * geometry.pixel_wavevector
    # The detector's pixels are k; the probe is made on the grid that is their Fourier dual.
    grid = 1 / (size * geometry.pixel_wavevector)
    shift = [c - size // 2 for c in settings.center]
    k_y, k_x = np.meshgrid(k, k, indexing="ij")
    wave = aperture_wave(
        k_y, k_x, geometry.aperture, wavelength(geometry.energy), settings.aberrations,
        geometry.pixel_wavevector,
    )  # fmt: skip
    probe = scipy.fft.ifft2(scipy.fft.ifftshift(wave))
    offset = scipy.fft.fftfreq(size, 1 / size) * grid
    # Points of the detector's frame, seen from the scan: the same rotation as the wave vectors'.
    down, right = geometry.detector_to_scan(*np.meshgrid(offset, offset, indexing="ij"))
    ramp = _ramp(size, shift)
    rng = np.random.default_rng([settings.seed, 1, row])
    margin, counts = probe_field(settings), []
    for col in range(settings.scan):
        y = (margin + row * settings.scan_step + down) / pixel
        x = (margin + col * settings.scan_step + right) / pixel
        exit_wave = probe * np.exp(1j * _bilinear(phase, y, x)) * ramp
        pattern = np.abs(scipy.fft.fftshift(scipy.fft.fft2(exit_wave))) ** 2
        counts.append(rng.poisson(pattern * (settings.electrons / pattern.sum())))
    return np.array(counts, np.uint16)


def _ramp(size: int, shift: list[float]) -> np.ndarray:
    """Phase ramp that moves the pattern by a fraction of a pixel: the disk is never on the grid."""
    n = scipy.fft.fftfreq(size, 1 / size)
    return np.exp(2j * np.pi * (n[:, None] * shift[0] + n * shift[1]) / size)


def _bilinear(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    r, c = np.floor(y).astype(int), np.floor(x).astype(int)
    r, c = np.clip(r, 0, image.shape[0] - 2), np.clip(c, 0, image.shape[1] - 2)
    v, u = y - r, x - c
    return (
        (1 - v) * (1 - u) * image[r, c]
        + (1 - v) * u * image[r, c + 1]
        + v * (1 - u) * image[r + 1, c]
        + v * u * image[r + 1, c + 1]
    )


def simulate(settings: Simulation, path: Path) -> dict[str, Any]:
    """Write a simulated recording, and the truth beside it.

    Parameters
    ----------
    settings : Simulation
        What to make.
    path : Path
        The HDF5 file; the truth goes to ``<stem>_truth.npz``.

    Returns
    -------
    dict
        Path, events and settings.
    """
    phase, pixel = specimen(settings)
    rng = np.random.default_rng([settings.seed, 2])
    chosen = rng.choice(settings.scan**2, settings.missing + settings.lost, replace=False)
    missing, lost = set(chosen[: settings.missing]), set(chosen[settings.missing :])
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".partial")
    ragged, events = h5py.vlen_dtype(np.uint32), 0
    with h5py.File(aside, "w", libver="earliest", track_order=False) as file:
        file.attrs["version"] = np.int64(3)
        frames = file.create_dataset("electron_events/frames", (settings.scan**2,), ragged)
        positions = np.arange(settings.scan**2)
        at = file.create_dataset("electron_events/scan_positions", data=positions)
        for data, size in ((frames, settings.detector), (at, settings.scan)):
            data.attrs["Nx"], data.attrs["Ny"] = np.int64(size), np.int64(size)
        for row in range(settings.scan):
            counts = row_counts(settings, phase, pixel, row)
            for col in range(settings.scan):
                number = row * settings.scan + col
                if number in missing:
                    counts[col] = 0
                if number in lost:
                    counts[col, : settings.detector // 4 * 2] *= (
                        np.arange(settings.detector // 4 * 2) < settings.detector // 4
                    )[:, None]
            flat = counts.reshape(len(counts), -1)
            indptr, indices = events_of_counts(flat, flat.sum(axis=1, dtype=np.int64))
            rows = np.empty(len(counts), object)
            for col in range(len(counts)):
                rows[col] = indices[indptr[col] : indptr[col + 1]]
            frames[row * settings.scan : (row + 1) * settings.scan] = rows
            events += int(indices.size)
            report("simulate", row + 1, settings.scan)
    margin = probe_field(settings) / pixel
    along = margin + np.arange(settings.scan) * settings.scan_step / pixel
    truth = _bilinear(phase, along[:, None] + 0 * along, along + 0 * along[:, None])
    np.savez(path.with_name(path.stem + "_truth.npz"), phase=truth)
    os.replace(aside, path)
    return {"path": str(path), "events": events, "settings": asdict(settings)}
