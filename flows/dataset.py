"""A dataset of a job: one recording, its microscope, and what is to be made of it."""

import re
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from flows.options import (
    CnnOptions,
    CountingOptions,
    DenseOptions,
    DpcOptions,
    EpieOptions,
    FrcOptions,
    Length,
    Options,
    ProbeOptions,
    RadialOptions,
    ScanRegion,
    SsbOptions,
    Tuning,
    Vacuum,
    VirtualDetector,
    pair,
)
from models.aberrations import NAMES, Aberrations

StepName = Literal["virtual", "probe", "dpc", "ssb", "cnn", "epie", "frc"]
STEPS: tuple[StepName, ...] = get_args(StepName)
"""Steps that a job may ask for, in the order in which they run."""
DEFAULT_STEPS: tuple[StepName, ...] = ("virtual", "dpc", "ssb", "frc")
"""Steps of a job that does not name them: those that take seconds."""


def _within(low: float, high: float, unit: str, hint: str) -> AfterValidator:
    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"{value:g} {unit} is outside {low:g} to {high:g} {unit}; {hint}")
        return value

    return AfterValidator(check)


def _known_aberrations(values: dict[str, float]) -> dict[str, float]:
    for name, value in values.items():
        if name == "defocus":
            raise ValueError("give C10 = -defocus instead of defocus, in Å")
        if name not in NAMES:
            raise ValueError(f"'{name}' is not one of {', '.join(NAMES)}")
        if name.startswith("phi") and abs(value) > 7:
            raise ValueError(f"{name} = {value:g} is an angle in rad; did you give degrees?")
        if name.startswith("C") and 0 < abs(value) < 1e-3:
            raise ValueError(f"{name} = {value:g} is in Å; did you give metres?")
    return values


Voltage = Annotated[float, _within(1, 3000, "kV", "did you give volts?")]
Semiangle = Annotated[float, _within(0.05, 300, "mrad", "did you give rad or degrees?")]
Step = Annotated[
    float, _within(0.001, 1e4, "Å", "the scan step is the distance of neighbouring positions in Å")
]
Degrees = Annotated[float, _within(-360, 360, "degrees", "did you give mrad?")]
Pixel = Annotated[float, _within(-1e5, 1e5, "px", "give detector pixels")]
Radius = Annotated[float, _within(1, 1e4, "px", "the disk's radius in pixels")]


