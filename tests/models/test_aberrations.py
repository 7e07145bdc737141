"""The aberration phase is that of the textbooks, and its two notations mean the same."""

from dataclasses import fields
from math import pi

import numpy as np
import pytest

from models.aberrations import CARTESIAN, NAMES, ORDERS, Aberrations, phase_shift

LAM = 0.0417572
K = np.array([0.0, 0.11, 0.37, 0.6])


def along(angle, aberrations, k=K):
    return phase_shift(k * np.sin(angle), k * np.cos(angle), LAM, aberrations)


def random_lens(seed=0):
    rng = np.random.default_rng(seed)
    return Aberrations(**{name: rng.uniform(0.1, 1) * (1 if name.startswith("phi") else 300)
                          for name in NAMES})  # fmt: skip


def test_defocus_is_a_parabola_of_the_printed_sign():
    # χ = −π λ Δf k², Δf the defocus = −C10 (Kirkland Eq. 2.10 with his sign of Δf).
    lens = Aberrations(C10=-120.0)
    assert lens.defocus == 120.0
    np.testing.assert_allclose(along(0.4, lens), -pi * LAM * 120 * K**2, rtol=1e-12)


def test_spherical_aberration_is_the_fourth_power():
    np.testing.assert_allclose(
        along(2.0, Aberrations(C30=1.2e7)), 0.5 * pi * 1.2e7 * LAM**3 * K**4, rtol=1e-12
    )


@pytest.mark.parametrize("name", [name for name, (_, m) in ORDERS.items() if m])
def test_azimuthal_symmetry_is_the_second_index(name):
    n, m = ORDERS[name]
    lens = Aberrations(**{name: 250.0, "phi" + name[1:]: 0.3})
    crest = along(0.3, lens)
    np.testing.assert_allclose(crest, 2 * pi / LAM * 250 * (LAM * K) ** (n + 1) / (n + 1))
    np.testing.assert_allclose(along(0.3 + 2 * pi / m, lens), crest, atol=1e-12)
    np.testing.assert_allclose(along(0.3 + pi / m, lens), -crest, atol=1e-12)


def test_azimuth_runs_from_the_column_axis_to_the_row_axis():
    # Astigmatism with its crest along the rows delays a wave vector along the rows.
    lens = Aberrations(C12=100.0, phi12=pi / 2)
    assert phase_shift(np.array(0.5), np.array(0.0), LAM, lens) > 0
    assert phase_shift(np.array(0.0), np.array(0.5), LAM, lens) < 0


def test_coefficients_add_up():
    lens, rng = random_lens(), np.random.default_rng(1)
    ky, kx = rng.uniform(-0.6, 0.6, (2, 50))
    parts = [
        Aberrations(**{n: getattr(lens, n) for n in (name, "phi" + name[1:]) if n in NAMES})
        for name in ORDERS
    ]
    np.testing.assert_allclose(
        phase_shift(ky, kx, LAM, lens), sum(phase_shift(ky, kx, LAM, p) for p in parts), rtol=1e-12
    )


def test_phase_broadcasts_rows_against_columns():
    ky, kx = np.linspace(-0.5, 0.5, 4)[:, None], np.linspace(-0.4, 0.4, 6)
    chi = phase_shift(ky, kx, LAM, random_lens())
    assert chi.shape == (4, 6)
    assert chi[1, 4] == phase_shift(ky[1], kx[4:5], LAM, random_lens())[0]


def test_polar_and_cartesian_notation_give_one_phase():
    lens, rng = random_lens(3), np.random.default_rng(2)
    again = Aberrations.from_cartesian(lens.cartesian())
    ky, kx = rng.uniform(-0.6, 0.6, (2, 50))
    np.testing.assert_allclose(
        phase_shift(ky, kx, LAM, again), phase_shift(ky, kx, LAM, lens), rtol=1e-11
    )


def test_cartesian_vector_is_c_times_cosine_and_sine():
    lens = Aberrations(C10=5.0, C12=2.0, phi12=0.5, C21=3.0, phi21=-1.0)
    expected = [5.0, 2 * np.cos(1.0), 2 * np.sin(1.0), 3 * np.cos(-1.0), 3 * np.sin(-1.0)]
    np.testing.assert_allclose(lens.cartesian()[:5], expected)
    assert lens.cartesian().shape == (len(CARTESIAN),)


def test_negative_magnitude_is_half_a_period_of_its_azimuth():
    turned = Aberrations.from_cartesian(Aberrations(C23=-40.0, phi23=0.1).cartesian())
    np.testing.assert_allclose(turned.C23, 40.0)
    np.testing.assert_allclose(
        along(0.7, turned), along(0.7, Aberrations(C23=-40.0, phi23=0.1)), rtol=1e-12
    )


def test_short_cartesian_vector_leaves_the_rest_at_zero():
    lens = Aberrations.from_cartesian(np.array([7.0, 0.0, 2.0]))
    assert lens.nonzero() == pytest.approx({"C10": 7.0, "C12": 2.0, "phi12": pi / 4})


def test_cartesian_vector_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="13 numbers, expected at most 12"):
        Aberrations.from_cartesian(np.zeros(13))


def test_no_aberrations_is_no_phase():
    assert Aberrations().nonzero() == {}
    assert tuple(f.name for f in fields(Aberrations)) == NAMES
    assert not along(0.2, Aberrations()).any()
