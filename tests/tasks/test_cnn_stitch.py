"""A scan stitched in tiles is the scan stitched at once: no seam, whatever the number of tiles."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

from gpu_kernels.frc import fourier_ring_correlation
from gpu_kernels.merge_tiles import Tile, merge_images
from gpu_kernels.stitch import patch_sums, stitch, stitch_sums
from tasks.scan_tiles import in_tile, tile_edges

SCAN, STEP, SIDE = 64, 0.9, 14
LENGTH = 88
SLAB = 8
INSIDE = slice(SIDE + 4, -SIDE - 4)


def specimen(seed=0):
    """Phases of every wavelength down to a few pixels."""
    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.normal(size=(LENGTH, LENGTH)), width) for width in (1.3, 4, 12)]
    return sum(0.1 * layer / layer.std() for layer in layers)


def noisy_patches(phase, seed=1):
    """Patches with an offset, a slope and noise each, as a network leaves them."""
    rng = np.random.default_rng(seed)
    along = np.arange(SCAN) * STEP + SIDE + 0.3
    positions = np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)
    pixel = np.arange(SIDE) - SIDE // 2
    spline = spline_filter(phase, order=3)
    at = [positions[:, a, None, None] + side for a, side in ((0, pixel[:, None]), (1, pixel))]
    patches = map_coordinates(spline, np.broadcast_arrays(*at), order=3, prefilter=False)
    count = (len(positions), 1, 1)
    patches += rng.normal(size=count) + 0.02 * rng.normal(size=patches.shape)
    for line in (pixel[:, None], pixel):
        patches += 0.003 * rng.normal(size=count) * line
    weights = np.exp(-(pixel[:, None] ** 2 + pixel**2) / 12)
    return patches.astype(np.float32), positions, np.where(weights > 0.05, weights, 0)


@pytest.fixture(scope="module")
def case():
    phase = specimen()
    return phase, *noisy_patches(phase)


def in_tiles(patches, positions, weights, tiles):
    """Slabs are added up for each tile, tiles solved, and merged, as the step does it."""
    places = positions[:, 0], positions[:, 1]
    edges = tile_edges(places, tiles)
    images = []
    for tile in np.ndindex(tiles):
        members = np.flatnonzero(in_tile(places, edges, tile, SIDE))
        slabs = np.split(members, np.flatnonzero(np.diff(members // (SLAB * SCAN))) + 1)
        low = np.floor(positions[members].min(axis=0)).astype(int) - SIDE
        high = np.ceil(positions[members].max(axis=0)).astype(int) + SIDE
        found = stitch_sums(
            [patch_sums(patches[slab], positions[slab], weights) for slab in slabs],
            positions[members], weights, tuple((high - low).tolist()), like=weights,
            origin=tuple(low.tolist()),
        )  # fmt: skip
        images.append(Tile(found.image, tuple(low.tolist()), found.weight))
    merged = merge_images(images)
    out = np.full((LENGTH, LENGTH), np.nan)
    y, x = merged.origin
    rows, cols = merged.image.shape
    high = min(y + rows, LENGTH), min(x + cols, LENGTH)
    out[max(y, 0) : high[0], max(x, 0) : high[1]] = merged.image[
        max(-y, 0) : high[0] - y, max(-x, 0) : high[1] - x
    ]
    return out, merged


def rest(image, other):
    away = (image - other)[INSIDE, INSIDE]
    return away - away.mean()


@pytest.mark.parametrize("tiles", [(1, 1), (1, 2), (2, 2), (3, 3)])
def test_tiles_become_the_image_of_all_patches_together(case, tiles):
    phase, patches, positions, weights = case
    joint = stitch(patches, positions, weights, phase.shape, tolerance=1e-5).image
    image, merged = in_tiles(patches, positions, weights, tiles)
    error = rest(joint, phase).std()
    assert rest(image, joint).std() < 0.2 * error
    assert rest(image, phase).std() < 1.05 * error
    assert merged.disagreement < error
    frc = [
        np.nanmean(fourier_ring_correlation(rest(one, 0), rest(phase, 0)).correlation)
        for one in (joint, image)
    ]
    assert frc[1] == pytest.approx(frc[0], abs=0.01)


def test_no_seam_is_left_where_tiles_meet(case):
    phase, patches, positions, weights = case
    joint = stitch(patches, positions, weights, phase.shape, tolerance=1e-5).image
    image, merged = in_tiles(patches, positions, weights, (1, 2))

    def steps(away):
        return np.abs(np.diff(away.mean(axis=0))).max()

    noise = steps(rest(joint, phase))
    assert steps(rest(image, joint)) < 0.3 * noise
    # Without the offsets that were taken away, there would be one.
    halves = np.where(np.arange(LENGTH) < LENGTH // 2, *merged.offsets)
    assert steps(rest(image + halves, joint)) > noise
