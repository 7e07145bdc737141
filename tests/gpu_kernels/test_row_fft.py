"""The transform of small windows is that of NumPy, there and back."""

import numpy as np
import pytest

from gpu_kernels.epie_window import to_fourier, to_space
from gpu_kernels.row_fft import SIDES, pitch_of, row_order, side_as_type, turns, window_of


def put(window, wave, side):
    """A wave (y, x) as a window in real space, [x][y]."""
    planes = window.reshape(2, side, pitch_of.py_func(side_as_type(side)))
    planes[0, :, :side], planes[1, :, :side] = wave.T.real, wave.T.imag


def taken(window, side):
    planes = window.reshape(2, side, pitch_of.py_func(side_as_type(side)))[:, :, :side]
    return planes[0] + 1j * planes[1]


@pytest.mark.parametrize("side", [16, 32, 48])
def test_transform_and_its_inverse(side):
    kind, order = side_as_type(side), row_order(side)
    rng = np.random.default_rng(side)
    wave = rng.normal(size=(side, side)) + 1j * rng.normal(size=(side, side))
    space, fourier = window_of(kind, np.float32), window_of(kind, np.float32)
    put(space, wave, side)
    to_fourier(space, fourier, turns(side, np.float32), order, kind)
    # Fourier windows are [ky][kx], rows in the order of the passes.
    np.testing.assert_allclose(taken(fourier, side)[order], np.fft.fft2(wave), atol=1e-4)
    to_space(fourier, space, turns(side, np.float32), order, kind)
    np.testing.assert_allclose(taken(space, side).T, wave * side**2, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("side", SIDES)
def test_order_holds_every_row_once(side):
    assert sorted(row_order(side)) == list(range(side))


def test_side_without_a_transform_is_refused():
    with pytest.raises(ValueError, match="20 x 20 pixels; the side of a window can be 16"):
        side_as_type(20)
