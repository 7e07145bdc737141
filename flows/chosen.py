"""From the job's options to the settings of steps: mrad become pixels, files are read."""

from math import floor, hypot

from flows.dataset import Dataset
from flows.options import Area, CountingOptions, DenseOptions, RadialOptions, VirtualDetector
from tasks.array_files import ArrayFile, read_positions, read_probe, read_reference
from tasks.cnn_settings import CnnSettings, NetworkSettings
from tasks.dense import DenseError, DenseSettings
from tasks.detectors import Annulus, MaskDetector, RadialSettings, standard_annuli
from tasks.epie import EpieSettings, algorithm
from tasks.formats.raw_sectors import Counting
from tasks.masks import MaskError, MaskFile
from tasks.reduce import ReduceSettings
from tasks.regions import VACUUM, Region

Shape = tuple[int, int]
MOST_RINGS = 20_000
ALWAYS = ("virtual_bf", "virtual_abf", "virtual_adf")
"""Detectors that nobody asks for; where the disk fills the camera, the last sees nothing."""


class RadialError(ValueError):
    """Rings that cannot be counted."""


def chosen_reductions(
    dataset: Dataset, scan: Shape, detector: Shape, center: tuple[float, float], radius: float
) -> ReduceSettings:
    """What a dataset's job takes from its events.

    Parameters
    ----------
    dataset : Dataset
        With its semi-angle, which sets the scale of the angles.
    scan, detector : (rows, cols)
        Shapes of the recording.
    center, radius : (row, col), float
        Of the bright-field disk [px].

    Returns
    -------
    ReduceSettings
        All in pixels. Masks and windows fit the recording.

    Raises
    ------
    MaskError, RegionError, DenseError, RadialError
        If something that the job asks for does not fit the recording.
    """
    per_mrad = radius / (dataset.semiangle_mrad or 1.0)
    annuli = standard_annuli(radius, detector) if "virtual" in dataset.steps else ()
    regions = tuple(_region(one.name, one) for one in dataset.regions)
    if dataset.vacuum is not None and not dataset.vacuum.pick:
        regions += (_region(VACUUM, dataset.vacuum),)
    settings = ReduceSettings(
        detector_shape=detector,
        center=center,
        radius=radius,
        annuli=(*annuli, *(_detector(one, per_mrad) for one in dataset.detectors)),
        disk_bins=dataset.disk_bins,
        radial=_radial(dataset.radial, detector, center, per_mrad),
        regions=regions,
        pick_vacuum=dataset.vacuum is not None and dataset.vacuum.pick,
        export=None if dataset.dense is None else _dense(dataset.dense, detector, center),
    )
    _check_shapes(settings, scan, per_mrad)
    return settings


def chosen_counting(told: CountingOptions | None) -> Counting | None:
    """How electrons of raw frames are counted; the references are read and remembered."""
    if told is None:
        return None
    dark, gain = (
        None if path is None else ArrayFile.at(path, read_reference)
        for path in (told.dark, told.gain)
    )
    return Counting(**told.model_dump(exclude={"dark", "gain"}), dark=dark, gain=gain)


def chosen_cnn(dataset: Dataset) -> CnnSettings:
    """How a dataset's job uses a network; its files are read and remembered."""
    one = dataset.cnn
    network = NetworkSettings(one.network, one.train, one.threshold, one.steps, one.minutes)
    positions = _positions(one.positions)
    return CnnSettings(network, _probe(dataset), positions, one.stride, one.refine)


def chosen_epie(dataset: Dataset) -> EpieSettings:
    """What a dataset's job reconstructs iteratively; its files are read and remembered."""
    one = dataset.epie
    return EpieSettings(
        algorithm=algorithm(one.method, one.model_dump()),
        probe=_probe(dataset),
        start=one.start or ("cnn" if "cnn" in dataset.steps else "flat"),
        positions=_positions(one.positions),
        window=one.window,
        bin=one.bin,
        side=one.side,
        tiles=one.tiles,
        tile_overlap=one.tile_overlap_angstrom,
    )


def _detector(one: VirtualDetector, per_mrad: float) -> Annulus | MaskDetector:
    name = f"virtual_{one.name}"
    if one.mask is not None:
        return MaskDetector(name, MaskFile.at(one.mask))
    assert one.inner_mrad is not None
    assert one.outer_mrad is not None
    return Annulus(name, one.inner_mrad * per_mrad, one.outer_mrad * per_mrad)


def _probe(dataset: Dataset) -> str | ArrayFile:
    if dataset.probe in (None, "vacuum"):
        return dataset.probe or "aberrations"
    return ArrayFile.at(str(dataset.probe), read_probe)


def _positions(path: str | None) -> ArrayFile | None:
    return None if path is None else ArrayFile.at(path, read_positions)


def _region(name: str, area: Area) -> Region:
    mask = None if area.mask is None else MaskFile.at(area.mask)
    return Region(name, area.window, mask)


def _radial(
    one: RadialOptions, detector: Shape, center: tuple[float, float], per_mrad: float
) -> RadialSettings:
    width = 1.0 if one.width_mrad is None else one.width_mrad * per_mrad
    if one.outer_mrad is None:
        found = RadialSettings.to_the_corner(detector, center, width, one.full)
    else:
        found = RadialSettings(width, max(1, round(one.outer_mrad * per_mrad / width)), one.full)
    if found.rings > MOST_RINGS:
        raise RadialError(
            f"radial: rings of {width:.3g} px make {found.rings} of them, at most {MOST_RINGS}; "
            "give a greater width_mrad or a smaller outer_mrad."
        )
    return found


def _dense(one: DenseOptions, detector: Shape, center: tuple[float, float]) -> DenseSettings:
    window = one.crop_px or detector
    if window[0] > detector[0] or window[1] > detector[1]:
        raise DenseError(
            f"dense: crop_px {window[0]} x {window[1]} is larger than the detector of "
            f"{detector[0]} x {detector[1]} pixels."
        )
    bins = floor(window[0] / one.bin), floor(window[1] / one.bin)
    if min(bins) < 1:
        raise DenseError(
            f"dense: a bin of {one.bin} x {one.bin} is larger than the window of {window[0]} x "
            f"{window[1]} pixels."
        )
    middle = ((detector[0] - 1) / 2, (detector[1] - 1) / 2)
    return DenseSettings(center if one.crop_px else middle, one.bin, bins, one.dtype)


def _check_shapes(settings: ReduceSettings, scan: Shape, per_mrad: float) -> None:
    """Refuse before any work what a worker would refuse in the middle of it, or find empty."""
    shape, center = settings.detector_shape, settings.center
    for detector in settings.annuli:
        if isinstance(detector, MaskDetector):
            detector.file.read(shape)
        elif detector.name not in ALWAYS and not detector.mask(shape, center).any():
            ends = hypot(*(max(c, n - 1 - c) for c, n in zip(center, shape, strict=True)))
            raise MaskError(
                f"the detector '{detector.name.removeprefix('virtual_')}' from "
                f"{detector.inner / per_mrad:.4g} to {detector.outer / per_mrad:.4g} mrad holds no "
                f"pixel of the camera, which ends at {ends / per_mrad:.4g} mrad in its farthest "
                "corner; mend inner_mrad and outer_mrad, or semiangle_mrad."
            )
    for region in settings.regions:
        region.inside(scan)
