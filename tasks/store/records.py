"""Done records of the units of a step, the pieces of a result that lie in the folder aside."""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tasks.device import device_name
from tasks.store import layout
from tasks.store.files import hash_file, write_json


def begin(folder: Path, identity: str) -> Path:
    """Folder aside to write a result into; finished units of the same identity are kept.

    Anything half-written for another identity, or without a finished unit, is deleted: a step finds
    units that it can go on from, or an empty folder.
    """
    aside = folder.with_name(folder.name + layout.ASIDE)
    mark = layout.unit_record(aside, "identity")
    try:
        same = json.loads(mark.read_text(encoding="utf-8"))["identity"] == identity
        same = same and len(list(mark.parent.glob("*.json"))) > 1
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        shutil.rmtree(aside, ignore_errors=True)
        # A mark that a power cut takes is work to do again, as is what it marks.
        write_json(mark, {"identity": identity}, False, None)
    for leftover in [*aside.rglob("*.partial"), *(aside / layout.MANIFEST,)]:
        leftover.unlink(missing_ok=True)
    return aside


def record_unit(
    aside: Path,
    unit: str,
    files: Iterable[Path] | Mapping[Path, str | None],
    facts: Mapping[str, Any],
) -> None:
    """Write the done record of a unit, after its data, where the unit was worked out.

    Files that come with their SHA-256 are not read again for it.
    """
    known = files if isinstance(files, Mapping) else {}
    hashes = {
        str(path.relative_to(aside)): known.get(path) or hash_file(path) for path in sorted(files)
    }
    # A record that a power cut takes, or the data that it names, is work to do again, no damage;
    # to wait for the disk would take as long as the work of a slab.
    record = {"files": hashes, "facts": dict(facts), "device": device_name()}
    write_json(layout.unit_record(aside, unit), record, False, None)


def finished_unit(aside: Path, unit: str) -> dict[str, Any] | None:
    """Facts of a unit whose record and files are whole, else None."""
    try:
        record = json.loads(layout.unit_record(aside, unit).read_text(encoding="utf-8"))
        whole = all(hash_file(aside / name) == sha for name, sha in record["files"].items())
        return record["facts"] if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def recorded(aside: Path) -> tuple[dict[str, str], set[str]]:
    """Hashes of the files that the units recorded, and what the units were worked out on.

    Files that were written again since then are left out. So the manifest holds what was written,
    and whatever happens to it later is damage.
    """
    known, devices = {}, set[str]()
    for record in sorted((aside / layout.RECORDS).glob("*.json")):
        made = record.stat().st_mtime_ns
        told = json.loads(record.read_text(encoding="utf-8"))
        devices |= {told["device"]} if "device" in told else set()
        for name, sha in told.get("files", {}).items():
            path = aside / name
            if path.exists() and path.stat().st_mtime_ns <= made:
                known[name] = sha
    return known, devices
