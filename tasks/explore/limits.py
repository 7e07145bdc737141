"""How far a calibration can be moved: what a slider spans, and what no data could show."""

from dataclasses import dataclass
from math import ceil, floor, log10, pi

from models.aberrations import CARTESIAN, NAMES, ORDERS, Aberrations
from models.geometry import Geometry

SLIDER_TURNS = 4.0
"""A slider spans coefficients that turn the phase at the disk's edge by so much."""
MOST_TURNS = 40.0
"""Beyond, the phase within one binned pixel turns more than once at every frequency."""


@dataclass(frozen=True)
class Quantity:
    """One number of a calibration, as a person sets it."""

    key: str
    label: str
    unit: str
    reach: float
    """A slider spans ± this about ``around``."""
    least: float
    most: float
    around: float = 0.0

    @property
    def step(self) -> float:
        """A round number, some five hundredth of what the slider spans."""
        rough = 2 * self.reach / 500
        power = 10.0 ** floor(log10(rough))
        return next(m * power for m in (5, 2, 1) if m * power <= rough * (1 + 1e-9))

    def span(self, value: float) -> tuple[float, float]:
        """Start and end of a slider that has the value well inside; its stops are round."""
        reach, step = max(self.reach, 1.5 * abs(value - self.around)), self.step
        low, high = max(self.least, self.around - reach), min(self.most, self.around + reach)
        return floor(low / step) * step, ceil(high / step) * step

    def check(self, value: float) -> float:
        """The value itself.

        Raises
        ------
        ValueError
            If it is beyond what makes sense.
        """
        if not self.least <= value <= self.most:
            raise ValueError(
                f"{self.label} = {value:g} {self.unit} is out of range: {self.least:.4g} to "
                f"{self.most:.4g} {self.unit}"
            )
        return value


def lens_quantities(geometry: Geometry, parts: bool) -> list[Quantity]:
    """Aberrations, as sizes and azimuths or as Cartesian parts.

    Parameters
    ----------
    geometry : Geometry
        Semi-angle and wavelength set the scale.
    parts : bool
        a and b parts (``C12a``, ``C12b``) in place of size and azimuth.

    Returns
    -------
    list of Quantity
        In Å and rad.
    """
    found = []
    for name in CARTESIAN if parts else NAMES:
        if name.startswith("phi"):
            m = int(name[-1])
            found.append(Quantity(name, f"φ{name[3:]}", "rad", pi / m, -2 * pi, 2 * pi))
            continue
        turn = turn_of(name[:3], geometry)
        low = -MOST_TURNS if parts or name in ("C10", "C30") else 0.0
        found.append(Quantity(name, name, "Å", SLIDER_TURNS * turn, low * turn, MOST_TURNS * turn))
    return found


def geometry_quantities(geometry: Geometry, detector_shape: tuple[int, int]) -> list[Quantity]:
    """Rotation, semi-angle and disk, about what they are now."""
    angle, radius = geometry.semiangle * 1e3, geometry.radius
    about = 0.1 * radius
    rows, cols = detector_shape
    row, col = geometry.center
    return [
        Quantity("scan_rotation_deg", "scan rotation", "°", 180.0, -360.0, 360.0),
        Quantity("semiangle_mrad", "semi-angle", "mrad", 0.1 * angle, 0.05, 300.0, angle),
        Quantity("semiangle_px", "disk radius", "px", about, 1.0, float(max(rows, cols)), radius),
        Quantity("center_row", "disk centre, row", "px", about, 0.0, rows - 1.0, row),
        Quantity("center_col", "disk centre, column", "px", about, 0.0, cols - 1.0, col),
    ]  # fmt: skip


def turn_of(name: str, geometry: Geometry) -> float:
    """The coefficient that turns the phase at the disk's edge once [Å]."""
    n, _ = ORDERS[name]
    return (n + 1) * geometry.wavelength / geometry.semiangle ** (n + 1)


def lens_values(lens: Aberrations, parts: bool) -> dict[str, float]:
    """Values of ``lens_quantities`` [Å, rad]."""
    if parts:
        return dict(zip(CARTESIAN, lens.cartesian().tolist(), strict=True))
    return {name: getattr(lens, name) for name in NAMES}


def lens_of(values: dict[str, float], parts: bool) -> Aberrations:
    """Aberrations from values of ``lens_quantities``."""
    if parts:
        return Aberrations.from_cartesian([values[name] for name in CARTESIAN])  # type: ignore[arg-type]
    return Aberrations(**values)
