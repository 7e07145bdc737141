"""Sliders span what matters, stop at round numbers, and refuse what no data could show."""

from math import pi

import numpy as np
import pytest

from models.aberrations import ORDERS, Aberrations, phase_shift
from models.geometry import Geometry
from tasks.explore.limits import (
    Quantity,
    geometry_quantities,
    lens_of,
    lens_quantities,
    lens_values,
    turn_of,
)

GEOMETRY = Geometry(80e3, 0.025, (0.2, 0.2), (15.5, 16.0), 12.0)
LENS = Aberrations(C10=60, C12=20, phi12=0.4, C21=700, phi21=-1, C30=-5000, C34=2500, phi34=0.2)


@pytest.mark.parametrize("name", ORDERS)
def test_one_turn_of_a_coefficient_is_one_turn_at_the_edge_of_the_disk(name):
    lens = Aberrations(**{name: turn_of(name, GEOMETRY)})
    edge = phase_shift(np.array([0.0]), np.array([GEOMETRY.aperture]), GEOMETRY.wavelength, lens)
    assert edge[0] == pytest.approx(2 * pi)


@pytest.mark.parametrize("parts", [False, True])
def test_values_stand_for_the_lens_that_they_came_from(parts):
    values = lens_values(LENS, parts)
    assert set(values) == {q.key for q in lens_quantities(GEOMETRY, parts)}
    np.testing.assert_allclose(lens_of(values, parts).cartesian(), LENS.cartesian())


def test_a_slider_reaches_beyond_its_value_and_stops_at_round_numbers():
    (focus, *_) = lens_quantities(GEOMETRY, False)
    for value in (0.0, 10.0, -4 * turn_of("C10", GEOMETRY)):
        low, high = focus.span(value)
        assert low < value < high
        assert low / focus.step == pytest.approx(round(low / focus.step))


@pytest.mark.parametrize("value", [1e9, -1e9])
def test_what_is_out_of_range_is_refused_with_its_range(value):
    (focus, *_) = lens_quantities(GEOMETRY, False)
    with pytest.raises(ValueError, match=r"C10 = -?1e\+09 Å is out of range: -\d+ to \d+ Å"):
        focus.check(value)
    assert focus.check(120.0) == 120


def test_a_disk_must_lie_on_the_detector():
    row = next(q for q in geometry_quantities(GEOMETRY, (32, 32)) if q.key == "center_row")
    with pytest.raises(ValueError, match="disk centre, row = 40 px is out of range: 0 to 31 px"):
        row.check(40)
    assert row.span(row.around) == pytest.approx((14.3, 16.7), abs=0.02)


def test_steps_are_one_two_or_five():
    for reach in (0.3, 1.0, 7.0, 44.0):
        step = Quantity("a", "a", "Å", reach, -100, 100).step
        assert f"{step:e}"[0] in "125"
        assert 200 < 2 * reach / step <= 2600
