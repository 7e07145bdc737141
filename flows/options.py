"""What a job may ask of the steps: detectors, regions of the scan, and how phases are retrieved."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NAME = r"^[a-z][a-z0-9_]{0,30}$"
MIRROR = r"^[a-z0-9+]+://[^?#@\s]+$"
"""Address of an object store; keys in it would end up in results."""
Index = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]
TileCount = Annotated[int, Field(ge=1, le=64)]


def pair(value: Any) -> Any:
    """One value for both axes."""
    return (value, value) if isinstance(value, int | float | str) else value


def _check_window(window: tuple[int, int, int, int] | None) -> None:
    if window is not None and (window[0] >= window[1] or window[2] >= window[3]):
        raise ValueError(
            f"window {list(window)} is empty; it is [y0, y1, x0, x1] with y0 < y1 and x0 < x1"
        )


class Options(BaseModel):
    """Base of everything that a job file holds: unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class VirtualDetector(Options):
    """A virtual detector: an annulus, or any shape from a mask file."""

    name: str = Field(pattern=NAME)
    """Lower-case letter, then letters, digits and _."""
    inner_mrad: float | None = Field(default=None, ge=0)
    """Inner edge of the annulus [mrad]."""
    outer_mrad: float | None = Field(default=None, gt=0)
    """Outer edge of the annulus [mrad]."""
    mask: str | None = None
    """An .npy or TIFF file, 0 outside and one other value inside, of the detector's shape."""

    @model_validator(mode="after")
    def _one_shape(self) -> "VirtualDetector":
        edges = [self.inner_mrad, self.outer_mrad]
        if (self.mask is None) != (None not in edges) or (self.mask and edges != [None, None]):
            raise ValueError("a detector has inner_mrad and outer_mrad, or a mask, and not both")
        if self.inner_mrad is not None and self.inner_mrad >= (self.outer_mrad or 0):
            raise ValueError(
                f"inner_mrad {self.inner_mrad:g} is not below outer_mrad {self.outer_mrad:g}"
            )
        return self


class Area(Options):
    """Some positions of the scan, as its images show them: a window, or those inside a mask."""

    window: tuple[Index, Index, Index, Index] | None = None
    """[first row, row after the last, first column, column after the last]."""
    mask: str | None = None
    """An .npy or TIFF file of the scan's shape."""

    @model_validator(mode="after")
    def _one_area(self) -> "Area":
        if (self.window is None) == (self.mask is None) and not getattr(self, "pick", False):
            raise ValueError("give either window: [y0, y1, x0, x1] or mask: FILE")
        _check_window(self.window)
        return self


class ScanRegion(Area):
    """A region of the scan whose frames are averaged."""

    name: str = Field(pattern=NAME)
    """Lower-case letter, then letters, digits and _."""


class VacuumArea(Area):
    """Where nothing but the probe was in the beam; ``pick`` looks for it."""

    pick: bool = False
    """Look for it; `vacuum: auto` says the same."""

    @model_validator(mode="after")
    def _given_or_picked(self) -> "VacuumArea":
        if self.pick and (self.window is not None or self.mask is not None):
            raise ValueError("the region is either given or picked ('auto'), not both")
        return self


def _auto(value: Any) -> Any:
    if isinstance(value, str):
        if value != "auto":
            raise ValueError(f"'{value}' is not a region; give 'auto', a window or a mask")
        return {"pick": True}
    return value


Vacuum = Annotated[VacuumArea, BeforeValidator(_auto)]


class RadialOptions(Options):
    """Sums over rings around the centre of the disk."""

    width_mrad: float | None = Field(default=None, gt=0)
    """Width of a ring [mrad]; absent: one detector pixel."""
    outer_mrad: float | None = Field(default=None, gt=0)
    """Where the rings end [mrad]; absent: at the farthest corner of the detector."""
    full: bool = False
    """Also write the rings of every scan position."""


class DenseOptions(Options):
    """A dense 4D array for other programs."""

    bin: int = Field(ge=1, le=4096)
    """Detector pixels along a side of a binned one."""
    crop_px: Annotated[tuple[Length, Length], BeforeValidator(pair)] | None = None
    """Rows and columns of the window about the disk's centre; absent: the whole detector."""
    dtype: Literal["uint8", "uint16", "uint32"] = "uint16"
    """Of the counts; one that is too narrow for the brightest pixel is refused."""


