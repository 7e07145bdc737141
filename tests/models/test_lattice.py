"""Crystals fill their box once and only once, at the distances of their lattice."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from models.lattice import (
    fill,
    fitted_to_period,
    hexagonal_cell,
    random_vacancies,
    square_cell,
    without_close_pairs,
)

HONEYCOMB = np.array([[1 / 3, 1 / 3], [2 / 3, 2 / 3]])


def test_honeycomb_has_its_bond_length_and_three_neighbours():
    sites = np.concatenate(fill(hexagonal_cell(2.46, 0.3), HONEYCOMB, (0, 30, 0, 40)))
    inner = sites[((sites > 3) & (sites < (27, 37))).all(axis=1)]
    distances = cKDTree(sites).query(inner, k=5)[0][:, 1:]
    np.testing.assert_allclose(distances[:, :3], 2.46 / np.sqrt(3), rtol=1e-9)
    np.testing.assert_allclose(distances[:, 3], 2.46, rtol=1e-9)


@pytest.mark.parametrize(("cell", "area"), [(hexagonal_cell(3.16, 1.0), 3.16**2 * np.sqrt(3) / 2),
                                            (square_cell(2.88, 0.2), 2.88**2)])  # fmt: skip
def test_density_is_one_site_a_cell(cell, area):
    (sites,) = fill(cell, np.zeros((1, 2)), (-100, 100, -50, 50))
    assert len(sites) == pytest.approx(200 * 100 / area, rel=0.01)


def test_first_vector_points_along_x_and_turns_towards_y():
    np.testing.assert_allclose(hexagonal_cell(2.0)[0], (0, 2), atol=1e-12)
    np.testing.assert_allclose(square_cell(2.0, np.pi / 2)[0], (2, 0), atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.31, 1.2])
def test_crystal_fitted_to_a_period_repeats_with_it(angle):
    period = (23.0, 31.0)
    cell = fitted_to_period(hexagonal_cell(2.46, angle), period)
    sites = np.concatenate(fill(cell, HONEYCOMB, (0, period[0], 0, period[1])))
    torus = cKDTree(sites, boxsize=period)
    bonds = torus.query(sites, k=4)[0][:, 1:]
    assert np.ptp(bonds) < 0.2  # a strain of a few percent, and no seam
    assert len(sites) == pytest.approx(2 * np.prod(period) / (2.46**2 * np.sqrt(3) / 2), rel=0.1)


def test_period_smaller_than_the_cell_is_refused():
    with pytest.raises(ValueError, match="holds no whole cell"):
        fitted_to_period(hexagonal_cell(3.16), (0.5, 0.5))


def test_boxes_side_by_side_hold_every_site_once():
    cell = hexagonal_cell(2.5, 0.4)
    whole = np.concatenate(fill(cell, HONEYCOMB, (0, 20, 0, 20)))
    halves = [np.concatenate(fill(cell, HONEYCOMB, (a, a + 10, 0, 20))) for a in (0, 10)]
    assert {tuple(s) for s in whole.round(6)} == {tuple(s) for h in halves for s in h.round(6)}
    assert len(whole) == sum(map(len, halves))


def test_close_pairs_lose_one_of_them_and_the_first_kind_stays():
    metal, light = np.array([[0.0, 0.0], [5.0, 5.0]]), np.array([[0.0, 0.4], [9.0, 9.0]])
    kept = without_close_pairs([metal, light], 1.0)
    np.testing.assert_array_equal(kept[0], metal)
    np.testing.assert_array_equal(kept[1], [[9.0, 9.0]])


def test_vacancies_and_sites_make_up_the_crystal():
    sites = np.arange(20_000.0).reshape(-1, 2)
    stay, vacant = random_vacancies(sites, 0.1, np.random.default_rng(0))
    assert sorted(np.concatenate([stay, vacant]).tolist()) == sites.tolist()
    assert len(vacant) == pytest.approx(1000, abs=5 * np.sqrt(900))
