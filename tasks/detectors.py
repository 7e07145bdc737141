"""Virtual detectors: annuli and masks on the detector, and rings for radial sums."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gpu_kernels.pixel_plan import annular_masks
from tasks.masks import MaskFile


@dataclass(frozen=True)
class Annulus:
    """A virtual detector between two radii around the centre of the disk [px]."""

    name: str
    inner: float
    outer: float

    def mask(self, detector_shape: tuple[int, int], center: tuple[float, float]) -> np.ndarray:
        """Pixels of the detector that it counts, (rows, cols) bool."""
        return annular_masks(detector_shape, center, [(self.inner, self.outer)])[0]

    @property
    def parameters(self) -> dict[str, Any]:
        """What identifies it."""
        return asdict(self)


@dataclass(frozen=True)
class MaskDetector:
    """A virtual detector of any shape, from a file."""

    name: str
    file: MaskFile

    def mask(self, detector_shape: tuple[int, int], center: tuple[float, float]) -> np.ndarray:
        """Pixels of the detector that it counts, (rows, cols) bool; the file says which."""
        return self.file.read(detector_shape)

    @property
    def parameters(self) -> dict[str, Any]:
        """What identifies it."""
        return {"name": self.name} | self.file.parameters


@dataclass(frozen=True)
class RadialSettings:
    """Rings around the centre of the disk; what lies beyond the last is counted as overflow."""

    width: float
    """Of a ring [px]."""
    rings: int
    full: bool
    """Whether each scan position's rings are kept, or only those of the whole scan."""

    @classmethod
    def to_the_corner(
        cls, detector_shape: tuple[int, int], center: tuple[float, float], width: float, full: bool
    ) -> "RadialSettings":
        """Rings that cover the whole detector."""
        down, right = (
            max(abs(c), abs(n - 1 - c)) for c, n in zip(center, detector_shape, strict=True)
        )
        return cls(width, int(np.hypot(down, right) / width) + 1, full)


def standard_annuli(radius: float, detector_shape: tuple[int, int]) -> tuple[Annulus, ...]:
    """Bright field (the disk), annular bright field (its outer half) and annular dark field."""
    corner = float(np.hypot(*detector_shape))
    return (
        Annulus("virtual_bf", 0.0, radius),
        Annulus("virtual_abf", 0.5 * radius, radius),
        Annulus("virtual_adf", 1.1 * radius, corner),
    )
