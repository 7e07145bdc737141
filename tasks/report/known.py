"""What the report knows of each variable: title, place, colours and what to look for."""

from collections.abc import Iterable
from dataclasses import dataclass

import xarray as xr

PHASES, ITERATIVE, VIRTUAL, DEFLECTION, FRAMES, OTHER = (
    "Phase images",
    "Iterative ptychography",
    "Virtual detectors",
    "Deflection of the beam",
    "Electrons and frames",
    "Further images",
)


@dataclass(frozen=True)
class Kind:
    """How a variable is shown."""

    title: str
    section: str
    caption: str
    colours: str = "gray"
    counted: bool = False
    """Counted on the detector: a position without a frame has no value, whatever is stored."""


PHASE_CAPTION = (
    "Good: atoms or particles are bright on an even background; stripes, doubled contours or "
    "reversed contrast speak of wrong aberrations, rotation or a drifting scan."
)
AMPLITUDE_CAPTION = (
    "Good: nearly constant, close to 1, with a weak imprint of heavy regions; an amplitude that "
    "repeats the phase speaks of wrong aberrations."
)

KNOWN = {
    "cnn_phase": Kind(
        "Phase, neural network",
        PHASES,
        "Good: agrees with the other phases and has no seams; patch borders or invented regularity "
        "speak of data unlike those that the network was trained on.",
    ),
    "cnn_phase_stitched": Kind(
        "Phase, neural network alone",
        PHASES,
        "Good: agrees with the network's refined phase but for grain; what differs widely, the "
        "network did not know from its training.",
    ),
    "epie_phase": Kind("Phase, iterative ptychography (ePIE)", PHASES, PHASE_CAPTION),
    "wpo_wiener_phase": Kind(
        "Phase, full weak-phase estimate, Wiener-weighted",
        PHASES,
        "Good: the full weak-phase image with less grain; fine detail that it loses was mostly "
        "noise at this dose.",
    ),
    "ssb_wiener_phase": Kind(
        "Phase, single sideband, Wiener-weighted",
        PHASES,
        "Good: the single-sideband image with less grain; fine detail that it loses was mostly "
        "noise at this dose.",
    ),
    "wpo_phase": Kind(
        "Phase, full weak-phase estimate",
        PHASES,
        "Good: the single-sideband image with less noise; where the two disagree the specimen is "
        "no weak phase object.",
    ),
    "ssb_phase": Kind("Phase, single sideband", PHASES, PHASE_CAPTION),
    "dpc_phase": Kind(
        "Phase, differential phase contrast",
        PHASES,
        "Good: a smooth image of the same structures, blurred by the probe; slow clouds are "
        "expected at low dose, streaks along the scan are not.",
    ),
    "virtual_bf": Kind(
        "Bright field",
        VIRTUAL,
        "Good: even apart from the specimen; steps between scan lines speak of a changing beam "
        "current.",
        counted=True,
    ),
    "virtual_abf": Kind(
        "Annular bright field",
        VIRTUAL,
        "Good: atoms dark on an even background; a gradient across the image speaks of a "
        "disk that wanders on the detector.",
        counted=True,
    ),
    "virtual_adf": Kind(
        "Annular dark field",
        VIRTUAL,
        "Good: heavy and thick regions bright; an image like the bright field's speaks of an inner "
        "edge that cuts the disk.",
        counted=True,
    ),
    "com_y": Kind(
        "Centre of mass along y",
        DEFLECTION,
        "Good: flanks of atoms along y, light on one side and dark on the other; a ramp is the "
        "scan moving the disk.",
        counted=True,
    ),
    "com_x": Kind(
        "Centre of mass along x",
        DEFLECTION,
        "Good: flanks of atoms along x, light on one side and dark on the other; a ramp is the "
        "scan moving the disk.",
        counted=True,
    ),
    "ssb_amplitude": Kind("Amplitude, single sideband", OTHER, AMPLITUDE_CAPTION),
    "epie_amplitude": Kind("Amplitude, iterative ptychography", ITERATIVE, AMPLITUDE_CAPTION),
    "epie_probe_amplitude": Kind(
        "Probe, amplitude",
        ITERATIVE,
        "Good: one compact spot, or an evenly lit disk where it is defocused, with nothing left at "
        "the window's edge; copies of the specimen in it mean that the two were not told apart.",
        "magma",
    ),
    "epie_probe_phase": Kind(
        "Probe, phase",
        ITERATIVE,
        "Good: smooth where the amplitude is bright, in rings where it is defocused; hatched where "
        "there is no amplitude to speak of.",
        "twilight",
    ),
    "found_probe_amplitude": Kind(
        "Probe found from the patterns, amplitude",
        ITERATIVE,
        "Good: one compact spot, or an evenly lit disk where it is defocused.",
        "magma",
    ),
    "found_probe_phase": Kind(
        "Probe found from the patterns, phase",
        ITERATIVE,
        "Good: smooth where the amplitude is bright; hatched where there is no amplitude to speak "
        "of.",
        "twilight",
    ),
    "epie_moved_y": Kind(
        "Positions moved along y",
        ITERATIVE,
        "Good: a few hundredths of the scan step, or the slow wave of a drift; noise as large as "
        "the step means that the patterns do not tell where they are.",
        "cividis",
    ),
    "epie_moved_x": Kind(
        "Positions moved along x",
        ITERATIVE,
        "Good: as along y; one value in each scan line is a wrong line start.",
        "cividis",
    ),
    "cnn_misfit": Kind(
        "Misfit of the network's phase",
        OTHER,
        "Good: 1 everywhere, which is counting noise; where it is greater, the network's phase "
        "does not explain the patterns and is not to be believed.",
        "magma",
    ),
    "electrons": Kind(
        "Electrons at each position",
        FRAMES,
        "Good: even, with the specimen faintly dark; dark lines or corners are lost frames or a "
        "beam that faded.",
        "cividis",
        counted=True,
    ),
    "frames_present": Kind(
        "Frames recorded at each position",
        FRAMES,
        "Good: one value everywhere; positions without any frame are hatched in every counted "
        "image.",
        "cividis",
    ),
    "sector_mask": Kind(
        "Detector sectors lost, as bits",
        FRAMES,
        "Good: zero everywhere; elsewhere a part of the detector delivered nothing for that frame.",
        "cividis",
    ),
}

