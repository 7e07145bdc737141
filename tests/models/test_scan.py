"""Scans of which everything is known: the network that comes along passes, mistakes do not.

The published h-BN probe at its dose, on a specimen from a grid twice as fine, positions sub-pixel.
"""

import numpy as np
import pytest

from benchmarks.cnn import ELECTRONS, SIDE, STEP, by_network, compared, refined, scanned
from gpu_kernels.stitch import stitch
from gpu_kernels.stitch_relaxed import stitch_relaxed
from models.forward import unit_probe
from models.networks import LinearPatch
from models.retrieval import for_probe, patch_weights, retrieve, scan_misfits
from models.training import fit_ridge
from models.weights import load_network
from tasks.network import SHIPPED
from tests.models.deep import drawn_lessons

SCAN = 36


@pytest.fixture(scope="module")
def scene(shared_data):
    probe = np.load(shared_data / "hbn_probe" / "probe.npy")
    rows, cols = np.indices((SCAN, SCAN)).reshape(2, -1)
    positions = STEP * np.stack([rows, cols], axis=1)
    counts, truth = scanned("hbn", probe, positions, ELECTRONS, seed=4)
    size = int(positions.max()) + 1
    network = for_probe(load_network(SHIPPED)[0], unit_probe(probe), ELECTRONS)
    return network, counts, positions, truth[SIDE : SIDE + size, SIDE : SIDE + size]


def test_the_network_that_comes_along_retrieves_the_crystal(scene):
    network, counts, positions, truth = scene
    image, *_ = by_network(network, counts, positions, ELECTRONS, len(truth))
    found = compared(image, truth)
    assert found["corr"] > 0.993
    assert 0.88 < found["slope"] < 1.05
    assert found["rms"] < 0.02


def test_all_patterns_together_tell_what_single_ones_do_not(scene):
    network, counts, positions, truth = scene
    image, *_ = by_network(network, counts, positions, ELECTRONS, len(truth))
    probe = network.probe.numpy()
    found = compared(refined(image, counts, positions, probe, ELECTRONS, 4)[0], truth)
    assert found["rms"] < 0.007
    assert found["corr"] > 0.999
    assert 0.98 < found["slope"] < 1.02


def passes(found):
    """Whether an image is as good as one is to be at this dose."""
    sharp = found["rms"] <= 0.015 and found["corr"] >= 0.997 and found["frc"] >= 0.94
    return sharp and 0.95 <= found["slope"] <= 1.05


@pytest.mark.parametrize(
    "mistake",
    ["none", "no root", "shifted", "transposed", "mirrored", "wrong step", "rounded", "relaxed"],
)
def test_an_image_passes_and_with_a_mistake_it_does_not(scene, mistake):
    network, counts, positions, truth = scene
    roots, at = np.sqrt(counts, dtype=np.float32), positions
    if mistake == "no root":
        roots = roots**2 / roots.max()
    if mistake == "shifted":
        roots = np.roll(roots, 1, axis=2)
    if mistake == "transposed":
        roots = roots.transpose(0, 2, 1)
    if mistake == "mirrored":
        roots = roots[:, ::-1]
    if mistake == "wrong step":
        at = positions * 1.06
    if mistake == "rounded":
        at = np.round(positions)
    patches, weights = retrieve(network, roots, ELECTRONS), patch_weights(network)
    if mistake == "relaxed":  # as the paper stitches, and left so
        image = stitch_relaxed(patches, at + SIDE, weights, (len(truth) + 2 * SIDE,) * 2)
        image = image[SIDE:-SIDE, SIDE:-SIDE]
    else:
        image = np.nan_to_num(stitch(patches, at, weights, truth.shape).image)
    if mistake not in ("relaxed", "shifted"):  # a shift is a plane, which fitting finds
        seen = np.round(roots**2).astype(np.uint16)
        image, _ = refined(image, seen, at, network.probe.numpy(), ELECTRONS, 4)
    assert passes(compared(image, truth)) == (mistake == "none")


def test_the_image_of_a_ridge_regression_does_not_pass(scene):
    network, counts, positions, truth = scene
    probe = network.probe.numpy()
    lesson = drawn_lessons(probe, ELECTRONS, pictures=24).lesson(0, 1, 6000)
    ridge = fit_ridge(LinearPatch(probe, ELECTRONS), lesson).eval()
    image, *_ = by_network(ridge, counts, positions, ELECTRONS, len(truth))
    assert not passes(compared(image, truth))


def test_misfits_are_one_for_the_truth_and_flag_a_particle_that_the_image_lacks(scene):
    network, counts, positions, truth = scene
    roots = np.sqrt(counts, dtype=np.float32)
    inner = (np.abs(positions - positions.mean(axis=0)) < 6).all(axis=1)

    def found(image):
        probe = network.probe.numpy()
        return scan_misfits(roots[inner], image, positions[inner], probe, ELECTRONS)

    right = found(truth)
    assert right.mean() == pytest.approx(1, abs=0.1)
    lacking = truth.copy()
    middle = len(truth) // 2
    lacking[middle - 1 : middle + 2, middle - 1 : middle + 2] -= 1.5
    wrong = found(lacking)
    near = np.hypot(*(positions[inner] - middle).T) < 2
    assert wrong[near].mean() > 2
    far = np.hypot(*(positions[inner] - middle).T) > 6
    assert wrong[far].mean() < 1.5
