"""A specimen to show what a reconstruction can and cannot do: a flawed bicrystal on a film."""

import numpy as np
from scipy import ndimage


def lattice_on_film(
    shape: tuple[int, int],
    pixel: float,
    rng: np.random.Generator,
    *,
    spacing: float = 2.46,
    atom_phase: float = 0.25,
    atom_width: float = 0.42,
    film_phase: float = 0.06,
) -> np.ndarray:
    """A bicrystal of a honeycomb lattice with vacancies and a heavy cluster, on amorphous film.

    The film fills every spatial frequency, so that no ring of a Fourier ring correlation is empty;
    the vacancies and the boundary are what an image must show that a perfect lattice can fake.

    Parameters
    ----------
    shape : (rows, cols)
        Of the image.
    pixel : float
        [Å].
    rng : numpy.random.Generator
        Decides flaws and film.
    spacing : float
        Lattice constant [Å]; graphene's by default.
    atom_phase, atom_width : float
        Peak phase [rad] and standard deviation [Å] of an atom, a Gaussian.
    film_phase : float
        Standard deviation of the film's phase [rad].

    Returns
    -------
    (rows, cols) float64
        Phase [rad], positive where there is matter.
    """
    height, width = shape[0] * pixel, shape[1] * pixel
    sites = [_grain(spacing, angle, height, width, side) for angle, side in ((0.11, 0), (0.47, 1))]
    x, y = np.concatenate(sites).T
    strength = np.full(x.size, atom_phase)
    strength[rng.random(strength.size) < 0.012] = 0
    strength[np.hypot(y - 0.3 * height, x - 0.27 * width) < 3.2] *= 2.6
    image = np.zeros(shape)
    row, col = y / pixel, x / pixel
    # Atoms are shared out to their four neighbours by their distance, then given their width.
    for dy in (0, 1):
        for dx in (0, 1):
            r, c = np.floor(row).astype(int) + dy, np.floor(col).astype(int) + dx
            part = (1 - np.abs(row - r)) * (1 - np.abs(col - c))
            ok = (r >= 0) & (r < shape[0]) & (c >= 0) & (c < shape[1])
            np.add.at(image, (r[ok], c[ok]), (strength * part)[ok])
    sigma = atom_width / pixel
    image = ndimage.gaussian_filter(image, sigma) * 2 * np.pi * sigma**2
    rough = ndimage.gaussian_filter(rng.normal(size=shape), 0.45 / pixel)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 5.0 / pixel)
    film = rough / rough.std() + 0.8 * smooth / smooth.std()
    return image + film_phase * (film - film.min()) / 2


def _grain(spacing: float, angle: float, height: float, width: float, side: int) -> np.ndarray:
    """Sites (x, y) [Å] of one grain, left or right of the boundary."""
    a1 = spacing * np.array([np.cos(angle), np.sin(angle)])
    a2 = spacing * np.array([np.cos(angle + np.pi / 3), np.sin(angle + np.pi / 3)])
    reach = int(2.5 * max(height, width) / spacing)
    m, n = np.mgrid[-reach:reach, -reach:reach].reshape(2, -1, 1)
    at = np.concatenate([m * a1 + n * a2 + basis for basis in (np.zeros(2), (a1 + a2) / 3)])
    here = (at[:, 0] > 0.58 * width) == bool(side)
    return at[here & (at > 0).all(axis=1) & (at[:, 0] < width) & (at[:, 1] < height)]
