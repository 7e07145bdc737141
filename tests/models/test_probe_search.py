"""The probe from patterns alone: the truth must win, however the trial is judged."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import fft

from models.joint_fit import Block
from models.pair_prediction import (
    DiskGrid,
    PairDisagreement,
    PairPrediction,
    PatchRegression,
    coarser,
    covariances,
    whitened,
)
from models.probe_family import edge_scale, unit_wavefronts
from models.probe_search import (
    Candidate,
    Neighbours,
    Search,
    bands,
    candidates,
    decide,
    misfit_of,
    projected,
    reach_of,
    refine,
)
from models.weights import load_network
from tasks.network import SHIPPED

SIDE, RADIUS, STEP, SCAN = 24, 6.0, 0.9, 20
TRUTH = np.array([0.9, -0.4, 0.3, 0.5, -0.4, 0.3, -0.5])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _axes():
    k = fft.fftfreq(SIDE, 1 / SIDE) / RADIUS
    return np.broadcast_arrays(k[:, None], k)


@pytest.fixture(scope="module")
def scan():
    """Counted patterns of a rough phase, and what belongs to them."""
    rng = np.random.default_rng(3)
    y, x = _axes()
    rho, wavefronts = np.hypot(y, x), unit_wavefronts(y, x)
    wave = np.clip(RADIUS - RADIUS * rho + 0.5, 0, 1) ** 0.5
    wave = wave * np.exp(-1j * np.tensordot(TRUTH, wavefronts, 1))
    wave *= np.sqrt(20_000 / np.sum(np.abs(wave) ** 2))
    size = SIDE + int(SCAN * STEP) + 2
    phase = rng.normal(size=(size, size))
    phase = fft.ifft2(fft.fft2(phase) * np.exp(-((fft.fftfreq(size) / 0.25) ** 2))).real
    phase *= 0.15 / phase.std()
    places = np.stack(np.meshgrid(np.arange(SCAN), np.arange(SCAN), indexing="ij"), -1) * STEP
    k = fft.fftfreq(SIDE)
    patterns = []
    for py, px in places.reshape(-1, 2):
        row, col = int(py), int(px)
        ramp = np.exp(-2j * np.pi * (k[:, None] * (py - row) + k * (px - col)))
        probe = fft.fftshift(fft.ifft2(wave * ramp))
        out = fft.fft2(probe * np.exp(1j * phase[row : row + SIDE, col : col + SIDE]))
        patterns.append(rng.poisson(np.abs(out) ** 2))
    patterns = np.array(patterns, np.float32).reshape(SCAN, SCAN, SIDE, SIDE)
    return wave, wavefronts, patterns, places, phase


@pytest.fixture(scope="module")
def seen(scan):
    _, wavefronts, patterns, _, _ = scan
    y, x = _axes()
    mean, rho = patterns.mean(axis=(0, 1)), np.hypot(y, x)
    used = (rho < 1) & (mean > 0.3 * mean.max())
    white = whitened(patterns[..., used], np.sqrt(mean[used]))
    flat = (-1, white.shape[-1])
    pairs, steps = [], []
    for n in (1, 3):
        pairs += [(white[:-n].reshape(flat), white[n:].reshape(flat)),
                  (white[:, :-n].reshape(flat), white[:, n:].reshape(flat))]  # fmt: skip
        steps += [(n * STEP, 0), (0, n * STEP)]
    grid = DiskGrid(
        SIDE, y[used] * RADIUS, x[used] * RADIUS, np.sqrt(mean[used]), wavefronts[:, used]
    )
    return Neighbours(
        grid,
        covariances(white.reshape(flat), pairs, steps),
        tuple(pairs[:2]),
        tuple(steps[:2]),
        RADIUS,
        np.sqrt(mean),
        wavefronts,
        tuple(
            (a.reshape(-1, SIDE, SIDE)[::5], b.reshape(-1, SIDE, SIDE)[::5])
            for a, b in (
                (patterns[:-1], patterns[1:]),
                (patterns[:, :-1], patterns[:, 1:]),
            )
        ),
    )


@pytest.fixture(scope="module")
def block(scan):
    _, wavefronts, patterns, places, _ = scan
    at = np.s_[4:16, 4:16]
    return Block(
        patterns[at].reshape(-1, SIDE, SIDE),
        places[at].reshape(-1, 2),
        np.sqrt(patterns.mean(axis=(0, 1))),
        wavefronts,
    )


def _overlap(one, other):
    padded = np.zeros((4 * SIDE, 4 * SIDE), complex)
    padded[:SIDE, :SIDE] = fft.fftshift(np.conj(one) * other)
    best = np.abs(fft.ifft2(padded)).max() * padded.size
    return best / np.sqrt((np.abs(one) ** 2).sum() * (np.abs(other) ** 2).sum())


def test_jacobian_is_that_of_the_patterns(scan, seen):
    # Against a central difference of |F[P exp(i φ)]|² in float64.
    wave, _, _, _, _ = scan
    y, x = _axes()
    used = np.hypot(y, x) < 0.9
    wave = np.where(used, wave, 0)
    grid = DiskGrid(SIDE, y[used] * RADIUS, x[used] * RADIUS, np.abs(wave[used]),
                    unit_wavefronts(y, x)[:, used])  # fmt: skip
    reach = 12
    slopes, _, light = PatchRegression(grid, reach).at(torch.tensor(TRUTH, dtype=torch.float32))
    probe = fft.fftshift(fft.ifft2(wave))
    low = SIDE // 2 - reach // 2
    for pixel in (40, 78, 101):
        row, col = low + pixel // reach, low + pixel % reach
        ends = []
        for step in (1e-4, -1e-4):
            phase = np.zeros((SIDE, SIDE))
            phase[row, col] = step
            ends.append(np.abs(fft.fft2(probe * np.exp(1j * phase)))[used] ** 2)
        expected = (ends[0] - ends[1]) / 2e-4 / np.abs(wave[used])
        assert np.allclose(slopes[:, pixel], expected, atol=1e-4 * np.abs(expected).max())
        assert light[pixel] == pytest.approx(
            np.abs(probe[row, col]) ** 2 / np.sum(np.abs(probe[low:-low, low:-low]) ** 2), rel=1e-3
        )


def test_truth_foretells_neighbours_better_than_other_probes(seen):
    misfit = misfit_of(seen, Search(), 2.5)
    right = misfit(TRUTH)
    rng = np.random.default_rng(0)
    for other in (np.zeros(7), -TRUTH, 2 * TRUTH, *rng.uniform(-1, 1, (5, 7))):
        assert right < misfit(other)


def test_relative_disagreement_is_least_near_the_truth_and_the_absolute_is_not(seen):
    # A probe that answers small phases wins by the absolute one; why it is not the default.
    relative = misfit_of(seen, Search("relative"), 2.5)
    assert relative(TRUTH) < relative(np.zeros(7))
    assert relative(TRUTH) < relative(-TRUTH)
    regression = PatchRegression(seen.grid, 12)
    absolute = PairDisagreement(regression, seen.pairs, seen.steps, relative=False)
    wide = torch.tensor([6.0] + [0.0] * 6)
    assert absolute(wide) < absolute(torch.tensor(TRUTH, dtype=torch.float32))


def test_patches_of_a_network_agree_better_at_the_truth_than_at_its_twin(seen):
    network = load_network(SHIPPED)[0]
    misfit = misfit_of(seen, Search("network", network=network), 2.5)
    right = misfit(TRUTH)
    assert 0 < right < 1
    for other in (np.zeros(7), -TRUTH):
        assert right < misfit(other)
    with pytest.raises(ValueError, match="needs a network"):
        misfit_of(seen, Search("network"), 2.5)


def test_summed_pixels_keep_the_order(seen):
    grid, moments = coarser(seen.grid, seen.moments, 2)
    assert grid.amplitude.size < seen.grid.amplitude.size / 3
    assert np.sum(grid.amplitude**2) == pytest.approx(np.sum(seen.grid.amplitude**2))
    score = PairPrediction(PatchRegression(grid, 10), moments)
    assert score(torch.tensor(TRUTH).float()) < score(torch.zeros(7))


def test_pairs_must_match(seen):
    with pytest.raises(ValueError, match="as many first as second"):
        covariances(np.zeros((2, 3), np.float32), [(np.zeros((0, 3)), np.zeros((0, 3)))], [(1, 0)])


def test_bands_reach_from_focus_to_a_filled_window():
    ranges = bands(20.0, 48)
    assert ranges[0] == (0.0, 2.5)
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    widest = 2 * ranges[-1][1] * 48 / (np.pi * 20.0)
    assert 0.8 * 48 < widest < 0.9 * 48
    assert reach_of(1e3, 20.0, 48) == 48


@pytest.mark.slow
def test_search_and_refinement_find_the_probe(scan, seen, block):
    wave, wavefronts, patterns, _, _ = scan
    found = candidates(seen, Search(iterations=15, trials=16, restarts=1, seed=1))
    ordered = decide(block, found)
    assert ordered[0].band == 0
    aberrations, spread, fit, freed, gain = refine([block], ordered[0])
    assert not freed
    assert gain < 1
    assert np.isnan(spread).all()
    assert _overlap(wave, fit.wave) > 0.997
    lit = np.sqrt(patterns.mean(axis=(0, 1)))
    flat = lit * (wavefronts[0] < 1.2)
    assert _overlap(wave, flat) < 0.97
    assert _overlap(wave, flat * np.exp(-1j * np.tensordot(aberrations, wavefronts, 1))) > 0.99


def test_likelihood_prefers_the_truth_to_its_twins(block):
    right = block.misfit(TRUTH)
    turned = TRUTH * np.array([-1, -1, -1, 1, 1, 1, 1])
    assert right < block.misfit(turned)
    assert right < block.misfit(np.zeros(7))
    found = decide(block, [Candidate(np.zeros(7), 0.1, 0), Candidate(TRUTH, 0.9, 0)])
    assert np.array_equal(found[0].aberrations, TRUTH)


def test_free_phase_is_brought_back_to_aberrations():
    y, x = _axes()
    wavefronts = unit_wavefronts(y, x)
    disk = np.hypot(y, x) < 1
    chi = np.tensordot(TRUTH, wavefronts, 1) + 0.7 + 0.3 * x
    assert projected(disk * np.exp(-1j * chi), wavefronts, TRUTH * 0.8) == pytest.approx(
        TRUTH, abs=1e-6
    )


def test_third_order_has_its_own_scale():
    scale = edge_scale(0.02, 0.025, third_order=True)
    assert scale[0] == pytest.approx(np.pi / 0.02 * 0.025**2)
    assert scale[7] == pytest.approx(2 * np.pi / 0.02 * 0.025**4 / 4)
