"""The network's echo: what it makes of its own image, and the image with what it loses made good.

A network that sees one pattern at a time leans towards what images are like, and shows fine detail
too weak. It does so in every pattern, so stitching does not average that away. Shown the patterns
of its own image, without counting noise, it does the same again: what is lost the second time is
what was lost the first (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 10).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.retrieval import expected_roots, retrieve
from models.weights import load_network
from tasks.cnn_refine import PHASE, PROBE
from tasks.cnn_scene import NETWORK, scene
from tasks.cnn_settings import CnnSettings
from tasks.cnn_stitch import Cut, slab_places, write_sums
from tasks.device import device_turn, torch_device
from tasks.patterns import probe_positions
from tasks.store.events import read_array


def without_plane(phase: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """A phase without its plane, and the plane's slope along y and x [rad/px].

    A plane is what an error of the disk's centre makes; no pattern tells the two apart.
    """
    y, x = np.indices(phase.shape).reshape(2, -1)
    design = np.stack([np.ones(y.size), y, x], axis=1)
    plane, *_ = np.linalg.lstsq(design, phase.ravel().astype(float), rcond=None)
    flat = (phase.ravel() - design @ plane).reshape(phase.shape)
    return flat.astype(np.float32), [float(plane[1]), float(plane[2])]


def retrieve_echo(
    work: str, aside: str, settings: CnnSettings, slab: int, facts: dict[str, Any], cut: Cut
) -> dict[str, Any]:
    """Sums of the patches that the network makes of the image in the step's folder, for one slab.

    Parameters
    ----------
    work, aside, settings, slab, cut
        As in ``write_sums``.
    facts : dict
        ``origin`` of the image [px] and ``electrons`` of a pattern.

    Returns
    -------
    dict
        ``parts``, as ``write_sums`` has them.
    """
    torch.set_num_threads(1)
    events, geometry, grid = scene(Path(work))
    network, _ = load_network(Path(aside) / NETWORK)
    places = slab_places(events, geometry, settings, slab)
    at = probe_positions(grid, geometry, places) - facts["origin"]
    image, probe = read_array(aside, PHASE), read_array(aside, PROBE)
    roots = expected_roots(image, at, probe, facts["electrons"])
    with device_turn():
        patches = retrieve(network.to(torch_device()), roots, facts["electrons"])
    return {"parts": write_sums(Path(work), Path(aside), settings, slab, patches, cut)[0]}


def without_echo(image: np.ndarray, echo: np.ndarray) -> np.ndarray:
    """The image with what its echo has lost added to it once.

    Parameters
    ----------
    image, echo : (rows, cols) float32
        Stitched from the recording, and from the patterns of ``image`` [rad].

    Returns
    -------
    (rows, cols) float32
        ``image`` itself where more is lost than there is: that echo says nothing.
    """
    lost = without_plane(image - echo)[0]
    return image + lost if lost.std() < image.std() else image
