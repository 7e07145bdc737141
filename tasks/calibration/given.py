"""What a job says of the microscope, in the job's units."""

from dataclasses import dataclass
from math import radians
from typing import Any

from models.aberrations import NAMES


@dataclass(frozen=True)
class Given:
    """None is to be fitted."""

    voltage_kv: float
    semiangle_mrad: float
    scan_step_angstrom: tuple[float, float]
    scan_rotation_deg: float | None = None
    flip: bool | None = None
    center_px: tuple[float, float] | None = None
    semiangle_px: float | None = None
    aberrations: dict[str, float] | None = None
    """Given as a whole: a coefficient that it does not name is 0, and is not fitted."""

    @classmethod
    def of(cls, job: dict[str, Any]) -> "Given":
        """Pick the microscope's keys out of a dataset's."""
        return cls(**{name: job[name] for name in cls.__dataclass_fields__})

    @property
    def complete(self) -> bool:
        """Whether nothing is left to fit but the disk."""
        return None not in (self.scan_rotation_deg, self.flip, self.aberrations)

    @property
    def known(self) -> dict[str, Any]:
        """In the fit's terms: ``rotation`` [rad], ``flip``, Krivanek names [Å, rad]."""
        turn = self.scan_rotation_deg
        known: dict[str, Any] = {
            "rotation": None if turn is None else radians(turn),
            "flip": self.flip,
        }
        if self.aberrations is not None:
            known |= dict.fromkeys(NAMES, 0.0) | self.aberrations
        return known
