"""ePIE: object and probe by iterative ptychography, from the patterns of a scan.

One unit of work is the reconstruction of one tile, mostly of the whole scan; it runs on one worker,
and says after each round how far the patterns still are from what object and probe predict.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from distributed import Client

from gpu_kernels.epie import epie
from gpu_kernels.epie_gpu import epie_scratch
from gpu_kernels.epie_settings import BATCHES, SEQUENTIAL, Epie
from tasks.device import device_turn, on_device
from tasks.epie_setup import EpieSettings, EpieSetup, electrons_of
from tasks.epie_start import going_on, identity_of_start, start_of
from tasks.epie_tiles import reconstruct_tiles
from tasks.store import layout
from tasks.store.publish import Manifest, published
from tasks.store.zarr_json import write_group
from tasks.units import part_done, run_units

VERSION = 8


def algorithm(method: str, given: dict[str, Any]) -> Epie:
    """How object and probe are sought.

    Parameters
    ----------
    method : str
        ``batches`` or ``sequential``.
    given : dict
        Values for fields of ``Epie``; None, and what is no field of it, are left out.

    Returns
    -------
    Epie
        The method's own values elsewhere.
    """
    names = {one.name for one in fields(Epie)}
    own = {name: given[name] for name in names & given.keys() if given[name] is not None}
    return replace(SEQUENTIAL if method == "sequential" else BATCHES, **own)


def reconstruct(
    work: Path,
    identity_of_calibration: str,
    settings: EpieSettings,
    client: Client | None = None,
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Reconstruct object and probe.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    identity_of_calibration : str
        Identity of the calibration, which stands for all that comes before it.
    settings : EpieSettings
        What to do.
    client, force
        As for every step.

    Returns
    -------
    manifest : Manifest
        Of the step's folder: ``object`` (rows, cols) complex64 along the axes of the scan, with
        ``object_y`` and ``object_x`` [Å]; ``probe`` (side, side) complex64 in the detector's frame,
        its disk on the zero frequency; ``residuals`` (rounds,); ``moved`` (scan_y, scan_x, 2) [Å],
        how far positions were moved.
        Its summary has ``sampling`` [Å], ``bin``, ``side``, ``patterns``, ``residual``, ``noise``
        and ``probe_room`` over ``extent`` [Å]; of tiles ``tiles`` and their ``disagreement`` [rad].
    reused : bool
        Whether it was there before.
    """

    def write(aside: Path) -> dict[str, Any]:
        write_group(aside)
        setup = EpieSetup(work, settings)
        if len(tiles := setup.tiles()) > 1:
            return reconstruct_tiles(work, aside, setup, tiles, client)
        unit = (str(work), str(aside), settings)
        rounds = settings.algorithm.iterations
        (facts,) = run_units("epie", _whole, [unit], client, parts=rounds)
        return facts

    return published(
        layout.step_folder(work, "epie"),
        step="epie",
        version=VERSION,
        inputs={"calibrate": identity_of_calibration} | identity_of_start(work, settings.start),
        parameters=settings.parameters,
        write=write,
        force=force,
    )


def _whole(work_path: str, aside: str, settings: EpieSettings) -> dict[str, Any]:
    """Reconstruct from all positions at once."""
    setup = EpieSetup(Path(work_path), settings)
    patterns, weight = setup.patterns(), setup.grid.measured()
    probe = setup.probe(electrons_of(patterns, weight) / len(patterns))
    start = start_of(setup)
    with device_turn():
        found = epie(
            on_device(patterns, epie_scratch(patterns)), setup.positions, probe,
            going_on(settings.algorithm, start), weight=weight, start=start,
            on_round=lambda n, residual, noise: part_done(
                n, f"residual {residual:.4f}, noise {noise:.4f}"
            ),
        )  # fmt: skip
    setup.write(Path(aside), found)
    return setup.facts(found)
