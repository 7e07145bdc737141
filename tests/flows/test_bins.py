"""A night's phases have the specimen's scale although the probe is defocused and bins are wide.

The recording is of a weak specimen on a detector whose pixels integrate, turned and mirrored.
"""

from math import degrees, radians

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from benchmarks.simulated_scan import simulate
from flows.job import check_job
from flows.overnight import run_night
from models.aberrations import Aberrations
from models.geometry import Geometry
from tasks.explore.held import Window, hold
from tasks.explore.phases import Trial, phase
from tasks.store import layout
from tasks.store.events import open_store

SCAN, STEP = (44, 48), 0.35
LENS = Aberrations(C10=230.0, C12=60.0, phi12=0.7)
MICROSCOPE = Geometry(80e3, 0.025, (STEP, STEP), (35.3, 41.8), 22.0, radians(37.0), flip=True)
WEAK, ELECTRONS = 0.06, 20_000.0


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Counts on 72 × 80 pixels, and the phase that made them; it repeats beyond the scan."""
    rng = np.random.default_rng(0)
    spectrum = np.fft.fft2(rng.normal(size=SCAN))
    spectrum[(size_of_frequencies() > 1.6 * MICROSCOPE.aperture)] = 0
    phase = np.fft.ifft2(spectrum).real
    phase *= WEAK / phase.std()
    scan = simulate(phase, SCAN, MICROSCOPE, LENS, sub_pixels=3)
    counts = np.zeros((*SCAN, 72, 80), np.uint8)
    drawn = rng.poisson(ELECTRONS * scan.dense)
    counts[:, :, scan.rows, scan.cols] = np.moveaxis(drawn, 0, -1)
    path = tmp_path_factory.mktemp("recorded") / "scan.npy"
    np.save(path, counts)
    return path, phase


@pytest.fixture(scope="module")
def milled(recorded, tmp_path_factory):
    """Folder of the results."""
    path, _ = recorded
    output = tmp_path_factory.mktemp("night")
    dataset = {
        "path": str(path), "name": "scan", "voltage_kv": 80, "semiangle_mrad": 25,
        "scan_step_angstrom": STEP, "center_px": MICROSCOPE.center,
        "semiangle_px": MICROSCOPE.radius, "scan_rotation_deg": degrees(MICROSCOPE.rotation),
        "flip": True, "aberrations": LENS.nonzero(), "steps": ["virtual", "ssb"],
        "ssb": {"edges": "periodic"},
    }  # fmt: skip
    job = {"output": str(output), "cluster": "threads", "datasets": [dataset]}
    night = run_night(check_job(job, "job", output), [], False, Console(quiet=True), True)
    assert [row["status"] for row in night["datasets"]] == ["ok"]
    return output


def size_of_frequencies():
    """|Q| [1/Å]."""
    return np.hypot(np.fft.fftfreq(SCAN[0], STEP)[:, None], np.fft.fftfreq(SCAN[1], STEP))


def scale(found, true, low, high):
    """Of one image against another, in a band of |Q| in units of k0."""
    q = size_of_frequencies()
    band = (q > low * MICROSCOPE.aperture) & (q < high * MICROSCOPE.aperture)
    found, true = (np.fft.fft2(one)[band] for one in (found, true))
    return (found * true.conj()).sum().real / (np.abs(true) ** 2).sum()


@pytest.mark.parametrize("band", [(0.25, 0.6), (0.6, 0.9), (0.9, 1.2)])
def test_phase_of_a_defocused_night_has_the_scale_of_the_specimen(milled, recorded, band):
    with xr.open_zarr(milled / "scan" / "results.zarr", chunks=None) as results:
        assert scale(results.ssb_phase.values, recorded[1], *band) == pytest.approx(1, abs=0.04)


def test_report_says_which_bins_would_damp_less(milled):
    with xr.open_zarr(milled / "scan" / "results.zarr", chunks=None) as results:
        (flag,) = [one for one in results.attrs["quality"] if one["flag"] == "bins"]
    assert flag["level"] == "ok"
    assert "bins of 2 px" in flag["text"]
    assert "disk_bins: 44, the detector's own pixels, would" in flag["text"]


def test_explorer_shows_the_scale_of_the_specimen_too(milled, recorded):
    store = open_store(layout.event_store(milled / ".phasemill" / "scan"))
    held = hold(store, MICROSCOPE, Window(0, SCAN[0], 0, SCAN[1]))
    shown = phase(held, Trial(MICROSCOPE, LENS), "both", wiener=False).image
    for band in ((0.25, 0.6), (0.6, 1.2)):
        assert scale(shown, recorded[1], *band) == pytest.approx(1, abs=0.05)
