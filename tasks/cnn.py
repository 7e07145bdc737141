"""CNN: the phase from single patterns by a network, stitched; and how far to trust it.

Nothing is iterated over the scan: every pattern is turned into a patch of phases on its own, in
parallel, and the patches are stitched in one linear solve (Chang et al., Phys. Rev. Lett. 130,
016101 (2023)). The network that comes along serves every probe; it is tested on patterns simulated
for the dataset's own probe and dose, and trained on for a little while where that pays. What
neighbouring patterns tell together is then added in a few rounds (``tasks.cnn_refine``).
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from distributed import Client
from scipy.ndimage import distance_transform_edt

from gpu_kernels.stitch import stitch
from models.forward import head_size, unit_probe
from models.geometry import Geometry
from models.retrieval import patch_weights, retrieve
from models.weights import load_network
from tasks.cnn_refine import PHASE, PROBE, refine
from tasks.cnn_scene import SIDE, on_stride, roots_of, scene
from tasks.cnn_settings import CnnError, CnnSettings
from tasks.device import on_device, torch_device
from tasks.network import make_network
from tasks.object_image import along_scan
from tasks.patterns import PatternGrid, probe_positions, read_patterns
from tasks.places import scan_places
from tasks.starting_probe import starting_probe
from tasks.store import layout
from tasks.store.events import (
    EventStore,
    create_array,
    open_for_writing,
    open_store,
    read_array,
    write_array,
)
from tasks.store.publish import Manifest, finished_unit, published, record_unit
from tasks.units import run_units

VERSION = 4
LARGEST_HEAD = 20
"""Side of the largest patch; a probe that needs more does not fit into the window [px]."""
SAMPLED = 4096
"""Patterns that the mean dose is taken from."""
GENTLE = 8
"""Phases are turned to the scan's axes as e^(iφ/8): no phase that occurs then wraps."""
NETWORK, PATCHES, STITCHED = "network.safetensors", "patches", "stitched"