class CountingOptions(Options):
    """How electrons are counted in raw camera frames."""

    layout: Literal[4, 5] = 5
    """Sectors of the raw files: 5 rows, 4 columns of the detector; the files do not say which."""
    dark: str | None = None
    """An .npy file with each pixel's raw value without electrons, subtracted."""
    gain: str | None = None
    """An .npy file with each pixel's response, divided out before neighbours are compared."""
    background_sigmas: float = Field(default=5.0, gt=0)
    """An electron is this many standard deviations of the noise above its mean (fitted), its pixel
    alone or four pixels of a square together."""
    xray_sigmas: float = Field(default=175.0, gt=0)
    """An X-ray is this many standard deviations of all values above their mean."""
    shoulders: bool = True
    """Also take a second electron that has no gap between itself and a first; leave it out for a
    camera that spreads charge by more than 0.7 pixels (standard deviation)."""
    background_threshold: float | None = None
    """Known threshold of a pixel less its dark level, in place of the fitted ones."""
    xray_threshold: float | None = None
    """Known threshold of X-rays."""
    samples: int = Field(default=64, ge=1, le=100_000)
    """Frames that the thresholds are taken from."""
    seed: int = Field(default=0, ge=0)
    """Decides which frames these are."""

    @model_validator(mode="after")
    def _in_order(self) -> "CountingOptions":
        low, high = self.background_threshold, self.xray_threshold
        if low is not None and high is not None and low >= high:
            raise ValueError(f"background_threshold {low:g} is not below xray_threshold {high:g}")
        return self


class SsbOptions(Options):
    """Single-sideband ptychography."""

    sidebands: Literal["both", "left", "right"] = "both"
    """Which sidebands the phase is taken from."""
    edges: Literal["joined", "periodic"] = "joined"
    """Join the scan's opposite edges by a strip that fades, or take the object to repeat."""
    wiener: bool = True
    """Also write the Wiener-weighted phases."""


class DpcOptions(Options):
    """Differential phase contrast."""

    method: Literal["closed", "iterative"] = "closed"
    """The closed form, or the iteration of Pelz et al., which leaves out missing positions."""
    boundary: Literal["mirror", "periodic"] = "mirror"
    """How the phase goes on beyond the scan's edges."""
    iterations: int = Field(default=64, ge=1, le=10_000)
    """Of the iterative method."""
    high_pass: float = Field(default=0.0, ge=0)
    """λ1 [1/Å²]: frequencies below its root fade."""
    low_pass: float = Field(default=0.0, ge=0)
    """λ2 [Å²]: frequencies above 1/√λ2 fade."""


class ProbeOptions(Options):
    """The probe from the patterns alone, see [its page](probe.md).

    It is not among the default steps: it takes some minutes.
    """

    objective: Literal["prediction", "relative", "absolute", "network"] = "prediction"
    """What candidates are found by: how well patterns foretell their neighbours, or how far their
    patches disagree, relative to their size or absolutely as Chang et al. have it; `network`
    takes the patches of the shipped network of all probes, as they do."""
    iterations: int = Field(default=40, ge=1, le=1000)
    """Of the search among focused probes."""
    trials: int = Field(default=30, ge=4, le=1000)
    """In each iteration."""
    restarts: int = Field(default=2, ge=1, le=20)
    """Searches that begin elsewhere."""
    third_order: bool = False
    """Also fit C30, C32 and C34."""
    free_wavefront: bool = True
    """Let the wavefront depart from the aberrations, if the data demand it."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Of the search."""


def _named_threshold(value: Any) -> Any:
    return f"{value:g}" if isinstance(value, float) else value


class FrcOptions(Options):
    """Fourier ring correlation of images made from two halves of the electrons."""

    methods: tuple[Literal["virtual", "dpc", "ssb", "cnn", "epie"], ...] = ("virtual", "dpc", "ssb")
    """Steps whose images are made again from each half, which takes as long again; those that the
    job does not run are left out."""
    threshold: Annotated[Literal["0.143", "0.5", "half_bit"], BeforeValidator(_named_threshold)] = (
        "0.143"
    )
    """Correlation up to which an image counts as resolved; the curves are judged by all three."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """Of the coins that split the electrons."""


class Tuning(Options):
    """One change of the calibration by a person in front of the explorer."""

    by: str
    """Who."""
    at: str
    """When: date, time and its zone, as ISO 8601 writes them."""
    before: dict[str, Any]
    """Values of the dataset's keys before."""
    after: dict[str, Any]
    """Values after: those that the dataset has, until somebody edits it."""