class Dataset(Options):
    """One recording and how it is to be milled."""

    path: str = Field(examples=["scans/scan147.h5", "scans/*.h5"])
    """The recording, relative to the job file, or the address of one file (`https://`, `s3://`),
    which is copied first; its keys come from the environment. A glob stands for a dataset for each
    file."""
    name: str = Field(
        default="", pattern=r"^$|^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$", examples=["scan147"]
    )
    """Folder of the results; absent: the file's name without its suffix."""
    voltage_kv: Voltage | None = Field(default=None, examples=[80])
    """Accelerating voltage [kV]. Needed."""
    semiangle_mrad: Semiangle | None = Field(default=None, examples=[25])
    """Convergence semi-angle [mrad]. Needed: with the disk it is the scale of the detector."""
    scan_step_angstrom: Annotated[tuple[Step, Step], BeforeValidator(pair)] | None = Field(
        default=None, examples=[0.316, [0.316, 0.32]]
    )
    """Distance of neighbouring scan positions [Å], one number or [y, x]. Needed."""
    metadata: str | None = Field(default=None, examples=["scan147_HAADF.dm4", "{name}.dm4"])
    """A file beside the recording that says `voltage_kv`, `semiangle_mrad` or
    `scan_step_angstrom` where the job does not: an image of the same scan, as `.dm4`, `.emd`,
    `.ser`, `.hspy` and others. `{name}` stands for the recording's name without its suffix. What it
    leaves open is taken from the recording itself, where that says it."""
    told_by: dict[str, str] = Field(default={}, examples=[{"voltage_kv": "scan147_HAADF.dm4"}])
    """Which file gave a key that the job leaves open: filled in as the job is read."""
    scan_rotation_deg: Degrees | None = Field(default=None, examples=[-9])
    """Angle that turns the detector's axes to the scan's [°]; absent: fitted."""
    flip: bool | None = Field(default=None, examples=[False])
    """Whether the detector's axes are transposed first; absent: found out."""
    center_px: tuple[Pixel, Pixel] | None = Field(default=None, examples=[[288, 288]])
    """Centre of the bright-field disk, [row, column] [detector px]; absent: fitted."""
    semiangle_px: Radius | None = Field(default=None, examples=[110])
    """Radius of the bright-field disk [detector px]; absent: fitted."""
    aberrations: Annotated[dict[str, float], AfterValidator(_known_aberrations)] | None = Field(
        default=None, examples=[{"C10": -120, "C12": 15, "phi12": 0.6}, {}]
    )
    """Krivanek's coefficients C10 … C34 [Å] with their azimuths phi12 … [rad]; one that is not
    named is 0. Absent: fitted. C10 = −defocus."""
    array: str | None = Field(default=None, examples=["/entry/data"])
    """Which array, where a file holds several."""
    scan_shape: tuple[Length, Length] | None = Field(default=None, examples=[[256, 256]])
    """Scan rows and columns, where the file does not hold them; else they must agree."""
    detector_shape: tuple[Length, Length] | None = Field(default=None, examples=[[576, 576]])
    """Detector rows and columns, where the file leaves them open; else they must agree."""
    drop_flyback: bool = Field(default=False, examples=[True])
    """Leave out the last scan column, which was taken as the beam flew back."""
    threshold: float | None = Field(default=None, examples=[12.5])
    """Take dense values from this one on as one electron each; absent: values are counts."""
    counting: CountingOptions | None = Field(default=None, examples=[{"dark": "dark.npy"}])
    """How electrons are counted in raw camera frames; absent: by what is usual."""
    out_of_range: Literal["error", "drop"] = Field(default="error", examples=["drop"])
    """What becomes of events outside the detector: the dataset fails, or they are dropped and
    counted."""
    steps: tuple[StepName, ...] = Field(
        default=DEFAULT_STEPS, examples=[["virtual", "ssb", "epie"]]
    )
    """What is to be made of the events."""
    priority: int = Field(default=0, ge=-1000, le=1000, examples=[10])
    """Datasets of a higher priority are milled first; equal ones in the order of the job."""
    scan_bin: int = Field(default=1, ge=1, le=64, examples=[2])
    """Scan positions along a side that are summed into one, for everything that follows."""
    detectors: tuple[VirtualDetector, ...] = Field(
        default=(), examples=[[{"name": "ring", "inner_mrad": 30, "outer_mrad": 60}]]
    )
    """Virtual detectors beside the standard ones (bf, abf, adf); each becomes `virtual_<name>`."""
    radial: RadialOptions = Field(default=RadialOptions(), examples=[{"width_mrad": 0.5}])
    """Sums over rings around the centre of the disk."""
    regions: tuple[ScanRegion, ...] = Field(
        default=(), examples=[[{"name": "particle", "window": [10, 40, 0, 64]}]]
    )
    """Parts of the scan whose frames are averaged; each becomes `pacbed_<name>`."""
    vacuum: Vacuum | None = Field(default=None, examples=["auto", {"window": [0, 16, 0, 16]}])
    """Where nothing but the probe was in the beam: a window, a mask, or `auto` to look for it."""
    dense: DenseOptions | None = Field(default=None, examples=[{"bin": 4, "dtype": "uint8"}])
    """Write a dense 4D array for other programs, `dense.zarr`."""
    disk_bins: int = Field(default=24, ge=8, le=256, examples=[32])
    """Binned detector pixels across the bright-field disk, for calibration and SSB. A lens far from
    focus wants more; the report says when."""
    dpc: DpcOptions = Field(default=DpcOptions(), examples=[{"high_pass": 0.001}])
    """How the beam's deflection is integrated."""
    ssb: SsbOptions = Field(default=SsbOptions(), examples=[{"sidebands": "left"}])
    """Single-sideband ptychography."""
    probe_search: ProbeOptions = Field(default=ProbeOptions(), examples=[{"third_order": True}])
    """How the step `probe` finds the probe."""
    frc: FrcOptions = Field(default=FrcOptions(), examples=[{"threshold": 0.5}])
    """How the resolution of the images is measured."""
    tuned: tuple[Tuning, ...] = Field(
        default=(),
        examples=[
            [
                {
                    "by": "ana",
                    "at": "2026-03-02T09:30:00+01:00",
                    "before": {},
                    "after": {"flip": True},
                }
            ]
        ],
    )
    """Who tuned the calibration by eye: written by the explorer, and not read by the night."""
    probe: str | None = Field(default=None, examples=["probe.npy", "vacuum"])
    """What iterative methods start from: an .npy file with a measured complex probe, or `vacuum`,
    the amplitude of the vacuum's pattern with the calibrated phases; absent: the aberrations."""
    cnn: CnnOptions = Field(default=CnnOptions(), examples=[{"train": "never"}])
    """The phase by a neural network."""
    epie: EpieOptions = Field(default=EpieOptions(), examples=[{"iterations": 100}])
    """Iterative ptychography."""

    @property
    def milled_step(self) -> tuple[float, float] | None:
        """Distance of the positions that are milled [Å], those of a binned scan where it is."""
        step = self.scan_step_angstrom
        return None if step is None else (step[0] * self.scan_bin, step[1] * self.scan_bin)

    @property
    def known_aberrations(self) -> Aberrations | None:
        """The given aberrations, or None where they are to be fitted."""
        return None if self.aberrations is None else Aberrations(**self.aberrations)


def name_of_recording(path: str | Path) -> str:
    """A dataset's name from that of its file, with what a folder can be called everywhere."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", Path(path).stem).lstrip("._+-")[:100] or "dataset"
