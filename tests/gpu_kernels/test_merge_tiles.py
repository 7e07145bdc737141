"""Tiles with planes and factors of their own become the object that they were cut from."""

import numpy as np
import pytest
from scipy import sparse

from gpu_kernels.merge_tiles import Tile, merge_images, merge_tiles, tile_weight

SHAPE = (90, 110)


def strong_object(seed=0):
    """Phases over several turns, and some absorption."""
    y, x = np.indices(SHAPE)
    rng = np.random.default_rng(seed)
    phase = 4 * np.sin(y / 17) * np.cos(x / 23) + 0.02 * y + 0.1 * rng.normal(size=SHAPE)
    return (0.8 + 0.1 * np.cos(x / 9)) * np.exp(1j * phase)


def cut(obj, rows, cols, origin=(-7, 12)):
    tiles = []
    for y0, y1 in rows:
        for x0, x1 in cols:
            lit = np.zeros((y1 - y0, x1 - x0))
            lit[2:-2, 2:-2] = 50.0
            tiles.append(Tile(obj[y0:y1, x0:x1], (y0 + origin[0], x0 + origin[1]), lit))
    return tiles


ROWS, COLS = ((0, 40), (26, 66), (52, 90)), ((0, 64), (46, 110))


def spoilt(tiles, seed=1, slopes=0.0, factors=0.0, noise=0.0):
    rng = np.random.default_rng(seed)
    out, planes, scales = [], [], []
    for tile in tiles:
        y, x = (np.arange(n) - (n - 1) / 2 for n in tile.obj.shape)
        plane = [rng.uniform(-3, 3), *rng.uniform(-slopes, slopes, 2)]
        scale = np.exp(rng.uniform(-factors, factors))
        turn = np.exp(1j * (plane[0] + plane[1] * y[:, None] + plane[2] * x))
        grain = 1 + noise * (rng.normal(size=turn.shape) + 1j * rng.normal(size=turn.shape))
        out.append(tile._replace(obj=tile.obj * scale * turn * grain))
        planes.append(plane)
        scales.append(scale)
    return out, np.array(planes), np.array(scales)


def difference(merged, obj, slopes=False):
    """Object against truth where it is lit: what is left but a constant, or a plane."""
    inside = slice(4, SHAPE[0] - 4), slice(4, SHAPE[1] - 4)
    ratio = (merged.obj / obj)[inside]
    y, x = np.indices(ratio.shape)
    if slopes:
        for axis, at in ((0, y), (1, x)):
            ahead = (ratio[1:], ratio[:-1]) if axis == 0 else (ratio[:, 1:], ratio[:, :-1])
            ratio = ratio * np.exp(-1j * np.angle(np.vdot(ahead[1], ahead[0])) * at)
    return ratio / ratio.mean() - 1


def test_constants_are_found_where_phases_turn_over_and_over():
    obj = strong_object()
    tiles, planes, _ = spoilt(cut(obj, ROWS, COLS))
    merged = merge_tiles(tiles)
    assert merged.origin == (-7, 12)
    assert np.abs(difference(merged, obj)).max() < 1e-5
    found = merged.phases[:, 0] - planes[:, 0]
    np.testing.assert_allclose(np.exp(1j * (found - found[0])), 1, atol=1e-5)
    assert merged.phases[:, 0].mean() == pytest.approx(0, abs=1e-9)
    np.testing.assert_array_equal(merged.factors, 1)
    assert merged.disagreement < 1e-5


def test_planes_and_factors_are_found_where_the_probe_was_free():
    obj = strong_object()
    tiles, planes, scales = spoilt(cut(obj, ROWS, COLS), slopes=0.2, factors=0.3)
    merged = merge_tiles(tiles, free_probe=True)
    assert np.abs(difference(merged, obj, slopes=True)).max() < 1e-3
    np.testing.assert_allclose(
        merged.phases[:, 1:], planes[:, 1:] - planes[:, 1:].mean(axis=0), atol=1e-5
    )
    expected = scales / np.exp(np.log(scales).mean())
    np.testing.assert_allclose(merged.factors, expected, rtol=1e-4)
    # Without them, the slopes tear the object apart.
    assert np.abs(difference(merge_tiles(tiles), obj, slopes=True)).std() > 0.1


