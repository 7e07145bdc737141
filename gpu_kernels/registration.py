"""Registration of two images of one object: their shift to a hundredth of a pixel, and their ramps.

Reconstructions of one specimen may differ by what no measurement decides: where the origin lies,
and a linear ramp of the phase. Both would pass for a lack of resolution and are removed before two
images are compared.
"""

import numpy as np

from gpu_kernels.backend import Array
from gpu_kernels.fourier import libraries

FINER = (8, 64)
"""Fractions of a pixel of the two searches around the peak."""


def shift_between(
    first: Array, second: Array, window: Array, rounds: int = 4
) -> tuple[float, float]:
    """How far the second image lies from the first.

    The peak of their cross-correlation, refined by the discrete Fourier transform evaluated between
    pixels (Guizar-Sicairos, Thurman and Fienup, Opt. Lett. 33 (2008) 156) and a parabola. A window
    pulls the peak towards no shift, so the second image is moved back and looked at again.

    Parameters
    ----------
    first, second : (rows, columns)
        Real or complex; of the same shape.
    window : (rows, columns)
        Weights that fade towards the edges.
    rounds : int
        How often to look.

    Returns
    -------
    row, column : float
        ``second(r) ≈ first(r − shift)`` [px].
    """
    xp, fft = libraries(first)
    frequencies = tuple(xp.fft.fftfreq(n) for n in first.shape)
    still = fft.fft2((first - first.mean()) * window).conj()
    shift = (0.0, 0.0)
    for _ in range(rounds):
        moved = shifted(second, (-shift[0], -shift[1]))
        step = _peak(fft.fft2((moved - moved.mean()) * window) * still, frequencies)
        shift = (shift[0] + step[0], shift[1] + step[1])
    return shift


def shifted(image: Array, shift: tuple[float, float]) -> Array:
    """Move an image by a fraction of pixels, as a Fourier series: ``image(r − shift)``.

    Parameters
    ----------
    image : (rows, columns)
        Real or complex.
    shift : (row, column)
        [px].

    Returns
    -------
    (rows, columns)
        Real where ``image`` is; it lives where ``image`` lives.
    """
    xp, fft = libraries(image)
    spectrum = fft.fft2(image)
    for axis, (n, by) in enumerate(zip(image.shape, shift, strict=True)):
        turn = xp.exp(-2j * np.pi * by * xp.fft.fftfreq(n))
        spectrum = spectrum * (turn[:, None] if axis == 0 else turn)
    moved = fft.ifft2(spectrum)
    return moved if xp.iscomplexobj(image) else moved.real


def without_plane(image: Array) -> Array:
    """(rows, columns) float64: a real image less the plane that fits it best."""
    xp, _ = libraries(image)
    rest = xp.asarray(image, dtype=np.float64)
    rest = rest - rest.mean()
    for axis, n in enumerate(rest.shape):
        along = xp.arange(n) - (n - 1) / 2
        norm = float((along**2).sum()) * rest.size / n
        if norm == 0:
            continue
        along = along[:, None] if axis == 0 else along
        rest = rest - along * float((rest * along).sum() / norm)
    return rest


def levelling(image: Array) -> Array:
    """Unit factors that take the strongest ramp and the constant out of a complex image's phase.

    Parameters
    ----------
    image : (rows, columns) complex
        A transmission, whose strongest frequency is the unscattered wave; or the product of one
        with the conjugate of another, whose strongest is the ramp between the two.

    Returns
    -------
    (rows, columns) complex
        To multiply with; it lives where ``image`` lives.
    """
    xp, _ = libraries(image)
    # F(f)(q) = (F⁻¹(f*)(q))*, so the peak of the inverse transform of f* is the ramp's frequency.
    frequency = _peak(image.conj(), tuple(xp.arange(n) / n for n in image.shape))
    factors = xp.ones(())
    for axis, (n, q) in enumerate(zip(image.shape, frequency, strict=True)):
        along = xp.exp(-2j * np.pi * q * xp.arange(n) / n)
        factors = factors * (along[:, None] if axis == 0 else along)
    constant = (image * factors).sum()
    return factors * (constant.conj() / abs(constant))


def _peak(spectrum: Array, places: tuple[Array, Array]) -> tuple[float, float]:
    """Where |Σ spectrum(k) e^(2πi k·r)| is greatest, between pixels, k being at ``places``."""
    xp, fft = libraries(spectrum)
    k_y, k_x = places
    whole = int(xp.argmax(xp.abs(fft.ifft2(spectrum))))
    at = np.array(np.unravel_index(whole, spectrum.shape), dtype=np.float64)
    span = 1.0
    for finer in FINER:
        steps = np.linspace(-span, span, int(2 * span * finer) + 1)
        y, x = (xp.asarray(a + steps) for a in at)
        near = xp.exp(2j * np.pi * y[:, None] * k_y) @ spectrum
        near = near @ xp.exp(2j * np.pi * k_x[:, None] * x)
        value = xp.abs(near)
        row, col = divmod(int(xp.argmax(value)), value.shape[1])
        at += steps[[row, col]]
        span = 2 / finer
    at += np.array([_vertex(value[:, col], row), _vertex(value[row], col)]) / FINER[-1]
    shape = np.array(spectrum.shape)
    return tuple(float(v) for v in (at + shape / 2) % shape - shape / 2)  # type: ignore[return-value]


def _vertex(values: Array, at: int) -> float:
    """Top of the parabola through a value and its two neighbours, from it [steps]."""
    if not 0 < at < values.size - 1:
        return 0.0
    left, middle, right = (float(values[at + d]) for d in (-1, 0, 1))
    curvature = left - 2 * middle + right
    return 0.5 * (left - right) / curvature if curvature < 0 else 0.0
