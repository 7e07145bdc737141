"""Publishing: a result is whole, or it is not there.

A step writes into a folder aside, unit by unit; each unit leaves a done record after its data.
When all units are there, a manifest with the SHA-256 of every file is written last, and the folder
is renamed into place. A missing chunk of a Zarr array reads as zeros, so only the manifest says
that a result is whole.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.device import device_name, devices_noted
from tasks.store import layout
from tasks.store.exchange import move_into_place
from tasks.store.files import data_names, hash_file, hash_of, write_json
from tasks.store.records import begin, recorded


class DamagedResultError(ValueError):
    """A published folder does not hold what its manifest says."""


@dataclass(frozen=True)
class Manifest:
    """What a published folder holds, and what it was made from."""

    step: str
    identity: str
    parameters: dict[str, Any]
    inputs: dict[str, str]
    files: dict[str, str]
    """SHA-256 of every file, by its path inside the folder."""
    summary: dict[str, Any]
    """Small facts for the steps that follow and for the report."""

    @classmethod
    def sealed(cls, stored: dict[str, Any]) -> "Manifest":
        """Take a manifest as it was stored, if its seal is whole.

        Raises
        ------
        ValueError, KeyError
            If it is not.
        """
        stored = dict(stored)
        if stored.pop("seal") != hash_of(stored):
            raise ValueError("the seal of the manifest is broken")
        return cls(**{key: stored[key] for key in cls.__dataclass_fields__})

    @property
    def digest(self) -> str:
        """One hash of all the data, equal for equal bytes."""
        return hash_of(self.files)

    @property
    def seconds(self) -> float:
        """How long the step took when it ran [s]; 0 where that was not recorded."""
        return float(self.summary.get("seconds", 0.0))

    @property
    def devices(self) -> list[str]:
        """What the step was worked out on when it ran; empty where that was not recorded."""
        return list(self.summary.get("devices", []))


def step_identity(
    step: str, version: int, inputs: Mapping[str, str], parameters: Mapping[str, Any]
) -> str:
    """Name a step by all that decides its result.

    Parameters
    ----------
    step : str
        Name of the step.
    version : int
        Version of its code; raised when its result changes.
    inputs : mapping
        Identities of what it reads, by name.
    parameters : mapping
        Its parameters, as JSON values.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return hash_of(
        {"step": step, "version": version, "inputs": dict(inputs), "parameters": dict(parameters)}
    )


def read_manifest(folder: Path) -> Manifest | None:
    """Manifest of a published folder, or None where there is none that is whole."""
    try:
        stored = json.loads((folder / layout.MANIFEST).read_text(encoding="utf-8"))
        return Manifest.sealed(stored)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def verify(folder: Path) -> Manifest:
    """Read a published folder again and compare every file with the manifest.

    Returns
    -------
    Manifest
        The manifest, when everything is as it says.

    Raises
    ------
    DamagedResultError
        If there is no manifest, or a file is missing, changed, or was added.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise DamagedResultError(
            f"{folder}: there is no readable {layout.MANIFEST}, so the result was never finished "
            "or lost it; run the job again."
        )
    found = {name: folder / name for name in data_names(folder)}
    faults = [f"{name} is missing" for name in manifest.files if name not in found]
    faults += [f"{name} was not written by the step" for name in found.keys() - manifest.files]
    for name, expected in manifest.files.items():
        if name in found and (actual := hash_file(found[name])) != expected:
            faults.append(f"{name} has SHA-256 {actual[:12]}…, expected {expected[:12]}…")
    if faults:
        raise DamagedResultError(
            f"{folder}: {len(faults)} of {len(manifest.files)} files differ from the manifest: "
            + "; ".join(sorted(faults)[:5])
            + ("; …" if len(faults) > 5 else "")
            + ". Run the job again to make them anew."
        )
    return manifest


def reusable(folder: Path, identity: str) -> Manifest | None:
    """Manifest of a finished result of this identity that is still whole, else None."""
    manifest = read_manifest(folder)
    if manifest is None or manifest.identity != identity:
        return None
    try:
        return verify(folder)
    except DamagedResultError:
        return None


def publish(
    folder: Path,
    *,
    step: str,
    identity: str,
    inputs: Mapping[str, str],
    parameters: Mapping[str, Any],
    summary: Mapping[str, Any],
    known_hashes: Mapping[str, str] | None = None,
) -> Manifest:
    """Write the manifest of the folder aside, last, and move it into place.

    Parameters
    ----------
    folder : Path
        Where the result is to stand; ``begin`` made the folder aside.
    step, identity, inputs, parameters, summary
        See ``Manifest``.
    known_hashes : mapping, optional
        SHA-256 of files that a done record already holds.

    Returns
    -------
    Manifest
        As written.
    """
    aside = folder.with_name(folder.name + layout.ASIDE)
    known = known_hashes or {}
    manifest = Manifest(
        step=step,
        identity=identity,
        parameters=dict(parameters),
        inputs=dict(inputs),
        files={name: known.get(name) or hash_file(aside / name) for name in data_names(aside)},
        summary=dict(summary),
    )
    # As it will be read: what follows must not depend on whether a step ran or was found.
    stored = json.loads(json.dumps(manifest.__dict__, sort_keys=True))
    manifest = Manifest(**stored)
    # The seal is over all of it: a flipped bit in a parameter is damage too.
    stored["digest"] = manifest.digest
    write_json(aside / layout.MANIFEST, stored | {"seal": hash_of(stored)}, indent=None)
    shutil.rmtree(aside / layout.RECORDS, ignore_errors=True)
    move_into_place(aside, folder)
    return manifest


def published(
    folder: Path,
    *,
    step: str,
    version: int,
    inputs: Mapping[str, str],
    parameters: Mapping[str, Any],
    write: Callable[[Path], Mapping[str, Any]],
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Reuse a finished step, or run it and publish what it wrote.

    Parameters
    ----------
    folder : Path
        Where the step's result stands.
    step, version, inputs, parameters
        What decides the result; see ``step_identity``.
    write : callable
        Writes into the folder aside that it is given; returns the summary, with ``seconds`` of its
        own where the time until it returns is not what the step took.
    force : bool
        Run it even if a whole result of this identity is there.

    Returns
    -------
    manifest : Manifest
        Of the result.
    reused : bool
        Whether it was there before.
    """
    identity = step_identity(step, version, inputs, parameters)
    if not force and (manifest := reusable(folder, identity)):
        return manifest, True
    summary, hashes = written(folder, identity, write)
    manifest = publish(
        folder, step=step, identity=identity, inputs=inputs, parameters=parameters,
        summary=summary, known_hashes=hashes,
    )  # fmt: skip
    return manifest, False


def written(
    folder: Path, begun: str, write: Callable[[Path], Mapping[str, Any]]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Run a step into the folder aside, ``begun`` under a name; gives its summary and hashes."""
    start, aside = time.monotonic(), begin(folder, begun)
    with devices_noted() as devices:
        facts = dict(write(aside))
    hashes, earlier = recorded(aside)
    # With those of the units that were done before the step was stopped and taken up again.
    there = {"devices": sorted(devices | earlier) or [device_name()]}
    return {"seconds": round(time.monotonic() - start, 3)} | facts | there, hashes
