"""A twisted bilayer of h-BN, seen with a measured probe: found from nothing, and lost by mistakes.

64 × 64 of the positions of an experiment, its probe and its 27,882 electrons a pattern; patterns by
the definition, in double precision. Each mistake is one that a reader of recordings could make.
"""

import numpy as np
import pytest

from gpu_kernels.epie import epie
from gpu_kernels.epie_settings import Epie
from models.specimens import build_specimen

PIXEL = 0.286
"""Å; of the experiment's probe."""
ORIGIN, SIDE, ROWS = -20, 32, 64
INTERIOR = slice(4, 52)
"""Of the scanned field, which is 55 pixels wide."""


@pytest.fixture(scope="module")
def scan(shared_data):
    """Counts with zero frequency first, positions [px], probe and the specimen's phase."""
    probe = np.load(shared_data / "hbn_probe" / "probe.npy") * SIDE
    positions = np.load(shared_data / "hbn_probe" / "positions.npy").reshape(256, 256, 2)
    positions = positions[:ROWS, :ROWS].reshape(-1, 2)
    phase = twisted_bilayer((96, 96))
    patterns = simulate(positions, probe, np.exp(1j * phase))
    return np.random.default_rng(1).poisson(patterns).astype(np.uint16), positions, probe, phase


def twisted_bilayer(shape):
    """With vacancies and a film on it that fills all rings of frequencies [rad]."""
    corner, size = ORIGIN * PIXEL, (ROWS * 0.87 * PIXEL,) * 2
    layers = [
        build_specimen("hbn", size, 80e3, np.random.default_rng(seed), margin=40 * PIXEL)
        for seed in (3, 4)
    ]
    return sum(
        layer.phase(shape, (PIXEL, PIXEL), (corner, corner), turn)
        for layer, turn in zip(layers, (0.0, np.deg2rad(18)), strict=True)
    )


def simulate(positions, probe, obj):
    k, patterns = np.fft.fftfreq(SIDE, 1 / SIDE), []
    for at in positions - ORIGIN:
        corner = np.floor(at + 0.5).astype(int) - SIDE // 2
        y, x = at - SIDE // 2 - corner
        turn = np.exp(-2j * np.pi * (k[:, None] * y + k * x) / SIDE)
        window = tuple(slice(c, c + SIDE) for c in corner)
        wave = np.fft.ifft2(np.fft.fft2(probe) * turn) * obj[window]
        patterns.append(np.abs(np.fft.fft2(wave, norm="ortho")) ** 2)
    return np.array(patterns)


def judged(found, phase):
    """(rms [rad], correlation) of the phase in the interior; its constant is free."""
    inside = (slice(INTERIOR.start, INTERIOR.stop),) * 2
    here = found.obj[tuple(slice(s.start - o, s.stop - o) for s, o in zip(inside, found.origin,
                                                                        strict=True))]  # fmt: skip
    truth = phase[tuple(slice(s.start - ORIGIN, s.stop - ORIGIN) for s in inside)]
    image = np.angle(here * np.exp(-1j * np.angle(here.mean())))
    rest = image - image.mean() - truth + truth.mean()
    return np.sqrt(np.mean(rest**2)), np.corrcoef(image.ravel(), truth.ravel())[0, 1]


@pytest.fixture(scope="module")
def right(scan):
    """What fifty rounds find from a flat start, the probe being known."""
    counts, positions, probe, _ = scan
    return epie(counts, positions, probe, Epie())


def test_phase_is_found_from_a_flat_start(scan, right):
    rms, correlation = judged(right, scan[3])
    assert rms <= 0.008
    assert correlation >= 0.998
    assert right.residuals[-1] == pytest.approx(right.noise, rel=0.02)
    assert (np.diff(right.residuals) < 0).all()


def test_update_of_a_known_probe_costs_nothing(scan):
    counts, positions, probe, phase = scan
    found = epie(counts, positions, probe, Epie(probe_step=0.5))
    rms, correlation = judged(found, phase)
    assert rms <= 0.008
    assert correlation >= 0.998
    overlap = np.vdot(found.probe, probe) / np.vdot(probe, probe)
    assert abs(overlap) == pytest.approx(1, abs=0.005)


def test_sequential_form_finds_the_same(scan):
    counts, positions, probe, phase = scan
    settings = Epie(batch_size=1, object_step=0.5, momentum=0, regularisation=1, annealing=0.05)
    rms, correlation = judged(epie(counts, positions, probe, settings), phase)
    assert rms <= 0.03
    assert correlation >= 0.97


MISTAKES = {
    "other sign of defocus": lambda counts, positions, probe: (
        counts, positions, np.fft.fftshift(np.fft.ifft2(np.conj(np.fft.fft2(
            np.fft.ifftshift(probe))))),
    ),
    "transposed patterns": lambda counts, positions, probe: (
        counts.transpose(0, 2, 1).copy(), positions, probe,
    ),
    "transposed positions": lambda counts, positions, probe: (counts, positions[:, ::-1], probe),
    "rounded positions": lambda counts, positions, probe: (counts, np.round(positions), probe),
    "no square root": lambda counts, positions, probe: (
        (counts.astype(np.float32) ** 2 * (counts.sum() / (counts.astype(float) ** 2).sum())
         ).astype(np.float32), positions, probe,
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_costs_the_image_and_shows_in_the_residual(scan, right, mistake):
    counts, positions, probe, phase = scan
    found = epie(*MISTAKES[mistake](counts, positions, probe), Epie())
    rms, correlation = judged(found, phase)
    # Rounding blurs by a pixel, which costs the least of them: half of the precision.
    assert rms > 1.7 * judged(right, phase)[0]
    assert correlation < 0.997
    assert found.residuals[-1] > 1.01 * right.residuals[-1]
    if mistake != "rounded positions":
        assert rms > 0.025
        assert correlation < 0.96
        assert found.residuals[-1] > 1.15 * right.residuals[-1]
