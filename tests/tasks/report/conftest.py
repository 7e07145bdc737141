"""Results as a run would leave them, made up: a lattice, its calibration and its story."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

STEP = (0.3, 0.25)
CENTER, RADIUS = (31.2, 33.7), 14.5
SEMIANGLE, VOLTAGE = 25.0, 80.0


def entry(value: Any, origin: str, unit: str, uncertainty: Any = None) -> dict[str, Any]:
    return {"value": value, "origin": origin, "uncertainty": uncertainty, "unit": unit}


def made_up_results(shape: tuple[int, int] = (40, 48), detector: int = 64) -> xr.Dataset:
    """A lattice of dots as phase, its gradient as centre of mass, and Poisson counts."""
    rng = np.random.default_rng(5)
    y, x = np.arange(shape[0]) * STEP[0], np.arange(shape[1]) * STEP[1]
    dots = np.cos(2 * np.pi * y[:, None] / 2.4) * np.cos(2 * np.pi * x[None, :] / 2.1)
    dots = 0.2 * np.maximum(dots, 0) ** 2 + 0.02 * np.sin(y[:, None] / 5)
    noisy = dots + rng.normal(0, 0.01, shape)
    pad = (
        np.pad(dots, 1, mode="reflect")
        if min(shape) > 1
        else np.zeros((shape[0] + 2, shape[1] + 2))
    )
    slopes = [g[1:-1, 1:-1] / (2 * np.pi * s) for g, s in zip(np.gradient(pad), STEP, strict=True)]
    electrons = rng.poisson(1800 * (1 - 0.1 * dots)).astype(np.float32)
    k = (np.arange(detector) - CENTER[0]) * 0.04
    rows, cols = np.indices((detector, detector))
    away = np.hypot(rows - CENTER[0], cols - CENTER[1])
    pattern = 2.7 / (1 + np.exp(away - RADIUS)) + 0.02 * np.exp(-away / 20)
    over = ("y", "x")
    return xr.Dataset(
        {
            "electrons": (over, electrons, attrs("electrons at each scan position", "e")),
            "frames_present": (over, np.ones(shape, np.uint16), attrs("frames", "1")),
            "sector_mask": (over, np.zeros(shape, np.uint8), attrs("sectors", "1")),
            "virtual_bf": (over, 0.9 * electrons, attrs("bright field", "e", 0.0, RADIUS)),
            "virtual_abf": (over, 0.6 * electrons, attrs("annular", "e", RADIUS / 2, RADIUS)),
            "virtual_adf": (over, electrons * dots, attrs("dark field", "e", 1.1 * RADIUS, 90.0)),
            "com_y": (over, slopes[0] + rng.normal(0, 1e-3, shape), attrs("centre of mass", "1/Å")),
            "com_x": (over, slopes[1] + rng.normal(0, 1e-3, shape), attrs("centre of mass", "1/Å")),
            "dpc_phase": (over, dots + 0.03 * np.cos(x / 6), attrs("phase from DPC", "rad")),
            "ssb_phase": (over, noisy, attrs("phase from single sidebands", "rad")),
            "ssb_amplitude": (over, 1 - 0.05 * noisy, attrs("amplitude", "1")),
            "pacbed": (("ky", "kx"), pattern.astype(np.float32), attrs("mean pattern", "e")),
            "radial": (("radius",), np.exp(-np.arange(40.0)), attrs("mean over rings", "e")),
        },
        coords={
            "y": ("y", y, {"units": "Å"}),
            "x": ("x", x, {"units": "Å"}),
            "ky": ("ky", k, {"units": "1/Å"}),
            "kx": ("kx", k, {"units": "1/Å"}),
            "radius": ("radius", np.arange(40.0), {"units": "px"}),
        },
        attrs={
            "title": "lattice",
            "calibration": {
                "voltage_kv": entry(VOLTAGE, "given", "kV"),
                "semiangle_mrad": entry(SEMIANGLE, "given", "mrad"),
                "scan_step_angstrom": entry(list(STEP), "given", "Å"),
                "center_px": entry(list(CENTER), "fitted", "px", [0.04, 0.05]),
                "semiangle_px": entry(RADIUS, "fitted", "px", 0.12),
                "scan_rotation_deg": entry(-9.13, "fitted", "deg", 0.4),
                "flip": entry(False, "default", ""),
                "aberrations": {"C10": entry(-131.7, "fitted", "Å", 2.3)},
            },
            "dose": {
                "electrons_total": int(electrons.sum()),
                "electrons_per_frame_mean": float(electrons.mean()),
                "electrons_per_angstrom2": float(electrons.mean() / STEP[0] / STEP[1]),
                "frames_missing": 0,
                "frames_partial": 0,
                "positions": int(np.prod(shape)),
            },
            "quality": [
                {"flag": "disk_fit", "level": "ok", "text": "The disk is round to 0.4 %."},
                {"flag": "flyback", "level": "warn", "text": "Column 0 has 4 % more electrons."},
            ],
            "notes": ["The file says 64 columns and holds 65."],
        },
    )


def attrs(long_name: str, units: str, inner: float | None = None, outer: float = 0) -> dict:
    parameters = {} if inner is None else {"inner": inner, "outer": outer}
    return {"long_name": long_name, "units": units, "parameters": parameters}


def made_up_provenance() -> dict[str, Any]:
    return {
        "phasemill": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "host": "bench",
        "device": "x86_64 CPU, 8 cores",
        "python": "3.11.9",
        "packages": {"numpy": "2.4.6", "zarr": "3.1.6"},
        "input": {"path": "/data/scan.h5", "size": 123456, "sha256": "ab" * 32, "format": "stempy"},
        "job": {"path": "/data/scan.h5", "voltage_kv": 80, "steps": ["virtual", "dpc", "ssb"]},
        "steps": [
            {"name": "ingest", "identity": "1f" * 16, "seconds": 4.2, "reused": True,
             "parameters": {"array": None}},
            {"name": "ssb", "identity": "2e" * 16, "seconds": 12.5, "reused": False,
             "parameters": {"sidebands": "both"}},
        ],
        "seeds": {},
    }  # fmt: skip


def made_up_frc() -> xr.Dataset:
    frequency = np.linspace(0, 2, 80)
    curve = 1 / (1 + np.exp((frequency - 1.1) / 0.1))
    along = ("frequency",)

    def judged(resolution: float | None, limited: bool = False, gaps: Any = ()) -> dict[str, Any]:
        lengths = {"0.143": resolution, "0.5": 0.91, "half_bit": 0.8}
        return {
            "kind": "frc", "threshold": "0.143", "resolution_angstrom": resolution,
            "resolutions_angstrom": lengths, "at_limit": {"0.143": limited},
            "gaps": {"0.143": list(gaps)},
        }  # fmt: skip

    return xr.Dataset(
        {
            "ssb_phase": (along, curve, judged(0.78)),
            "ssb_phase_snr": (along, 2 * curve / (1 - curve), {"kind": "snr"}),
            "dpc_phase": (along, curve**2, judged(0.5, limited=True)),
            "virtual_bf": (along, curve**3, judged(1.3, gaps=[[0.2, 0.4]])),
            "virtual_adf": (along, 0 * curve, judged(None)),
            "threshold_half_bit": (along, np.linspace(0.9, 0.2, 80), {"kind": "threshold"}),
        },
        coords={
            "frequency": (along, frequency, {"units": "1/Å"}),
            "pixels": (along, np.arange(80) * 6 + 1),
            "sigma": (along, 1 / np.sqrt(np.arange(80) + 1)),
        },
    )


Writer = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Writer:
    """Write results, provenance and FRC curves into a folder as the last step of a run does."""

    def write(
        results: xr.Dataset,
        name: str = "lattice",
        provenance: dict[str, Any] | None = None,
        frc: xr.Dataset | None = None,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        store = folder / "results.zarr"
        results.to_zarr(store, mode="w", zarr_format=3, consolidated=False)
        if frc is not None:
            frc.to_zarr(store, group="frc", mode="a", zarr_format=3, consolidated=False)
        told = made_up_provenance() if provenance is None else provenance
        (folder / "provenance.json").write_text(json.dumps(told), encoding="utf-8")
        return folder

    return write


@pytest.fixture
def results() -> xr.Dataset:
    return made_up_results()


@pytest.fixture
def frc() -> xr.Dataset:
    return made_up_frc()


@pytest.fixture
def make_results() -> Callable[..., xr.Dataset]:
    return made_up_results


@pytest.fixture
def provenance() -> dict[str, Any]:
    return made_up_provenance()
