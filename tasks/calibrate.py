"""Calibrate: where the disk is, how the scan is turned, and what the lens does to the probe.

Given values always win; what is not given is fitted to the data themselves. The rotation and the
aberrations are those that explain most of the interference between disks; a half turn together
with the opposite aberrations explains as much and inverts the contrast, and is decided by physics:
atoms advance the electron's phase, so that bright details stand out of a darker surround.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client
from scipy import optimize, stats

from gpu_kernels.disk_fit import DiskFit, fit_disk
from gpu_kernels.explained_energy import explained, project
from gpu_kernels.inpaint import Filler
from gpu_kernels.ssb import SsbGeometry, ssb_finish, ssb_partial
from gpu_kernels.wiener import image_of, noise_of_sums, ring_wiener
from models.aberrations import Aberrations
from models.geometry import Geometry
from tasks.reduce import ReduceSettings, window_wavevectors
from tasks.store import layout
from tasks.store.events import open_store, read_array
from tasks.store.publish import Manifest, published, write_json
from tasks.units import run_units

VERSION = 1
MODES = 120
"""Spatial frequencies that the fit looks at: the strongest ones."""
GRID_ANGLES = 45
GRID_DEFOCI = 41
FITTED = ("C10", "C12a", "C12b", "C21a", "C21b", "C23a", "C23b")


class CalibrationError(ValueError):
    """The data do not allow what the job leaves to be fitted."""


@dataclass(frozen=True)
class Given:
    """What the job says of the microscope, in the job's units; None is to be fitted."""

    voltage_kv: float
    semiangle_mrad: float
    scan_step_angstrom: tuple[float, float]
    scan_rotation_deg: float | None = None
    flip: bool | None = None
    center_px: tuple[float, float] | None = None
    semiangle_px: float | None = None
    aberrations: dict[str, float] | None = None

    @classmethod
    def of(cls, job: dict[str, Any]) -> "Given":
        """Pick the microscope's keys out of a dataset's."""
        return cls(**{name: job[name] for name in cls.__dataclass_fields__})


def measure_disk(
    work: Path, identity_of_events: str, given: Given, force: bool = False
) -> tuple[Manifest, bool]:
    """Fit the bright-field disk to the sum of all frames, unless the job gives it.

    Returns
    -------
    manifest : Manifest
        Its summary has ``center_px`` and ``semiangle_px`` with their uncertainty and origin.
    reused : bool
        Whether it was there before.

    Raises
    ------
    DiskError
        If there is no disk to fit.
    """
    parameters = {"center_px": given.center_px, "semiangle_px": given.semiangle_px}

    def write(aside: Path) -> dict[str, Any]:
        found = _disk(layout.event_store(work), given)
        write_json(aside / "disk.json", found)
        return found

    return published(
        layout.step_folder(work, "disk"),
        step="disk",
        version=VERSION,
        inputs={"events": identity_of_events},
        parameters=parameters,
        write=write,
        force=force,
    )


def _disk(events: Path, given: Given) -> dict[str, Any]:
    fit: DiskFit | None = None
    if given.center_px is None or given.semiangle_px is None:
        fit = fit_disk(open_store(events).array("frame_sum"))
    center, radius = given.center_px, given.semiangle_px
    return {
        "center_px": list(center if center is not None else fit.center),  # type: ignore[union-attr]
        "center_sigma": None if center is not None else list(fit.center_sigma),  # type: ignore[union-attr]
        "semiangle_px": radius if radius is not None else fit.radius,  # type: ignore[union-attr]
        "semiangle_sigma": None if radius is not None else fit.radius_sigma,  # type: ignore[union-attr]
        "center_origin": "given" if center is not None else "fitted",
        "semiangle_origin": "given" if radius is not None else "fitted",
        "fit": None if fit is None else asdict(fit),
    }


