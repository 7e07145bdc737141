"""Small probes and lessons for the tests of networks."""

import numpy as np

from models.aberrations import Aberrations
from models.electron import wavelength
from models.images import Atlas
from models.lessons import Lessons
from models.probe import probe_wave
from models.probe_family import OneProbe
from models.procedural import procedural_images

COARSE = Aberrations(C10=15.0, C12=9.0, phi12=0.6, C21=1200.0, phi21=0.5)
"""Up to a radian at the aperture's edge: without any, the even half of a weak phase is unseen."""


def focused_probe(side=32, radius=7.5, aberrations=COARSE):
    """An 80 kV, 25 mrad probe whose disk has a radius of so many pixels."""
    step = radius / (0.025 / wavelength(80e3)) / side
    return probe_wave((side, side), (step, step), 80e3, 0.025, aberrations, edge=1 / (side * step))


def drawn_lessons(probe, electrons=20_000.0, seed=0, pictures=6):
    """Lessons of drawn pictures alone, which no library has to carry."""
    atlas = Atlas.of(procedural_images(pictures, np.random.default_rng(seed + 17)))
    return Lessons(atlas, OneProbe(probe.astype(np.complex64)), (electrons, electrons), seed)
