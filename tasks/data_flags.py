"""What to think of a recording and of what was counted of it, in sentences for the report."""

from typing import Any

from tasks.store.events import EventStore
from tasks.store.publish import Manifest


def data_flags(events: EventStore, job: dict[str, Any]) -> list[dict[str, str]]:
    """What the recording lacks, whatever is made of it; ``job`` are the dataset's keys."""
    missing = int((events.array("frames_present") == 0).sum())
    lost = int((events.array("sector_mask") != 0).sum())
    flags = []
    if missing:
        flags.append({"flag": "missing", "level": "warn", "text":
            f"{missing} of {events.scan_shape[0] * events.scan_shape[1]} scan positions have no "
            "frame; they are empty in the images and filled from their neighbours for the "
            "Fourier transforms."})  # fmt: skip
    if lost:
        text = f"{lost} scan positions lost a detector sector; DPC and SSB leave them out."
        flags.append({"flag": "sectors", "level": "warn", "text": text})
    if events.metadata["flyback_suspected"] and not job.get("drop_flyback"):
        flags.append({"flag": "flyback", "level": "warn", "text":
            "The last scan column looks like a flyback column."})  # fmt: skip
    return flags


def reduction_flags(reduced: Manifest) -> list[dict[str, str]]:
    """What its reductions left out, or could not find."""
    flags = []
    vacuum = reduced.summary["regions"].get("vacuum", {})
    if vacuum.get("picked") and not vacuum["plain"]:
        flags.append({"flag": "vacuum", "level": "warn", "text":
            "No part of the scan looks like vacuum: in the best the disk moves with "
            f"{vacuum['deflection_over_noise']:.3g} times the variance of counting noise. Give "
            "the vacuum's window, or do not use the pattern as that of the probe."})  # fmt: skip
    inside, outside = reduced.summary["kept"].get("export", (0, 0))
    if outside:
        flags.append({"flag": "dense", "level": "ok", "text":
            f"dense.zarr holds {inside} electrons; {outside} lie outside its window."})  # fmt: skip
    return flags
