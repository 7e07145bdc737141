"""Tables of a report: calibration, dose, timings and where it all came from, as text to print."""

from dataclasses import dataclass
from typing import Any

import yaml

from tasks.report.scales import number, plain_unit, rounded, seconds_label, with_uncertainty

LEVELS = ("ok", "warn", "bad")
"""Levels of a quality flag, from the best to the worst."""

CALIBRATION_NAMES = {
    "voltage_kv": "Accelerating voltage",
    "semiangle_mrad": "Convergence semi-angle",
    "scan_step_angstrom": "Scan step (y, x)",
    "center_px": "Centre of the disk (row, col)",
    "semiangle_px": "Radius of the disk",
    "scan_rotation_deg": "Rotation of the scan",
    "flip": "Mirror",
}
DOSE_NAMES = {
    "electrons_total": ("Electrons in all", "e"),
    "electrons_per_frame_mean": ("Electrons per frame, mean", "e"),
    "electrons_per_angstrom2": ("Dose", "e/Å²"),
    "positions": ("Scan positions", ""),
    "frames_missing": ("Positions without a frame", ""),
    "frames_partial": ("Frames that lost a part", ""),
}


@dataclass(frozen=True)
class Flag:
    """A finding on the quality of a dataset."""

    level: str
    """``ok``, ``warn`` or ``bad``."""
    name: str
    text: str


def flags_of(entries: Any) -> list[Flag]:
    """Quality flags, the worst first; a level that is not known counts as a warning."""
    flags = []
    for entry in entries if isinstance(entries, list | tuple) else []:
        if not isinstance(entry, dict):
            entry = {"flag": str(entry), "level": "warn"}
        level = entry.get("level")
        flags.append(
            Flag(
                level if level in LEVELS else "warn",
                str(entry.get("flag", "")).replace("_", " "),
                str(entry.get("text", "")),
            )
        )
    return sorted(flags, key=lambda flag: -LEVELS.index(flag.level))


def worst_level(flags: list[Flag]) -> str:
    """The worst level among some flags; ``ok`` where there are none."""
    return max((flag.level for flag in flags), key=LEVELS.index, default="ok")


def verdict(flags: list[Flag]) -> str:
    """One line that says whether to look closer."""
    counts = {level: sum(flag.level == level for flag in flags) for level in LEVELS}
    warnings = f"{counts['warn']} warning{'s' if counts['warn'] > 1 else ''}"
    if counts["bad"]:
        problems = f"{counts['bad']} problem{'s' if counts['bad'] > 1 else ''}"
        return f"Check before use: {problems}" + (f" and {warnings}" if counts["warn"] else "")
    if counts["warn"]:
        return f"Usable, with {warnings}"
    return "No objections" if flags else "Not judged: no quality checks were recorded"


def calibration_rows(calibration: dict[str, Any]) -> list[dict[str, str]]:
    """Rows (name, value, unit, origin) of the calibration, known ones first."""
    known = [key for key in CALIBRATION_NAMES if key in calibration]
    rest = [key for key in calibration if key not in CALIBRATION_NAMES and key != "aberrations"]
    rows = [_calibrated(CALIBRATION_NAMES.get(k, k), calibration[k]) for k in (*known, *rest)]
    aberrations = calibration.get("aberrations")
    if isinstance(aberrations, dict):
        rows += [_calibrated(f"Aberration {k}", entry) for k, entry in aberrations.items()]
    return rows


def dose_rows(dose: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Rows (name, value, unit) of the dose, known ones first."""
    rows = [(label, number(dose[k]), u) for k, (label, u) in DOSE_NAMES.items() if k in dose]
    rest = (k for k in dose if k not in DOSE_NAMES)
    return rows + [(k.replace("_", " "), number(dose[k]), "") for k in rest]


def timing_rows(steps: list[dict[str, Any]], dose: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows (name, time, throughput, share, reused) of the steps.

    The throughput is that of the whole dataset: electrons a second, and positions a second.
    """
    fresh = sum(_seconds(step) for step in steps if not step.get("reused"))
    rows = []
    for step in steps:
        seconds, reused = _seconds(step), bool(step.get("reused"))
        rates = [
            f"{rounded(float(dose[key]) / seconds)} {unit}/s"
            for key, unit in (("electrons_total", "e"), ("positions", "positions"))
            if seconds > 0 and isinstance(dose.get(key), int | float)
        ]
        rows.append(
            {
                "name": str(step.get("name", "")),
                "time": seconds_label(seconds),
                "rate": rates[0] if rates else "—",
                "positions": rates[1] if len(rates) > 1 else "—",
                "share": seconds / fresh if fresh > 0 and not reused else 0.0,
                "reused": reused,
            }
        )
    return rows


def yaml_of(value: Any) -> str:
    """Plain values as YAML, keys in their order."""
    return yaml.safe_dump(_plain(value), sort_keys=False, allow_unicode=True, width=88)


def _calibrated(name: str, entry: Any) -> dict[str, str]:
    if not isinstance(entry, dict):
        entry = {"value": entry}
    return {
        "name": name,
        "value": with_uncertainty(entry.get("value"), entry.get("uncertainty")),
        "unit": plain_unit(str(entry.get("unit") or "")),
        "origin": str(entry.get("origin") or "—"),
    }


def _seconds(step: dict[str, Any]) -> float:
    seconds = step.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
