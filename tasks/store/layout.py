"""Where everything lies on disk: the only file with names of folders, files and arrays.

- ``<output>/index.html``, ``night.json``: the night.
- ``<output>/<name>/``: one dataset, published whole (see publish.py): ``results.zarr``,
  ``report.html``, ``images/``, ``provenance.json``, ``manifest.json``; where the job asks
  for it, ``dense.zarr``.
- ``<output>/.phasemill/<name>/``: what a rerun goes on from: ``source.json`` (fingerprint of the
  recording), ``events.zarr`` (slabs of scan rows), ``tuned.json`` (a calibration tuned by eye),
  ``steps/<step>/`` (finished steps), ``halves/`` (of the electrons, until they are
  compared).
"""

from pathlib import Path

RESULTS = "results.zarr"
DENSE = "dense.zarr"
EVENTS = "events.zarr"
REPORT = "report.html"
PROVENANCE = "provenance.json"
MANIFEST = "manifest.json"
IMAGES = "images"
RECORDS = "records"
"""Folder of done records: how long and how often a unit ran; not part of what is compared."""
ASIDE = ".inprogress"
"""Suffix of a folder that is still being written."""


def work_root(output: Path) -> Path:
    """Folder of everything that a rerun goes on from."""
    return output / ".phasemill"


def work_folder(output: Path, name: str) -> Path:
    """Folder that one dataset's event store and finished steps live in."""
    return work_root(output) / name


def error_log(output: Path, name: str) -> Path:
    """Where the traceback of a dataset stands that failed in the last night."""
    return work_folder(output, name) / "error.log"


def step_folder(work: Path, step: str) -> Path:
    """Folder of one finished step."""
    return work / "steps" / step


def half_folder(work: Path, number: int) -> Path:
    """Folder of steps of one half of the electrons, there until their images are compared."""
    return work / "halves" / f"half-{number}"


def calibrated_by(work: Path) -> Path:
    """File with the name of the step whose calibration is in use; no step, so beside them."""
    return work / "calibrated_by"


def event_store(work: Path) -> Path:
    """Path of the event store of a dataset."""
    return work / EVENTS


def source(work: Path) -> Path:
    """Fingerprint of the recording as it was when it was last hashed."""
    return work / "source.json"


def tuned(work: Path) -> Path:
    """Where the calibration stands that somebody tuned by eye."""
    return work / "tuned.json"


def slab_group(number: int) -> str:
    """Group of one slab inside the event store."""
    return f"slabs/{number:05d}"


def unit_record(folder: Path, unit: str) -> Path:
    """Done record of one unit of work inside a folder that is being written."""
    return folder / RECORDS / f"{unit}.json"
