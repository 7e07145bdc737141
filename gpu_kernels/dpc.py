"""Differential phase contrast: from the beam's deflection to the phase.

The deflection is ∇φ/2π smoothed by the probe's intensity: COM(R) = (1/2π)(|a|² ⋆ ∇φ). Integrating
it gives φ ⋆ |a|² up to a constant. Scan edges are mirrors unless told otherwise, because an image
is no torus; the mirror forms need no iteration.
"""

import numpy as np
import scipy.fft


def deflection(
    com_sums: np.ndarray,
    com_electrons: np.ndarray,
    center: tuple[float, float],
    pixel: float,
    rotation: float,
    flip: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Deflection of the beam at each scan position, on the scan's axes.

    Parameters
    ----------
    com_sums : (scan_y, scan_x, 2) int64
        Sums of row and column over the electrons in the disk [px e].
    com_electrons : (scan_y, scan_x)
        Those electrons [e].
    center : (row, col)
        Of the disk [px].
    pixel : float
        Size of a detector pixel [1/Å].
    rotation : float
        Detector to scan [rad].
    flip : bool
        Whether the detector's axes are transposed first.

    Returns
    -------
    com_y, com_x : (scan_y, scan_x) float64
        [1/Å]; NaN where no electron hit the disk.
    """
    electrons = np.where(com_electrons > 0, com_electrons, np.nan)
    row = (com_sums[..., 0] / electrons - center[0]) * pixel
    col = (com_sums[..., 1] / electrons - center[1]) * pixel
    if flip:
        row, col = col, row
    c, s = np.cos(rotation), np.sin(rotation)
    return c * row - s * col, s * row + c * col


def filled(field: np.ndarray, rounds: int = 200) -> np.ndarray:
    """Fill NaN by smooth values from around them; what is there stays as it is.

    Each missing value relaxes towards the mean of its four neighbours (harmonic in-painting).
    """
    missing = ~np.isfinite(field)
    if not missing.any():
        return field
    known = field[~missing]
    out = np.where(missing, known.mean() if known.size else 0.0, field)
    y, x = np.nonzero(missing)
    rows, cols = field.shape
    for _ in range(rounds if known.size else 0):
        out[y, x] = 0.25 * (
            out[np.maximum(y - 1, 0), x]
            + out[np.minimum(y + 1, rows - 1), x]
            + out[y, np.maximum(x - 1, 0)]
            + out[y, np.minimum(x + 1, cols - 1)]
        )
    return out


def integrate(
    com_y: np.ndarray,
    com_x: np.ndarray,
    scan_step: tuple[float, float],
    boundary: str = "mirror",
    high_pass: float = 0.0,
    low_pass: float = 0.0,
) -> np.ndarray:
    """Integrate a deflection in closed form.

    Parameters
    ----------
    com_y, com_x : (scan_y, scan_x) float64
        Deflection [1/Å]; finite (see ``filled``).
    scan_step : (y, x)
        [Å].
    boundary : str
        ``mirror``: Neumann edges, least squares on the staggered grid by cosine transforms.
        ``periodic``: by Fourier transforms, exact for an object that repeats.
    high_pass : float
        λ1: constant added to Q² (mirror: of the grid), so that frequencies below its root fade.
    low_pass : float
        λ2: factor of Q⁴ added, so that high frequencies fade.

    Returns
    -------
    (scan_y, scan_x) float64
        Phase without mean [rad].
    """
    field_y, field_x = 2 * np.pi * (com_y - com_y.mean()), 2 * np.pi * (com_x - com_x.mean())
    if boundary == "periodic":
        return _periodic(field_y, field_x, scan_step, high_pass, low_pass)
    return _mirror(field_y, field_x, scan_step, high_pass, low_pass)


def _periodic(field_y, field_x, step, high_pass, low_pass):
    rows, cols = field_y.shape
    qy = 2 * np.pi * np.fft.fftfreq(rows, step[0])[:, None]
    qx = 2 * np.pi * np.fft.rfftfreq(cols, step[1])
    square = qy**2 + qx**2
    # A real field has no sign at the Nyquist frequency, hence no gradient there.
    if rows % 2 == 0:
        qy = qy.copy()
        qy[rows // 2] = 0
    if cols % 2 == 0:
        qx = qx.copy()
        qx[-1] = 0
    slope = -1j * (qy * scipy.fft.rfft2(field_y) + qx * scipy.fft.rfft2(field_x))
    weight = square + high_pass + low_pass * square**2
    weight[0, 0] = np.inf
    return scipy.fft.irfft2(slope / weight, s=field_y.shape)


def _mirror(field_y, field_x, step, high_pass, low_pass):
    # The slope between two positions is the mean of theirs; its divergence, with no flux through
    # the edges, is Poisson's equation with Neumann boundaries, diagonal under the cosine transform.
    rows, cols = field_y.shape
    between_y = (field_y[1:] + field_y[:-1]) / 2
    between_x = (field_x[:, 1:] + field_x[:, :-1]) / 2
    divergence = np.zeros(field_y.shape)
    divergence[:-1] += between_y / step[0]
    divergence[1:] -= between_y / step[0]
    divergence[:, :-1] += between_x / step[1]
    divergence[:, 1:] -= between_x / step[1]
    wave_y = 2 * np.sin(np.pi * np.arange(rows) / (2 * rows)) / step[0]
    wave_x = 2 * np.sin(np.pi * np.arange(cols) / (2 * cols)) / step[1]
    square = wave_y[:, None] ** 2 + wave_x**2
    weight = square + high_pass + low_pass * square**2
    weight[0, 0] = np.inf
    return scipy.fft.idctn(-scipy.fft.dctn(divergence, type=2) / weight, type=2)


def integrate_iteratively(
    com_y: np.ndarray,
    com_x: np.ndarray,
    scan_step: tuple[float, float],
    iterations: int = 64,
    boundary: str = "mirror",
    high_pass: float = 0.0,
    low_pass: float = 0.0,
    step_size: float = 1.0,
) -> np.ndarray:
    """Integrate a deflection by the regularised iteration of Pelz et al.

    φ ← φ + μ F⁻¹[−i Q·F(residual) / (Q² + λ1 + λ2 Q⁴)], where the residual is the deflection that
    φ does not yet explain; positions without data have none.

    Parameters
    ----------
    com_y, com_x : (scan_y, scan_x) float64
        Deflection [1/Å]; NaN where it is missing.
    scan_step : (y, x)
        [Å].
    iterations : int
        Steps.
    boundary : str
        As in ``integrate``.
    high_pass, low_pass : float
        λ1 and λ2.
    step_size : float
        μ.

    Returns
    -------
    (scan_y, scan_x) float64
        Phase without mean [rad].
    """
    known = np.isfinite(com_y) & np.isfinite(com_x)
    goal_y, goal_x = (np.where(known, c - c[known].mean(), 0) for c in (com_y, com_x))
    rows, cols = com_y.shape
    if boundary == "mirror":
        # An even phase has a slope that is odd along its own axis.
        known = _mirrored(known, 1, 1)
        goal_y, goal_x = _mirrored(goal_y, -1, 1), _mirrored(goal_x, 1, -1)
    phase = np.zeros(known.shape)
    for _ in range(iterations):
        slope_y, slope_x = _slope(phase, scan_step)
        rest_y = np.where(known, 2 * np.pi * goal_y - slope_y, 0)
        rest_x = np.where(known, 2 * np.pi * goal_x - slope_x, 0)
        phase += step_size * _periodic(rest_y, rest_x, scan_step, high_pass, low_pass)
    phase = phase[:rows, :cols]
    return phase - phase.mean()


def _mirrored(image: np.ndarray, sign_y: int, sign_x: int) -> np.ndarray:
    def flip(part: np.ndarray, axis: int, sign: int) -> np.ndarray:
        other = np.flip(part, axis)
        return other if part.dtype == bool else sign * other

    tall = np.concatenate([image, flip(image, 0, sign_y)], axis=0)
    return np.concatenate([tall, flip(tall, 1, sign_x)], axis=1)


def _slope(phase: np.ndarray, step: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = phase.shape
    spectrum = scipy.fft.rfft2(phase)
    qy = 2j * np.pi * np.fft.fftfreq(rows, step[0])[:, None]
    qx = 2j * np.pi * np.fft.rfftfreq(cols, step[1])
    return (
        scipy.fft.irfft2(qy * spectrum, s=phase.shape),
        scipy.fft.irfft2(qx * spectrum, s=phase.shape),
    )


def curl_and_divergence(
    com_y: np.ndarray, com_x: np.ndarray, scan_step: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Curl and divergence of a field, which a phase makes zero and its Laplacian [1/Å²]."""
    dy_y, dx_y = np.gradient(com_y, *scan_step)
    dy_x, dx_x = np.gradient(com_x, *scan_step)
    return dx_y - dy_x, dy_y + dx_x
