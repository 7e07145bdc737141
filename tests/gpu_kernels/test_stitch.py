"""Stitching equals the joint least squares that defines it, and makes an image of its patches."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates, spline_filter

from gpu_kernels import stitch_equations
from gpu_kernels.backend import on_gpu
from gpu_kernels.stitch import PatchSums, patch_sums, stitch, stitch_blocks, stitch_sums
from gpu_kernels.stitch_cpu import CpuPatches
from gpu_kernels.stitch_equations import orthonormal_basis
from gpu_kernels.stitch_gpu import GpuPatches
from gpu_kernels.stitch_relaxed import stitch_relaxed
from models.specimens import build_specimen

SHAPE = (14, 15)
HALF = (2, 2)


def cubic(distance):
    """The cubic B-spline, from its definition."""
    d = np.abs(distance)
    return np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, np.where(d < 2, (2 - d) ** 3 / 6, 0))


def small_case(seed=0, count=40, many=False):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(3, 11, (count, 2))
    size = (4, 5)
    weights = rng.uniform(0.1, 1, (count, *size) if many else size)
    return rng.normal(size=(count, *size)).astype(np.float32), positions, weights


def spline_matrices(positions, size):
    """(patches, pixels, rows, cols) values of every B-spline at every pixel; first row, column."""
    first = np.floor(positions - HALF).astype(int)
    low, high = first.min(axis=0) - 1, np.add(first.max(axis=0), np.add(size, 2))
    grid_y, grid_x = (np.arange(a, b) for a, b in zip(low, high, strict=True))
    y, x = (positions[:, a, None] - HALF[a] + np.arange(size[a]) for a in (0, 1))
    along_y, along_x = cubic(y[..., None] - grid_y), cubic(x[..., None] - grid_x)
    matrices = np.einsum("pik,pjl->pijkl", along_y, along_x)
    return matrices.reshape(len(positions), -1, grid_y.size, grid_x.size), grid_y, grid_x


def by_definition(patches, positions, weights, ramps):
    """All coefficients, offsets and slopes from one dense system, in double precision."""
    count, height, width = patches.shape
    images, grid_y, grid_x = spline_matrices(positions, (height, width))
    shape, terms = images.shape[2:], 3 if ramps else 1
    cells = shape[0] * shape[1]
    i, j = (at.ravel() for at in np.indices((height, width)))
    own = np.zeros((count, height * width, count, terms))
    for p in range(count):
        own[p, :, p] = np.stack([np.ones_like(i), i, j][:terms], axis=1)
    both = [images.reshape(count * height * width, -1), own.reshape(count * height * width, -1)]
    root = np.sqrt(np.broadcast_to(weights, patches.shape)).ravel()
    matrix, goal = root[:, None] * np.concatenate(both, axis=1), root * patches.ravel()
    smooth, number = [], np.arange(cells).reshape(shape)
    stiff = np.sqrt(stitch_equations.SMOOTHNESS * (root**2).sum() / cells)
    for one, other in ((number[1:], number[:-1]), (number[:, 1:], number[:, :-1])):
        line = np.zeros((one.size, matrix.shape[1]))
        line[np.arange(one.size), one.ravel()] = stiff
        line[np.arange(one.size), other.ravel()] = -stiff
        smooth.append(line)
    whole = np.concatenate([matrix, *smooth])
    found = np.linalg.lstsq(whole, np.pad(goal, (0, len(whole) - goal.size)), rcond=1e-12)[0]
    pixels_y, pixels_x = np.arange(SHAPE[0])[:, None], np.arange(SHAPE[1])[:, None]
    image = cubic(pixels_y - grid_y) @ found[:cells].reshape(shape) @ cubic(pixels_x - grid_x).T
    left = (matrix @ found - goal).reshape(patches.shape)  # root of the weight times the rest
    return image, left**2, found[cells:].reshape(count, terms)


def level(image, seen, ramps):
    y, x = np.indices(image.shape)
    terms = np.stack([np.ones(image.shape), y, x][: 3 if ramps else 1], axis=-1)
    plane = np.linalg.lstsq(terms[seen], image[seen], rcond=None)[0]
    return image - terms @ plane


@pytest.mark.parametrize("many", [False, True], ids=["one weight", "own weights"])
@pytest.mark.parametrize("ramps", [False, True], ids=["offsets", "ramps"])
def test_sums_of_patches_are_those_of_their_matrices(twin, ramps, many):
    patches, positions, weights = small_case(many=many, count=9)
    size = patches.shape[1:]
    images, grid_y, grid_x = spline_matrices(positions, size)
    shape = images.shape[2:]
    corners = np.floor(positions - HALF).astype(int) - 1 - [grid_y[0], grid_x[0]]
    fractions = positions - np.floor(positions)
    taps = cubic(fractions[..., None] - np.arange(-1, 3))
    own = weights if many else weights[None]
    basis, _ = orthonormal_basis(own, ramps)
    side = twin(patches)
    make = GpuPatches if on_gpu(side) else CpuPatches
    found = make(corners, taps, own, basis, shape, 1)
    # AᵀW and W Q = W − Σ W u uᵀ W, patch by patch.
    flat = np.broadcast_to(own, patches.shape).reshape(9, -1)
    u = np.broadcast_to(basis, (9, *basis.shape[1:])).reshape(9, basis.shape[1], -1)
    free = np.einsum("pi,ij->pij", flat, np.eye(flat.shape[1]))
    free -= np.einsum("pi,pki,pkj,pj->pij", flat, u, u, flat)
    coefficients = np.random.default_rng(6).normal(size=shape)
    seen = np.einsum("pikl,kl->pi", images, coefficients)
    expected = np.einsum("pikl,pij,pj->kl", images, free, seen)
    np.testing.assert_allclose(found.normal(coefficients), expected, atol=2e-5)
    np.testing.assert_allclose(found.coverage(), np.einsum("pikl,pi->kl", images, flat), atol=1e-5)
    some = np.array([7, 2, 3])
    values = patches[some].reshape(3, -1)
    expected = np.einsum("pikl,pij,pj->kl", images[some], free[some], values)
    np.testing.assert_allclose(found.spread(twin(patches[some]), some), expected, atol=2e-5)
    rest, factors = found.judge(coefficients, twin(patches[some]), some)
    away = values - seen[some]
    expected = np.einsum("pki,pi,pi->pk", u[some], flat[some], away)
    np.testing.assert_allclose(factors, expected, atol=2e-5)
    away -= np.einsum("pk,pki->pi", expected, u[some])
    expected = np.einsum("pikl,pi->kl", images[some], flat[some] * away**2)
    np.testing.assert_allclose(rest, expected, atol=5e-5)


def test_twins_stitch_alike(twin):
    patches, positions, weights = small_case(seed=7, count=12)
    found = stitch(twin(patches), positions, weights, SHAPE, most_rounds=2)
    expected = stitch(patches, positions, weights, SHAPE, most_rounds=2)
    assert found.rounds == 2
    for one, other in zip(found[:4], expected[:4], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("many", [False, True], ids=["one weight", "own weights"])
@pytest.mark.parametrize("ramps", [False, True], ids=["offsets", "ramps"])
def test_image_is_that_of_the_dense_least_squares(ramps, many):
    patches, positions, weights = small_case(many=many)
    found = stitch(
        patches, positions, weights, SHAPE, ramps=ramps, tolerance=1e-6, most_rounds=2000
    )
    image, left, own = by_definition(patches.astype(float), positions, weights, ramps)
    inside = found.weight > 0.2 * found.weight.max()
    assert inside.sum() > 60
    np.testing.assert_allclose(
        level(found.image, inside, ramps)[inside], level(image, inside, ramps)[inside], atol=2e-3
    )
    # The disagreement holds all of the squared rest, spread over the pixels.
    spread = np.where(found.weight > 0, found.weight * np.nan_to_num(found.disagreement) ** 2, 0)
    assert spread.sum() == pytest.approx(left.sum(), rel=0.01)
    if not ramps:
        offsets = found.factors[:, 0] - found.factors.mean()
        expected = own[:, 0] - own.mean()
        np.testing.assert_allclose(offsets, expected, atol=2e-3)


@pytest.mark.parametrize("ramps", [False, True], ids=["offsets", "ramps"])
def test_what_a_patch_is_off_by_is_found_and_changes_no_pixel(ramps):
    y, x = np.indices((40, 44))
    truth = 0.3 * np.sin(y / 5) * np.cos(x / 7)
    rng = np.random.default_rng(3)
    size = (12, 12)
    positions = rng.integers(8, 32, (60, 2)).astype(float)
    i, j = np.indices(size)
    own = rng.normal(size=(60, 3)) * ([1, 0.2, 0.2] if ramps else [1, 0, 0])
    patches = [
        truth[int(a) - 6 : int(a) + 6, int(b) - 6 : int(b) + 6]
        + o[0] + o[1] * (i - 5.5) + o[2] * (j - 5.5)
        for (a, b), o in zip(positions, own, strict=True)
    ]  # fmt: skip
    found = stitch(
        np.array(patches, np.float32), positions, np.ones(size), (40, 44), ramps=ramps,
        tolerance=1e-6,
    )  # fmt: skip
    seen = found.weight > 0.1 * found.weight.max()
    wrong = level(found.image - truth, seen, ramps)[seen]
    assert np.sqrt(np.mean(wrong**2)) < 1e-3
    assert found.disagreement[seen].max() < 2e-3
    # Common offsets and slopes belong to nobody.
    centred = np.concatenate([positions, np.ones((60, 1))], axis=1)
    for term in range(3 if ramps else 1):
        rest = found.factors[:, term] - own[:, term]
        rest -= rest.mean() if term or not ramps else centred @ np.linalg.lstsq(centred, rest)[0]
        assert np.abs(rest).max() < 3e-3


@pytest.fixture(scope="module")
def true_patches(shared_data):
    """4,096 patches of a twisted h-BN bilayer at the positions of a real scan."""
    field = np.abs(np.load(shared_data / "hbn_probe" / "probe.npy")) ** 2
    positions = np.load(shared_data / "hbn_probe" / "positions.npy")
    positions = positions.reshape(256, 256, 2)[:64, :64].reshape(-1, 2) + 17
    weights = np.where(field > 0.05 * field.max(), field, 0)
    finer, pixel, side = 4, 0.286, 90
    specimen = build_specimen("hbn", (side * pixel,) * 2, 80e3, np.random.default_rng(1))
    fine = specimen.phase((finer * side,) * 2, (pixel / finer,) * 2)
    spline = spline_filter(fine, order=5)
    y, x = np.nonzero(weights)
    at = [finer * (positions[:, a, None] + (y, x)[a] - 16) for a in (0, 1)]
    patches = np.zeros((len(positions), 32, 32), np.float32)
    patches[:, y, x] = map_coordinates(spline, at, order=5, prefilter=False)
    patches += np.random.default_rng(2).normal(size=(len(positions), 1, 1)).astype(np.float32)
    return patches, positions, weights, fine[::finer, ::finer]


def scores(image, truth, inside=slice(21, 71)):
    a, b = image[inside, inside], truth[inside, inside]
    a, b = a - a.mean(), b - b.mean()
    return np.sqrt(np.mean((a - b) ** 2)), (a * b).sum() / (b * b).sum()


def test_true_patches_at_real_positions_become_the_object(true_patches):
    patches, positions, weights, truth = true_patches
    rms, slope = scores(stitch(patches, positions, weights, truth.shape).image, truth)
    assert rms < 0.006
    assert slope == pytest.approx(1, abs=0.02)


def test_relaxation_rounded_positions_and_misplaced_patches_fail(true_patches):
    patches, positions, weights, truth = true_patches
    assert scores(stitch_relaxed(patches, positions, weights, truth.shape), truth)[0] > 0.03
    for wrong in (np.round(positions), np.add(positions, (0, 1)), positions[:, ::-1]):
        assert scores(stitch(patches, wrong, weights, truth.shape).image, truth)[0] > 0.009


def test_result_does_not_depend_on_blocks_or_threads():
    patches, positions, weights = small_case(seed=4, count=50)
    whole = stitch(patches, positions, weights, SHAPE, threads=3, tolerance=1e-5)
    cuts = [np.arange(30, 50), np.arange(0, 7), np.arange(7, 30)]
    parted = stitch_blocks(
        lambda: ((cut, patches[cut]) for cut in cuts), positions, weights, SHAPE,
        tolerance=1e-5,
    )  # fmt: skip
    inside = whole.weight > 0.2 * whole.weight.max()
    np.testing.assert_allclose(parted.image[inside], whole.image[inside], atol=1e-3)
    np.testing.assert_allclose(parted.disagreement[inside], whole.disagreement[inside], atol=1e-3)
    again = stitch(patches, positions, weights, SHAPE, threads=1, tolerance=1e-5)
    np.testing.assert_array_equal(again.image, whole.image)
    np.testing.assert_array_equal(again.disagreement, whole.disagreement)


def test_sums_of_parts_are_all_that_is_needed_of_patches(twin):
    patches, positions, weights = small_case(seed=4, count=50)
    whole = stitch(patches, positions, weights, SHAPE, tolerance=1e-5, most_rounds=300)
    origin = (-3, 2)
    parts = [
        patch_sums(twin(patches[some]), positions[some] + origin, weights)
        for some in (np.arange(30, 50), np.arange(0, 7), np.arange(7, 30))
    ]
    found = stitch_sums(
        parts, positions + origin, weights, SHAPE, like=patches, origin=origin, tolerance=1e-5,
        most_rounds=300,
    )  # fmt: skip
    inside = whole.weight > 0.2 * whole.weight.max()
    np.testing.assert_allclose(found.image[inside], whole.image[inside], atol=1e-3)
    np.testing.assert_allclose(found.weight, whole.weight, atol=1e-5)
    assert found.factors.size == 0


def test_sums_that_reach_beyond_the_positions_are_refused():
    patches, positions, weights = small_case()
    own = patch_sums(patches, positions, weights)
    beyond = PatchSums((own.corner[0] - 1, own.corner[1]), own.values)
    with pytest.raises(ValueError, match="reaches beyond the positions"):
        stitch_sums([beyond], positions, weights, SHAPE, like=patches)


def test_patches_that_contradict_their_neighbours_are_seen():
    y, x = np.mgrid[6:34:1.3, 6:34:1.3]
    positions = np.stack([y.ravel(), x.ravel()], axis=1)
    i = np.arange(8) - 4

    def patch(at):
        return np.sin((at[0] + i[:, None]) / 4) + np.cos((at[1] + i) / 3)

    patches = np.array([patch(at) for at in positions], np.float32)
    wrong = np.hypot(*(positions - [20, 20]).T) < 4
    patches[wrong] *= -1
    found = stitch(patches, positions, np.ones((8, 8)), (40, 40))
    assert found.disagreement[20, 20] > 0.2
    assert np.nanmedian(found.disagreement[:, :8]) < 0.02


def test_pixels_that_no_patch_sees_are_not_a_number():
    patches, positions, weights = small_case()
    found = stitch(patches, positions, weights, (30, 40))
    assert np.isnan(found.image[20:]).all()
    assert (found.weight[20:] == 0).all()
    assert np.isfinite(found.image[found.weight > 0]).all()


def test_more_of_the_same_patches_needs_no_more_memory(monkeypatch):
    sizes = []
    real = stitch_equations.CpuPatches

    class Watched(real):
        def spread(self, patches, chosen):
            sizes.append(patches.shape[0])
            return super().spread(patches, chosen)

    monkeypatch.setattr(stitch_equations, "CpuPatches", Watched)
    patches, positions, weights = small_case(count=40)
    stitch_blocks(
        lambda: ((slice(n, n + 10), patches[n : n + 10]) for n in range(0, 40, 10)),
        positions, weights, SHAPE,
    )  # fmt: skip
    assert sizes == [10] * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patches": np.zeros((3, 4, 5), np.float32)}, r"\(3, 4, 5\) for 40 positions"),
        ({"patches": np.zeros((40, 4, 4), np.float32)}, r"\(40, 4, 4\) for 40 .* 4 x 5 pixels"),
        ({"patches": np.full((40, 4, 5), np.nan, np.float32)}, "40 of 40 patches .* position 0"),
        ({"positions": np.full((40, 2), np.inf)}, "expected .* finite"),
        ({"positions": np.zeros((40, 3))}, r"\(40, 3\); expected \(patches, 2\)"),
        ({"weights": -np.ones((4, 5))}, "not negative"),
        ({"weights": np.zeros((4, 5))}, "each patch must have some"),
        ({"weights": np.ones((7, 4, 5))}, r"\(7, 4, 5\) for 40 patches"),
        ({"shape": (0, 4)}, r"\(0, 4\) pixels"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    patches, positions, weights = small_case()
    case = {"patches": patches, "positions": positions, "weights": weights, "shape": SHAPE}
    with pytest.raises(ValueError, match=message):
        stitch(**case | change)


def test_patches_that_come_twice_or_never_are_refused():
    patches, positions, weights = small_case()
    some = (slice(0, 30), patches[:30])
    with pytest.raises(ValueError, match="position 0 came twice"):
        stitch_blocks(lambda: [some, some], positions, weights, SHAPE)
    with pytest.raises(ValueError, match="10 of 40 positions have no patch, the first is 30"):
        stitch_blocks(lambda: [some], positions, weights, SHAPE)
    with pytest.raises(ValueError, match="reach from"):
        stitch_relaxed(patches, positions - 9, weights, SHAPE)
