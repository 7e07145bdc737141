"""Probe: the aberrations, and where needed the whole wave in the aperture, from patterns alone.

Tiles of neighbouring scan positions are read from all over the scan; how rotation, mirror, centre
and radius were found is left to the calibration, whose aberrations are not looked at.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from distributed import Client

from models.aberrations import CARTESIAN, ORDERS, Aberrations
from models.probe_family import edge_scale
from models.probe_search import (
    Candidate,
    Objective,
    Search,
    candidates,
    decide,
    landscape,
    misfit_of,
    refine,
)
from models.weights import load_network
from tasks.calibrate import read_calibration, use_calibration
from tasks.network import SHIPPED
from tasks.probe_tiles import look
from tasks.starting_probe import FOUND, probe_grid
from tasks.store import layout
from tasks.store.events import open_store, write_array
from tasks.store.files import write_json
from tasks.store.publish import Manifest, published
from tasks.store.zarr_json import write_group
from tasks.units import part_done, run_units

VERSION = 2
SAME = 0.3
"""Defocus [rad at the edge] by which the calibration may differ, as well as by a tenth."""
PARTS = 100
"""Parts of the progress."""


@dataclass(frozen=True)
class ProbeSettings:
    """How the probe is sought."""

    objective: Objective = "prediction"
    iterations: int = 40
    trials: int = 30
    restarts: int = 2
    third_order: bool = False
    free_wavefront: bool = True
    """Let the wavefront depart from the aberrations, if the data demand it."""
    use: bool = True
    """Later steps take these aberrations, not those of the calibration."""
    seed: int = 0


def recover_probe(
    work: Path,
    identity_of_calibration: str,
    settings: ProbeSettings,
    client: Client | None = None,
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Write the wave in the aperture and the calibration with the aberrations that were found.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    identity_of_calibration : str
        Identity of ``calibrate``, which holds disk, rotation and mirror.
    settings : ProbeSettings
        How.
    client, force
        As for every step.

    Returns
    -------
    manifest : Manifest
        Its summary has the aberrations and what decided.
    reused : bool
        Whether it was there before.

    Raises
    ------
    ProbeError
        If there are too few neighbouring patterns.
    """

    def write(aside: Path) -> dict[str, Any]:
        ((summary, calibration, wave, lines),) = run_units(
            "probe", _recover, [(str(work), settings)], client, parts=PARTS
        )
        write_group(aside)
        write_array(aside, FOUND, wave)
        write_array(aside, "landscape", lines)
        write_json(aside / "calibration.json", calibration)
        return summary

    manifest, reused = published(
        layout.step_folder(work, "probe"),
        step="probe",
        version=VERSION,
        inputs={"calibrate": identity_of_calibration},
        parameters=asdict(settings),
        write=write,
        force=force,
    )
    if settings.use:
        use_calibration(work, "probe")
    return manifest, reused


def _recover(
    work_path: str, settings: ProbeSettings
) -> tuple[dict[str, Any], dict[str, Any], np.ndarray, np.ndarray]:
    # One thread: the same sums in the same order on every machine.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _recovered(Path(work_path), settings)
    finally:
        torch.set_num_threads(threads)


