"""A phase made more likely: the score is a derivative, parts add up, the steps find the truth."""

import numpy as np
import pytest

from models import joint_phase
from models.forward import intensity, scan_windows, unit_probe
from models.joint_phase import improved, score_of
from models.retrieval import scan_misfits
from tests.models.deep import focused_probe

ELECTRONS, SIZE = 30_000.0, 40


@pytest.fixture(scope="module")
def scan():
    """Counts of a smooth random phase at sub-pixel positions, by the model itself."""
    rng = np.random.default_rng(5)
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE)))
    spectrum = np.fft.fft2(rng.normal(size=(SIZE, SIZE))) * (k < 0.3)
    truth = 0.4 * np.fft.ifft2(spectrum).real.astype(np.float32)
    probe = unit_probe(focused_probe())
    at = np.stack(np.meshgrid(*[np.arange(8.0, 32.0, 1.3)] * 2, indexing="ij")).reshape(2, -1).T
    means = np.concatenate([
        ELECTRONS * intensity(one.phases, one.probes).numpy()
        for one in scan_windows(truth, at, probe, 64)
    ])  # fmt: skip
    return truth, at, probe, np.sqrt(rng.poisson(means)).astype(np.float32)


def test_the_score_is_the_derivative_of_the_likelihood(scan, monkeypatch):
    truth, at, probe, roots = scan
    monkeypatch.setattr(joint_phase, "BACKGROUND", 0.0)
    bump = np.zeros_like(truth)
    bump[19:22, 20:24] = 1.0

    def likelihood(change):
        total = 0.0
        for one in scan_windows(truth + change * bump, at, probe, 64):
            means = ELECTRONS * intensity(one.phases, one.probes).double().numpy()
            total += (roots[one.part].astype(float) ** 2 * np.log(means) - means).sum()
        return total

    score = score_of(roots, truth, at, probe, ELECTRONS)
    y, x = -np.array(score.corner)
    along = (score.slope[y : y + SIZE, x : x + SIZE] * bump).sum()
    step = 0.01
    assert along == pytest.approx((likelihood(step) - likelihood(-step)) / (2 * step), rel=0.02)


def test_a_cautious_step_goes_the_same_way_and_not_as_far(scan):
    truth, at, probe, roots = scan
    score = [score_of(roots, 0.6 * truth, at, probe, ELECTRONS)]
    bold, careful = (
        (improved(0.6 * truth, score, at, probe, ELECTRONS, "cpu", cautious) - 0.6 * truth)[
            13:27, 13:27
        ]
        for cautious in (False, True)
    )
    assert np.corrcoef(bold.ravel(), careful.ravel())[0, 1] > 0.9
    assert careful.std() < bold.std()


def test_parts_of_a_scan_add_up_and_the_steps_find_the_truth(scan):
    truth, at, probe, roots = scan
    phase = 0.6 * truth
    inner = (slice(13, 27),) * 2
    for number in range(4):
        whole = [score_of(roots, phase, at, probe, ELECTRONS)]
        parts = [
            score_of(roots[some], phase, at[some], probe, ELECTRONS)
            for some in (slice(0, 100), slice(100, None))
        ]
        once = improved(phase, whole, at, probe, ELECTRONS)
        if number == 0:
            again = improved(phase, parts, at, probe, ELECTRONS)
            np.testing.assert_allclose(again, once, atol=1e-5)
        phase = once
    wrong = (phase - truth)[inner]
    wrong -= wrong.mean()
    assert wrong.std() < 0.15 * truth[inner].std()
    near = (np.abs(at - 20) < 7).all(axis=1)
    misfits = scan_misfits(roots[near], phase, at[near], probe, ELECTRONS)
    assert misfits.mean() == pytest.approx(1, abs=0.05)