class CnnOptions(Options):
    """The phase from single patterns by a neural network, stitched."""

    network: str | None = Field(default=None, examples=["mine.safetensors"])
    """A network from `phasemill train`; absent: the one that comes along, for every probe."""
    train: Literal["auto", "always", "never"] = "auto"
    """Whether it is first trained for the dataset's probe and dose: where its error is above
    `threshold`, always, or never."""
    threshold: float = Field(default=0.6, gt=0)
    """For `auto`: so many times the error that counting noise alone leaves."""
    steps: int = Field(default=1500, ge=1, le=1_000_000)
    """Of that training; 256 patterns each, a tenth of a second of one core or more."""
    minutes: float | None = Field(default=None, gt=0, le=1e4, examples=[10])
    """In place of `steps`: as many as this time allows, which no two machines agree on."""
    stride: int = Field(default=1, ge=1, le=64, examples=[2])
    """Take every so many scan positions along both axes."""
    positions: str | None = Field(default=None, examples=["positions.npy"])
    """As for `epie`: an .npy file with y and x of each scan position [Å]; absent: the raster."""
    refine: int = Field(default=4, ge=0, le=20, examples=[0])
    """Rounds of fitting the stitched phase to all patterns together; 0: the network alone."""


class EpieOptions(Options):
    """Iterative ptychography."""

    method: Literal["batches", "sequential"] = "batches"
    """Positions act together in growing batches, or one after another as ePIE was first written."""
    iterations: int = Field(default=50, ge=1, le=10_000)
    """Rounds through all positions."""
    start: Literal["cnn", "flat"] | None = None
    """What the object starts from: the phase of the step `cnn`, or nothing; absent: the former
    where the job has that step, and some five rounds suffice from there."""
    batch_size: int | None = Field(default=None, ge=1, examples=[512])
    """Positions of a batch; absent: a share of all that grows to all of them."""
    object_step: float | None = Field(default=None, gt=0, le=2, examples=[0.5])
    """Part of the difference by which the object is put right; absent: 0.7, sequentially 0.5."""
    probe_step: float = Field(default=0.5, ge=0, le=2, examples=[0])
    """The same for the probe; 0 keeps it as it is."""
    probe_from: int = Field(default=5, ge=0)
    """Rounds before the probe is updated."""
    momentum: float | None = Field(default=None, ge=0, lt=1, examples=[0.5])
    """Part of the object's last change that is repeated; absent: 0.9, sequentially 0."""
    annealing: float | None = Field(default=None, gt=0, le=1, examples=[0.1])
    """Steps of the last round, relative to the first; absent: 1, sequentially 0.05."""
    positions_from: int | None = Field(default=None, ge=0, examples=[10])
    """Rounds before positions are refined; absent: they are not."""
    settled_rad: float = Field(default=0.0, ge=0, le=1, examples=[0.001])
    """Stop once the residual is that of counting noise and a round moves the object by less [rad];
    0: never."""
    seed: int = Field(default=0, ge=0)
    """Of the order of positions."""
    bin: int | None = Field(default=None, ge=1, le=4096, examples=[2])
    """Detector pixels along a side of a binned one; absent: as many as the probe allows."""
    side: int | None = Field(default=None, ge=16, le=512, examples=[64])
    """Binned pixels along a side of a pattern; absent: a given probe's, else twice the disk."""
    window: tuple[Index, Index, Index, Index] | None = Field(
        default=None, examples=[[0, 64, 0, 64]]
    )
    """Part of the scan, [first row, row after the last, first column, column after the last]."""
    positions: str | None = Field(default=None, examples=["positions.npy"])
    """An .npy file (rows, columns, 2), or (positions, 2) in their order: y and x of each scan
    position [Å]; absent: the raster."""
    tiles: Annotated[tuple[TileCount, TileCount], BeforeValidator(pair)] | None = Field(
        default=None, examples=[[2, 2]]
    )
    """Tiles along the slow and the fast axis, each reconstructed by a worker of its own; absent: as
    few as keep the patterns of a tile below 2 GiB."""
    tile_overlap_angstrom: float | None = Field(default=None, gt=0, le=1e5, examples=[20])
    """How far a tile reaches into its neighbours [Å]; absent: a third of the probe's window."""

    @model_validator(mode="after")
    def _some_positions(self) -> "EpieOptions":
        _check_window(self.window)
        return self