OVER_SPECIMEN = ({"y", "x"}, {"y_obj", "x_obj"}, {"y_cnn", "x_cnn"})
OVER_PROBE = ({"y_probe", "x_probe"}, {"y_found", "x_found"})

BEST = (
    "cnn_phase", "epie_phase", "wpo_wiener_phase", "ssb_wiener_phase", "wpo_phase", "ssb_phase",
    "dpc_phase", "virtual_abf", "virtual_bf", "electrons",
)  # fmt: skip
"""Which image stands for a dataset: the first of these that it has."""


def kind_of(name: str, variable: xr.DataArray) -> Kind:
    """How a variable is shown, also one that the report has never heard of."""
    if name in KNOWN:
        return KNOWN[name]
    title = str(variable.attrs.get("long_name", name.replace("_", " ")))
    title = title[:1].upper() + title[1:]
    if name.startswith("virtual_"):
        return Kind(
            title,
            VIRTUAL,
            "Good: the contrast that this detector was placed for, on an even background.",
            counted=True,
        )
    if name.endswith("_phase") or variable.attrs.get("units") == "rad":
        return Kind(title, PHASES, PHASE_CAPTION)
    if name.endswith("_amplitude"):
        return Kind(title, OTHER, AMPLITUDE_CAPTION)
    return Kind(title, OTHER, "Good: as its step describes it, without seams or lines.", "cividis")


def image_names(results: xr.Dataset) -> list[str]:
    """Names of the images over specimen and probe, known ones first and in their order."""
    dims = (*OVER_SPECIMEN, *OVER_PROBE)
    names = [str(n) for n, v in results.data_vars.items() if v.ndim == 2 and set(v.dims) in dims]
    names = [n for n in names if results[n].dtype.kind in "fiub" and results[n].size]
    return in_order(names)


def in_order(names: Iterable[object]) -> list[str]:
    """Names of variables, known ones first and in their order, the others by name."""
    order = list(KNOWN)
    return sorted(map(str, names), key=lambda n: (order.index(n) if n in KNOWN else len(order), n))


def best_image(results: xr.Dataset) -> str | None:
    """Name of the image that stands for a dataset, or None if it has none."""
    names = image_names(results)
    phases = [n for n in names if kind_of(n, results[n]).section == PHASES]
    return next((n for n in BEST[:7] if n in names), None) or next(
        (n for n in (*phases, *BEST[7:], *names) if n in names), None
    )


def shown_values(results: xr.Dataset, name: str) -> xr.DataArray:
    """An image (rows along y) with NaN where it was counted but no frame was recorded."""
    image = results[name]
    image = image.transpose(*sorted(image.dims, reverse=True))
    frames = results.get("frames_present")
    if not kind_of(name, image).counted or frames is None or frames.sizes != image.sizes:
        return image
    return image.where(frames.transpose(*image.dims) > 0)
