"""Where atoms sit: two-dimensional crystals, turned, cut, strained to a cell, with defects.

All positions are (y, x) [Å]. Only geometry; what an atom does to the electron is in atoms.py.
"""

import numpy as np
from scipy.spatial import cKDTree

Box = tuple[float, float, float, float]
"""y from, y to, x from, x to [Å]."""


def hexagonal_cell(constant: float, angle: float = 0.0) -> np.ndarray:
    """Basis vectors of a hexagonal lattice.

    Parameters
    ----------
    constant : float
        Lattice constant a [Å].
    angle : float
        Angle of the first vector from the x axis towards y [rad].

    Returns
    -------
    (2, 2) float64
        Rows are the vectors (y, x) [Å].
    """
    angles = angle + np.array([0.0, np.pi / 3])
    return constant * np.stack([np.sin(angles), np.cos(angles)], axis=1)


def square_cell(constant: float, angle: float = 0.0) -> np.ndarray:
    """Basis vectors of a square lattice, (2, 2) float64 [Å], as ``hexagonal_cell`` has them."""
    angles = angle + np.array([0.0, np.pi / 2])
    return constant * np.stack([np.sin(angles), np.cos(angles)], axis=1)


def fitted_to_period(cell: np.ndarray, period: tuple[float, float]) -> np.ndarray:
    """Strain a lattice by as little as makes it repeat with a rectangular period.

    Parameters
    ----------
    cell : (2, 2) float64
        Basis vectors, as rows [Å].
    period : (height, width)
        Period along y and x [Å].

    Returns
    -------
    (2, 2) float64
        Basis vectors of the strained lattice.

    Raises
    ------
    ValueError
        If the period is smaller than the cell.
    """
    sides = np.diag(np.asarray(period, float))
    steps = np.round(sides @ np.linalg.inv(cell))
    if abs(np.linalg.det(steps)) < 0.5:
        raise ValueError(f"a period of {period} Å holds no whole cell of {cell.tolist()} Å")
    return np.linalg.solve(steps, sides)


def fill(
    cell: np.ndarray, basis: np.ndarray, box: Box, phase: tuple[float, float] = (0.31, 0.17)
) -> list[np.ndarray]:
    """Sites of a crystal inside a box; a box of one period holds each site once.

    Parameters
    ----------
    cell : (2, 2) float64
        Basis vectors, as rows [Å].
    basis : (sites, 2) float64
        Sites of a cell in units of its vectors.
    box : Box
        What to fill [Å]; lower ends belong to it, upper ends do not.
    phase : (float, float)
        Offset of the crystal in units of its vectors, so that no site meets an end of the box.

    Returns
    -------
    list of (n, 2) float64
        Positions for each site of the basis [Å].
    """
    y0, y1, x0, x1 = box
    corners = np.array([(y0, x0), (y0, x1), (y1, x0), (y1, x1)]) @ np.linalg.inv(cell)
    low, high = np.floor(corners.min(axis=0)) - 2, np.ceil(corners.max(axis=0)) + 2
    u, v = np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)))
    cells = np.stack([u.ravel(), v.ravel()], axis=1) + np.asarray(phase)
    sites = []
    for offset in np.atleast_2d(basis):
        at = (cells + offset) @ cell
        # A site on an end within rounding is counted at the lower end alone.
        y, x = np.round(at, 9).T
        sites.append(at[(y >= y0) & (y < y1) & (x >= x0) & (x < x1)])
    return sites


def without_close_pairs(sites: list[np.ndarray], distance: float) -> list[np.ndarray]:
    """Take away sites that stand too close to another, as where two grains meet.

    Parameters
    ----------
    sites : list of (n, 2) float64
        Positions by kind [Å]; earlier kinds stay where a pair is of two kinds.
    distance : float
        Least distance allowed [Å].

    Returns
    -------
    list of (n, 2) float64
        The same kinds, thinned out.
    """
    together = np.concatenate(sites)
    keep = np.ones(len(together), bool)
    for first, second in sorted(cKDTree(together).query_pairs(distance)):
        if keep[first] and keep[second]:
            keep[second] = False
    ends = np.cumsum([len(kind) for kind in sites])[:-1]
    return [kind[k] for kind, k in zip(sites, np.split(keep, ends), strict=True)]


def random_vacancies(
    sites: np.ndarray, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split (n, 2) sites at random into those that stay (first) and those that are vacant."""
    vacant = rng.random(len(sites)) < fraction
    return sites[~vacant], sites[vacant]
