"""Settings of a simulated scan: microscope, specimen, detector, dose, and what goes wrong.

Inside units: Å, rad, eV, e. The defaults are the demonstration.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import radians
from typing import Any

import numpy as np

from models.aberrations import Aberrations
from models.diffraction import ForwardModel
from models.geometry import Geometry
from models.probe import probe_width
from models.specimens import SPECIMENS

ROWS_STREAM, FAULTS_STREAM, SPECIMEN_STREAM, FLYBACK_STREAM = 0, 1, 2, 3
"""Random streams that spring from the seed."""

DEMO_ABERRATIONS = Aberrations(
    C10=55.0, C12=22.0, phi12=0.61, C21=700.0, phi21=-1.05, C23=450.0, phi23=0.38,
    C30=-5.0e3, C32=3.0e3, phi32=-0.5, C34=2.5e3, phi34=0.2,
)  # fmt: skip
"""What a corrector leaves after a coarse alignment: 5.5 nm of overfocus, astigmatism, coma,
and half a micrometre of the third order."""


class SimulationError(ValueError):
    """Settings that cannot be simulated; says which, and what they may be."""


@dataclass(frozen=True)
class Simulation:
    """A microscope, a scan, a detector and a specimen. The defaults are the demonstration."""

    specimen: str = "mos2"
    """A key of ``models.specimens.SPECIMENS``."""
    scan_shape: tuple[int, int] = (128, 128)
    """Rows and columns of the scan."""
    scan_step: tuple[float, float] = (0.25, 0.25)
    """Distance of scan positions along (y, x) [Å]."""
    energy: float = 80e3
    """Beam energy [eV]."""
    semiangle: float = 0.025
    """Convergence semi-angle [rad]."""
    detector_shape: tuple[int, int] = (128, 128)
    """Rows and columns of the detector."""
    center: tuple[float, float] = (62.3, 65.2)
    """Centre of the bright-field disk, (row, col) [px]."""
    radius: float = 24.0
    """Radius of the bright-field disk [px]."""
    rotation: float = radians(-9)
    """Angle from detector to scan [rad]."""
    flip: bool = False
    """Whether the detector's axes are transposed before the rotation."""
    aberrations: Aberrations = field(default_factory=lambda: DEMO_ABERRATIONS)
    """Coefficients in the detector's frame [Å, rad]."""
    electrons: float = 2000.0
    """Mean electrons of the beam in a frame [e]."""
    missing_fraction: float = 0.0005
    """Part of the positions whose frame is lost."""
    lost_sectors: int = 1
    """Frames that lost the sector in which the disk's centre lies."""
    flyback: bool = False
    """Whether each row ends with one more frame, taken while the beam flies back to the next."""
    seed: int = 1
    """Decides specimen, noise and what is lost."""
    pixel_points: int = 1
    """Points along a side of a detector pixel, over which it integrates; 1 is a point detector."""

    def __post_init__(self) -> None:
        faults = [text for wrong, text in self._faults() if wrong]
        if faults:
            raise SimulationError("; ".join(faults))

    def _faults(self) -> Iterator[tuple[bool, str]]:
        rows, cols = self.scan_shape
        yield (
            self.specimen not in SPECIMENS,
            (f"specimen {self.specimen!r} is not known; there are {', '.join(SPECIMENS)}"),
        )
        yield (
            not (1 <= rows <= 65_535 and 1 <= cols <= 65_535),
            (f"a scan of {rows} x {cols} positions; each side must be 1 to 65535"),
        )
        for name, value, unit in (
            ("scan step", min(self.scan_step), "Å"), ("energy", self.energy, "eV"),
            ("semi-angle", self.semiangle, "rad"), ("disk radius", self.radius, "px"),
            ("smaller side of the detector", min(self.detector_shape), "px"),
        ):  # fmt: skip
            yield not value > 0, f"{name} of {value} {unit} must be positive"
        yield not 0 <= self.electrons <= 1e7, f"{self.electrons} electrons a frame: 0 to 1e7"
        yield (
            not 0 <= self.missing_fraction <= 1,
            (f"missing fraction {self.missing_fraction} must be 0 to 1"),
        )
        yield (
            not 0 <= self.lost_sectors <= rows * cols * (1 - self.missing_fraction),
            (f"{self.lost_sectors} lost sectors for {rows * cols} positions"),
        )
        yield self.seed < 0, f"seed {self.seed} must not be negative"
        yield (
            not 1 <= self.pixel_points <= 16,
            f"{self.pixel_points} points along a side of a detector pixel; there can be 1 to 16",
        )
        away = [max(-c, c - n + 1) for c, n in zip(self.center, self.detector_shape, strict=True)]
        yield (
            max(away) > 0,
            (f"disk centre {self.center} px lies off a detector of {self.detector_shape} px"),
        )
        if min(self.energy, self.semiangle, self.radius) > 0:
            yield from self._field_faults()

    def _field_faults(self) -> Iterator[tuple[bool, str]]:
        # Patterns with pixels of dk hold the specimen over 1/dk around the probe, and no further.
        width = probe_width(self.energy, self.semiangle, self.aberrations)
        held = 1 / self.geometry.pixel_wavevector
        yield (
            width > held,
            f"a probe {width:.3g} Å wide: patterns with a disk of {self.radius:g} px radius hold "
            f"{held:.3g} Å around it; a radius above {self.radius * width / held:.3g} px or "
            "weaker aberrations are needed",
        )

    @property
    def recorded_shape(self) -> tuple[int, int]:
        """Rows and columns of the recording: the scan, and the flyback column if there is one."""
        return self.scan_shape[0], self.scan_shape[1] + self.flyback

    @property
    def geometry(self) -> Geometry:
        """How detector and scan lie to each other."""
        return Geometry(
            self.energy, self.semiangle, self.scan_step, self.center, self.radius, self.rotation,
            self.flip,
        )  # fmt: skip

    @property
    def forward_model(self) -> ForwardModel:
        """What turns a specimen into patterns."""
        return ForwardModel(
            self.geometry, self.aberrations, self.detector_shape, pixel_points=self.pixel_points
        )

    @property
    def dose(self) -> float:
        """Electrons on the specimen's area [e/Å²]."""
        return self.electrons / (self.scan_step[0] * self.scan_step[1])

    def random(self, *stream: int) -> np.random.Generator:
        """Random numbers of one stream, independent of all others."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=stream))


def small_simulation(**changes: Any) -> Simulation:
    """24 × 24 positions on 32 × 32 pixels at 250 electrons, for tests; a fraction of a second."""
    values: dict[str, Any] = {
        "scan_shape": (24, 24), "scan_step": (0.4, 0.4), "detector_shape": (32, 32),
        "center": (15.2, 16.1), "radius": 8.0, "electrons": 250.0, "missing_fraction": 0.005,
    }  # fmt: skip
    return Simulation(**(values | changes))


def as_json(settings: Simulation) -> dict[str, Any]:
    """Settings as JSON values; ``from_json`` is its inverse.

    A detector of points is not named: files of it are to the byte what they always were.
    """
    values = asdict(settings)
    if settings.pixel_points == 1:
        del values["pixel_points"]
    return values


def from_json(values: dict[str, Any]) -> Simulation:
    """Settings from the JSON that a recording or its truth carries."""
    made: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    made["aberrations"] = Aberrations(**values["aberrations"])
    return Simulation(**made)
