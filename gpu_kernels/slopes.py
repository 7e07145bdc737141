"""The slope of an image, and the image of a slope, at the edges of a scan that is no torus.

``Mirror`` holds slopes between neighbouring positions: with no flux through the edges, the image
whose differences are nearest to them solves Poisson's equation, which the cosine transform makes
diagonal. What a slope is between positions follows from the six positions around by integrating
their polynomial, to sixth order at the edges too; where some are missing, from four or two. Fields
cropped from larger ones, in their relative error without and with 30 % of noise:

===========================  =============  =============  =============
form                         smooth         up to Nyq./2   up to 0.8 Nyq.
===========================  =============  =============  =============
periodic                     0.266 / 0.268  0.309 / 0.324  0.207 / 0.278
cosines and sines, mirrored  0.002 / 0.033  0.009 / 0.131  0.013 / 0.191
differences of 2 positions   0.002 / 0.032  0.042 / 0.132  0.100 / 0.208
of 4                         4e-6 / 0.032   0.011 / 0.128  0.056 / 0.194
**of 6**                     2e-8 / 0.032   0.004 / 0.128  0.041 / 0.191
of 8                         1e-8 / 0.033   0.002 / 0.129  0.044 / 0.193
===========================  =============  =============  =============

The mirrored field fails at the edges, where a slope that goes on turns its sign at once.
"""

from typing import Any, Protocol

import numpy as np

from gpu_kernels.backend import Array
from gpu_kernels.fourier import libraries


class Slopes(Protocol):
    """How an image and its slopes belong together; all are about (scan_y, scan_x) float64."""

    def measured(self, com_y: Array, com_x: Array) -> tuple[Array, Array]:
        """Slopes [rad/Å] where this form holds them, from those at the positions; NaN: missing."""

    def slope(self, image: Array) -> tuple[Array, Array]:
        """Of an image [rad], along y and along x [rad/Å]."""

    def image(self, slope_y: Array, slope_x: Array) -> Array:
        """The image without mean that has nearly these slopes [rad]."""


class Periodic:
    """Slopes at the positions, by Fourier transforms: exact for an image that repeats."""

    def __init__(
        self, like: Array, step: tuple[float, float], high_pass: float, low_pass: float
    ) -> None:
        """Lay out the frequencies for images like one."""
        xp, self._fft = libraries(like)
        self._shape = rows, cols = like.shape
        self._q_y = 2 * np.pi * xp.fft.fftfreq(rows, step[0])[:, None]
        self._q_x = 2 * np.pi * xp.fft.rfftfreq(cols, step[1])[None]
        self._inverse = _inverse(self._q_y**2 + self._q_x**2, high_pass, low_pass)
        # A real field has no sign at the Nyquist frequency, hence no gradient there.
        if rows % 2 == 0:
            self._q_y[rows // 2] = 0
        if cols % 2 == 0:
            self._q_x[:, -1] = 0

    def measured(self, com_y: Array, com_x: Array) -> tuple[Array, Array]:
        """As they are."""
        return com_y, com_x

    def slope(self, image: Array) -> tuple[Array, Array]:
        """Of an image."""
        spectrum = 1j * self._fft.rfft2(image)
        along_y = self._fft.irfft2(self._q_y * spectrum, s=self._shape)
        return along_y, self._fft.irfft2(self._q_x * spectrum, s=self._shape)

    def image(self, slope_y: Array, slope_x: Array) -> Array:
        """F⁻¹[−i Q·F(slope) / (Q² + λ1 + λ2 Q⁴)]."""
        flux = self._q_y * self._fft.rfft2(slope_y)
        flux += self._q_x * self._fft.rfft2(slope_x)
        flux *= -1j * self._inverse
        return self._fft.irfft2(flux, s=self._shape)


class Mirror:
    """Slopes between the positions, by cosine transforms: no flux through the edges."""

    def __init__(
        self, like: Array, step: tuple[float, float], high_pass: float, low_pass: float
    ) -> None:
        """Lay out the frequencies for images like one."""
        self._xp, self._fft = libraries(like)
        self._step, (rows, cols) = step, like.shape
        # Of the differences of neighbours: 2 sin(κh/2)/h, nearly κ.
        q_y = 2 / step[0] * self._xp.sin(np.pi / 2 / rows * self._xp.arange(rows))[:, None]
        q_x = 2 / step[1] * self._xp.sin(np.pi / 2 / cols * self._xp.arange(cols))[None]
        self._inverse = _inverse(q_y**2 + q_x**2, high_pass, low_pass)

    def measured(self, com_y: Array, com_x: Array) -> tuple[Array, Array]:
        """Mean slope from each position to the next: one fewer along its own axis."""
        return _between(com_y, self._xp), _between(com_x.T, self._xp).T

    def slope(self, image: Array) -> tuple[Array, Array]:
        """Of an image: differences of neighbours."""
        return (
            (image[1:] - image[:-1]) / self._step[0],
            (image[:, 1:] - image[:, :-1]) / self._step[1],
        )

    def image(self, slope_y: Array, slope_x: Array) -> Array:
        """The least squares over all differences, with λ1 and λ2 beside Q²."""
        flux = self._xp.zeros(self._inverse.shape)
        part = slope_y / self._step[0]
        flux[:-1] -= part
        flux[1:] += part
        part = slope_x / self._step[1]
        flux[:, :-1] -= part
        flux[:, 1:] += part
        flux = self._fft.dctn(flux, overwrite_x=True)
        flux *= self._inverse
        return self._fft.idctn(flux, overwrite_x=True)


def _inverse(square: Array, high_pass: float, low_pass: float) -> Array:
    weight = square + high_pass
    if low_pass:
        weight += low_pass * square**2
    weight[0, 0] = np.inf  # the mean of an image has no slope
    return 1 / weight


def _integral(points: int, cell: int) -> np.ndarray:
    """Weights of values at 0, 1, … for the integral of their polynomial from cell to cell + 1."""
    power = np.arange(points)[:, None]
    ends = ((cell + 1.0) ** (power + 1) - float(cell) ** (power + 1)) / (power + 1)
    weights: np.ndarray = np.linalg.solve(np.arange(points, dtype=float) ** power, ends)[:, 0]
    return weights


def _between(field: Array, xp: Any) -> Array:
    """Mean of a field between each row and the next."""
    best = xp.full((max(field.shape[0] - 1, 0), field.shape[1]), np.nan)
    for points in (6, 4, 2):
        if field.shape[0] < points or not xp.isnan(best).any():
            continue
        found = _between_by(field, points, xp)
        best = found if points == 6 else xp.where(xp.isnan(best), found, best)
    return best


def _between_by(field: Array, points: int, xp: Any) -> Array:
    rows, edge = field.shape[0], points // 2 - 1
    out = xp.zeros((rows - 1, field.shape[1]))
    for at, weight in enumerate(_integral(points, edge).tolist()):
        out[edge : rows - 1 - edge] += weight * field[at : rows - points + 1 + at]
    for cell in range(edge):
        for at, weight in enumerate(_integral(points, cell).tolist()):
            out[cell] += weight * field[at]
            out[rows - 2 - cell] += weight * field[rows - 1 - at]
    return out