def test_noise_is_found_in_the_disagreement_and_makes_no_seam():
    obj = strong_object()
    noise = 0.03
    tiles, _, _ = spoilt(cut(obj, ROWS, COLS), noise=noise)
    merged = merge_tiles(tiles)
    # A mean of two tiles is off from each by the root of a half and less, as one weighs more.
    assert 0.3 * noise < merged.disagreement < noise
    rest = np.angle(difference(merged, obj) + 1)
    seams = [rest[at - 4].mean() - rest[at - 5].mean() for at in (26, 40, 52, 66)]
    assert np.abs(seams).max() < 6 * noise / np.sqrt(rest.shape[1])
    assert rest.std() < noise


def test_a_tile_weighs_more_the_further_in():
    lit = np.zeros((20, 30))
    lit[4:-4, 5:-5] = 10
    weight = tile_weight(lit)
    assert weight[10, 15] == 36
    assert weight[4, 15] == 1
    assert weight[0, 0] == 0
    lit[3] = 1
    assert 0 < tile_weight(lit)[3, 15] < 1e-5


def test_one_tile_is_the_object_itself():
    tile = cut(strong_object(), ((0, 40),), ((0, 50),))[0]
    merged = merge_tiles([tile])
    np.testing.assert_allclose(merged.obj[2:-2, 2:-2], tile.obj[2:-2, 2:-2], rtol=1e-5)
    assert merged.disagreement == 0


def images_of(truth, noise=0.0, seed=2):
    """Tiles of an image with offsets of many turns; what is not lit is not a number."""
    rng = np.random.default_rng(seed)
    tiles = cut(truth, ROWS, COLS)
    own = rng.normal(scale=30, size=len(tiles))
    out = [
        tile._replace(
            obj=np.where(tile.lit > 0, tile.obj + one + noise * rng.normal(size=tile.obj.shape),
                         np.nan)
        )
        for tile, one in zip(tiles, own, strict=True)
    ]  # fmt: skip
    return out, own


def test_images_with_offsets_of_many_turns_become_one():
    truth = np.angle(strong_object()).cumsum(axis=1)
    tiles, own = images_of(truth)
    merged = merge_images(tiles)
    assert merged.origin == (-7, 12)
    np.testing.assert_allclose(merged.offsets, own - own.mean(), atol=1e-9)
    assert np.isnan(merged.image[:2]).all()
    away = (merged.image - truth)[2:-2, 2:-2]
    assert np.ptp(away) < 1e-4
    assert merged.disagreement < 1e-9


def test_offsets_of_images_are_those_of_the_dense_least_squares():
    """One row of a matrix for each pixel of each tile: offset and image are solved for together."""
    truth = np.abs(strong_object())
    tiles, _ = images_of(truth, noise=0.5)
    rows, goals = [], []
    number = np.arange(truth.size).reshape(truth.shape)
    for n, tile in enumerate(tiles):
        y, x = np.subtract(tile.origin, (-7, 12))
        here = number[y : y + tile.obj.shape[0], x : x + tile.obj.shape[1]]
        root = np.sqrt(tile_weight(tile.lit))
        for i, j in np.argwhere(root > 0):
            rows.append((here[i, j], n, root[i, j]))
            goals.append(root[i, j] * tile.obj[i, j])
    pixel, which, root = (np.array(one) for one in zip(*rows, strict=True))
    lines = np.arange(len(goals))
    matrix = sparse.csr_array(
        (np.tile(root, 2), (np.tile(lines, 2), np.concatenate([pixel, truth.size + which]))),
        shape=(len(goals), truth.size + len(tiles)),
    )
    found = sparse.linalg.lsqr(matrix, np.array(goals), atol=1e-12, btol=1e-12, iter_lim=3000)[0]
    expected = found[truth.size :]
    merged = merge_images(tiles)
    np.testing.assert_allclose(merged.offsets, expected - expected.mean(), atol=1e-4)
    assert 0.2 < merged.disagreement < 0.5


def test_tiles_that_do_not_meet_are_refused():
    obj = strong_object()
    apart = cut(obj, ((0, 40),), ((0, 50), (60, 110)))
    with pytest.raises(ValueError, match=r"tile 1 of 2, \(40, 50\) pixels .* overlaps none"):
        merge_tiles(apart)
    with pytest.raises(ValueError, match="no tiles"):
        merge_tiles([])
    with pytest.raises(ValueError, match="no tiles"):
        merge_images([])


def test_images_that_do_not_meet_stand_side_by_side():
    truth = np.abs(strong_object())
    apart = cut(truth, ((0, 40),), ((0, 50), (60, 110)))
    merged = merge_images(apart)
    np.testing.assert_allclose(merged.image[2:38, 2:48], truth[2:38, 2:48], rtol=1e-6)
    assert np.isnan(merged.image[:, 50:60]).all()
    np.testing.assert_array_equal(merged.offsets, 0)
