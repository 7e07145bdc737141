"""The network of a dataset: one that comes along or is given, tested for its probe, trained on."""

from pathlib import Path
from typing import Any

import numpy as np

from models.images import held_out_atlas
from models.lessons import Lessons, Score
from models.networks import PatchNetwork
from models.probe_family import OneProbe
from models.retrieval import for_probe, noise_floor, validated
from models.unrolled import UnrolledPatch
from models.weights import load_network, save_network
from tasks.cnn_settings import SHIPPED, NetworkSettings
from tasks.train import TrainSettings, train_network
from tasks.units import report

TEST_PHASES = (0.1, 1.0)
"""Range of the phases of the simulated objects that a network is tested on [rad]."""


def make_network(
    settings: NetworkSettings, probe: np.ndarray, electrons: float, path: Path
) -> dict[str, Any]:
    """Make the network of a dataset ready, and write it.

    Parameters
    ----------
    settings : NetworkSettings
        Which, and whether to train it.
    probe : (side, side) complex64
        In real space, centred, Σ|P|² = 1.
    electrons : float
        Mean electrons of the beam [e].
    path : Path
        The file to write.

    Returns
    -------
    dict
        ``head`` [px]; ``error``, ``correlation`` and ``floor`` of phases simulated for this probe
        and dose [rad]; ``trained``, and ``error_before`` where it was.
    """
    found, _ = load_network(SHIPPED if settings.path is None else Path(settings.path))
    network = for_probe(found, probe, electrons) if found.many_probes else found
    tests = Lessons(held_out_atlas(), OneProbe(probe), (electrons, electrons), 0, TEST_PHASES)
    before = after = validated(network, tests)
    floor = noise_floor(UnrolledPatch(probe, electrons), electrons)
    wanted = settings.train == "always" or (
        settings.train == "auto" and before.l1 > settings.threshold * floor
    )
    if wanted and found.many_probes:
        network, after = _trained_on(network, before, tests, settings, probe, electrons)
    kept = after is before
    card = {"electrons": electrons, "error": after.l1, "trained": not kept}
    save_network(path, network, card)
    return {
        "head": network.head,
        "error": after.l1,
        "correlation": after.correlation,
        "floor": floor,
        "trained": not kept,
        "error_before": before.l1,
    }


def _trained_on(
    network: PatchNetwork,
    before: Score,
    tests: Lessons,
    settings: NetworkSettings,
    probe: np.ndarray,
    electrons: float,
) -> tuple[PatchNetwork, Score]:
    """The network after a training for its probe, or as it was where that was no better."""
    steps = None if settings.minutes else settings.steps
    wanted = TrainSettings(
        probe=probe, doses=(electrons, electrons), steps=steps, minutes=settings.minutes
    )
    done = train_network(
        wanted, start=network, on_step=lambda step, steps: report("cnn: train", step, steps)
    )
    after = validated(done.network, tests)
    return (done.network, after) if after.l1 < before.l1 else (network, before)
