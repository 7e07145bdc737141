"""Images of halves are compared as far as their method can tell anything, and no further."""

import numpy as np
import pytest
import zarr

from gpu_kernels.frc import resolution
from models.geometry import Geometry
from tasks.compared import HalfImage, band_limit, compared
from tasks.store import layout
from tasks.store.events import write_array

GEOMETRY = Geometry(80e3, 25e-3, (0.35, 0.35), (31.5, 31.5), 15.0)
TWICE = 2 * GEOMETRY.aperture
SIDE, PIXEL = 43, 0.4


def image_of(step, pixel, shape=(SIDE, SIDE)):
    return HalfImage(f"{step}_phase", step, np.zeros(shape), pixel)


@pytest.mark.parametrize("step", ["virtual", "dpc", "ssb", "epie", "cnn"])
def test_nothing_is_compared_beyond_twice_the_aperture(step):
    assert band_limit(image_of(step, (0.1, 0.1)), GEOMETRY) == TWICE


@pytest.mark.parametrize("step", ["epie", "cnn"])
def test_outermost_rings_of_a_method_s_own_grid_are_left_out(step):
    limit = band_limit(image_of(step, (PIXEL, PIXEL)), GEOMETRY)
    assert limit == pytest.approx(0.5 / PIXEL - 2 / (SIDE * PIXEL), rel=1e-6)
    assert limit < TWICE
    limit = band_limit(image_of(step, (0.4, 0.5), (40, 64)), GEOMETRY)
    assert limit == pytest.approx(0.5 / 0.5 - 2 / (40 * 0.4), rel=1e-6)


def halves_of(folder, step, name, objects):
    """Folders of two halves whose step has left these images."""
    for number, values in enumerate(objects):
        made = layout.step_folder(layout.half_folder(folder, number), step)
        made.mkdir(parents=True)
        zarr.create_group(str(made), overwrite=True)
        write_array(made, name, values)
        for axis in "yx":
            write_array(made, f"{name}_{axis}", PIXEL * np.arange(SIDE))
    return [layout.half_folder(folder, number) for number in (0, 1)]


@pytest.mark.parametrize(("step", "name"), [("epie", "object"), ("cnn", "phase")])
def test_what_both_halves_fill_in_at_nyquist_is_no_resolution(tmp_path, step, name):
    rng = np.random.default_rng(3)
    y, x = np.indices((SIDE, SIDE))
    stripes = 2 * np.cos(0.495 * 2 * np.pi * (0.96 * y + 0.28 * x))
    noise = rng.normal(size=(2, SIDE, SIDE)) + stripes
    objects = 1 + 0.01j * noise if name == "object" else noise
    halves = halves_of(tmp_path, step, name, objects)
    ((image, curve),) = compared(halves, GEOMETRY, (), {step: None})
    assert image.step == step
    assert resolution(curve).frequency == 0
    assert np.isnan(curve.correlation[curve.frequency > 0.5 / PIXEL - 2 / (SIDE * PIXEL)]).all()


def test_objects_of_epie_lie_where_they_lie(tmp_path):
    # A shift that is fitted to noise correlates it; the probe's place and tilt are settled before.
    rng = np.random.default_rng(4)
    objects = np.exp(0.05j * rng.normal(size=(2, SIDE, SIDE)))
    ((_, curve),) = compared(
        halves_of(tmp_path, "epie", "object", objects), GEOMETRY, (), {"epie": None}
    )
    assert curve.shift == (0.0, 0.0)
    assert resolution(curve).frequency == 0


def test_lattice_of_few_reflections_is_signal_in_an_image_that_is_linear_in_the_counts(tmp_path):
    # A method that is not may have put its noise there.
    rng = np.random.default_rng(5)
    y = np.indices((SIDE, SIDE))[0]
    pair = [np.cos(2 * np.pi * 0.21 * y) + 1.5 * rng.normal(size=y.shape) for _ in range(2)]
    found = {}
    for step in ("ssb", "cnn"):
        ((_, curve),) = compared(
            halves_of(tmp_path / step, step, "phase", pair), GEOMETRY, (), {step: None}
        )
        found[step] = resolution(curve).frequency * PIXEL
    assert found["ssb"] == pytest.approx(0.21, abs=0.07)
    assert found["cnn"] == 0
