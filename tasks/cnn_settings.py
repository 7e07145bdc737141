"""What a job may ask of the step ``cnn``; loads none of the libraries that networks need."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.array_files import ArrayFile, parameters_of
from tasks.store.files import hash_file

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "shipped" / "any_probe.safetensors"
"""Trained for all probes of the seven aberrations, see docs/cnn.md."""


@dataclass(frozen=True)
class NetworkSettings:
    """Which network, and whether it is trained for the probe at hand."""

    path: str | None = None
    """A safetensors file; None: the one that comes along."""
    train: str = "auto"
    """``never``, ``always``, or ``auto``: where its error is above a threshold."""
    threshold: float = 0.6
    """For ``auto``: so many times the error that counting noise alone leaves."""
    steps: int = 1500
    """Of the training for the probe."""
    minutes: float | None = None
    """As many steps as this time allows, in place of ``steps``."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the network; a file counts by what is in it."""
        file = SHIPPED if self.path is None else Path(self.path)
        own: dict[str, Any] = {"train": self.train, "sha256": hash_file(file)}
        if self.train != "never":
            own |= {"minutes": self.minutes} if self.minutes else {"steps": self.steps}
        return own | ({"threshold": self.threshold} if self.train == "auto" else {})


class CnnError(ValueError):
    """Data that no network of 32 x 32 patterns can be used for."""


@dataclass(frozen=True)
class CnnSettings:
    """Which network, which positions."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    probe: str | ArrayFile = "aberrations"
    """``aberrations``, ``vacuum`` (its amplitude, with the calibrated phases), or a file."""
    positions: ArrayFile | None = None
    """Of the probe; absent: the raster of the scan."""
    stride: int = 1
    """Take every so many positions of the scan along both axes."""
    refine: int = 4
    """Steps on the likelihood of all patterns, from the stitched patches."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the result; a file counts by what is in it."""
        return parameters_of(self) | {"network": self.network.parameters}
