"""The bright-field disk: its centre and radius on the detector, from a sum of frames.

A first guess comes from the brightest connected region; then a disk with a soft edge is fitted to
the counts around its rim by maximum likelihood, so that a single frame of 2,000 electrons suffices.
Host work of a tenth of a second on one image; there is nothing in it for a GPU.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

SECTORS = 36
ROUNDS = 8
FEWEST_ELECTRONS = 500
WIDEST = 30
"""Radius [px] above which pixels are binned before the fit: the rim stays some pixels wide."""
ROBUST = 3.0
"""Deviations from the model, in those of noise, that count less than their square."""


class DiskError(ValueError):
    """No bright-field disk can be fitted."""


@dataclass(frozen=True)
class DiskFit:
    """A fitted bright-field disk, in detector pixels."""

    center: tuple[float, float]
    """(row, col)."""
    radius: float
    """Mean of its half axes."""
    center_sigma: tuple[float, float]
    """Standard deviation of the centre."""
    radius_sigma: float
    edge: float
    """Width of the rim: half of the 12 % to 88 % range."""
    ellipticity: float
    """Half the difference of its half axes, over the radius."""
    covered: float
    """Fraction of the rim's directions that the detector shows."""
    contrast: float
    """Counts inside over counts outside the rim."""


def fit_disk(frame: np.ndarray) -> DiskFit:
    """Fit the bright-field disk of a frame or of a sum of frames.

    Parameters
    ----------
    frame : (rows, cols)
        Electrons of each pixel.

    Returns
    -------
    DiskFit
        Its uncertainty is that of counting, or of what the model leaves out if that is more.

    Raises
    ------
    DiskError
        If there are too few electrons, or no disk, or less than half of its rim is to be seen.
    """
    counts = np.asarray(frame, dtype=np.float64)
    total = counts.sum()
    if total < FEWEST_ELECTRONS:
        raise DiskError(
            f"the sum of frames has {total:.0f} electrons, at least {FEWEST_ELECTRONS} are needed "
            "to fit the bright-field disk; give center_px and semiangle_px."
        )
    center, radius = _first_guess(counts)
    size = max(1, int(radius // WIDEST))
    fit, sigma = _fit_binned(_binned(counts, size), (center, radius), size)
    row, col, radius = fit[:3]
    covered = _covered(counts.shape, (row, col), radius)
    if not (radius > 1.5 and fit[6] > 1.5 * fit[11] and covered > 0.5):
        raise DiskError(
            f"no bright-field disk: the best fit has its centre at ({row:.1f}, {col:.1f}) px, "
            f"radius {radius:.1f} px, {fit[6]:.3g} e inside and {fit[11]:.3g} e outside, and "
            f"{covered:.0%} of its rim is on the detector; give center_px and semiangle_px, or "
            "move zero frequency to the frames' middle (numpy.fft.fftshift) if it comes first."
        )
    return DiskFit(
        center=(float(row), float(col)),
        radius=float(radius),
        center_sigma=(float(sigma[0]), float(sigma[1])),
        radius_sigma=float(sigma[2]),
        edge=float(fit[5]),
        ellipticity=float(np.hypot(fit[3], fit[4])),
        covered=covered,
        contrast=float(fit[6] / max(fit[11], 1e-9)),
    )


def _first_guess(counts: np.ndarray) -> tuple[tuple[float, float], float]:
    # Smooth until a typical bright pixel holds enough electrons to stand out of its own noise.
    level = (counts**2).sum() / counts.sum() if counts.max() > 3 else counts.mean()
    sigma = float(
        np.clip(np.sqrt(16 / (4 * np.pi * max(level, 1e-6))), 1.0, 0.03 * min(counts.shape))
    )
    smooth = ndimage.gaussian_filter(counts, sigma, mode="nearest")
    bright = (smooth**2).sum() / smooth.sum()
    labels, number = ndimage.label(smooth > 0.5 * bright)
    if number == 0:
        raise DiskError("the frame has no region brighter than the rest.")
    sizes = ndimage.sum_labels(smooth, labels, np.arange(1, number + 1))
    region = ndimage.binary_fill_holes(labels == 1 + int(np.argmax(sizes)))
    rows, cols = np.nonzero(region)
    return (rows.mean(), cols.mean()), float(np.sqrt(rows.size / np.pi))


def _binned(counts, size):
    rows, cols = (n // size * size for n in counts.shape)
    blocks = counts[:rows, :cols].reshape(rows // size, size, cols // size, size)
    return blocks.sum(axis=(1, 3))


def _fit_binned(counts, guess, size):
    """Fit in binned pixels; back in detector pixels, whose centres are whole numbers."""
    middle = (size - 1) / 2
    center = [(at - middle) / size for at in guess[0]]
    radius = guess[1] / size
    fit = None
    for _ in range(ROUNDS):  # each time on the pixels that the last has found to matter
        fit, sigma = _fit_rim(counts, center, radius, fit)
        moved = np.hypot(fit[0] - center[0], fit[1] - center[1]) + abs(fit[2] - radius)
        center, radius = (fit[0], fit[1]), fit[2]
        if moved < 3e-3:
            break
    fit, sigma = fit.copy(), sigma.copy()
    fit[:2] = fit[:2] * size + middle
    fit[[2, 5]] *= size
    return fit, sigma * size


def _fit_rim(counts, center, radius, last):
    y, x = np.indices(counts.shape)
    r = np.hypot(y - center[0], x - center[1])
    near = (r > 0.7 * radius) & (r < max(1.3 * radius, radius + 4))
    near &= _alive(counts, y, x, center, radius, r)
    if near.sum() < 40:
        raise DiskError("the frame has no disk whose rim could be fitted.")
    data, rows, cols, at = counts[near], y[near], x[near], r[near]
    inside = max(_mean(data[at < 0.85 * radius]), 1e-6)
    outside = float(np.clip(_mean(data[at > 1.15 * radius]), 1e-3 * inside, 0.9 * inside))
    start = np.array([*center, radius, 0, 0, 0.7, inside, 0, 0, 0, 0, outside, 0, 0])
    low = [start[0] - radius, start[1] - radius, 0.5 * radius, -0.2, -0.2, 0.3, 0.05 * inside,
           *[-0.9] * 4, 1e-6 * inside, *[-0.7] * 2]  # fmt: skip
    high = [start[0] + radius, start[1] + radius, 1.6 * radius, 0.2, 0.2, 0.8 * radius,
            20 * inside, *[0.9] * 4, 10 * inside, *[0.7] * 2]  # fmt: skip
    if last is not None:
        start = last
    start = np.clip(start, low, high)
    # Weights from the model of the last round: with them least squares is maximum likelihood.
    level = (
        _disk(start, rows, cols)[0] if last is not None else np.where(at < radius, inside, outside)
    )
    weight = 1 / np.sqrt(np.maximum(level, 1e-3 * inside))

    def residual(parameters):
        return (_disk(parameters, rows, cols)[0] - data) * weight

    def slope(parameters):
        return _disk(parameters, rows, cols)[1].T * weight[:, None]

    found = optimize.least_squares(
        residual, start, slope, bounds=(low, high), x_scale="jac", loss="soft_l1",
        f_scale=max(ROBUST, 0.2 * np.sqrt(inside)), ftol=1e-7, xtol=1e-6, max_nfev=60,
    )  # fmt: skip
    angle = np.arctan2(rows - found.x[0], cols - found.x[1])
    return found.x, _sigma(slope(found.x), residual(found.x), angle)


def _mean(values):
    return float(values.mean()) if values.size else 0.0


def _disk(parameters, rows, cols):
    """Counts and their derivatives by the 14 parameters.

    Inside, the level may slope and bend along the rim, and outside it may slope: a defocused
    specimen shows in the disk and scatters more to one side. The rim may be an ellipse.
    """
    row, col, radius, oval_a, oval_b, edge, inside, *levels, outside, tilt_y, tilt_x = parameters
    dy, dx = rows - row, cols - col
    r = np.maximum(np.hypot(dy, dx), 1e-9)
    cos, sin = dx / r, dy / r
    cos2, sin2 = cos * cos - sin * sin, 2 * sin * cos
    y, x = dy / radius, dx / radius
    shape = np.stack([y, x, x * x - y * y, 2 * x * y])
    level = 1 + np.tensordot(levels, shape, 1)
    around = 1 + tilt_y * sin + tilt_x * cos
    rim = radius * (1 + oval_a * cos2 + oval_b * sin2)
    t = np.clip((r - rim) / (0.5 * edge), -50, 50)
    s = 1 / (1 + np.exp(t))
    drop = inside * level - outside * around
    fall = -drop * s * (1 - s) / (0.5 * edge)  # by the distance from the rim
    model = outside * around + drop * s
    bend = radius * 2 * (oval_b * cos2 - oval_a * sin2)  # rim by angle
    by_y = inside * s * (levels[0] - 2 * levels[2] * y + 2 * levels[3] * x) / radius
    by_x = inside * s * (levels[1] + 2 * levels[2] * x + 2 * levels[3] * y) / radius
    turn = outside * (1 - s) * (tilt_y * cos - tilt_x * sin)  # outside level by angle
    slopes = np.empty((14, rows.size))
    # The angle goes by cos/r along y and by −sin/r along x.
    slopes[0] = -(fall * (sin - bend * cos / r) + by_y + turn * cos / r)
    slopes[1] = -(fall * (cos + bend * sin / r) + by_x - turn * sin / r)
    slopes[2] = -fall * rim / radius - y * by_y - x * by_x
    slopes[3], slopes[4] = -fall * radius * cos2, -fall * radius * sin2
    slopes[5] = -fall * t * 0.5
    slopes[6] = s * level
    slopes[7:11] = inside * s * shape
    slopes[11] = around * (1 - s)
    slopes[12], slopes[13] = outside * (1 - s) * sin, outside * (1 - s) * cos
    return model, slopes


def _alive(counts, y, x, center, radius, r):
    """Pixels in directions, and on rows, where the disk is seen: not those of a dead sector."""
    core = r < 0.85 * radius
    alive = np.ones(counts.shape, bool)
    width = np.where(core, 1, 0).sum(axis=1)
    expected = counts[core].mean() * width
    dead = (np.where(core, counts, 0).sum(axis=1) < 0.1 * expected) & (expected > 20)
    alive[dead] = False
    sector = _sector(np.arctan2(y - center[0], x - center[1]))
    ring = core & (r > 0.5 * radius) & alive
    seen = np.bincount(sector[ring], counts[ring], SECTORS)
    area = np.maximum(1, np.bincount(sector[ring], minlength=SECTORS))
    level = seen / area
    typical = np.median(level)
    blocked = (level < 0.3 * typical) & (typical * area > 20)
    return alive & ~blocked[sector]


def _sector(angle):
    return ((angle / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS


def _sigma(slope, residual, angle):
    """Deviations by counting alone, or by how much the sectors of the rim disagree."""
    inverse = np.linalg.pinv(slope.T @ slope, hermitian=True)
    pulls = slope * residual[:, None]
    sectors = np.stack([np.bincount(_sector(angle), pull, SECTORS) for pull in pulls.T], axis=1)
    counting, apart = np.diag(inverse), np.diag(inverse @ (sectors.T @ sectors) @ inverse)
    return np.sqrt(np.maximum(counting, apart))


def _covered(shape, center, radius):
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    row, col = center[0] + radius * np.sin(angle), center[1] + radius * np.cos(angle)
    return float(((row > 0) & (row < shape[0] - 1) & (col > 0) & (col < shape[1] - 1)).mean())
