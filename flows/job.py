"""The job file: what a night is to do, checked as a whole before any work starts.

Every key names its unit. All that is wrong is reported at once, each with the line of the file, so
that nobody finds the second mistake after the first night.
"""

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from models.aberrations import NAMES, Aberrations

STEPS = ("virtual", "dpc", "ssb")
"""Steps that a job may ask for, in the order in which they run."""


class JobError(ValueError):
    """A job file that cannot be run; each of ``faults`` is one mistake with its line."""

    def __init__(self, path: str, faults: list[str]) -> None:
        self.path, self.faults = path, faults
        many = f"{len(faults)} mistakes" if len(faults) > 1 else "1 mistake"
        super().__init__(f"{path}: {many} in the job\n" + "\n".join(f"  {f}" for f in faults))


def _within(low: float, high: float, unit: str, hint: str) -> AfterValidator:
    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"{value:g} {unit} is outside {low:g} to {high:g} {unit}; {hint}")
        return value

    return AfterValidator(check)


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float | str) else value


Step = Annotated[
    float, _within(0.001, 1e4, "Å", "the scan step is the distance of neighbouring positions in Å")
]
Pixel = Annotated[float, _within(-1e5, 1e5, "px", "give detector pixels")]


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


class Options(BaseModel):
    """Base of everything that a job file holds: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class VirtualDetector(Options):
    """One annular detector."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")
    inner_mrad: float = Field(ge=0)
    outer_mrad: float = Field(gt=0)


class SsbOptions(Options):
    """Single-sideband ptychography."""

    sidebands: Literal["both", "left", "right"] = "both"
    wiener: bool = True
    """Also write the Wiener-weighted phases."""


class DpcOptions(Options):
    """Differential phase contrast."""

    method: Literal["closed", "iterative"] = "closed"
    boundary: Literal["mirror", "periodic"] = "mirror"
    iterations: int = Field(default=64, ge=1, le=10_000)
    high_pass: float = Field(default=0.0, ge=0)
    low_pass: float = Field(default=0.0, ge=0)


class Dataset(Options):
    """One recording and how it is to be milled."""

    path: str
    name: str = Field(default="", pattern=r"^$|^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$")
    voltage_kv: Annotated[float, _within(1, 3000, "kV", "did you give volts?")] | None = None
    semiangle_mrad: (
        Annotated[float, _within(0.05, 300, "mrad", "did you give rad or degrees?")] | None
    ) = None
    scan_step_angstrom: Annotated[tuple[Step, Step], BeforeValidator(_pair)] | None = None
    scan_rotation_deg: (
        Annotated[float, _within(-360, 360, "degrees", "did you give mrad?")] | None
    ) = None
    flip: bool | None = None
    center_px: tuple[Pixel, Pixel] | None = None
    semiangle_px: Annotated[float, _within(1, 1e4, "px", "the disk's radius in pixels")] | None = (
        None
    )
    aberrations: Annotated[dict[str, float], AfterValidator(_known_aberrations)] | None = None
    array: str | None = None
    scan_shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    detector_shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    drop_flyback: bool = False
    threshold: float | None = None
    out_of_range: Literal["error", "drop"] = "error"
    steps: tuple[Literal["virtual", "dpc", "ssb"], ...] = STEPS  # type: ignore[assignment]
    detectors: tuple[VirtualDetector, ...] = ()
    disk_bins: int = Field(default=24, ge=8, le=256)
    """Binned detector pixels across the bright-field disk, for SSB."""
    dpc: DpcOptions = DpcOptions()
    ssb: SsbOptions = SsbOptions()

    @property
    def known_aberrations(self) -> Aberrations | None:
        """The given aberrations, or None where they are to be fitted."""
        return None if self.aberrations is None else Aberrations(**self.aberrations)


class Job(Options):
    """A night: where results go, what computes them, and the datasets."""

    output: str
    cluster: str = Field(default="local", pattern=r"^(local|threads|(tcp|tls)://.+)$")
    datasets: tuple[Dataset, ...] = Field(min_length=1)


