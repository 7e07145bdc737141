"""The page of a night: a row for each dataset, those to look at first on top."""

import io
import json
import math
import os
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import xarray as xr
from PIL import Image

from tasks.report.known import best_image, kind_of, shown_values
from tasks.report.page import ReportError, environment, open_results
from tasks.report.pictures import THIN, data_uri, encode, picture
from tasks.report.resolution import at_limit, resolution_of
from tasks.report.scales import grid_of, number, rounded, seconds_label
from tasks.report.tables import LEVELS, flags_of, worst_level

THUMBNAIL = 208
"""Longest side of a thumbnail [px]: twice what the page gives it, for fine screens."""
STATUSES = ("failed", "skipped", "ok", "unchanged")
"""What may have become of a dataset, in the order in which a reader wants to know."""


def write_night(folder: Path, rows: list[dict[str, Any]], ended: datetime | None = None) -> Path:
    """Write the page of a night and the same as JSON.

    Parameters
    ----------
    folder : Path
        Output of the night; links are relative to it.
    rows : list of dict
        For each dataset ``name``, ``status`` (ok, unchanged, failed or skipped), and where there
        are any ``reason``, ``seconds``, ``report`` (path of its report), ``flags`` (as the root
        attribute ``quality``), ``dose`` [e/Å²], ``resolution_angstrom`` [Å] and
        ``resolution_at_limit``. What a row does not say of the last four is read from the results
        beside its report.
    ended : datetime, optional
        When the night was over, with its time zone.

    Returns
    -------
    Path
        ``index.html``; ``night.json`` lies beside it.
    """
    told = [_told(folder, row) for row in rows]
    shown = sorted(told, key=_urgency)
    counts = {status: sum(row["status"] == status for row in told) for status in STATUSES}
    page = environment().get_template("night.html.j2").render(
        rows=[row | {"label": _labels(row)} for row in shown], counts=counts, total=len(told),
        ended=f"{ended:%A %-d %B %Y, %H:%M}" if ended else "",
    )  # fmt: skip
    path = folder / "index.html"
    _write_whole(path, page)
    machine = [{k: v for k, v in row.items() if k != "thumbnail"} for row in shown]
    night = {"ended": ended.isoformat(timespec="seconds") if ended else None, "counts": counts}
    text = json.dumps(night | {"datasets": machine}, indent=2, default=str)
    _write_whole(folder / "night.json", text + "\n")
    return path


def _write_whole(path: Path, text: str) -> None:
    # Whoever opens the page meanwhile sees the last one or this one.
    aside = path.with_name(f".{path.name}.partial")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _told(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    report = Path(row["report"]) if row.get("report") else None
    results = _from_results(report.parent) if report is not None else {}
    flags = flags_of(row.get("flags") or results.get("flags"))
    status = str(row.get("status", "failed"))
    return row | {
        "name": str(row.get("name", "")),
        "status": status,
        "reason": str(row.get("reason") or ""),
        "report": os.path.relpath(report, folder) if report is not None else None,
        "seconds": row.get("seconds"),
        "dose": _first(row.get("dose"), results.get("dose")),
        "resolution_angstrom": _first(row.get("resolution_angstrom"), results.get("resolution")),
        "resolution_at_limit": bool(
            row.get("resolution_at_limit")
            if row.get("resolution_angstrom") is not None
            else results.get("at_limit")
        ),
        "level": "bad" if status == "failed" else worst_level(flags),
        "flags": [{"flag": f.name, "level": f.level, "text": f.text} for f in flags],
        "thumbnail": results.get("thumbnail", ""),
    }


def _from_results(folder: Path) -> dict[str, Any]:
    # A report that cannot be read must not cost the night its page.
    try:
        results, frc = open_results(folder)
        found: dict[str, Any] = {
            "flags": results.attrs.get("quality"),
            "dose": (results.attrs.get("dose") or {}).get("electrons_per_angstrom2"),
            "resolution": resolution_of(frc),
            "at_limit": at_limit(frc),
        }
        if (name := best_image(results)) is not None:
            found["thumbnail"] = _thumbnail(results, name)
    except (ReportError, OSError, ValueError, KeyError) as error:
        return {"flags": [{"flag": "results", "level": "warn", "text": f"not readable: {error}"}]}
    return found


def _thumbnail(results: xr.Dataset, name: str) -> str:
    image = shown_values(results, name)
    step = grid_of(image).step
    drawn = picture(image.values, kind_of(name, image).colours, limit=2 * THUMBNAIL)
    pixels = Image.open(io.BytesIO(drawn.png)).convert("RGB")
    aspect = image.shape[1] * step[1] / (image.shape[0] * step[0])
    aspect = min(max(aspect, 1 / THIN), THIN)
    size = round(THUMBNAIL * min(1, aspect)), round(THUMBNAIL * min(1, 1 / aspect))
    return data_uri(encode(pixels.resize(size, Image.Resampling.BOX).quantize(128)))


def _labels(row: dict[str, Any]) -> dict[str, str]:
    dose, resolution, seconds = row["dose"], row["resolution_angstrom"], row["seconds"]
    bound = "≤ " if row["resolution_at_limit"] else ""
    tone = row["level"] if row["report"] else {"skipped": "none"}.get(row["status"], "bad")
    worst = next((f for f in row["flags"] if f["level"] == row["level"] != "ok"), None)
    return {
        "href": quote(f"./{row['report']}") if row["report"] else "",
        "tone": tone,
        "check": {"none": "no result", "ok": "good", "warn": "warning", "bad": "problem"}[tone],
        "flag": f"{worst['flag']}: {worst['text']}".strip(": ") if worst else "",
        "dose": f"{rounded(dose)} e/Å²" if _usable(dose) else "",
        "resolution": f"{bound}{number(float(resolution), 3)} Å" if _usable(resolution) else "",
        "time": seconds_label(float(seconds)) if _usable(seconds) else "",
    }


def _urgency(row: dict[str, Any]) -> tuple[int, int]:
    status = STATUSES.index(row["status"]) if row["status"] in STATUSES else 0
    return (0, 0) if status == 0 else (2 - LEVELS.index(row["level"]) + 1, status)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _usable(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
