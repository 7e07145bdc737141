"""The probe that a method starts from: a file's, that of the calibration, or the one found.

Where the step ``probe`` found the aberrations that are in use, it also found the amplitude in the
aperture and, where the data demanded it, how the wavefront departs from them: the whole wave is
taken, and not a round aperture with the same aberrations.
"""

from pathlib import Path

import numpy as np
from scipy.ndimage import map_coordinates

from gpu_kernels.disk_fit import DiskError, fit_disk
from gpu_kernels.row_fft import SIDES
from models.aberrations import Aberrations, phase_shift
from models.geometry import Geometry
from tasks.array_files import ArrayFile, read_probe
from tasks.calibrate import calibration_folder, read_calibration
from tasks.patterns import PatternError, PatternGrid, modelled_probe, with_electrons
from tasks.regions import VACUUM
from tasks.store import layout
from tasks.store.events import open_store, read_array

FOUND = "probe_wave"
"""Array of the step ``probe``: the wave in the aperture, zero frequency at pixel side // 2."""
DISK_BINS = 20
"""Binned pixels that the disk's radius keeps at least in that step, where the detector has them."""
MANY_ELECTRONS = 1e8
"""Of a probe whose disk is fitted [e]."""
ON_ZERO = 0.1
"""Pixels from the zero frequency within which a given probe's disk lies on it."""
NEAR = 1.0
"""Binned pixels from the calibration's centre within which the fitted disk is believed."""


def starting_probe(
    work: Path, grid: PatternGrid, given: str | ArrayFile, electrons: float
) -> np.ndarray:
    """Probe on the grid of a method's patterns.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    grid : PatternGrid
        Of the method.
    given : str or ArrayFile
        ``aberrations`` (those in use, with all that was found with them), ``vacuum`` (the
        amplitude of its pattern, with those aberrations), or a file, whose probe is tilted until
        its disk lies where that of the patterns does.
    electrons : float
        Σ|probe|² [e].

    Returns
    -------
    (side, side) complex128
        In real space, centred on pixel side // 2.

    Raises
    ------
    ArrayFileError, PatternError
        If the file does not hold a probe on this grid.
    """
    if isinstance(given, ArrayFile):
        probe = given_probe(grid, given.read(read_probe))
        probe = probe * grid.tilt_by(_tilt(work, grid, probe))
        return probe * np.sqrt(electrons / np.sum(np.abs(probe) ** 2))
    geometry, aberrations, _ = read_calibration(work)
    folder = calibration_folder(work)
    if given != "vacuum" and (folder / FOUND).is_dir():
        known = probe_grid(geometry, grid.detector_shape)
        wave = moved_wave(read_array(folder, FOUND), known, grid, geometry, aberrations)
        return with_electrons(wave, electrons)
    vacuum = None
    if given == "vacuum":
        vacuum = read_array(layout.step_folder(work, "reduce"), f"region_{VACUUM}")
    return modelled_probe(grid, geometry, aberrations, electrons, vacuum)


def given_probe(grid: PatternGrid, probe: np.ndarray) -> np.ndarray:
    """A probe that was measured, on a grid.

    Parameters
    ----------
    grid : PatternGrid
        Of the dataset.
    probe : (side, side) or (side · bin, side · bin) complex
        In real space, centred on the pixel of half its side. One for patterns that are not binned
        has the same pixels, and its middle is taken.

    Returns
    -------
    (side, side) complex128

    Raises
    ------
    PatternError
        If it is not on the grid.
    """
    if probe.shape == (grid.side * grid.bin,) * 2:
        low = (grid.bin * grid.side) // 2 - grid.side // 2
        probe = probe[low : low + grid.side, low : low + grid.side]
    if probe.shape != (grid.side, grid.side):
        raise PatternError(
            f"probe: the file holds {probe.shape[0]} x {probe.shape[1]} pixels, patterns have "
            f"{grid.side} x {grid.side} of {grid.sampling:.4g} Å; give a probe on that grid, or "
            f"epie: {{side: {probe.shape[0]}}}."
        )
    return probe


def probe_grid(geometry: Geometry, detector_shape: tuple[int, int]) -> PatternGrid:
    """Grid of the step ``probe``: binned while the disk keeps enough pixels, and what is around."""
    bin = max(1, int(geometry.radius / DISK_BINS))
    radius = geometry.radius / bin
    side = next((n for n in SIDES if n >= max(2.3 * radius, min(4 * radius, 30))), SIDES[-1])
    return PatternGrid(
        detector_shape, geometry.center, bin, side, geometry.pixel_wavevector * bin, geometry.flip
    )


def moved_wave(
    wave: np.ndarray,
    known: PatternGrid,
    grid: PatternGrid,
    geometry: Geometry,
    aberrations: Aberrations,
) -> np.ndarray:
    """A wave in the aperture on the pixels of another grid.

    Without the phase of its aberrations it is smooth enough to be interpolated, by cubic splines,
    which leave it as it is where the pixels are the same.

    Parameters
    ----------
    wave : (side, side) complex
        Zero frequency at pixel side // 2 of ``known``.
    known, grid : PatternGrid
        Where it is known, and where it is wanted.
    geometry, aberrations
        Of the dataset.

    Returns
    -------
    (grid.side, grid.side) complex128
        Zero frequency first; 0 beyond what is known.
    """
    ky, kx = (np.fft.fftshift(k) for k in known.wavevectors)
    smooth = wave * np.exp(1j * phase_shift(ky, kx, geometry.wavelength, aberrations))
    ky, kx = grid.wavevectors
    places = [
        k / known.pixel_wavevector + away + known.side // 2
        for k, away in zip((ky, kx), known.offset, strict=True)
    ]
    at = np.broadcast_arrays(*places)
    moved = sum(
        unit * map_coordinates(part, at, order=3, mode="constant")
        for unit, part in ((1, smooth.real), (1j, smooth.imag))
    )
    return moved * np.exp(-1j * phase_shift(ky, kx, geometry.wavelength, aberrations))


def _tilt(work: Path, grid: PatternGrid, probe: np.ndarray) -> tuple[float, float]:
    """How far a given probe's disk is to be moved, (y, x) [binned px].

    Its disk ought to lie on the zero frequency. One that does not is brought to where the patterns
    have theirs, by the same fit of both: a centre that the job gives may be either.
    """
    own = _disk_of_probe(probe)
    if np.abs(own).max() < ON_ZERO:
        return grid.offset
    away = _disk_of_patterns(work, grid) - own
    return float(away[0]), float(away[1])


def _disk_of_patterns(work: Path, grid: PatternGrid) -> np.ndarray:
    """Where the disk lies in the patterns, from the zero frequency, (y, x) [binned px]."""
    # Half of the electrons has the disk of all, as it has their calibration.
    frames = read_array(open_store(layout.event_store(work)).data, "frame_sum")
    try:
        found = fit_disk(frames)
    except DiskError:
        return np.array(grid.offset)
    away = np.array(grid.offset_of(found.center))
    return away if np.abs(away - grid.offset).max() < NEAR else np.array(grid.offset)


def _disk_of_probe(probe: np.ndarray) -> np.ndarray:
    """Where the disk of a probe lies, from the zero frequency, (y, x) [px]."""
    power = np.abs(np.fft.fftshift(np.fft.fft2(probe))) ** 2
    try:
        found = fit_disk(MANY_ELECTRONS * power / power.sum())
    except DiskError:
        return np.zeros(2)
    return np.array(found.center) - probe.shape[0] // 2
