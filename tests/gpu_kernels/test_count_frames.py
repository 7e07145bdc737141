"""Electrons of raw frames are those of the definition, on both sides."""

from itertools import pairwise, product

import numpy as np
import pytest

from gpu_kernels.count_frames import Levels, count_frames, levels_of

SHAPE = (12, 18)


def by_definition(frame, dark, gain, background, xray, block=np.inf):
    """Peaks over the noise and shoulders beside them, by a loop in 64 bits."""
    value = frame.astype(float) - dark
    height = value / gain
    rows, cols = frame.shape

    def rivals(row, col):
        """Neighbours that are brighter, or as bright and earlier."""
        return [
            (y, x)
            for y, x in product(range(row - 1, row + 2), range(col - 1, col + 2))
            if 0 <= y < rows and 0 <= x < cols
            and (height[y, x], (-y, -x)) > (height[row, col], (-row, -col))
        ]  # fmt: skip

    brighter = {place: rivals(*place) for place in np.ndindex(frame.shape)}
    peaks = {place for place, above in brighter.items() if not above}
    beside = {place for place, above in brighter.items() if peaks & set(above)}
    found = []
    for place in np.ndindex(frame.shape):
        row, col = place
        alone = value[place] > background
        together = value[place] > block / 3 and block < max(
            value[y : y + 2, x : x + 2].sum()
            for y in range(max(row - 1, 0), min(row + 1, rows - 1))
            for x in range(max(col - 1, 0), min(col + 1, cols - 1))
        )
        if place in peaks:
            electron = alone or together
        else:
            electron = alone and all(
                one in beside and one not in peaks and height[place] >= height[one] / 2
                for one in brighter[place]
            )
        if electron and value[place] < xray:
            found.append(row * cols + col)
    return found


def on_side(twin, levels):
    """Levels with their arrays on the side of the twin."""
    return Levels(*map(twin, levels[:4]), *levels[4:])


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


@pytest.mark.parametrize("block", [np.inf, 110.0])
@pytest.mark.parametrize("references", ["plain", "dark and gain"])
def test_electrons_are_those_of_the_definition(twin, references, block):
    rng = np.random.default_rng(0)
    frames = raw_frames(rng)
    plain = (np.zeros(SHAPE), np.ones(SHAPE), 27.0, 500.0)
    told = plain if references == "plain" else with_references(rng)
    told = (*told, block)
    indptr, indices = count_frames(twin(frames), on_side(twin, levels_of(*told)))
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


def test_charge_of_four_pixels_stands_out_together_and_noise_of_one_does_not():
    frame = np.zeros((1, 8, 8), np.uint16)
    frame[0, 1:3, 1:3] = [[7, 9], [6, 7]]  # 29 in a square, none above 10
    frame[0, 5:7, 5:7] = [[0, 9], [5, 5]]  # 19
    told = np.zeros((8, 8)), np.ones((8, 8)), 10, 100
    assert count_frames(frame, levels_of(*told, 25))[1].tolist() == [1 * 8 + 2]
    assert count_frames(frame, levels_of(*told))[1].size == 0


def test_gain_decides_between_neighbours_and_not_over_the_noise():
    frame = np.full((1, 6, 6), 9, np.uint16)
    frame[0, 2, 2], frame[0, 2, 3] = 40, 50
    gain = np.ones((6, 6))
    gain[2, 3] = 2.0  # so that its charge is 25
    gain[4, 4] = 0.5  # its noise over its gain would be above the threshold
    _, indices = count_frames(frame, levels_of(np.zeros((6, 6)), gain, 10, 100))
    assert indices.tolist() == [2 * 6 + 2]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([28, 23, 22], [0, 2]),  # a second electron without a gap
        ([28, 23, 11], [0]),  # the rim of the first
        ([28, 18, 9], [0]),  # not out of the noise
        ([30, 28, 26, 24], [0, 2]),  # each pixel belongs to one electron
        ([30, 28, 26, 24, 40], [0, 2, 4]),
        ([30, 28, 26, 31], [0, 3]),
    ],
)
def test_a_second_electron_beside_the_first_is_a_shoulder_of_it(row, expected):
    frame = np.zeros((1, 7, 9), np.uint16)
    frame[0, 3, 1 : 1 + len(row)] = row
    _, indices = count_frames(frame, levels_of(np.zeros((7, 9)), np.ones((7, 9)), 10, 100))
    assert indices.tolist() == [3 * 9 + 1 + n for n in expected]
    alone = levels_of(np.zeros((7, 9)), np.ones((7, 9)), 10, 100, shoulder=np.inf)
    peaks = [n for n in expected if row[n] == max(row[max(n - 1, 0) : n + 2])]
    assert count_frames(frame, alone)[1].tolist() == [3 * 9 + 1 + n for n in peaks]


def test_pedestal_is_no_charge():
    frame = np.full((1, 6, 6), 20, np.uint16)
    frame[0, 2, 2], frame[0, 2, 3] = 50, 52
    gain = np.ones((6, 6))
    gain[2, 3] = 1.1  # a charge of 29; with the pedestal it would be 47 beside 50
    told = np.zeros((6, 6)), gain, 30, 100
    _, indices = count_frames(frame, levels_of(*told, pedestal=20))
    assert indices.tolist() == [2 * 6 + 2]
    gain[2, 2] = 0.9
    frame[0, 2, 2] = 45  # 28 beside 29; with the pedestal 50 beside 47
    assert count_frames(frame, levels_of(*told, pedestal=20))[1].tolist() == [2 * 6 + 3]
    assert count_frames(frame, levels_of(*told))[1].tolist() == [2 * 6 + 2]


def test_levels_compare_as_the_values_over_their_dark_level_do():
    rng = np.random.default_rng(1)
    dark, gain = rng.normal(20, 3, SHAPE), rng.uniform(0.7, 1.4, SHAPE)
    levels = levels_of(dark, gain, 7.3, 61.7)
    raw = np.arange(120, dtype=np.uint16)[:, None, None]
    value = raw - levels.dark.astype(float)
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
