"""Specimens of which everything is known: crystals with defects, on amorphous films.

Every one carries a film whose texture reaches from the size of an atom to that of the field, so
that no ring of spatial frequencies is empty: on a perfect lattice alone a resolution curve has
holes. The names in ``SPECIMENS`` are what the command line offers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.atoms import Profile, atom_profile
from models.lattice import (
    Box,
    fill,
    fitted_to_period,
    hexagonal_cell,
    random_vacancies,
    square_cell,
    without_close_pairs,
)
from models.phase_object import Bumps, PhaseObject

CARBON_DENSITY = 0.1
"""Atoms of amorphous carbon in a volume [1/Å³], 2.0 g/cm³."""
TWO_SITES = np.array([[1 / 3, 1 / 3], [2 / 3, 2 / 3]])
"""Both sublattices of a honeycomb."""


@dataclass(frozen=True)
class Field:
    """What a specimen is built for."""

    size: tuple[float, float]
    """Height and width of the scanned field [Å]."""
    energy: float
    """Beam energy [eV]."""
    periodic: bool
    margin: float
    """How far it reaches beyond the field on each side, where it is not periodic [Å]."""

    @property
    def box(self) -> Box:
        """What has to be filled with atoms."""
        edge = 0.0 if self.periodic else self.margin
        return -edge, self.size[0] + edge, -edge, self.size[1] + edge

    @property
    def area(self) -> float:
        """Area of the box [Å²]."""
        y0, y1, x0, x1 = self.box
        return (y1 - y0) * (x1 - x0)

    def crystal(self, cell: np.ndarray, basis: np.ndarray) -> list[np.ndarray]:
        """Sites of a crystal all over the box, strained to the period where there is one.

        Parameters
        ----------
        cell : (2, 2) float64
            Its vectors, as rows (y, x) [Å].
        basis : (atoms, 2) float64
            Places in the cell, in parts of its vectors.

        Returns
        -------
        list of (sites, 2) float64
            (y, x) of each atom of the basis [Å].
        """
        cell = fitted_to_period(cell, self.size) if self.periodic else cell
        return fill(cell, basis, self.box)

    def atoms(self, symbol: str, positions: np.ndarray, scale: np.ndarray | float = 1.0) -> Bumps:
        """Atoms, or columns of ``scale`` atoms, at (n, 2) positions (y, x) [Å]."""
        profile = atom_profile(symbol, self.energy)
        return Bumps(positions, profile, np.broadcast_to(scale, len(positions)).astype(float))

    def anywhere(self, density: float, rng: np.random.Generator) -> np.ndarray:
        """(n, 2) positions at random over the box [Å]."""
        y0, y1, x0, x1 = self.box
        count = max(1, round(density * self.area))
        return rng.uniform((y0, x0), (y1, x1), (count, 2))


def build_specimen(
    name: str,
    size: tuple[float, float],
    energy: float,
    rng: np.random.Generator,
    *,
    periodic: bool = False,
    margin: float = 30.0,
) -> PhaseObject:
    """Make one of the known specimens.

    Parameters
    ----------
    name : str
        A key of ``SPECIMENS``.
    size : (height, width)
        Of the scanned field [Å], which begins at (0, 0); also the period, where periodic.
    energy : float
        Beam energy [eV].
    rng : numpy.random.Generator
        Decides vacancies, film and texture.
    periodic : bool
        Repeat the field for ever; crystals are strained by a few percent to fit.
    margin : float
        How far a specimen that is not periodic reaches beyond the field [Å].

    Returns
    -------
    PhaseObject
        The specimen, in the frame of the scan.

    Raises
    ------
    ValueError
        If there is no such specimen, or the field has no size.
    """
    if name not in SPECIMENS:
        raise ValueError(f"no specimen {name!r}; there are {', '.join(SPECIMENS)}")
    if not (min(size) > 0 and margin >= 0):
        raise ValueError(f"a field of {size} Å with a margin of {margin} Å has no size")
    field = Field(size, energy, periodic, margin)
    return PhaseObject(name, tuple(SPECIMENS[name](field, rng)), size if periodic else None)


def molybdenum_disulfide(field: Field, rng: np.random.Generator) -> list[Bumps]:
    """Two grains of a MoS2 monolayer with sulphur vacancies, a gold raft, on 3 Å of carbon."""
    grains = []
    inside = _second_grain(field)
    for angle, side in ((0.12, False), (0.12 + np.deg2rad(24), True)):
        sites = field.crystal(hexagonal_cell(3.16, angle), TWO_SITES)
        grains.append([kind[inside(kind) == side] for kind in sites])
    molybdenum, sulphur = (np.concatenate(kinds) for kinds in zip(*grains, strict=True))
    molybdenum, sulphur = without_close_pairs([molybdenum, sulphur], 1.35)
    sulphur, _ = random_vacancies(sulphur, 0.015, rng)
    pairs, singles = random_vacancies(sulphur, 0.05, rng)
    centre = np.array([0.27, 0.25]) * field.size
    from_raft = np.hypot(*(molybdenum - centre).T)
    lone, _ = random_vacancies(molybdenum[from_raft > 8], 0.985, rng)
    return [
        field.atoms("Mo", molybdenum),
        field.atoms("S", pairs, 2.0),
        field.atoms("S", singles, 1.0),
        # Gold sits on the metal's sites: a raft one atom thick, and lone atoms.
        field.atoms("Au", np.concatenate([molybdenum[from_raft < 5.5], lone])),
        *_carbon_film(field, 3.0, 0.03, rng),
    ]


def boron_nitride(field: Field, rng: np.random.Generator) -> list[Bumps]:
    """Two layers of h-BN, turned by 18°, with triangular vacancies and contamination."""
    bumps = []
    for angle, hole in ((0.05, (0.35, 0.64)), (0.05 + np.deg2rad(18), (0.68, 0.30))):
        boron, nitrogen = field.crystal(hexagonal_cell(2.504, angle), TWO_SITES)
        boron, _ = random_vacancies(boron, 0.012, rng)
        at = np.asarray(hole) * field.size
        boron, nitrogen = (_outside(kind, at, 2.2) for kind in (boron, nitrogen))
        bumps += [field.atoms("B", boron), field.atoms("N", nitrogen)]
    return bumps + _texture(field, 0.05, rng)


def graphene(field: Field, rng: np.random.Generator) -> list[Bumps]:
    """One layer of graphene with vacancies, a few gold adatoms and patches of contamination."""
    carbon = np.concatenate(field.crystal(hexagonal_cell(2.46, 0.09), TWO_SITES))
    carbon, vacant = random_vacancies(carbon, 0.01, rng)
    return [
        field.atoms("C", carbon),
        field.atoms("Au", vacant[::4]),  # vacancies catch metal atoms
        *_texture(field, 0.03, rng),
    ]


def gold_on_carbon(field: Field, rng: np.random.Generator) -> list[Bumps]:
    """A gold particle two layers thick, seen along [001], and lone atoms, on 10 Å of carbon."""
    centre, radius = 0.5 * np.asarray(field.size), 0.3 * min(field.size)
    strewn = _outside(field.anywhere(0.004, rng), centre, radius + 2)
    return [
        # Two layers of a square lattice of 2.88 Å, one over the gaps of the other.
        field.atoms("Au", _raft(square_cell(2.04, 0.3), centre, radius)),
        field.atoms("Au", strewn),
        *_carbon_film(field, 10.0, 0.05, rng),
    ]


SPECIMENS: dict[str, Callable[[Field, np.random.Generator], list[Bumps]]] = {
    "mos2": molybdenum_disulfide,
    "hbn": boron_nitride,
    "graphene": graphene,
    "gold": gold_on_carbon,
}
"""Specimens by name; the first is the default of the demonstration."""


def _carbon_film(
    field: Field, thickness: float, roughness: float, rng: np.random.Generator
) -> list[Bumps]:
    """Carbon atoms at random, and thickness that varies by ``roughness`` [rad]."""
    atoms = field.anywhere(CARBON_DENSITY * thickness, rng)
    return [field.atoms("C", atoms), *_texture(field, roughness, rng)]


def _texture(field: Field, rms: float, rng: np.random.Generator) -> list[Bumps]:
    # Bumps of random sign with as much variance in every octave of size: a spectrum of amplitude
    # 1/q from 1/4 of an atom's diameter to half the field. Variance = density · w² · π σ².
    sizes = [0.4]
    while 2 * sizes[-1] < min(field.size) / 5:
        sizes.append(2 * sizes[-1])
    bumps = []
    for sigma in sizes:
        places = field.anywhere(0.3 / sigma**2, rng)
        height = rms / np.sqrt(0.3 * np.pi * len(sizes))
        profile = Profile(np.array([height]), np.array([sigma]))
        bumps.append(Bumps(places, profile, rng.standard_normal(len(places))))
    return bumps


def _second_grain(field: Field) -> Callable[[np.ndarray], np.ndarray]:
    """Which positions lie beyond a wavy boundary; a periodic field has one there and one back."""
    height, width = field.size

    def beyond(at: np.ndarray) -> np.ndarray:
        y, x = at.T
        wave = 0.05 * width * np.sin(2 * np.pi * y / height)
        if field.periodic:
            return np.cos(2 * np.pi * (x - wave) / width) < 0
        return x - wave - 0.25 * (y - height / 2) > 0.56 * width

    return beyond


def _raft(cell: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """Sites of a crystal in a hexagonal outline around a centre."""
    box = (-2 * radius, 2 * radius, -2 * radius, 2 * radius)
    (sites,) = fill(cell, np.zeros((1, 2)), box, phase=(0.0, 0.0))
    faces = np.pi / 3 * np.arange(6) + 0.4
    along = sites @ np.stack([np.sin(faces), np.cos(faces)])
    return sites[along.max(axis=1) <= radius] + centre


def _outside(sites: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    return sites[np.hypot(*(sites - centre).T) > radius]
