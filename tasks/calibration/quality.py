"""What to think of a calibration, in sentences for the report."""

from math import degrees, pi

import numpy as np

from tasks.calibration.result import Calibration, Flag, Level
from tasks.calibration.search import Optimum

CLEAR, WEAK = 12.0, 4.0
"""Log-likelihood by which an alternative should lose, and below which it is not excluded."""


def quality_flags(calibration: Calibration, best: Optimum, depth_of_focus: float) -> list[Flag]:
    """Judge a calibration by its margins and by second opinions.

    Parameters
    ----------
    calibration : Calibration
        To be judged.
    best : Optimum
        How clearly it won.
    depth_of_focus : float
        λ/α² [Å], by which defocus values are compared.

    Returns
    -------
    list of Flag
        One for each question; the text names the numbers.
    """
    flags = [_signal(best)]
    if {"rotation", "C10"} & set(best.free):
        flags.append(_alternatives(best))
    if best.turned_margin > CLEAR:
        flags.append(_turned(best))
    if np.isfinite(best.mirror_margin):
        flags.append(_mirror(calibration, best))
    flags.append(_contrast(calibration))
    if calibration.by_com is not None:
        flags.append(_curl(calibration))
    if calibration.by_shifts is not None and calibration.by_shifts.reliable:
        flags.append(_shifts(calibration, depth_of_focus))
    return flags


def _level(value: float, clear: float, weak: float) -> Level:
    return "ok" if value >= clear else "warn" if value >= weak else "bad"


def _signal(best: Optimum) -> Flag:
    level = _level(best.significance, 8.0, 5.0)
    text = f"rotation and aberrations explain {best.signal_share:.0%} of the interference"
    if level == "ok":
        return Flag("calibration signal", level, text)
    whose = "best" if {"rotation", "C10"} & set(best.free) else "given"
    advice = (
        "the data hardly carry one; give scan_rotation_deg, flip and aberrations"
        if whose == "best"
        else "the data hardly carry one, or it is not theirs; leave out of the job what is not sure"
    )
    return Flag(
        "calibration signal",
        level,
        f"the {whose} calibration stands only {best.significance:.1f} deviations above an "
        f"arbitrary one: {advice}",
    )


def _alternatives(best: Optimum) -> Flag:
    level = _level(best.margin, CLEAR, WEAK)
    if level == "ok":
        return Flag(
            "calibration unique", level, "no other rotation and defocus fits nearly as well"
        )
    return Flag(
        "calibration unique",
        level,
        f"another rotation or defocus fits almost as well (log-likelihood {best.margin:.1f} less); "
        "give scan_rotation_deg or C10",
    )


def _turned(best: Optimum) -> Flag:
    mirror = " and the other mirror" if best.turned_flip != best.flip else ""
    return Flag(
        "given rotation",
        "warn",
        f"a rotation that is {degrees(best.turned):+.0f}° from the given one{mirror} explains the "
        f"interference better, with the same aberrations (log-likelihood "
        f"{best.turned_margin:.1f} more); mend scan_rotation_deg and flip, or leave them out",
    )


def _mirror(calibration: Calibration, best: Optimum) -> Flag:
    level = _level(best.mirror_margin, CLEAR, WEAK)
    found = "mirrored" if best.flip else "not mirrored"
    com = calibration.by_com
    if com is not None and com.reliable and com.flip != best.flip:
        return Flag(
            "mirror",
            "warn",
            f"the interference says that the detector is {found}, the centre of mass says the "
            "opposite; give flip",
        )
    text = f"the detector is {found}"
    if level != "ok":
        text += f", but only by a log-likelihood of {best.mirror_margin:.1f}; give flip"
    return Flag("mirror", level, text)


def _contrast(calibration: Calibration) -> Flag:
    polarity = calibration.polarity
    if polarity.by != "skewness":
        if polarity.confidence > -3:
            return Flag("contrast sign", "ok", f"fixed by the given {polarity.by}")
        return Flag(
            "contrast sign",
            "warn",
            f"with the given {polarity.by} the specimen's phase is negative (skewness "
            f"{polarity.skewness:.2f}, {-polarity.confidence:.1f} deviations): the rotation may be "
            "off by 180° with aberrations of the opposite sign",
        )
    level = _level(polarity.confidence, 3.0, 1.5)
    text = (
        f"positive phase at the specimen chose between the rotation and its opposite (skewness "
        f"{polarity.skewness:.2f}, {polarity.confidence:.1f} deviations), which takes it for peaks "
        "on a floor; of a film with pores it is the opposite"
    )
    if level != "ok":
        text += "; that is weak: give scan_rotation_deg or the sign of C10"
    return Flag("contrast sign", level, text)


def _apart(one: float, other: float) -> float:
    """Difference of two rotations modulo 180° [rad]."""
    return abs((one - other + pi / 2) % pi - pi / 2)


def _curl(calibration: Calibration) -> Flag:
    com, rotation = calibration.by_com, calibration.rotation
    assert com is not None
    text = f"curl of the centre of mass is {com.ratio:.0%} of its divergence"
    if not com.reliable:
        return Flag("curl", "ok", text + ", too much to say anything of the rotation")
    if com.flip != calibration.flip.value:
        return Flag("curl", "warn", text + ", with the other mirror than was found")
    apart = _apart(com.rotation, rotation.value)
    sigma = float(np.hypot(com.sigma, rotation.uncertainty or 0.0))
    level: Level = "warn" if apart > max(4 * sigma, np.deg2rad(4)) else "ok"
    return Flag(
        "curl",
        level,
        f"{text}; it gives a rotation that is {degrees(apart):.1f}° ± {degrees(sigma):.1f}° from "
        f"the {rotation.origin} one",
    )


def _shifts(calibration: Calibration, depth_of_focus: float) -> Flag:
    shifts, flip = calibration.by_shifts, calibration.flip.value
    assert shifts is not None
    if shifts.flip != flip:
        return Flag("image shifts", "warn", "shifts of partial images point to the other mirror")
    apart = _apart(shifts.rotation, calibration.rotation.value)
    opposite = np.cos(shifts.rotation - calibration.rotation.value) < 0
    focus = -shifts.C10 if opposite else shifts.C10
    off = abs(focus - calibration.aberrations.C10)
    allowed = max(depth_of_focus, 0.15 * abs(focus))
    level: Level = "warn" if apart > np.deg2rad(10) or off > allowed else "ok"
    return Flag(
        "image shifts",
        level,
        f"shifts of partial images give a C10 of {focus:.0f} Å and a rotation that is "
        f"{degrees(apart):.1f}° from this one",
    )
