"""Bins that damp are named, with those that would not; a coarse detector is named too."""

from types import SimpleNamespace

import numpy as np
import pytest

from gpu_kernels.ssb_geometry import SsbGeometry
from models.aberrations import Aberrations
from models.geometry import Geometry
from tasks.reduce import ReduceSettings
from tasks.ssb_bins import bins_facts, ssb_flags


def judged(radius, lens, disk_bins=24, step=0.3):
    """Facts and flags of a disk of that many pixels."""
    center = (2 * radius, 2 * radius)
    shape = (round(4 * radius), round(4 * radius))
    reduced = ReduceSettings(shape, center, radius, (), disk_bins)
    microscope = Geometry(80e3, 0.025, (step, step), center, radius)
    geometry = SsbGeometry(
        (64, 64), (step, step), 0.0, microscope.aperture, microscope.wavelength, lens.cartesian()
    )
    facts = bins_facts(reduced, microscope, geometry)
    return facts, ssb_flags(SimpleNamespace(summary={"bins": facts}))


@pytest.mark.parametrize("C10", [0.0, 100.0, -100.0])
def test_bins_that_damp_little_are_not_spoken_of(C10):
    facts, flags = judged(24.0, Aberrations(C10=C10))
    # d λ C10 k0 = C10 α² / (12 λ) turns over a bin, twelve of which are a radius.
    turns = abs(C10) * 0.025**2 / 12 / 0.0417572
    assert facts["loss"] == pytest.approx(1 - np.sinc(turns), abs=1e-3)
    assert flags == []


def test_bins_that_damp_are_named_with_those_that_lose_less_than_three_per_cent():
    facts, (flag,) = judged(24.0, Aberrations(C10=210.0))
    assert facts["finer"]["disk_bins"] == 48
    assert facts["finer"]["loss"] < 0.03
    assert flag["level"] == "ok"
    assert "bins of 2 px" in flag["text"]
    assert "at 1.67 Å by up to 11%" in flag["text"]
    assert "disk_bins: 48, the detector's own pixels, would lose 2.8%" in flag["text"]
    assert "coarse" not in flag["text"]


def test_widest_bins_that_lose_little_are_asked_for():
    facts, _ = judged(120.0, Aberrations(C10=400.0))
    asked = facts["finer"]
    _, again = judged(120.0, Aberrations(C10=400.0), asked["disk_bins"])
    wider, _ = judged(120.0, Aberrations(C10=400.0), round(240 / (asked["bin_px"] + 1)))
    assert again == []
    assert asked["loss"] < 0.03 < wider["loss"]


def test_detector_whose_own_pixels_damp_is_named():
    _, (flag,) = judged(12.0, Aberrations(C10=300.0))
    assert "bins of 1 px" in flag["text"]
    assert "detector is coarse for this lens" in flag["text"]
    assert "disk_bins" not in flag["text"]


def test_what_is_not_put_back_is_a_warning_with_its_detail():
    facts, (flag,) = judged(24.0, Aberrations(C10=600.0))
    assert flag["level"] == "warn"
    # sinc = 0.3 at 0.767 turns along a side of the bins.
    limit = 0.767 * 12 * 0.0417572 / (600 * 0.025**2) * 0.025 / 0.0417572
    assert facts["undone_to_angstrom"] == pytest.approx(1 / limit, rel=0.06)
    assert "not all of it beyond" in flag["text"]


def test_only_detail_that_the_scan_holds_is_judged():
    lens = Aberrations(C10=600.0)
    facts, flags = judged(24.0, lens, step=4.0)  # ends at 8 Å, a fifth of k0
    assert facts["detail_angstrom"] == pytest.approx(8.0)
    assert facts["undone_to_angstrom"] is None
    assert flags == []