def cnn(
    work: Path,
    identity_of_calibration: str,
    settings: CnnSettings,
    client: Client | None = None,
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Retrieve the phase with a network.

    Parameters
    ----------
    work : Path
        Folder of the dataset's steps.
    identity_of_calibration : str
        Identity of the calibration, which stands for all that comes before it.
    settings : CnnSettings
        What to do.
    client, force
        As for every step.

    Returns
    -------
    manifest : Manifest
        Of the step's folder: ``phase`` (rows, cols) float32 [rad] along the axes of the scan, with
        ``phase_y`` and ``phase_x`` [Å]; ``phase_stitched``, the same before it was refined, where
        it was; ``misfit`` (scan_y, scan_x) float32, 1 where the phase explains the pattern and NaN
        where there is none; ``network.safetensors``, what retrieved it. Its summary has
        ``sampling`` [Å], ``bin``, ``electrons``, ``patches``; ``plane`` (y, x) [rad/Å], the slope
        that was taken away; ``refined``, the rounds that were kept, with ``misfit_median`` and,
        before them, ``misfit_median_stitched``; ``refined_anew``, whether they began from no phase;
        and all that ``make_network`` says.
    reused : bool
        Whether it was there before.

    Raises
    ------
    CnnError
        If probe or detector do not suit a network.
    """

    def write(aside: Path) -> dict[str, Any]:
        if not (aside / "zarr.json").exists():
            zarr.create_group(str(aside))
        unit = str(work), str(aside), settings
        facts = finished_unit(aside, "network")
        if facts is None:
            (facts,) = run_units("cnn: network", _make_network, [unit], client)
        events = open_store(layout.event_store(work))
        slabs = range(events.slabs)
        todo = [slab for slab in slabs if finished_unit(aside, _unit(slab)) is None]
        if len(todo) == events.slabs:
            _lay_out(aside, events, facts["head"])
        todo_units = [(*unit, slab, facts) for slab in todo]
        run_units("cnn: patches", _retrieve_slab, todo_units, client)
        (stitched,) = run_units("cnn: stitch", _stitch, [(*unit, facts)], client)
        facts |= stitched
        refined = refine(work, aside, settings, facts, client)
        (placed,) = run_units("cnn: turn", _turn, [(*unit, facts)], client)
        write_array(aside, "misfit", refined.misfit.astype(np.float32))
        for name in (PATCHES, PHASE, STITCHED, PROBE):
            shutil.rmtree(aside / name)
        usable = refined.misfit[np.isfinite(refined.misfit)]
        judged = {
            "refined": refined.rounds,
            "refined_anew": refined.anew,
            "misfit_median": float(np.median(usable)),
            "misfit_median_stitched": refined.before,
        }
        return facts | placed | judged

    return published(
        layout.step_folder(work, "cnn"),
        step="cnn",
        version=VERSION,
        inputs={"calibrate": identity_of_calibration},
        parameters=settings.parameters,
        write=write,
        force=force,
    )


def _make_network(work_path: str, aside: str, settings: CnnSettings) -> dict[str, Any]:
    torch.set_num_threads(1)
    work = Path(work_path)
    events, geometry, grid = scene(work)
    electrons = _mean_electrons(events, grid)
    probe = starting_probe(work, grid, settings.probe, electrons)
    head = head_size(probe)
    if head > LARGEST_HEAD:
        raise CnnError(
            f"cnn: the probe needs a window of {head * grid.sampling:.4g} Å or more, and patterns "
            f"of {SIDE} x {SIDE} pixels with a disk of {geometry.radius / grid.bin:.3g} px see "
            f"{grid.extent:.4g} Å. Its defocus is too large for a network; take the step epie."
        )
    path = Path(aside) / NETWORK
    facts = make_network(settings.network, unit_probe(probe), electrons, path)
    facts |= {"electrons": electrons, "bin": grid.bin, "sampling": grid.sampling}
    record_unit(Path(aside), "network", [path], facts)
    return facts


def _mean_electrons(events: EventStore, grid: PatternGrid) -> float:
    """Mean electrons of a pattern, from some positions all over the scan."""
    usable = np.flatnonzero(~events.unusable())
    if not usable.size:
        raise CnnError("cnn: no scan position has a whole frame.")
    chosen = np.zeros(events.scan_shape, bool)
    chosen.ravel()[usable[:: max(1, usable.size // SAMPLED)]] = True
    return float(read_patterns(events, grid, chosen).mean(axis=0, dtype=np.float64).sum())


def _unit(slab: int) -> str:
    return f"slab-{slab:05d}"


def _lay_out(aside: Path, events: EventStore, head: int) -> None:
    rows, cols = events.scan_shape
    chunks = (events.slab_rows, cols, head, head)
    create_array(aside, PATCHES, (rows, cols, head, head), np.float32, chunks)


def _retrieve_slab(
    work: str, aside: str, settings: CnnSettings, slab: int, facts: dict[str, Any]
) -> None:
    torch.set_num_threads(1)
    events, _, grid = scene(Path(work))
    network, _ = load_network(Path(aside) / NETWORK)
    network = network.to(torch_device())
    roots, chosen = roots_of(events, grid, slab, settings.stride)
    patches = np.zeros((*chosen.shape, network.head, network.head), np.float32)
    patches[chosen] = retrieve(network, roots, facts["electrons"])
    first, last = events.rows(slab)
    open_for_writing(aside, PATCHES)[first:last] = patches
    file = Path(aside) / PATCHES / "c" / str(slab) / "0" / "0" / "0"
    record_unit(Path(aside), _unit(slab), [file], {})


def _stitch(work: str, aside: str, settings: CnnSettings, facts: dict[str, Any]) -> dict[str, Any]:
    events, geometry, grid = scene(Path(work))
    network, _ = load_network(Path(aside) / NETWORK)
    chosen = ~events.unusable() & on_stride(events.scan_shape, settings.stride)
    places = scan_places(events, geometry, settings.positions)
    at = probe_positions(grid, geometry, (places[0][chosen], places[1][chosen]))
    margin = SIDE // 2
    low = np.floor(at.min(axis=0)).astype(int) - margin
    shape = np.ceil(at.max(axis=0)).astype(int) + margin - low
    patches = read_array(aside, PATCHES)[chosen]
    found = stitch(
        on_device(patches), at - low, patch_weights(network), (int(shape[0]), int(shape[1]))
    )
    phase = _filled(found.image).astype(np.float32)
    write_array(aside, PHASE, phase)
    write_array(aside, STITCHED, phase)
    write_array(aside, PROBE, network.probe.numpy())
    return {
        "origin": [int(low[0]), int(low[1])],
        "patches": len(at),
        "rounds": found.rounds,
    }


def _filled(image: np.ndarray) -> np.ndarray:
    """The image with the nearest value where no patch saw anything: an edge there would scatter."""
    unseen = ~np.isfinite(image)
    nearest = distance_transform_edt(unseen, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def _turn(work: str, aside: str, settings: CnnSettings, facts: dict[str, Any]) -> dict[str, Any]:
    """Write the phases along the axes of the scan."""
    events, geometry, grid = scene(Path(work))
    places = scan_places(events, geometry, settings.positions)
    low = np.array(facts["origin"])
    image, y, x = _turned(read_array(aside, PHASE), low, geometry, grid, places)
    flat, slope = _without_plane(image)
    arrays = {"phase": flat, "phase_y": y, "phase_x": x}
    if settings.refine:
        own, *_ = _turned(read_array(aside, STITCHED), low, geometry, grid, places)
        arrays["phase_stitched"] = _without_plane(own)[0]
    for name, array in arrays.items():
        write_array(aside, name, array)
    return {"plane": [one / grid.sampling for one in slope]}


def _turned(
    image: np.ndarray,
    low: np.ndarray,
    geometry: Geometry,
    grid: PatternGrid,
    places: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image of the patterns' frame on the axes of the scan, with places along y and x [Å]."""
    gentle = np.exp(1j * image / GENTLE)
    found = along_scan(gentle, (float(low[0]), float(low[1])), geometry, grid.sampling, places)
    return (np.angle(found.obj) * GENTLE).astype(np.float32), found.y, found.x


def _without_plane(phase: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """A phase without its plane, and the plane's slope along y and x [rad/px].

    A plane is what an error of the disk's centre makes; no pattern tells the two apart.
    """
    y, x = np.indices(phase.shape).reshape(2, -1)
    design = np.stack([np.ones(y.size), y, x], axis=1)
    plane, *_ = np.linalg.lstsq(design, phase.ravel().astype(float), rcond=None)
    flat = (phase.ravel() - design @ plane).reshape(phase.shape)
    return flat.astype(np.float32), [float(plane[1]), float(plane[2])]