def read_job(path: str | Path) -> Job:
    """Read, check and complete a job file.

    Parameters
    ----------
    path : path
        A YAML file. Paths in it are relative to its folder; globs are expanded.

    Returns
    -------
    Job
        With defaults merged into each dataset, names filled in, and all paths absolute.

    Raises
    ------
    JobError
        With everything that is wrong in it.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except OSError as error:
        raise JobError(str(path), [f"the file cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise JobError(str(path), [f"the file is not UTF-8 text: {error.reason}"]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise JobError(str(path), [_yaml_fault(error)]) from error
    if not isinstance(raw, dict):
        raise JobError(str(path), ["line 1: a job is a mapping with output and datasets"])
    return check_job(raw, str(path), file.resolve().parent, dict(_lines(root)))


def check_job(
    raw: dict[str, Any], name: str, folder: Path, lines: dict[tuple, int] | None = None
) -> Job:
    """Check a job given as a mapping; see ``read_job``."""
    lines, faults = lines or {}, _repeated_keys(lines or {})
    raw = dict(raw)
    defaults = raw.pop("defaults", None) or {}
    datasets = raw.get("datasets")
    if not isinstance(defaults, dict):
        faults.append(_fault(lines, ("defaults",), "must be a mapping of dataset keys"))
        defaults = {}
    origins: list[int] = []
    if isinstance(datasets, list):
        merged = []
        for number, entry in enumerate(datasets):
            if not isinstance(entry, dict):
                faults.append(_fault(lines, ("datasets", number), "must be a mapping with a path"))
                continue
            for one in _expanded(entry, folder, lines, number, faults):
                merged.append({**defaults, **one})
                origins.append(number)
        raw["datasets"] = merged
    try:
        job = Job.model_validate(raw)
    except ValidationError as error:
        faults += [
            _fault(lines, *_place(item, origins, lines))
            for item in error.errors(include_url=False)
            if not (
                item["loc"] == ("datasets",) and item["type"] == "too_short" and raw["datasets"]
            )
        ]
        raise JobError(name, _once(faults)) from error
    faults += _contradictions(job, origins, lines)
    if faults:
        raise JobError(name, _once(faults))
    output = Path(job.output).expanduser()
    return job.model_copy(update={"output": str((folder / output).resolve())})


def _expanded(
    entry: dict, folder: Path, lines: dict[tuple, int], number: int, faults: list[str]
) -> Iterator[dict]:
    """One entry for each file that a path, possibly a glob, stands for."""
    path = entry.get("path")
    if not isinstance(path, str) or not path:
        yield entry
        return
    full = str(folder / Path(path).expanduser())
    found = [full] if Path(full).exists() else sorted(glob.glob(full, recursive=True))
    if not found:
        faults.append(_fault(lines, ("datasets", number, "path"), f"no such file: {full}"))
        found = [full]  # its other keys are checked all the same
    if len(found) > 1 and entry.get("name"):
        faults.append(
            _fault(
                lines,
                ("datasets", number, "name"),
                f"one name for {len(found)} files that {path} stands for; leave the name away",
            )
        )
    for one in found:
        yield {"name": Path(one).name.split(".")[0]} | entry | {"path": one}


def _contradictions(job: Job, origins: list[int], lines: dict[tuple, int]) -> list[str]:
    faults: list[str] = []
    seen: dict[str, str] = {}
    for dataset, origin in zip(job.datasets, origins, strict=True):

        def place(key: str, origin: int = origin) -> tuple:
            return ("datasets", origin, key)

        if dataset.name in seen:
            faults.append(
                _fault(
                    lines,
                    place("name"),
                    f"two datasets are called '{dataset.name}' ({seen[dataset.name]} and "
                    f"{dataset.path}); give each a name of its own",
                )
            )
        seen[dataset.name] = dataset.path
        needed = [
            key
            for key in ("voltage_kv", "semiangle_mrad", "scan_step_angstrom")
            if getattr(dataset, key) is None
        ]
        if needed:
            faults.append(
                _fault(
                    lines,
                    ("datasets", origin),
                    f"{dataset.name}: {', '.join(needed)} missing; the file does not hold it and "
                    "no phase in rad or length in Å can be had without it",
                )
            )
        for number, detector in enumerate(dataset.detectors):
            if detector.inner_mrad >= detector.outer_mrad:
                faults.append(
                    _fault(
                        lines,
                        ("datasets", origin, "detectors", number),
                        f"inner_mrad {detector.inner_mrad:g} is not below outer_mrad "
                        f"{detector.outer_mrad:g}",
                    )
                )
    return faults


def _place(item: Any, origins: list[int], lines: dict[tuple, int]) -> tuple[tuple, str]:
    """Where in the file a fault of pydantic's stands, and what to say of it."""
    place = tuple(item["loc"])
    if len(place) > 1 and place[0] == "datasets" and isinstance(place[1], int):
        place = ("datasets", origins[place[1]], *place[2:])
        if place not in lines and len(place) > 2 and ("defaults", *place[2:]) in lines:
            place = ("defaults", *place[2:])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "this key is not known"
    elif item["type"] == "missing":
        message = "this key is missing"
    elif item["type"] not in ("value_error",):
        message += f", found {item.get('input')!r}"
    return place, message


def _fault(lines: dict[tuple, int], place: tuple, message: str) -> str:
    known = place
    while known and known not in lines:
        known = known[:-1]
    line = f"line {lines[known]}: " if known in lines and lines else ""
    return f"{line}{'.'.join(str(part) for part in place)}: {message}"


def _lines(node: yaml.Node | None, place: tuple = ()) -> Iterator[tuple[tuple, int]]:
    """Line of every key and item of the file; a key that stands twice leaves a mark."""
    if node is None:
        return
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            yield from _lines(value, (*place, key.value))
            yield (*place, key.value), key.start_mark.line + 1
            if key.value in seen:
                yield ("repeated", *place, key.value), key.start_mark.line + 1
            seen.add(key.value)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(value, (*place, number))


def _repeated_keys(lines: dict[tuple, int]) -> list[str]:
    return [
        f"line {line}: {'.'.join(map(str, place[1:]))}: this key stands twice"
        for place, line in lines.items()
        if place and place[0] == "repeated"
    ]


def _yaml_fault(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{where}this is not YAML: {getattr(error, 'problem', None) or error}"


def _once(faults: list[str]) -> list[str]:
    return list(dict.fromkeys(faults))
