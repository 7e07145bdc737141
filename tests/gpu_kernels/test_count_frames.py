"""Electrons of raw frames are those of the definition, on both sides."""

from itertools import pairwise

import numpy as np
import pytest

from gpu_kernels.count_frames import Levels, count_frames, levels_of

SHAPE = (12, 18)


def by_definition(frame, dark, gain, background, xray):
    """Peaks of the corrected frame, by a loop in 64 bits."""
    value = (frame.astype(float) - dark) / gain
    found = []
    for row, col in np.ndindex(frame.shape):
        here = value[row, col]
        if not background < here < xray:
            continue
        around = [
            (y, x)
            for y in range(max(row - 1, 0), min(row + 2, frame.shape[0]))
            for x in range(max(col - 1, 0), min(col + 2, frame.shape[1]))
            if (y, x) != (row, col)
        ]
        earlier = max((value[p] for p in around if p < (row, col)), default=-np.inf)
        later = max((value[p] for p in around if p > (row, col)), default=-np.inf)
        if here > earlier and here >= later:
            found.append(row * frame.shape[1] + col)
    return found


def raw_frames(rng, count=3):
    frames = np.rint(rng.normal(20, 2, (count, *SHAPE)))
    hits = rng.random(frames.shape) < 0.1
    frames[hits] += np.rint(rng.exponential(40, hits.sum()))  # whole numbers: some are equal
    frames[rng.random(frames.shape) < 0.01] = 900  # X-rays
    return frames.astype(np.uint16)


def with_references(rng):
    # Steps of 1/8, and gains that are powers of two: 32 and 64 bits agree exactly.
    dark = np.rint(rng.normal(160, 8, SHAPE)) / 8
    return dark, rng.choice([0.5, 1.0, 2.0], SHAPE), 6.5, 300.0


@pytest.mark.parametrize("references", ["plain", "dark and gain"])
def test_electrons_are_those_of_the_definition(twin, references):
    rng = np.random.default_rng(0)
    frames = raw_frames(rng)
    plain = (np.zeros(SHAPE), np.ones(SHAPE), 27.0, 500.0)
    told = plain if references == "plain" else with_references(rng)
    levels = levels_of(*told)
    indptr, indices = count_frames(twin(frames), Levels(*map(twin, levels)))
    expected = [by_definition(frame, *told) for frame in frames]
    assert [indices[a:b].tolist() for a, b in pairwise(indptr)] == expected
    assert sum(map(len, expected)) > 20


def test_charge_shared_evenly_is_one_electron():
    frame = np.zeros((1, 6, 6), np.uint16)
    frame[0, 2, 2:4] = 50
    frame[0, 4, 5], frame[0, 5, 4] = 40, 40
    _, indices = count_frames(frame, levels_of(np.zeros((6, 6)), np.ones((6, 6)), 10, 100))
    assert indices.tolist() == [2 * 6 + 2, 4 * 6 + 5]


def test_an_x_ray_and_its_halo_are_no_electrons():
    frame = np.zeros((1, 6, 6), np.uint16)
    frame[0, 2, 2], frame[0, 2, 3], frame[0, 5, 5] = 900, 60, 60
    _, indices = count_frames(frame, levels_of(np.zeros((6, 6)), np.ones((6, 6)), 10, 100))
    assert indices.tolist() == [35]


def test_levels_compare_as_the_corrected_values_do():
    rng = np.random.default_rng(1)
    dark, gain = rng.normal(20, 3, SHAPE), rng.uniform(0.7, 1.4, SHAPE)
    levels = levels_of(dark, gain, 7.3, 61.7)
    raw = np.arange(120, dtype=np.uint16)[:, None, None]
    value = (raw.astype(np.float32) - levels.dark) * levels.factor
    expected = (value > 7.3) & (value < 61.7)
    np.testing.assert_array_equal((raw >= levels.lowest) & (raw <= levels.highest), expected)


def test_a_pixel_that_no_value_lifts_over_the_threshold_is_never_an_electron():
    dark = np.zeros(SHAPE)
    dark[3, 3] = 70_000
    levels = levels_of(dark, np.ones(SHAPE), 10, 1e9)
    assert levels.lowest[3, 3] > levels.highest[3, 3]
    frame = np.zeros((1, *SHAPE), np.uint16)
    frame[0, 3, 3] = 65_535
    assert count_frames(frame, levels)[1].size == 0


@pytest.mark.parametrize(
    ("dark", "gain"),
    [
        (np.zeros((2, 3)), np.ones((3, 2))),
        (np.full((2, 2), np.nan), np.ones((2, 2))),
        (np.zeros((2, 2)), np.zeros((2, 2))),
    ],
)
def test_references_that_make_no_sense_are_refused(dark, gain):
    with pytest.raises(ValueError, match=r"fit|finite"):
        levels_of(dark, gain, 1, 2)