def _recovered(
    work: Path, settings: ProbeSettings
) -> tuple[dict[str, Any], dict[str, Any], np.ndarray, np.ndarray]:
    geometry, before, calibration = read_calibration(work, "calibrate")
    events = open_store(layout.event_store(work))
    grid = probe_grid(geometry, events.detector_shape)
    seen, blocks = look(events, grid, geometry, settings.third_order, settings.seed)
    network = load_network(SHIPPED)[0] if settings.objective == "network" else None
    search = Search(
        settings.objective, settings.iterations, settings.trials, settings.restarts,
        settings.seed, network,
    )  # fmt: skip

    part_done(5, "patterns read")
    found_at = candidates(seen, search)
    part_done(40, f"{len(found_at)} candidates")
    ordered = decide(blocks[0], found_at)
    part_done(65, f"defocus {-ordered[0].aberrations[0]:.3g} rad at the edge")
    found, spread, fit, freed, gain = refine(
        blocks, ordered[0], settings.third_order, settings.free_wavefront
    )
    part_done(95)
    scale = edge_scale(geometry.wavelength, geometry.semiangle, settings.third_order)
    lens = Aberrations.from_cartesian(found / scale)
    misfit = misfit_of(seen, search, max(2.5, abs(found[0])))
    lines = landscape(misfit, found)
    lines[:, 0] /= scale[: len(lines), None]
    runner_up = _runner_up(ordered)
    summary = {
        "aberrations": lens.nonzero(),
        "decided_by": f"likelihood of {len(blocks[0].patterns)} neighbouring patterns, "
        f"candidates by {settings.objective}",
        "deviance_per_pixel": fit.deviance / blocks[0].patterns.size,
        "blocks": len(blocks),
        "free_wavefront": freed,
        "free_wavefront_gain": gain,
        "runner_up": None if runner_up is None else {
            "aberrations": Aberrations.from_cartesian(runner_up.aberrations / scale[:7]).nonzero(),
            "deviance_per_pixel": runner_up.deviance / blocks[0].patterns.size,
            "deviance_above": runner_up.deviance - ordered[0].deviance,
        },
        "calibration_had": before.nonzero(),
        "sampling_angstrom": grid.sampling,
        "edge_rad_per_angstrom": scale.tolist(),
    }  # fmt: skip
    one = calibration["calibration"]
    one["aberrations"] = _table(lens, found / scale, spread / scale)
    flag = _agreement(before, lens, summary, float(spread[0] / scale[0]), float(scale[0]))
    calibration["quality"] = calibration["quality"] + [flag]
    wave = np.fft.fftshift(fit.wave).astype(np.complex64)
    return summary, calibration, wave, lines


def _runner_up(ordered: list[Candidate]) -> Candidate | None:
    """Best candidate that lies in another basin than the first."""
    first = ordered[0].aberrations
    other = [c for c in ordered[1:] if np.linalg.norm(c.aberrations - first) > 0.5]
    return other[0] if other else None


def _table(lens: Aberrations, cartesian: np.ndarray, sigma: np.ndarray) -> dict[str, Any]:
    """Coefficients as the calibration writes them."""
    table: dict[str, Any] = {}
    names = CARTESIAN[: len(cartesian)]
    for name, (_, m) in ORDERS.items():
        parts = [i for i, one in enumerate(names) if one.rstrip("ab") == name]
        if not parts:
            continue
        value = getattr(lens, name)
        off = float(np.linalg.norm(sigma[parts]) / np.sqrt(len(parts)))
        known = off if np.isfinite(off) else None
        table[name] = {"value": value, "origin": "fitted", "uncertainty": known, "unit": "Å"}
        if m:
            turn = known / (m * value) if known is not None and value > 0 else None
            table["phi" + name[1:]] = {
                "value": getattr(lens, "phi" + name[1:]), "origin": "fitted",
                "uncertainty": turn, "unit": "rad",
            }  # fmt: skip
    return table


def _agreement(
    before: Aberrations, lens: Aberrations, summary: dict[str, Any], sigma: float, scale: float
) -> dict[str, str]:
    """How the probe's defocus compares with that of the calibration, and what decided."""
    apart = lens.C10 - before.C10
    same = abs(apart) <= max(0.1 * max(abs(lens.C10), abs(before.C10)), SAME / scale)
    known = f" ± {sigma:.2g}" if np.isfinite(sigma) else ""
    text = (
        f"The patterns alone give C10 = {lens.C10:.4g}{known} Å, the calibration had "
        f"{before.C10:.4g} Å. The {summary['decided_by'].partition(',')[0]} decided."
    )
    if other := summary["runner_up"]:
        text += (
            f" The next best basin, C10 = {other['aberrations'].get('C10', 0.0):.4g} Å, has a "
            f"deviance {other['deviance_above']:.3g} greater."
        )
    if summary["free_wavefront"]:
        text += " The wavefront departs from these aberrations, as the data demand."
    return {"flag": "probe", "level": "ok" if same else "warn", "text": text}
