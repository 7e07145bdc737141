"""Simulated scans by the definition, pixel by pixel of the detector."""

from math import radians

import pytest

from benchmarks.simulated_scan import Scan, mos2_phase, simulate
from models.aberrations import Aberrations
from models.geometry import Geometry

TRUTH = Aberrations(C10=60, C12=20, phi12=0.5236, C21=900, phi21=-0.87)
ROTATION = -14.0


def scan_of(flip: bool) -> Scan:
    """A MoS2 monolayer of 64 x 72 positions at 80 kV and 25 mrad."""
    geometry = Geometry(80e3, 0.025, (0.22, 0.2), (10.3, 11.1), 8.4, radians(ROTATION), flip)
    return simulate(mos2_phase((80, 90), 0.21), (64, 72), geometry, TRUTH, sub_pixels=2)


@pytest.fixture(scope="session")
def plain() -> Scan:
    """Noise-free, not mirrored."""
    return scan_of(flip=False)


@pytest.fixture(scope="session")
def mirrored() -> Scan:
    """Noise-free, with a detector whose axes are transposed."""
    return scan_of(flip=True)