def calibrate(
    work: Path,
    identity_of_reduce: str,
    settings: ReduceSettings,
    given: Given,
    client: Client | None = None,
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Fit rotation, mirror and aberrations, or take them from the job.

    Returns
    -------
    manifest : Manifest
        Its summary is the calibration; see ``read_calibration``.
    reused : bool
        Whether it was there before.
    """

    def write(aside: Path) -> dict[str, Any]:
        (found,) = run_units("calibrate", _fit, [(str(work), settings, given)], client)
        write_json(aside / "calibration.json", found)
        return {}

    return published(
        layout.step_folder(work, "calibrate"),
        step="calibrate",
        version=VERSION,
        inputs={"reduce": identity_of_reduce},
        parameters=asdict(given),
        write=write,
        force=force,
    )


def read_calibration(work: Path) -> tuple[Geometry, Aberrations, dict[str, Any]]:
    """Calibration of a dataset: its geometry, its aberrations, and all of it as written."""
    path = layout.step_folder(work, "calibrate") / "calibration.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    one = found["calibration"]
    geometry = Geometry(
        energy=one["voltage_kv"]["value"] * 1e3,
        semiangle=one["semiangle_mrad"]["value"] * 1e-3,
        scan_step=tuple(one["scan_step_angstrom"]["value"]),
        center=tuple(one["center_px"]["value"]),
        radius=one["semiangle_px"]["value"],
        rotation=np.deg2rad(one["scan_rotation_deg"]["value"]),
        flip=one["flip"]["value"],
    )
    values = {name: item["value"] for name, item in one["aberrations"].items()}
    return geometry, Aberrations(**values), found


@dataclass(frozen=True)
class _Data:
    """What the fit looks at."""

    geometry: Geometry
    dense: np.ndarray
    k_y: np.ndarray
    k_x: np.ndarray
    filler: Filler
    com: tuple[np.ndarray, np.ndarray]


def _fit(work_path: str, settings: ReduceSettings, given: Given) -> dict[str, Any]:
    work = Path(work_path)
    flags: list[dict[str, str]] = []
    data = _load(work, settings, given, bool(given.flip))
    flip, quality = _mirror(data, given)
    if flip != data.geometry.flip:
        data = _load(work, settings, given, flip)
    theta, vector, sigma = _explain(data, given)
    half_turn_open = given.scan_rotation_deg is None and given.aberrations is None
    skew = _skewness(data, theta, vector)
    if half_turn_open and skew < 0:
        theta, vector = theta + np.pi, -vector
    if half_turn_open and abs(skew) < 0.1:
        flags.append({"flag": "polarity", "level": "warn", "text":
            f"The sign of the contrast is uncertain (skewness {skew:+.2f}): give the rotation or "
            "the sign of C10 if it is known."})  # fmt: skip
    if given.scan_rotation_deg is None and quality > 0.6:
        flags.append({"flag": "rotation", "level": "warn", "text":
            f"The deflection has {quality:.0%} as much curl as divergence: the scan rotation is "
            "poorly determined."})  # fmt: skip
    return {
        "calibration": _table(work, given, flip, theta, vector, sigma),
        "quality": flags,
        "skewness": abs(skew),
        "curl_to_divergence": quality,
    }


def _load(work: Path, settings: ReduceSettings, given: Given, flip: bool) -> _Data:
    reduced = layout.step_folder(work, "reduce")
    rotation = np.deg2rad(given.scan_rotation_deg or 0.0)
    geometry = Geometry(
        given.voltage_kv * 1e3, given.semiangle_mrad * 1e-3, tuple(given.scan_step_angstrom),  # type: ignore[arg-type]
        settings.center, settings.radius, rotation, flip,
    )  # fmt: skip
    k_y, k_x = geometry.wavevectors(*window_wavevectors(settings))
    inside = np.hypot(k_y, k_x) < geometry.aperture
    electrons, sums = (read_array(reduced, name) for name in ("com_electrons", "com_sums"))
    events = open_store(layout.event_store(work))
    missing = (events.array("frames_present") == 0) | (events.array("sector_mask") != 0)
    seen = np.where((electrons > 0) & ~missing, electrons, np.nan)
    com = [sums[..., axis] / seen - settings.center[axis] for axis in (0, 1)]
    com = [np.where(np.isfinite(c), c, np.nanmean(c)) * geometry.pixel_wavevector for c in com]
    dense = read_array(reduced, "dense")[inside]
    return _Data(geometry, dense, k_y[inside], k_x[inside], Filler(missing), (com[0], com[1]))


def _curl_ratio(com: tuple[np.ndarray, np.ndarray], data: _Data) -> tuple[float, float]:
    """Rotation of least curl, modulo 180°, and the curl that is left as a share of divergence.

    For g' = R(θ) g: tan 2θ = 2 ΣCD / (ΣD² − ΣC²) with curl C and divergence D of g, taken in
    Fourier space where the object transfers best.
    """
    step = data.geometry.scan_step
    q_y = np.fft.fftfreq(com[0].shape[0], step[0])[:, None]
    q_x = np.fft.rfftfreq(com[0].shape[1], step[1])
    q = np.hypot(q_y, q_x)
    band = (q > 0.1 * data.geometry.aperture) & (q < 1.2 * data.geometry.aperture)
    window = np.hanning(com[0].shape[0])[:, None] * np.hanning(com[0].shape[1])
    g_y, g_x = (np.fft.rfft2((c - c.mean()) * window) for c in com)
    divergence, curl = (q_y * g_y + q_x * g_x)[band], (q_y * g_x - q_x * g_y)[band]
    cc, dd = (np.abs(curl) ** 2).sum(), (np.abs(divergence) ** 2).sum()
    cd = (curl * np.conj(divergence)).real.sum()
    # Turning g by θ: D' = cos θ D − sin θ C, C' = cos θ C + sin θ D.
    theta = 0.5 * np.arctan2(-2 * cd, dd - cc)
    c, s = np.cos(theta), np.sin(theta)
    left = c * c * cc + s * s * dd + 2 * c * s * cd
    return float(theta), float(left / max(cc + dd - left, 1e-300))


def _mirror(data: _Data, given: Given) -> tuple[bool, float]:
    row, col = data.com if not data.geometry.flip else data.com[::-1]
    plain, mirrored = _curl_ratio((row, col), data)[1], _curl_ratio((col, row), data)[1]
    flip = bool(given.flip) if given.flip is not None else mirrored < 0.8 * plain
    return flip, mirrored if flip else plain


def _modes(data: _Data) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The strongest modes G(k, Q) in units of their noise, with Q and the pixels' amplitude."""
    k0, step = data.geometry.aperture, data.geometry.scan_step
    rows, cols = data.dense.shape[1:]
    q_y, q_x = np.fft.fftfreq(rows, step[0])[:, None], np.fft.rfftfreq(cols, step[1])
    q = np.hypot(q_y, q_x)
    band = (q > max(0.15 * k0, 3.0 / (min(rows, cols) * max(step)))) & (q < 1.9 * k0)
    window = np.hanning(rows)[:, None] * np.hanning(cols)
    means = np.maximum(data.dense.mean(axis=(1, 2)), 1e-6)
    norm = np.sqrt((window**2).sum())
    spectra = np.empty((len(means), int(band.sum())), np.complex64)
    for pixel, counts in enumerate(data.dense):
        image = data.filler.fill(counts.astype(np.float32))
        spectrum = np.fft.rfft2((image - image.mean()) * window)[band]
        spectra[pixel] = spectrum / (norm * np.sqrt(means[pixel]))
    power = (np.abs(spectra) ** 2).sum(axis=0)
    best = np.argsort(power)[::-1][:MODES]
    y, x = np.broadcast_to(q_y, q.shape)[band][best], np.broadcast_to(q_x, q.shape)[band][best]
    amplitude = np.sqrt(means / means.mean())
    return np.ascontiguousarray(spectra[:, best].T.astype(complex)), y, x, amplitude


def _explain(data: _Data, given: Given) -> tuple[float, np.ndarray, np.ndarray]:
    """Rotation [rad], the 12 Cartesian aberrations [Å] and the deviations of all 13."""
    geo = data.geometry
    start = np.zeros(13)
    free = []
    if given.scan_rotation_deg is None:
        free.append(0)
    else:
        start[0] = np.deg2rad(given.scan_rotation_deg)
    if given.aberrations is None:
        free += list(range(1, 1 + len(FITTED)))
    else:
        start[1:] = Aberrations(**given.aberrations).cartesian()
    if not free:
        return start[0], start[1:], np.zeros(13)
    g, q_y, q_x, amplitude = _modes(data)
    edge = geo.aperture / max(2.0, np.sqrt(len(amplitude) / np.pi))

    def energy(trials: np.ndarray) -> np.ndarray:
        return explained(
            *project(
                g,
                data.k_y,
                data.k_x,
                amplitude,
                q_y,
                q_x,
                trials,
                geo.aperture,
                geo.wavelength,
                edge,
            )
        )

    depth = geo.wavelength / geo.semiangle**2
    thetas = start[0] + (np.arange(GRID_ANGLES) * np.pi / GRID_ANGLES if 0 in free else np.zeros(1))
    defoci = np.linspace(-20, 20, GRID_DEFOCI) * 0.7 * depth if 1 in free else np.array([start[1]])
    grid = np.tile(start, (thetas.size * defoci.size, 1))
    grid[:, 0], grid[:, 1] = np.repeat(thetas, defoci.size), np.tile(defoci, thetas.size)
    best = grid[int(np.argmax(energy(grid)))]
    orders = np.array([1, *[2] * 3, *[3] * 4, *[4] * 5])
    scale = np.where(
        orders == 1, 0.05, 0.3 * geo.wavelength * orders / geo.semiangle ** orders.astype(float)
    )
    for upto in (2, 4, 8):
        chosen = [f for f in free if f < upto]
        best = _refine(energy, best, chosen, scale)
    sigma = _curvature(energy, best, free, scale)
    return float(best[0]), best[1:], sigma


def _refine(energy: Any, start: np.ndarray, free: list[int], scale: np.ndarray) -> np.ndarray:
    if not free:
        return start

    def loss(step: np.ndarray) -> float:
        trial = start.copy()
        trial[free] += step * scale[free]
        return -float(energy(trial[None])[0])

    found = optimize.minimize(
        loss,
        np.zeros(len(free)),
        method="Powell",
        options={"xtol": 1e-3, "ftol": 1e-7, "maxiter": 30},
    )
    out = start.copy()
    out[free] += np.atleast_1d(found.x) * scale[free]
    return out


def _curvature(energy: Any, best: np.ndarray, free: list[int], scale: np.ndarray) -> np.ndarray:
    """Deviations from the curvature: in units of noise, the energy falls by 1/2 at one sigma."""
    sigma = np.zeros(13)
    step = 0.05 * scale
    hessian = np.zeros((len(free), len(free)))

    def at(*moves: tuple[int, int]) -> float:
        trial = best.copy()
        for field, sign in moves:
            trial[field] += sign * step[field]
        return float(energy(trial[None])[0])

    for i, a in enumerate(free):
        for j, b in enumerate(free[: i + 1]):
            value = (
                at((a, 1), (b, 1))
                - at((a, 1), (b, -1))
                - at((a, -1), (b, 1))
                + at((a, -1), (b, -1))
            )
            hessian[i, j] = hessian[j, i] = -value / (4 * step[a] * step[b])
    # In units of the steps, or the inverse would drown orders of so different a size.
    unit = step[free]
    inverse = np.linalg.pinv(hessian * np.outer(unit, unit), hermitian=True)
    sigma[free] = np.sqrt(np.maximum(np.diag(inverse), 0)) * unit
    return sigma


def _skewness(data: _Data, theta: float, vector: np.ndarray) -> float:
    geo = data.geometry
    ssb = SsbGeometry(
        data.dense.shape[1:],
        geo.scan_step,
        theta,
        geo.aperture,
        geo.wavelength,
        vector,
    )
    filled = data.filler.fill(data.dense.astype(np.float32))
    sums = ssb_partial(filled, data.k_y, data.k_x, ssb)
    intensity = float(filled.mean())
    found = ssb_finish(sums, intensity, ssb, "wpo")
    rows, cols = ssb.scan_shape
    q_y, q_x = np.fft.fftfreq(rows), np.fft.rfftfreq(cols)
    q = np.hypot(q_y[:, None], q_x)
    noise = noise_of_sums(sums.noise, sums.noise_count, intensity * rows * cols, intensity)
    spectrum = ring_wiener(found.spectrum, found.weight, noise, q, 2 / min(rows, cols))
    band = (q > 0.02) & (q < 0.25)
    return float(stats.skew(image_of(np.where(band, spectrum, 0), ssb.scan_shape).ravel()))


def _table(
    work: Path, given: Given, flip: bool, theta: float, vector: np.ndarray, sigma: np.ndarray
) -> dict[str, Any]:
    disk = json.loads((layout.step_folder(work, "disk") / "disk.json").read_text())

    def item(value: Any, origin: str, uncertainty: Any, unit: str) -> dict[str, Any]:
        return {"value": value, "origin": origin, "uncertainty": uncertainty, "unit": unit}

    fitted_rotation = given.scan_rotation_deg is None
    degrees = (np.rad2deg(theta) + 180) % 360 - 180 if fitted_rotation else given.scan_rotation_deg
    if given.aberrations is not None:
        aberrations = {
            name: item(value, "given", None, "rad" if name.startswith("phi") else "Å")
            for name, value in given.aberrations.items()
        }
    else:
        found = Aberrations.from_cartesian(vector)
        spread = {"C10": sigma[1], "C12": max(sigma[2:4]), "C21": max(sigma[4:6]),
                  "C23": max(sigma[6:8])}  # fmt: skip
        aberrations = {
            name: item(value, "fitted", float(spread[name]) if name in spread else None,
                       "rad" if name.startswith("phi") else "Å")
            for name, value in found.nonzero().items()
        }  # fmt: skip
    return {
        "voltage_kv": item(given.voltage_kv, "given", None, "kV"),
        "semiangle_mrad": item(given.semiangle_mrad, "given", None, "mrad"),
        "scan_step_angstrom": item(list(given.scan_step_angstrom), "given", None, "Å"),
        "center_px": item(disk["center_px"], disk["center_origin"], disk["center_sigma"], "px"),
        "semiangle_px": item(
            disk["semiangle_px"], disk["semiangle_origin"], disk["semiangle_sigma"], "px"
        ),
        "scan_rotation_deg": item(
            float(degrees),  # type: ignore[arg-type]
            "fitted" if fitted_rotation else "given",
            float(np.rad2deg(sigma[0])) if fitted_rotation else None,
            "°",
        ),
        "flip": item(flip, "fitted" if given.flip is None else "given", None, ""),
        "aberrations": aberrations,
    }
