"""The bright-field disk: its centre and radius on the detector, from a sum of frames.

A first guess comes from the brightest connected region; then a disk with a soft edge is fitted to
the counts around its rim by maximum likelihood, so that a single frame of 2,000 electrons suffices.
Host work of milliseconds on one image; there is nothing in it for a GPU.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

SECTORS = 36
ROUNDS = 6
FEWEST_ELECTRONS = 500


class DiskError(ValueError):
    """No bright-field disk can be fitted."""


@dataclass(frozen=True)
class DiskFit:
    """A fitted bright-field disk, in detector pixels."""

    center: tuple[float, float]
    """(row, col)."""
    radius: float
    center_sigma: tuple[float, float]
    """Standard deviation of the centre."""
    radius_sigma: float
    edge: float
    """Width of the rim: half of the 12 % to 88 % range."""
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
        Its uncertainty is that of counting statistics.

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
    for _ in range(ROUNDS):  # each time on the pixels that the last has found to matter
        fit, rim = _fit_rim(counts, center, radius)
        moved = np.hypot(fit[0] - center[0], fit[1] - center[1]) + abs(fit[2] - radius)
        center, radius = (fit[0], fit[1]), fit[2]
        if moved < 0.01:
            break
    row, col, radius, edge, inside, outside = fit[:6]
    sigma = _sigma(fit, *rim)
    covered = _covered(counts.shape, center, radius)
    if not (radius > 1.5 and inside > 1.5 * outside and covered > 0.5):
        raise DiskError(
            f"no bright-field disk: the best fit has its centre at ({row:.1f}, {col:.1f}) px, "
            f"radius {radius:.1f} px, {inside:.3g} e inside and {outside:.3g} e outside, and "
            f"{covered:.0%} of its rim is on the detector; give center_px and semiangle_px."
        )
    return DiskFit(
        center=(float(row), float(col)),
        radius=float(radius),
        center_sigma=(float(sigma[0]), float(sigma[1])),
        radius_sigma=float(sigma[2]),
        edge=float(edge),
        covered=covered,
        contrast=float(inside / max(outside, 1e-9)),
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


def _fit_rim(counts, center, radius):
    y, x = np.indices(counts.shape)
    r = np.hypot(y - center[0], x - center[1])
    near = (r > 0.7 * radius) & (r < max(1.3 * radius, radius + 4))
    near &= _alive(counts, y, x, center, radius, r)
    if near.sum() < 30:
        raise DiskError("the frame has no disk whose rim could be fitted.")
    data, rows, cols, at = counts[near], y[near], x[near], r[near]
    inside = max(_mean(data[at < 0.85 * radius]), 1e-6)
    outside = float(np.clip(_mean(data[at > 1.15 * radius]), 1e-3 * inside, 0.9 * inside))
    start = np.array([*center, radius, 0.7, inside, outside, 0, 0, 0, 0])
    low = [start[0] - radius, start[1] - radius, 0.5 * radius, 0.3, 0.05 * inside, 0, *[-0.9] * 4]
    high = [start[0] + radius, start[1] + radius, 1.6 * radius, 0.8 * radius, 20 * inside,
            10 * inside, *[0.9] * 4]  # fmt: skip

    def deviance(parameters):
        model = np.maximum(_disk(parameters, rows, cols), 1e-9)
        terms = model - data
        some = data > 0
        terms[some] += data[some] * np.log(data[some] / model[some])
        return np.sqrt(2 * np.maximum(terms, 0)) * np.sign(data - model)

    spread = np.sqrt(max(inside, 1.0))
    found = optimize.least_squares(
        deviance, np.clip(start, low, high), bounds=(low, high), x_scale="jac", loss="soft_l1",
        f_scale=max(3.0, 0.2 * spread), ftol=1e-6, xtol=1e-5, max_nfev=40,
    )  # fmt: skip
    return found.x, (rows, cols)


def _mean(values):
    return float(values.mean()) if values.size else 0.0


def _disk(parameters, rows, cols):
    # Inside, the level may slope and bend along the rim: a defocused specimen shows in the disk.
    row, col, radius, edge, inside, outside, slope_y, slope_x, bend_a, bend_b = parameters
    y, x = (rows - row) / radius, (cols - col) / radius
    r = np.hypot(rows - row, cols - col)
    level = inside * (1 + slope_y * y + slope_x * x + bend_a * (x * x - y * y) + bend_b * 2 * x * y)
    return outside + (level - outside) / (1 + np.exp(np.clip((r - radius) / (0.5 * edge), -50, 50)))


def _alive(counts, y, x, center, radius, r):
    """Pixels in directions, and on rows, where the disk is seen: not those of a dead sector."""
    core = r < 0.85 * radius
    alive = np.ones(counts.shape, bool)
    width = np.where(core, 1, 0).sum(axis=1)
    expected = counts[core].mean() * width
    dead = (np.where(core, counts, 0).sum(axis=1) < 0.1 * expected) & (expected > 20)
    alive[dead] = False
    sector = ((np.arctan2(y - center[0], x - center[1]) / (2 * np.pi) + 0.5) * SECTORS).astype(int)
    ring = core & (r > 0.5 * radius) & alive
    seen = np.bincount(sector[ring], counts[ring], SECTORS + 1)
    area = np.maximum(1, np.bincount(sector[ring], minlength=SECTORS + 1))
    level = seen / area
    typical = np.median(level[:SECTORS])
    blocked = (level < 0.3 * typical) & (typical * area > 20)
    return alive & ~blocked[sector]


def _sigma(fit, rows, cols):
    step = np.array([1e-3, 1e-3, 1e-3, 1e-3, 1e-4 * fit[4], 1e-4 * fit[4], *[1e-4] * 4])
    model = np.maximum(_disk(fit, rows, cols), 1e-9)
    slope = []
    for number, width in enumerate(step):
        moved = fit.copy()
        moved[number] += width
        slope.append((_disk(moved, rows, cols) - model) / width / np.sqrt(model))
    fisher = np.array(slope) @ np.array(slope).T
    return np.sqrt(np.abs(np.diag(np.linalg.pinv(fisher))))


def _covered(shape, center, radius):
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    row, col = center[0] + radius * np.sin(angle), center[1] + radius * np.cos(angle)
    return float(((row > 0) & (row < shape[0] - 1) & (col > 0) & (col < shape[1] - 1)).mean())
